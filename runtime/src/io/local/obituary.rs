//! Deaths as lines for a person: one each, and folded when many are alike.
//!
//! Pure: `now` is an argument.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use ringmw_codec::Nanos;

use crate::io::word::LastWord;
use crate::io::{crash, last_word};
use crate::proto::printable::printable;

/// So many deaths of a kind have a line each before they are folded.
const LINES_FIRST: u32 = 3;
/// Folded ones are told together this much later; each time after twice as long.
const FOLD_FIRST: Nanos = 1_000_000_000;
/// No later than that.
const FOLD_MAX: Nanos = 60_000_000_000;
/// So many kinds are told apart; of more, the one that was quiet for longest begins anew.
const KINDS_MAX: usize = 32;

#[derive(Debug)]
struct Kind {
    key: String,
    lines: u32,
    /// Deaths since the last line, and the last of them.
    folded: u32,
    last: String,
    since: Nanos,
    pause: Nanos,
}

/// How a slave ended, as a sentence about it: `was killed by SIGKILL while it ran TASK-7`. What its last word and its
/// status both say is said once.
pub(super) fn in_words(
    status: Option<ExitStatus>,
    last: &LastWord,
    memory_was_short: bool,
) -> String {
    let mut reason = last.reason.as_deref().filter(|_| !last.was_told);
    let signal = status.and_then(|status| status.signal());
    let mut words = if let Some(call) = reason.and_then(last_word::call_of_exit) {
        // Of `exit(0)` the status is 255, which nobody has asked for.
        reason = None;
        format!("was ended by its own code, which called {call},")
    } else if let Some(signal) = signal {
        let name = signal_hook::low_level::signal_name(signal);
        let name = name.map_or_else(|| format!("signal {signal}"), str::to_owned);
        reason = reason.filter(|reason| *reason != crash::killed_by(&name));
        let cause = match signal {
            libc::SIGKILL if memory_was_short => " (the kernel kills where memory is short)",
            libc::SIGSEGV | libc::SIGBUS => " (an invalid access to memory, or its stack is full)",
            libc::SIGABRT => " (its code aborted)",
            _ => "",
        };
        format!("was killed by {name}{cause}")
    } else {
        match status.and_then(|status| status.code()) {
            Some(0) => "left with 0, and nobody had told it to,".to_owned(),
            Some(code) => format!("exited with {code}"),
            None => "ended, and was reaped by another,".to_owned(),
        }
    };
    match last.running {
        Some(task) => words.push_str(&format!(" while it ran {task}")),
        None => words.truncate(words.trim_end_matches(',').len()),
    }
    if let Some(reason) = reason {
        // That it left stands there already.
        let reason = reason.strip_prefix("left: ").unwrap_or(reason);
        words.push_str(&format!(": {}", printable(reason)));
    }
    words
}

/// What was told of the dead.
#[derive(Debug, Default)]
pub(super) struct Obituary {
    kinds: Vec<Kind>,
}

impl Obituary {
    /// A slave has died: `who`, and `how` with what follows from it. The line, if it is told now.
    pub(super) fn on_death(&mut self, who: &str, how: &str, now: Nanos) -> Option<String> {
        let line = format!("{who} {how}");
        let key = fold_digits(how);
        let Some(kind) = self.kinds.iter_mut().find(|kind| kind.key == key) else {
            if self.kinds.len() == KINDS_MAX {
                let quiet = self.kinds.iter().enumerate();
                let (at, _) = quiet.min_by_key(|(_, kind)| kind.since).expect("many");
                self.kinds.swap_remove(at);
            }
            self.kinds.push(Kind {
                key,
                lines: 1,
                folded: 0,
                last: String::new(),
                since: now,
                pause: FOLD_FIRST,
            });
            return Some(line);
        };
        if kind.lines < LINES_FIRST {
            kind.lines += 1;
            kind.since = now;
            return Some(line);
        }
        if kind.folded == 0 && now >= kind.since + FOLD_MAX {
            // It was long ago.
            (kind.lines, kind.since, kind.pause) = (1, now, FOLD_FIRST);
            return Some(line);
        }
        if kind.folded == 0 {
            kind.since = now;
        }
        kind.folded += 1;
        kind.last = line;
        None
    }

    /// When [`Obituary::on_time`] has something to tell.
    pub(super) fn due(&self) -> Option<Nanos> {
        let folded = self.kinds.iter().filter(|kind| kind.folded > 0);
        folded.map(|kind| kind.since + kind.pause).min()
    }

