//! What a person at the terminal hears of the trail: that a task is given up, that a slave is taken for a bad one. Deaths of
//! slaves whoever starts them tells, failed results and the rest the application.

use std::collections::VecDeque;

use ringmw_codec::audit::Event;

use crate::proto::printable::printable;
use crate::proto::task_name::TaskName;

/// Lines of a kind; the trail has them all.
const LINES_MAX: u32 = 5;
/// Failed results that are remembered, so that it is said what the last one of a slave was.
const FAILED_MAX: usize = 64;
/// So much of the message of a failed result.
const MESSAGE_BYTES_MAX: usize = 200;

/// What was told so far.
#[derive(Default)]
pub(super) struct Heard {
    given_up: u32,
    /// The task that was charged last, if that was for the last time: its end follows.
    at_limit: Option<u64>,
    quarantined: u32,
    /// Which life of the run it is, 0 or 1 for the first.
    life: u32,
    /// Slave and message, the newest last.
    failed: VecDeque<(u32, String)>,
}

impl Heard {
    /// Nothing yet, of this life of the run.
    pub(super) fn of_life(life: u32) -> Self {
        Heard {
            life,
            ..Heard::default()
        }
    }

    /// A line of the trail; what is told of it.
    pub(super) fn on_event(&mut self, event: &Event) -> Option<String> {
        let text = self.text(event)?;
        Some(printable(&text))
    }

    fn text(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Failed { slave, message, .. } => {
                if self.failed.len() == FAILED_MAX {
                    self.failed.pop_front();
                }
                let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
                self.failed.push_back((*slave, message[..end].to_owned()));
                None
            }
            Event::Charged {
                task,
                crashes,
                limit,
                ..
            } => {
                self.at_limit = (crashes == limit).then_some(*task);
                None
            }
            Event::Unrunnable { task, reason } if self.at_limit == Some(*task) => {
                let name = TaskName {
                    task: *task,
                    life: self.life,
                };
                let text = format!("{name} is unrunnable: {reason}");
                bounded(&mut self.given_up, text, "tasks that are given up")
            }
            Event::Quarantined {
                slave,
                host,
                algorithm,
                failed,
                of,
                others_failed,
                others_of,
                pause_ms,
            } => {
                let who = who(*slave, host);
                let its = match slave {
                    Some(_) => format!("{failed} of its {of} tasks failed"),
                    None => format!("{failed} of its {of} slaves are bad"),
                };
                let text = format!(
                    "{who} gets no more tasks of {algorithm} for now: {its}, {others_failed} of {others_of} elsewhere{}; one is \
                     tried in {} s (--mw-quarantine)",
                    slave.map_or_else(String::new, |slave| self.last_of(slave)),
                    *pause_ms as f64 / 1_000.0
                );
                bounded(&mut self.quarantined, text, "slaves in quarantine")
            }
            Event::QuarantineOver {
                slave,
                host,
                algorithm,
                healed: true,
            } => {
                let text = format!(
                    "{} gets tasks of {algorithm} again: the one that was tried succeeded",
                    who(*slave, host)
                );
                bounded(&mut self.quarantined, text, "slaves in quarantine")
            }
            _ => None,
        }
    }

    fn last_of(&self, slave: u32) -> String {
        let last = self.failed.iter().rev().find(|failed| failed.0 == slave);
        last.map_or_else(String::new, |(_, message)| {
            format!(" (the last: {message})")
        })
    }
}

fn who(slave: Option<u32>, host: &str) -> String {
    match slave {
        Some(slave) => format!("SLAVE-{slave} on {host}"),
        None => format!("host {host}"),
    }
}

/// After [`LINES_MAX`] lines it is said once that there are more.
fn bounded(lines: &mut u32, text: String, what: &str) -> Option<String> {
    *lines += 1;
    match *lines {
        ..=LINES_MAX => Some(text),
        over if over == LINES_MAX + 1 => {
            Some(format!("of more {what} the trail tells (--mw-audit-file)"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_given_up_once_and_not_for_ever() {
        let mut heard = Heard::default();
        let charged = |task, crashes| Event::Charged {
            task,
            slave: 9,
            crashes,
            limit: 2,
        };
        let reason = "2 slaves were lost while they ran it; the last, SLAVE-9 on node9, fell silent; it is given up";
        let unrunnable = |task| Event::Unrunnable {
            task,
            reason: reason.to_owned(),
        };
        assert_eq!(heard.on_event(&charged(7, 1)), None);
        assert_eq!(heard.on_event(&charged(7, 2)), None);
        // Of others, which cannot run for another reason, the application is told.
        assert_eq!(heard.on_event(&unrunnable(8)), None);
        assert_eq!(
            heard.on_event(&unrunnable(7)),
            Some(format!("TASK-7 is unrunnable: {reason}"))
        );
        let said = (0..1_000).filter_map(|task| {
            assert_eq!(heard.on_event(&charged(task, 2)), None);
            heard.on_event(&unrunnable(task))
        });
        assert_eq!(said.count(), LINES_MAX as usize);
    }

    #[test]
    fn a_black_hole_is_named_with_its_last_message() {
        let mut heard = Heard::default();
        let quarantined = Event::Quarantined {
            slave: Some(3),
            host: "node3".into(),
            algorithm: "step".into(),
            failed: 12,
            of: 13,
            others_failed: 0,
            others_of: 80,
            pause_ms: 1_000,
        };
        assert_eq!(
            heard.on_event(&quarantined).as_deref(),
            Some(
                "SLAVE-3 on node3 gets no more tasks of step for now: 12 of its 13 tasks failed, 0 of 80 elsewhere; one is \
                 tried in 1 s (--mw-quarantine)"
            )
        );
        for slave in [3, 4] {
            let failed = heard.on_event(&Event::Failed {
                task: 1,
                algorithm: "step".into(),
                slave,
                message: format!("no library on node{slave}"),
            });
            assert_eq!(failed, None);
        }
        let told = heard.on_event(&quarantined).expect("told");
        assert!(
            told.contains("0 of 80 elsewhere (the last: no library on node3); "),
            "{told}"
        );
    }
}
