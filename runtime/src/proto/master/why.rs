//! Why a task waits, where a slave is, what became of a host: answers for people, from what the scheduler and the account
//! know. The trail knows what is longer ago.

use std::collections::BTreeMap;

use ringmw_codec::status::Told;
use ringmw_codec::talk::Progress;
use ringmw_sched::{
    AlgorithmId, Doing, Group, Nanos, Needs, Place, Reason, SlaveId, SlaveLook, TaskLook,
};

use super::MasterCore;
use super::account::{Ended, Gone, How};
use super::conn::Phase;
use crate::proto::end::LastSeen;
use crate::proto::reason::InWords;
use crate::proto::task_name::TaskName;

/// Lines about single slaves or losses in an answer.
const LISTED_MAX: usize = 8;

/// Why a slave does not run a task that waits, in the order in which it is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    Busy,
    Idle,
    Moving,
    Behind,
    Reserved,
    Ordered,
    Without,
    Quarantined,
}

impl Obstacle {
    fn words(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Idle => "idle: they are served in this turn",
            Self::Moving => "about to move to another group: they get no more unordered tasks",
            Self::Behind => "behind: they do not read what they are sent, so they get no work",
            Self::Reserved => "reserved: they take tasks addressed to them alone",
            Self::Ordered => "ordered: they take no unordered tasks",
            Self::Without => "without the labels that it needs",
            Self::Quarantined => {
                "in quarantine: tasks of its algorithm fail there and succeed elsewhere"
            }
        }
    }
}

impl MasterCore {
    /// What is known of `TASK-7`, `SLAVE-3`, or a host.
    pub fn why(&self, about: &str) -> Told {
        let about = about.trim();
        let number = |prefix: &str| {
            let upper = about.to_ascii_uppercase();
            let digits = upper.strip_prefix(prefix)?;
            digits.parse::<u64>().ok()
        };
        let told = match (TaskName::parse(about), number("SLAVE-")) {
            (Some((_, Some(life))), _) if life != self.life.max(1) => Err(format!(
                "{about} is a task of life {life} of the run, this is life {}: the trail may know of it",
                self.life.max(1)
            )),
            (Some((task, _)), _) => self.why_task(task),
            (_, Some(slave)) => match u32::try_from(slave) {
                Ok(slave) => self.why_slave(SlaveId(slave)),
                Err(_) => Err(format!("there was no {about} yet")),
            },
            _ => self.why_host(about),
        };
        match told {
            Ok(lines) => Told {
                lines,
                ..Told::default()
            },
            Err(error) => Told {
                error: Some(error),
                ..Told::default()
            },
        }
    }

    pub(super) fn ago(&self, at: Nanos) -> String {
        duration(self.now.saturating_sub(at))
    }

    /// A task's name in this life.
    pub(crate) fn task_name(&self, task: u64) -> TaskName {
        let life = self.life;
        TaskName { task, life }
    }

    // ---- a task

    fn why_task(&self, task: u64) -> Result<Vec<String>, String> {
        let name = self.task_name(task);
        if let Some(look) = self.sched.task_look(task) {
            return Ok(match look.place {
                Place::Away => self.why_away(task, &look),
                Place::Queued { before } => self.why_queued(task, &look, before),
                Place::Held {
                    slave,
                    since,
                    before,
                    twin,
                } => self.why_held(task, &look, (slave, since), before, twin),
            });
        }
        if task >= self.sched.next_task() {
            return Err(format!(
                "there was no {name} yet: {} submitted so far",
                slaves(self.sched.next_task(), "task was", "tasks were")
            ));
        }
        let memory = self.account.memory.as_ref();
        match memory.and_then(|memory| memory.ended(task)) {
            Some(ended) => Ok(self.ended(task, ended)),
            None => Err(format!(
                "{name} has ended, and not among the last: the trail knows how, if its level is tasks or it failed"
            )),
        }
    }

    /// How far a task is, as it says.
    fn so_far(&self, told: Progress) -> String {
        let Progress { task, done, total } = told;
        let name = self.task_name(task);
        match total {
            0 => format!("{name} says that {done} is done"),
            _ => format!("{name} says that {done} of {total} is done"),
        }
    }

