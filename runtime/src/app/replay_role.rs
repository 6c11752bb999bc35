//! A task that gave no output is run again, here and alone (`--mw-replay FILE`): with the same arguments, random numbers,
//! tag, arguments of the run, shared data and keys of incumbents. A slave's state is made anew.

use std::any::type_name;
use std::path::Path;
use std::sync::Arc;

use ringmw_codec::flags::exit;
use ringmw_codec::journal::{FailedFile, Identity};
use ringmw_codec::shared::BlobName;
use ringmw_sched::SlaveId;

use crate::app::fingerprint;
use crate::app::parts::Parts;
use crate::flags::Settings;
use crate::io::files::{kept, private};
use crate::io::terminal::complain;
use crate::proto::incumbents::{BestTable, OfferSink};
use crate::proto::task_name::TaskName;
use crate::proto::trace;
use crate::slave;
use crate::typed::cx::{Cx, TaskStart};
use crate::typed::registry::Entry;
use crate::typed::tag::RunError;
use crate::typed::wire::{Wire, decode};

/// An output is shown in so many bytes at most.
const SHOWN_BYTES_MAX: usize = 256;

/// Runs the task of the file and gives the exit code: 0 if it returned an output, else 255.
pub(crate) fn run(parts: &Parts, settings: &Settings, name: &str) -> u8 {
    let path = settings.replay.as_deref().expect("it is this role's");
    match replay(parts, settings, path) {
        Ok(code) => code,
        Err(error) => {
            complain(name, &error);
            exit::ERROR
        }
    }
}

fn replay(parts: &Parts, settings: &Settings, path: &Path) -> Result<u8, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = private::read(path)?.ok_or_else(|| named(&"there is no such file"))?;
    let file = FailedFile::decode(&bytes).map_err(|error| named(&error))?;
    drop(bytes);
    let (task, algorithm) = (named_as(path, &file), &file.algorithm);
    let mut entries = parts.registry.entries().iter();
    let entry = entries.find(|entry| entry.name == algorithm);
    let entry = entry.ok_or_else(|| {
        let program = &file.identity.program;
        named(&format!(
            "{task} is of `{algorithm}`, which this program has not; it is a task of {program}"
        ))
    })?;
    let now = Identity {
        build: fingerprint::build(),
        app_version: parts.version.clone(),
        ..file.identity.clone()
    };
    let any_build = settings.rules.any_build;
    if let Some(difference) = file.identity.difference(&now, any_build, true) {
        return Err(named(&format!(
            "{difference}; run it by the program that ran it, or give --mw-any-build beside it"
        )));
    }
    let mut mentions = Vec::new();
    if let Some(find) = entry.mentions {
        find(&file.args, &mut mentions);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut shared = Vec::new();
    for of in mentions {
        let bytes = kept::read_shared(folder, of).map_err(|error| named(&error))?;
        shared.push((of.name, Arc::new(bytes)));
    }
    print_head(&task, &file);
    let outcome = compute(entry, &file, &shared, &settings.user);
    Ok(tell(entry, &task, &file, outcome))
}

/// The task's name: its file's, which says the life too, unless somebody has renamed it.
fn named_as(path: &Path, file: &FailedFile) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let parsed = TaskName::parse(&name).filter(|(task, _)| *task == file.task);
    let life = parsed.and_then(|(_, life)| life).unwrap_or(0);
    let task = file.task;
    TaskName { task, life }.to_string()
}

/// What it is, on stderr: stdout has what it comes to.
fn print_head(task: &str, file: &FailedFile) {
    let place = match &*file.slave {
        "" => String::new(),
        slave => format!(" on {slave}"),
    };
    eprintln!(
        "{task} of `{}` {}{place}: {}",
        file.algorithm,
        file.how.word(),
        trace::shown(&file.message)
    );
    if !file.policy.is_empty() {
        eprintln!("its policy: {}", file.policy);
    }
    eprintln!(
        "it is run here with its arguments, its random numbers (seed {}) and the run's arguments {:?}; a slave's state is made anew",
        file.identity.seed, file.identity.args
    );
    if !file.bests.is_empty() {
        eprintln!(
            "{} incumbents have the keys of the time when it was handed out",
            file.bests.len()
        );
    }
}

