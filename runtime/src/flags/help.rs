//! The texts of `--mw-help`: one screen of what most need, by who reads it, and `--mw-help all` with the whole table of
//! flags.

use std::fmt::Write;

use ringmw_codec::flags::{FLAGS, Flag, Role};

/// The text fits a terminal of this width.
const WIDTH: usize = 80;
/// Where the sentences begin.
const COLUMN: usize = 32;

/// What most need, by who reads it: a flag, or what is written there, and what for.
const SCREEN: &[(&str, &[(&str, &str)])] = &[
    (
        "On this machine",
        &[
            (
                "--mw-local N",
                "with so many slaves; by default one per core",
            ),
            ("--mw-seed N", "draw the same random numbers again"),
            (
                "--mw-audit-file FILE",
                "append the audit trail: who came and went, and why",
            ),
            (
                "--mw-task-timeout TIME",
                "one that runs for longer fails: 30, 500ms, 10min",
            ),
        ],
    ),
    (
        "On a cluster, the master (its audit trail goes to stdout, or to that file)",
        &[
            (
                "--mw-master",
                "be the master of slaves that are started elsewhere",
            ),
            (
                "--mw-resource-file FILE",
                "write where it is and how many slaves it wants",
            ),
            (
                "--mw-crash-limit N",
                "give a task up that has ended so many slaves",
            ),
        ],
    ),
    (
        "On a cluster, the slaves",
        &[
            (
                "--mw-slave",
                "be a slave, of the master that this file names:",
            ),
            (
                "--mw-resource-file FILE",
                "or --mw-master-host HOST --mw-master-port PORT",
            ),
            (
                "--mw-slave-count N|auto",
                "fill a node: N slaves, started again when they die",
            ),
            (
                "--mw-slave-time-limit TIME",
                "leave before the batch system ends the job",
            ),
        ],
    ),
];

/// What `--mw-help` prints, or with `all` `--mw-help all`. `app_name` is the program as the user calls it.
pub(crate) fn help_text(app_name: &str, all: bool) -> String {
    match all {
        true => whole_table(app_name),
        false => screen(app_name),
    }
}

fn screen(app_name: &str) -> String {
    let mut text = format!("Usage: {app_name} [--mw-FLAG]... [ARGUMENT]...\n");
    for (title, rows) in SCREEN {
        let _ = writeln!(text, "\n{title}:");
        for (flag, meaning) in *rows {
            let _ = writeln!(text, "  {flag:26}  {meaning}");
        }
    }
    text.push_str(
        "\nAll other arguments are the application's own.\n--mw-help all lists every flag.\n",
    );
    text
}

fn whole_table(app_name: &str) -> String {
    let mut text = String::new();
    let call = |text: &mut String, start: &str, flags: &str, meaning: &str| {
        let _ = writeln!(text, "{start}{app_name} {flags}\n           {meaning}");
    };
    call(
        &mut text,
        "Usage: ",
        "[--mw-local N] [ARGUMENT]...",
        "run here: a master, and slaves that it starts itself",
    );
    call(
        &mut text,
        "       ",
        "--mw-master [--mw-FLAG]... [ARGUMENT]...",
        "be the master of slaves that are started elsewhere",
    );
    call(
        &mut text,
        "       ",
        "--mw-slave --mw-resource-file FILE",
        "be a slave of the master that writes this file",
    );
    call(
        &mut text,
        "       ",
        "--mw-slave --mw-master-host HOST --mw-master-port PORT",
        "be a slave of this master",
    );
    section(&mut text, "Both roles", Role::Both);
    section(&mut text, "Master", Role::Master);
    section(&mut text, "Slave", Role::Slave);
    text.push_str(
        "
A flag's value may also stand behind a =, as in --mw-master-port=4711.
BYTES is a whole number, or one with KiB, MiB or GiB behind it: 64MiB.
In a slave, of --mw-resource-file, --mw-master-host, --mw-master-port and
--mw-member-id the later one wins where they tell the same.
All arguments that do not begin with --mw-, and all behind a --, are the
application's own; slaves get the master's.

Exit status: 0 finished, or a slave that was told to stop; 2 a wrong command
line; 128+n a master that got signal n; 255 everything else.
",
    );
    text
}

fn section(text: &mut String, title: &str, role: Role) {
    let mut flags = FLAGS.iter().filter(|flag| flag.role == role).peekable();
    if flags.peek().is_none() {
        return;
    }
    let _ = writeln!(text, "\n{title}:");
    flags.for_each(|flag| entry(text, flag));
}

fn entry(text: &mut String, flag: &Flag) {
    let mut line = format!("  {}", flag.name);
    if let Some(placeholder) = flag.value {
        let _ = write!(line, " {placeholder}");
    }
    if line.len() + 2 > COLUMN {
        let _ = writeln!(text, "{line}");
        line.clear();
    }
    let _ = write!(line, "{:1$}", "", COLUMN - line.len());
    let default = flag.default.map(|default| format!("[default: {default}]"));
    for word in flag.help.split(' ').chain(default.as_deref()) {
        if line.len() + word.len() > WIDTH {
            let _ = writeln!(text, "{}", line.trim_end());
            line = " ".repeat(COLUMN);
        }
        line.push_str(word);
        line.push(' ');
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_there_once_and_every_line_fits() {
        let text = help_text("app", true);
        for flag in FLAGS {
            let starts = format!("  {}", flag.name);
            let entries = text.lines().filter(|line| {
                line.split(' ').nth(2) == Some(flag.name) && line.starts_with(&starts)
            });
            assert_eq!(entries.count(), 1, "{}", flag.name);
            let words: Vec<&str> = text.split_whitespace().collect();
            assert!(words.join(" ").contains(flag.help), "{}", flag.name);
        }
        for line in text.lines() {
            assert!(line.len() <= WIDTH && line.trim_end() == line, "{line:?}");
        }
    }

    #[test]
    fn a_screen_is_one_and_names_flags_that_there_are() {
        let text = help_text("app", false);
        assert!(text.lines().count() <= 24, "{text}");
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        for word in text
            .split_whitespace()
            .filter(|word| word.starts_with("--mw-"))
        {
            assert!(FLAGS.iter().any(|flag| flag.name == word), "{word}");
        }
        assert!(text.contains("--mw-help all"), "{text}");
    }

    #[test]
    fn defaults_and_units_are_told() {
        let text = help_text("./pi", true);
        assert!(text.starts_with("Usage: ./pi [--mw-local N]"), "{text}");
        for told in [
            "[default: 131072]",
            "[default: default-member-id]",
            "[default: auto]",
            "KiB, MiB or GiB",
            "the later one wins",
            "Exit status: 0",
        ] {
            assert!(text.contains(told), "{told:?} is not in:\n{text}");
        }
    }
}