    fn task_line(&self, task: u64, look: &TaskLook, what: &str) -> String {
        format!(
            "{} of {} {what}; it was submitted {} ago",
            self.task_name(task),
            self.config.info(look.algorithm).name,
            self.ago(look.submitted)
        )
    }

    fn why_away(&self, task: u64, look: &TaskLook) -> Vec<String> {
        let what =
            "was begun by an earlier life of the master, and is begun at most once (retry(false))";
        vec![
            self.task_line(task, look, what),
            "a slave of that life may still come back with its result; if none does in time it is unrunnable"
                .to_owned(),
        ]
    }

    fn why_queued(&self, task: u64, look: &TaskLook, before: u64) -> Vec<String> {
        let mut lines = vec![self.task_line(task, look, "waits in the master's queue")];
        if look.crashes > 0 {
            lines.push(format!(
                "{} lost while they ran it; at {} it is unrunnable",
                slaves(u64::from(look.crashes), "slave was", "slaves were"),
                self.config.rules.sched.crash_limit
            ));
        }
        if let Some(slave) = look.bound_to {
            lines.push(format!(
                "it is for {slave} alone; {} before it",
                tasks(before)
            ));
            lines.extend(self.slave_line(slave));
            return lines;
        }
        let needs = look.policy.needs;
        let who = match needs.labels() {
            [] => "any slave may run it that takes unordered tasks".to_owned(),
            labels => format!(
                "a slave may run it that takes unordered tasks and has the labels {} (--mw-slave-label)",
                labels.join(" ")
            ),
        };
        let ahead = match before {
            0 => "no task waits that was submitted before it".to_owned(),
            1 => "1 task submitted before it waits as well".to_owned(),
            _ => format!("{} submitted before it wait as well", tasks(before)),
        };
        lines.push(format!("{ahead}; {who}"));
        if self.stopping.is_some() {
            lines.push("nothing is handed out any more: the run ends".to_owned());
        }
        if look.of_queue && self.sched.holds_queue() {
            lines.push(
                "tasks whose end goes to the queue are held back: the master algorithm has not taken the results that are \
                 ready (--mw-max-ready-bytes)"
                    .to_owned(),
            );
        }
        lines.extend(self.who_could_run(look.algorithm, needs));
        lines
    }

    /// Why a slave does not run an unordered task that waits.
    fn obstacle(
        &self,
        slave: SlaveId,
        look: &SlaveLook,
        algorithm: AlgorithmId,
        needs: Needs,
    ) -> Obstacle {
        let is_quarantined = || {
            let wards = self.sched.wards(slave);
            wards.iter().any(|(of, ..)| *of == algorithm)
        };
        match look {
            _ if !self.sched.meets(slave, needs) => Obstacle::Without,
            _ if self.sched.is_reserved(slave) => Obstacle::Reserved,
            SlaveLook {
                group: Group::Ordered,
                ..
            } => Obstacle::Ordered,
            SlaveLook {
                held_back: true, ..
            } => Obstacle::Behind,
            _ if is_quarantined() => Obstacle::Quarantined,
            SlaveLook {
                doing: Doing::Moving,
                ..
            } => Obstacle::Moving,
            SlaveLook {
                doing: Doing::Idle, ..
            } => Obstacle::Idle,
            SlaveLook { .. } => Obstacle::Busy,
        }
    }

    /// Slaves that could run an unordered task of this algorithm that needs these labels, and why they do not.
    fn who_could_run(&self, algorithm: AlgorithmId, needs: Needs) -> Vec<String> {
        let mut counts: BTreeMap<Obstacle, u64> = BTreeMap::new();
        let mut longest: Option<(SlaveId, Nanos)> = None;
        for (id, _) in self.slots.sorted() {
            let Some(look) = self.sched.slave_look(id) else {
                continue;
            };
            let obstacle = self.obstacle(id, &look, algorithm, needs);
            *counts.entry(obstacle).or_default() += 1;
            if let (Obstacle::Busy, Some((_, since))) = (obstacle, look.first)
                && longest.is_none_or(|(_, longest)| since < longest)
            {
                longest = Some((id, since));
            }
        }
        let mut lines = Vec::new();
        let need = self.need();
        if self.slots.is_empty() {
            lines.push(match (need.desired, self.missing_since) {
                (0, _) => "no slave is connected, and none is desired".to_owned(),
                (desired, None) => format!("no slave is connected; {desired} are desired"),
                (desired, Some(since)) => format!(
                    "no slave is connected; {desired} are desired, and have been missing for {}",
                    self.ago(since)
                ),
            });
            lines.extend(self.last_refused());
            return lines;
        }
        for (obstacle, count) in counts {
            lines.push(format!(
                "{} {}",
                slaves(count, "slave is", "slaves are"),
                obstacle.words()
            ));
        }
        if let Some((slave, since)) = longest {
            lines.push(format!(
                "the longest at its task is {slave}, for {}",
                self.ago(since)
            ));
        }
        if let Some(missing) = self.missing() {
            lines.push(missing);
            lines.extend(self.last_refused());
        }
        lines
    }

