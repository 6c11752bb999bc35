//! Tasks that gave no output, kept to be run again by themselves (`--mw-keep-failed`): which of them, and how many.
//!
//! Of one message at most [`ALIKE_MAX`] are kept, so that a fault that comes thousands of times leaves room for the others.
//! Shared data that a task names is kept beside it, once however many name it, and counts in bytes.

use std::collections::{BTreeMap, VecDeque};

use ringmw_codec::batch::TaskBody;
use ringmw_codec::journal::{FailedFile, How};
use ringmw_sched::{AlgorithmId, Nanos, Policy, Reason, SlaveId, TaskId, Unrunnable};

use super::MasterCore;
use crate::proto::blob::Named;
use crate::proto::end::LastSeen;
use crate::proto::failed::{Folder, KeptTask};
use crate::proto::reason::InWords;
use crate::proto::series::Body;

/// The most files of a folder.
pub(crate) const FILES_MAX: usize = 100;
/// The most bytes of them together: 1 GiB.
pub(crate) const BYTES_MAX: u64 = 1 << 30;
/// The most of one message, digits aside.
const ALIKE_MAX: u32 = 10;
/// Improvements of incumbents that are remembered: of a task that was handed out before them the oldest one counts.
const IMPROVED_MAX: usize = 4096;
/// A message tells faults apart by so many bytes of its beginning.
const TOLD_APART_BYTES: usize = 200;
/// What is said of a task that its slave has ended begins so.
const TIMED_OUT: &str = "timed out after ";

/// What is kept, and how much more may be.
pub(super) struct Keeper {
    folder: Folder,
    /// By message, digits folded: how many. At most [`FILES_MAX`] messages.
    alike: BTreeMap<String, u32>,
    /// The incumbents' keys as they became known: when, which, image.
    improved: VecDeque<(Nanos, u32, u64)>,
    version: u64,
    /// Not written yet.
    kept: Vec<KeptTask>,
}

impl Keeper {
    /// A file of this message and of so many bytes, the rest aside, is kept with what it names: it counts from here on.
    fn takes(&mut self, message: &str, bytes: u64, shared: &Named) -> bool {
        let folder = &mut self.folder;
        let new = || {
            let blobs = shared.iter().map(|blob| blob.of);
            blobs.filter(|of| !folder.shared.contains(&of.name))
        };
        let bytes = new().fold(bytes, |bytes, of| bytes.saturating_add(of.bytes));
        if folder.tasks >= FILES_MAX || folder.bytes.saturating_add(bytes) > BYTES_MAX {
            return false;
        }
        let alike = self.alike.entry(folded(message)).or_insert(0);
        if *alike >= ALIKE_MAX {
            return false;
        }
        *alike += 1;
        folder.tasks += 1;
        folder.bytes += bytes;
        folder.shared.extend(shared.iter().map(|blob| blob.of.name));
        true
    }

    /// The keys that a slave was told when it was handed a task.
    fn keys_at(&self, at: Nanos) -> Vec<(u32, u64)> {
        let mut keys = BTreeMap::new();
        let told = self.improved.iter().filter(|(since, ..)| *since <= at);
        told.for_each(|&(_, best, image)| _ = keys.insert(best, image));
        keys.into_iter().collect()
    }
}

/// Numbers differ from task to task where the fault is one.
fn folded(message: &str) -> String {
    let mut folded = String::new();
    let mut was_digit = false;
    for letter in message.chars() {
        if folded.len() >= TOLD_APART_BYTES {
            break;
        }
        let is_digit = letter.is_ascii_digit();
        match (is_digit, was_digit) {
            (true, true) => {}
            (true, false) => folded.push('#'),
            (false, _) => folded.push(letter),
        }
        was_digit = is_digit;
    }
    folded
}

impl MasterCore {
    /// From here on tasks that give no output are kept; this is there already.
    pub(crate) fn keep_failed(&mut self, folder: Folder) {
        self.keeper = Some(Box::new(Keeper {
            folder,
            alike: BTreeMap::new(),
            improved: VecDeque::new(),
            version: 0,
            kept: Vec::new(),
        }));
    }

    /// Those to be written; whose they are, the writer knows.
    pub(crate) fn take_failed(&mut self) -> Vec<KeptTask> {
        let keeper = self.keeper.as_mut();
        keeper.map_or_else(Vec::new, |keeper| std::mem::take(&mut keeper.kept))
    }

    /// What incumbents are when a packet is made.
    pub(super) fn remember_bests(&mut self) {
        let (Some(keeper), version) = (&mut self.keeper, self.bests.version()) else {
            return;
        };
        if version == keeper.version {
            return;
        }
        for (best, image) in self.bests.since(keeper.version) {
            if keeper.improved.len() >= IMPROVED_MAX {
                keeper.improved.pop_front();
            }
            keeper.improved.push_back((self.now, best, image));
        }
        keeper.version = version;
    }

    /// A task has failed on a slave that was handed it then.
    pub(super) fn keep_failure(
        &mut self,
        (id, algorithm, policy): (TaskId, AlgorithmId, Policy),
        (slave, handed_out): (SlaveId, Nanos),
        body: &Body,
        message: &str,
    ) {
        if self.keeper.is_none() {
            return;
        }
        let how = match message.starts_with(TIMED_OUT) {
            true => How::TimedOut,
            false => How::Failed,
        };
        let host = self.slave(slave).map(|(info, _)| info.host.clone());
        let place = match host {
            Some(host) => format!("{slave} on {host}"),
            None => slave.to_string(),
        };
        self.keep_task(
            how,
            (id, algorithm, policy),
            place,
            handed_out,
            body,
            message,
        );
    }