    /// What is due to be told of those that were folded; all of it at the end.
    pub(super) fn on_time(&mut self, now: Nanos, is_end: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for kind in &mut self.kinds {
            if kind.folded == 0 || !(is_end || now >= kind.since + kind.pause) {
                continue;
            }
            let line = std::mem::take(&mut kind.last);
            lines.push(match kind.folded {
                1 => line,
                folded => format!("{folded} more slaves died alike; the last: {line}"),
            });
            kind.folded = 0;
            kind.since = now;
            kind.pause = (2 * kind.pause).min(FOLD_MAX);
        }
        lines
    }
}

/// Numbers tell deaths of one kind apart; they do not make kinds.
fn fold_digits(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut in_number = false;
    for character in text.chars() {
        let is_digit = character.is_ascii_digit();
        if !is_digit {
            folded.push(character);
        } else if !in_number {
            folded.push('0');
        }
        in_number = is_digit;
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::task_name::TaskName;

    const S: Nanos = 1_000_000_000;

    /// Exit statuses as the kernel has them: a code in the second byte, a signal in the first.
    #[test]
    fn an_end_is_one_sentence_that_repeats_nothing() {
        let exit = |code: i32| code << 8;
        let rows = [
            (
                libc::SIGABRT,
                Some("it was killed by SIGABRT"),
                "was killed by SIGABRT (its code aborted) while it ran TASK-5",
            ),
            (
                libc::SIGSEGV,
                Some("it was killed by SIGSEGV"),
                "was killed by SIGSEGV (an invalid access to memory, or its stack is full) while it ran TASK-5",
            ),
            (
                libc::SIGKILL,
                None,
                "was killed by SIGKILL while it ran TASK-5",
            ),
            // Another than it has named.
            (
                libc::SIGKILL,
                Some("it was killed by SIGSEGV"),
                "was killed by SIGKILL while it ran TASK-5: it was killed by SIGSEGV",
            ),
            (
                exit(3),
                Some("its code called exit(3)"),
                "was ended by its own code, which called exit(3), while it ran TASK-5",
            ),
            (
                exit(255),
                Some("its code called exit(0)"),
                "was ended by its own code, which called exit(0), while it ran TASK-5",
            ),
            (
                exit(0),
                None,
                "left with 0, and nobody had told it to, while it ran TASK-5",
            ),
            (
                exit(255),
                Some("left: TASK-5 timed out after 2 s and went on"),
                "exited with 255 while it ran TASK-5: TASK-5 timed out after 2 s and went on",
            ),
        ];
        for (status, reason, expected) in rows {
            let mut last = LastWord {
                reason: reason.map(str::to_owned),
                running: Some(TaskName { task: 5, life: 1 }),
                ..LastWord::default()
            };
            let status = Some(ExitStatus::from_raw(status));
            assert_eq!(in_words(status, &last, false), expected);
            last.running = None;
            let idle = in_words(status, &last, false);
            assert!(!idle.ends_with(',') && !idle.contains(",:"), "{idle}");
        }
    }

    #[test]
    fn the_first_have_a_line_each_and_the_rest_one_together() {
        let mut told = Obituary::default();
        let mut die = |n: u32, now| {
            told.on_death(&format!("slave {n}"), &format!("failed {n} times"), now)
                .is_some()
        };
        assert_eq!(
            [0, 1, 2, 3, 4].map(|n| die(n, 0)),
            [true, true, true, false, false]
        );
        assert_eq!(told.due(), Some(S));
        assert!(told.on_time(S - 1, false).is_empty());
        assert_eq!(
            told.on_time(S, false),
            ["2 more slaves died alike; the last: slave 4 failed 4 times"]
        );
        assert_eq!(told.due(), None);
        assert_eq!(told.on_death("slave 5", "failed 5 times", S), None);
        assert_eq!(told.due(), Some(3 * S));
        assert!(told.on_death("slave 6", "was killed", S).is_some());
        assert_eq!(told.on_time(S, true), ["slave 5 failed 5 times"]);
    }

    #[test]
    fn kinds_are_bounded() {
        let mut told = Obituary::default();
        for n in 0..4 * KINDS_MAX as u64 {
            let how = "x".repeat(n as usize);
            assert!(told.on_death("a slave", &how, n).is_some());
        }
        assert_eq!(told.kinds.len(), KINDS_MAX);
    }
}