    /// How many slaves should be there and are not, and for how long.
    fn missing(&self) -> Option<String> {
        let (need, since) = (self.need(), self.missing_since?);
        Some(format!(
            "{} of {} desired slaves are missing, some for {}",
            need.needed,
            need.desired,
            self.ago(since)
        ))
    }

    fn last_refused(&self) -> Option<String> {
        let memory = self.account.memory.as_ref()?;
        let last = memory.last_refused()?;
        Some(format!(
            "{} refused so far; the last one, from {} {} ago: {}",
            slaves(self.account.refused, "connection was", "connections were"),
            named(&last.host, &last.from),
            self.ago(last.at),
            last.reason
        ))
    }

    fn why_held(
        &self,
        task: u64,
        look: &TaskLook,
        (slave, since): (SlaveId, Nanos),
        before: u64,
        twin: Option<SlaveId>,
    ) -> Vec<String> {
        let what = match before {
            0 => format!("runs on {slave}, handed out {} ago", self.ago(since)),
            _ => format!(
                "is in the hands of {slave}, handed out {} ago, {} before it",
                self.ago(since),
                tasks(before)
            ),
        };
        let mut lines = vec![self.task_line(task, look, &what)];
        let known = self.sched.mean_compute(look.algorithm);
        if let Some(mean) = known {
            lines.push(format!(
                "a task of its algorithm takes {} on average",
                duration(mean)
            ));
        }
        if let Some(twin) = twin {
            lines.push(format!(
                "{twin} runs it too, since it takes so long; the first result counts"
            ));
        }
        lines.extend(
            self.progress_of(slave)
                .filter(|told| told.task == task)
                .map(|told| self.so_far(told)),
        );
        lines.extend(self.talk_lines(task));
        lines.extend(self.slave_line(slave));
        lines
    }

    fn ended(&self, task: u64, ended: &Ended) -> Vec<String> {
        let how = match ended.how {
            How::Done => "has ended with a result".to_owned(),
            How::Failed => "has ended with a failed result".to_owned(),
            How::Cancelled => "was cancelled by the application".to_owned(),
            How::Unrunnable(reason) => {
                let last_seen = self.last_seen(reason);
                let why = InWords(reason, last_seen.as_ref());
                format!("is unrunnable: {why}")
            }
        };
        let mut lines = vec![format!(
            "{} of {} {how}, {} ago",
            self.task_name(task),
            self.config.info(ended.algorithm).name,
            self.ago(ended.at)
        )];
        if let Some(slave) = ended.slave {
            let place = self.place_of(slave);
            lines.push(match (ended.how, ended.tasks) {
                (How::Done | How::Failed, 1) => {
                    format!("{slave}{place} computed it in {}", duration(ended.compute))
                }
                (How::Done | How::Failed, tasks) => format!(
                    "{slave}{place} computed it among {tasks} that took {} together",
                    duration(ended.compute)
                ),
                _ => format!("{slave}{place} had it"),
            });
        }
        lines
    }

    /// Of the slave whose loss is the reason, as long as it is remembered.
    fn last_seen(&self, reason: Reason) -> Option<LastSeen> {
        let (Reason::Crashed { slave, .. } | Reason::NotRetried(slave) | Reason::SlaveLost(slave)) =
            reason
        else {
            return None;
        };
        let gone = self.account.memory.as_ref()?.gone(slave)?;
        Some(LastSeen::new(&gone.host, &gone.detail))
    }