fn compute(
    entry: &Entry,
    file: &FailedFile,
    shared: &[(BlobName, Arc<Vec<u8>>)],
    own_args: &[String],
) -> Result<Vec<u8>, RunError> {
    struct Nowhere;
    impl OfferSink for Nowhere {
        fn offer(&self, _best: u32, _image: u64, _witness: &[u8]) {}
    }
    slave::panics::remember_panics();
    let bests = BestTable::default();
    for &(best, image) in &file.bests {
        bests.learn(best, image);
    }
    let cx = Cx::new(
        SlaveId(0),
        file.identity.seed,
        file.identity.args.clone().into(),
        Arc::default(),
        bests,
        Arc::new(Nowhere),
    );
    let mut cx = cx.with_own_args(own_args.iter().cloned());
    let start = TaskStart {
        task: file.task,
        algorithm: entry.name_hash,
        domain: file.domain,
        stream: file.stream,
        tag: file.tag.as_ref().map(|(tag_type, tag)| (*tag_type, &**tag)),
        shared,
        resume: None,
    };
    let mut output = Vec::new();
    slave::run_caught(entry, start, &file.args, &mut cx, &mut output)?;
    Ok(output)
}

fn tell(entry: &Entry, task: &str, file: &FailedFile, outcome: Result<Vec<u8>, RunError>) -> u8 {
    let (said, code) = match outcome {
        Ok(output) => {
            let result = (entry.signature)().result;
            (
                format!("{task} returned {}", shown(&result, &output)),
                exit::OK,
            )
        }
        Err(RunError::Failed(message)) => {
            let (message, _) = trace::parted(&message);
            let same = match message == trace::parted(&file.message).0 {
                true => ", as in its run",
                false => "",
            };
            (format!("{task} failed{same}: {message}"), exit::ERROR)
        }
        Err(RunError::Args(error)) => {
            let text = format!("{task}: its arguments cannot be read: {error}");
            (text, exit::ERROR)
        }
        Err(RunError::StateInit(reason)) => {
            let text = format!("{task}: no state can be made for it here: {reason}");
            (text, exit::ERROR)
        }
        Err(RunError::Surroundings(reason)) => (
            format!("{task}: it cannot print here: {reason}"),
            exit::ERROR,
        ),
    };
    println!("{said}");
    code
}

/// Shows an output that is of one type; the type's text and the archive.
type Show = fn(&str, &[u8]) -> Option<String>;

/// An output: as Rust shows it where its type is a plain one, else its type and the archive's bytes.
fn shown(result: &str, output: &[u8]) -> String {
    fn as_a<T: Wire + std::fmt::Debug>(result: &str, output: &[u8]) -> Option<String> {
        let is_so = type_name::<T>().rsplit("::").next() == Some(result);
        let value = is_so.then(|| decode::<T>(output).ok()).flatten()?;
        Some(format!("{value:?}"))
    }
    let plain: [Show; 15] = [
        as_a::<u8>,
        as_a::<u16>,
        as_a::<u32>,
        as_a::<u64>,
        as_a::<u128>,
        as_a::<usize>,
        as_a::<i8>,
        as_a::<i16>,
        as_a::<i32>,
        as_a::<i64>,
        as_a::<f32>,
        as_a::<f64>,
        as_a::<bool>,
        as_a::<String>,
        as_a::<()>,
    ];
    if let Some(shown) = plain.iter().find_map(|shown| shown(result, output)) {
        return shown;
    }
    let some = &output[..output.len().min(SHOWN_BYTES_MAX)];
    let hex: String = some.iter().map(|byte| format!("{byte:02x}")).collect();
    let more = if some.len() < output.len() { ".." } else { "" };
    format!(
        "{result}, an archive of {} bytes: {hex}{more}",
        output.len()
    )
}

/// How a task of this file is run again, as a shell takes it.
pub(crate) fn command(program: &str, file: &Path) -> String {
    format!(
        "{} --mw-replay {}",
        quoted(program),
        quoted(&file.to_string_lossy())
    )
}

fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(&byte);
    match !word.is_empty() && word.bytes().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{command, shown};
    use crate::typed::wire::encode;

    #[test]
    fn outputs_are_shown() {
        let archive = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            out
        };
        let text = archive(&|out| encode(&"a \"b\"".to_owned(), out).unwrap());
        assert_eq!(shown("String", &text), r#""a \"b\"""#);
        let number = archive(&|out| encode(&-7i64, out).unwrap());
        assert_eq!(shown("i64", &number), "-7");
        assert_eq!(
            shown("Pair", &[1, 255]),
            "Pair, an archive of 2 bytes: 01ff"
        );
    }

    #[test]
    fn the_command_is_what_a_shell_takes() {
        let file = Path::new("failed/TASK-7");
        assert_eq!(command("./app", file), "./app --mw-replay failed/TASK-7");
        let file = Path::new("my run/it's");
        assert_eq!(
            command("./app", file),
            r"./app --mw-replay 'my run/it'\''s'"
        );
    }
}