    /// A task is unrunnable: it is kept if it was begun as often as it may be.
    pub(super) fn keep_poisoned(&mut self, task: &Unrunnable<Body>, last_seen: Option<&LastSeen>) {
        if self.keeper.is_none() {
            return;
        }
        if let Reason::Crashed { slave, .. } = task.reason {
            let message = InWords(task.reason, last_seen).to_string();
            let what = (task.id, task.algorithm, task.policy);
            let place = match last_seen {
                Some(seen) => format!("{slave} on {}", seen.host()),
                None => slave.to_string(),
            };
            let (since, body) = (self.now, &task.payload);
            self.keep_task(How::Poisoned, what, place, since, body, &message);
        }
    }

    fn keep_task(
        &mut self,
        how: How,
        (id, algorithm, policy): (TaskId, AlgorithmId, Policy),
        slave: String,
        since: Nanos,
        body: &Body,
        message: &str,
    ) {
        let info = self.config.info(algorithm);
        let task = body.nth(0);
        let mut mentions = Vec::new();
        if let Some(find) = info.mentions {
            find(task.args, &mut mentions);
        }
        let shared = self.named(&mentions).unwrap_or_default();
        let name = self.config.info(algorithm).name;
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        let bytes = task.args.len() + task.tag.len() + message.len();
        if !keeper.takes(message, bytes as u64, &shared) {
            return;
        }
        let file = FailedFile {
            task: id.seq(),
            how,
            algorithm: name.to_owned(),
            slave,
            policy: in_words(policy, &task),
            message: message.to_owned(),
            domain: task.domain,
            stream: task.stream,
            bests: keeper.keys_at(since),
            tag: (task.tag_type != 0).then(|| (task.tag_type, task.tag.to_vec())),
            args: task.args.to_vec(),
            ..FailedFile::default()
        };
        keeper.kept.push(KeptTask { file, shared });
    }
}

/// A policy as people read it: what is not as it is by default.
fn in_words(policy: Policy, task: &TaskBody<'_>) -> String {
    let plain = Policy::default();
    let mut words = Vec::new();
    if let Some(to) = policy.to {
        words.push(format!("slave {to}"));
    }
    if policy.do_it_anyway {
        words.push("do it anyway".to_owned());
    }
    if !policy.retry {
        words.push("no retry".to_owned());
    }
    if policy.priority != plain.priority {
        words.push(format!("priority {}", policy.priority));
    }
    let needs = policy.needs.labels().iter();
    words.extend(needs.map(|need| format!("needs {need}")));
    if policy.start_within != plain.start_within {
        words.push(format!(
            "start within {} ms",
            policy.start_within / 1_000_000
        ));
    }
    if task.timeout_ms > 0 {
        words.push(format!("time-out {} ms", task.timeout_ms));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{ALIKE_MAX, BYTES_MAX, FILES_MAX, Folder, Keeper, Named, folded};
    use crate::proto::blob::Blob;

    fn keeper(tasks: usize, bytes: u64) -> Keeper {
        let folder = Folder {
            tasks,
            bytes,
            ..Folder::default()
        };
        Keeper {
            folder,
            alike: Default::default(),
            improved: Default::default(),
            version: 0,
            kept: Vec::new(),
        }
    }

    #[test]
    fn what_is_kept_is_bounded_in_files_bytes_and_of_one_message() {
        let mut new = keeper(0, 0);
        let takes =
            |keeper: &mut Keeper, message: &str| keeper.takes(message, 1, &Named::default());
        let taken = (0..50).filter(|n| takes(&mut new, &format!("{n} is odd at line {}", n * 7)));
        assert_eq!(taken.count(), ALIKE_MAX as usize);
        assert!(takes(&mut new, "another"));
        let letters = (0..26 * 26u32).map(|n| {
            let letter = |n: u32| char::from_u32(u32::from(b'a') + n).expect("a letter");
            format!("{}{}", letter(n / 26), letter(n % 26))
        });
        let taken = letters.filter(|message| takes(&mut new, message)).count();
        assert_eq!(taken + ALIKE_MAX as usize + 1, FILES_MAX);
        assert!(!takes(&mut keeper(FILES_MAX, 0), "x"));
        assert!(!takes(&mut keeper(0, BYTES_MAX), "x"));
        assert!(takes(&mut keeper(0, BYTES_MAX - 1), "x"));
    }

    #[test]
    fn shared_data_counts_once_however_many_tasks_name_it() {
        let blob = Arc::new(Blob::in_memory(vec![7; 1_000]));
        let mut named = Named::default();
        named.push(&blob);
        let mut keeper = keeper(0, BYTES_MAX - 1_005);
        assert!(keeper.takes("a", 1, &named) && keeper.takes("b", 1, &named));
        assert_eq!(keeper.folder.bytes, BYTES_MAX - 3);
        let mut another = Named::default();
        another.push(&Arc::new(Blob::in_memory(vec![8; 1_000])));
        assert!(!keeper.takes("c", 1, &another) && keeper.takes("d", 1, &named));
    }

    #[test]
    fn digits_are_folded() {
        assert_eq!(
            folded("panicked at a.rs:12:7: no 3.5"),
            "panicked at a.rs:#:#: no #.#"
        );
    }

    #[test]
    fn keys_are_those_of_the_time() {
        let mut keeper = keeper(0, 0);
        keeper
            .improved
            .extend([(5, 0, 100), (9, 1, 7), (20, 0, 60)]);
        assert_eq!(keeper.keys_at(4), []);
        assert_eq!(keeper.keys_at(9), [(0, 100), (1, 7)]);
        assert_eq!(keeper.keys_at(20), [(0, 60), (1, 7)]);
    }
}