    /// ` on node7`, as far as it is known.
    fn place_of(&self, slave: SlaveId) -> String {
        let gone = || {
            let memory = self.account.memory.as_ref()?;
            Some(memory.gone(slave)?.host.to_string())
        };
        let host = match self.slave(slave) {
            Some((info, _)) => Some(info.host.clone()),
            None => gone(),
        };
        host.map_or_else(String::new, |host| format!(" on {host}"))
    }

    // ---- a slave

    fn why_slave(&self, slave: SlaveId) -> Result<Vec<String>, String> {
        if let Some(lines) = self.slave_lines(slave) {
            return Ok(lines);
        }
        let memory = self.account.memory.as_ref();
        match memory.and_then(|memory| memory.gone(slave)) {
            Some(gone) => Ok(self.gone(gone)),
            None if u64::from(slave.0) < self.account.came => Err(format!(
                "{slave} is gone, and not among the last ones: the trail has its line `lost` or `disconnected`"
            )),
            None => Err(format!(
                "there was no {slave} yet: {} came so far",
                slaves(self.account.came, "slave", "slaves")
            )),
        }
    }

    /// One line on a connected slave.
    fn slave_line(&self, slave: SlaveId) -> Option<String> {
        self.slave_lines(slave)?.into_iter().next()
    }

    fn slave_lines(&self, slave: SlaveId) -> Option<Vec<String>> {
        let (info, _) = self.slave(slave)?;
        let look = self.sched.slave_look(slave)?;
        let doing = match (look.doing, look.first) {
            (Doing::Idle, _) => "is idle".to_owned(),
            (_, None) => "is busy".to_owned(),
            (_, Some((task, since))) => format!(
                "holds {}, {} first, for {}",
                tasks(look.held as u64),
                self.task_name(task),
                self.ago(since)
            ),
        };
        let job = match &*info.job {
            "" => String::new(),
            job => format!(", job {job}"),
        };
        let mut lines = vec![format!(
            "{slave} on {} ({}{job}) {doing}; {}, here for {}",
            info.host,
            info.address,
            super::trail::group(look.group).word(),
            self.ago(info.since)
        )];
        lines.extend(self.progress_of(slave).map(|told| self.so_far(told)));
        if look.doing == Doing::Moving {
            lines.push(
                "it gets no more work, and moves to another group when it is through".to_owned(),
            );
        }
        if self.sched.is_reserved(slave) {
            lines.push(
                match look.doing {
                    Doing::Idle => "it is reserved, and nothing is given to it",
                    _ => "it is reserved",
                }
                .to_owned(),
            );
        }
        if look.held_back {
            lines.push("it gets no work: it does not read what it is sent".to_owned());
        }
        lines.extend(self.why_quarantined(slave));
        if !info.about.before.is_empty() {
            lines.push(format!(
                "the one before it in its place {}",
                info.about.before
            ));
        }
        if look.doing == Doing::Idle && look.own == 0 && !look.held_back {
            lines.push(match (self.sched.queued(), look.group) {
                (0, _) => "nothing is queued".to_owned(),
                (queued, Group::Ordered) => {
                    format!("{} queued, but it takes those addressed to it alone", tasks(queued))
                }
                (queued, _) => format!(
                    "{} queued: those that it may run are handed out in this turn, the others are for other slaves or held back",
                    tasks(queued)
                ),
            });
        }
        if look.own > 0 {
            lines.push(format!("{} wait for it alone", tasks(look.own)));
        }
        lines.push(format!(
            "it gave {} so far, {} of them failed, in {} of compute",
            slaves(info.deeds.done, "result", "results"),
            info.deeds.failed,
            duration(info.deeds.compute)
        ));
        if let Some(slot) = self.slots.get(slave)
            && let Some(Some(conn)) = self.conns.get(slot as usize)
        {
            lines.push(format!(
                "it was heard {} ago; at {} of silence it is lost",
                duration(self.awake.saturating_sub(conn.heard)),
                duration(self.config.rules.client_timeout)
            ));
            if matches!(conn.phase, Phase::Slave { leaving: true, .. }) {
                lines.push("it was told to go".to_owned());
            }
        }
        Some(lines)
    }

    fn gone(&self, gone: &Gone) -> Vec<String> {
        let mut lines = vec![self.gone_line(gone)];
        if gone.recycled > 0 {
            lines.push(format!(
                "{} of it went to other slaves",
                tasks(gone.recycled)
            ));
        }
        lines.push(format!(
            "it was there for {} and gave {}",
            duration(gone.at.saturating_sub(gone.since)),
            slaves(gone.done, "result", "results")
        ));
        lines
    }

    fn gone_line(&self, gone: &Gone) -> String {
        let detail = match gone.detail.as_str() {
            "" => String::new(),
            detail => format!(": {detail}"),
        };
        match gone.cause {
            None => format!(
                "{} on {} left {} ago, as it was told to",
                gone.slave,
                gone.host,
                self.ago(gone.at)
            ),
            Some(cause) => format!(
                "{} on {} was lost {} ago, {cause}{detail}",
                gone.slave,
                gone.host,
                self.ago(gone.at)
            ),
        }
    }

    // ---- a host

    fn why_host(&self, host: &str) -> Result<Vec<String>, String> {
        let tally = self.account.host.iter().find(|tally| *tally.host == *host);
        let memory = self.account.memory.as_ref();
        let refused: Vec<_> = memory
            .into_iter()
            .flat_map(|memory| memory.refused_from(host))
            .take(LISTED_MAX)
            .collect();
        if tally.is_none() && refused.is_empty() {
            let missing = self
                .missing()
                .unwrap_or_else(|| "no slave is missing".to_owned());
            return Err(format!(
                "no slave has come from a host of the name {host:?}, nor was one refused; {missing}. Tasks are named \
                 TASK-7, slaves SLAVE-3"
            ));
        }
        let mut lines = Vec::new();
        if let Some(tally) = tally {
            lines.push(format!(
                "{host}: {} here, {} lost so far; {}, {} of them failed, in {} of compute",
                slaves(tally.slaves.into(), "slave is", "slaves are"),
                tally.lost,
                slaves(tally.done, "result", "results"),
                tally.failed,
                duration(tally.compute)
            ));
            let here = self.slots.sorted();
            let here = here
                .iter()
                .filter(|(id, _)| self.slave(*id).is_some_and(|(info, _)| info.host == host));
            let here: Vec<SlaveId> = here.map(|(id, _)| *id).collect();
            let wards = here.iter().flat_map(|&id| {
                let lines = self.why_quarantined(id).into_iter();
                lines.map(move |line| format!("{id}: {line}"))
            });
            lines.extend(wards.take(LISTED_MAX));
            lines.extend(
                here.iter()
                    .filter_map(|id| self.slave_line(*id))
                    .take(LISTED_MAX),
            );
            if tally.slaves as usize > LISTED_MAX {
                lines.push(format!(
                    ".. and {} more",
                    tally.slaves as usize - LISTED_MAX
                ));
            }
            let gone = memory.into_iter().flat_map(|memory| memory.gone_from(host));
            lines.extend(gone.take(LISTED_MAX).map(|gone| self.gone_line(gone)));
        }
        lines.extend(refused.iter().map(|refused| {
            format!(
                "{} was refused {} ago: {}",
                refused.from,
                self.ago(refused.at),
                refused.reason
            )
        }));
        Ok(lines)
    }
}

fn named<'a>(host: &'a str, from: &'a str) -> &'a str {
    if host.is_empty() { from } else { host }
}

fn tasks(count: u64) -> String {
    slaves(count, "task", "tasks")
}

fn slaves(count: u64, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    }
}

/// In the unit that says most: `3.2 s`, `17 ms`, `2 h 5 min`.
pub(super) fn duration(ns: Nanos) -> String {
    let (us, ms, s) = (ns / 1_000, ns / 1_000_000, ns / 1_000_000_000);
    match s {
        0 if ms == 0 => format!("{us} µs"),
        0 => format!("{ms} ms"),
        1..60 => format!("{s}.{} s", ms % 1_000 / 100),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_the_unit_that_says_most() {
        const S: Nanos = 1_000_000_000;
        let rows = [
            (900, "0 µs"),
            (17_000_000, "17 ms"),
            (3_250_000_000, "3.2 s"),
            (61 * S, "1 min 1 s"),
            (7_500 * S, "2 h 5 min"),
            (100_000 * S, "1 d 3 h"),
        ];
        for (ns, text) in rows {
            assert_eq!(duration(ns), text);
        }
    }
}
