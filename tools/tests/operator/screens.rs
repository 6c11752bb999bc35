//! `ringmw top` in a real terminal, over runs whose slaves are played.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::app::{answer, ready};
use crate::crowd::Crowd;
use crate::process::Process;
use crate::support::{hello_frame, until};

pub(crate) const SIZES: [usize; 3] = [3, 200, 5_000];

/// In the environment: the folder that gets what the terminal showed, and the status that it was made of.
const KEEP: &str = "RINGMW_KEEP_SCREENS";

/// Slaves that one host has.
const A_HOST: usize = 16;

/// Slaves that are played in a thread of their own, for as long as this is there.
struct Cast {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Cast {
    /// So many, each of whose tasks takes so long.
    fn of(address: String, size: usize, compute: Duration) -> Cast {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            ringmw::internals::engine::raise_nofile().expect("up to what is allowed");
            let ready = ready(address);
            let words: Vec<Vec<u8>> = (0..size)
                .map(|nth| {
                    let mut hello = ready.hello.clone();
                    hello.host = format!("node{}", nth / A_HOST);
                    hello.job = format!("4711.{nth}");
                    hello_frame(&hello)
                })
                .collect();
            let mut crowd = Crowd::connect_each(&ready, &words, Duration::from_secs(10), answer);
            crowd.compute = compute;
            while !over.load(Ordering::Relaxed) {
                crowd.turn(Duration::from_millis(20));
            }
        });
        Cast {
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let played = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(played, Some(Ok(()))), "the slaves played on");
        }
    }
}

/// A terminal with a program in it.
struct Terminal {
    name: String,
}

impl Terminal {
    fn of(dir: &Path, (columns, rows): (u16, u16), command: &[&str]) -> Terminal {
        let terminal = Terminal {
            name: format!("ringmw-{}", dir.file_name().expect("a name").display()),
        };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let session = [
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &rows,
        ];
        let began = terminal.tmux(&[&session, command].concat());
        assert!(began.status.success(), "{began:?}");
        terminal
    }

    fn tmux(&self, args: &[&str]) -> Output {
        Command::new("tmux")
            .args(["-L", &self.name])
            .args(args)
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("tmux runs")
    }

    fn shown(&self) -> String {
        let told = self.tmux(&["capture-pane", "-p"]);
        String::from_utf8(told.stdout).expect("text")
    }

    fn press(&self, keys: &[&str]) {
        let pressed = self.tmux(&[&["send-keys"], keys].concat());
        assert!(pressed.status.success(), "{pressed:?}");
    }

    /// Waits until all of these words are shown at once.
    fn await_words(&self, words: &[&str]) -> String {
        let what = format!("{words:?} in the terminal");
        until(&what, || {
            let shown = self.shown();
            words
                .iter()
                .all(|word| shown.contains(word))
                .then_some(shown)
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the terminal shows\n{}", self.shown());
        }
        self.tmux(&["kill-server"]);
    }
}

/// Kept where somebody wants to look at it.
fn keep(name: &str, shown: &str) {
    if let Some(folder) = std::env::var_os(KEEP) {
        let path = Path::new(&folder).join(name);
        std::fs::write(path, shown).expect("the folder is there");
    }
}

/// How the run is, as the page gets it.
fn status_of(master: &Process) -> String {
    let told = master.stderr();
    let link = told.split_once("http://").expect("its link").1;
    let (at, rest) = link.split_once("/?token=").expect("its token");
    let token = rest.split_whitespace().next().expect("its token");
    let mut stream = TcpStream::connect(at).expect("it listens");
    write!(
        stream,
        "GET /status.json?token={token} HTTP/1.1\r\nHost: {at}\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
}

pub(crate) fn is_looked_at(size: usize) {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("app.rsc").display().to_string();
    let args = [
        ["--story", "endless"],
        ["--mw-resource-file", &file],
        ["--mw-slaves-wanted", &size.to_string()],
        ["--mw-slave-task-group", "1"],
        ["--mw-status-port", "0"],
    ];
    let args = [&args.concat()[..], &["--mw-no-secret"]].concat();
    let master = Process::master(dir.path(), &args);
    // As many results a second as a debug build of a master takes beside it.
    let compute = Duration::from_millis(200).max(Duration::from_micros(400) * size as u32);
    let cast = Cast::of(master.address(), size, compute);
    until("the resource file", || {
        Path::new(&file).exists().then_some(())
    });
    let here = dir.path().display().to_string();
    let top = [env!("CARGO_BIN_EXE_ringmw"), "top", &here];
    let terminal = Terminal::of(dir.path(), (80, 24), &top);
    let count = format!("slaves  {size}, ");
    let last = format!("SLAVE-{}", size - 1);

    let keys = ["q quit", "SLAVE-0 ", "node", "busy"];
    let shown = terminal.await_words(&[&keys[..], &[&count]].concat());
    keep(&format!("{size}-slaves-80x24.txt"), &shown);
    // The last one, asked about.
    terminal.press(&["End"]);
    terminal.await_words(&[&format!("{last} ")]);
    terminal.press(&["Enter"]);
    let about = format!("why {last}");
    let shown = terminal.await_words(&[&about, "here for", "it gave"]);
    keep(&format!("{size}-why-80x24.txt"), &shown);
    terminal.press(&["q"]);
    // Only one host.
    terminal.press(&["/", "n", "o", "d", "e", "0", "Enter"]);
    let shown = until("one host's slaves", || {
        let shown = terminal.shown();
        let mut slaves = shown.lines().filter(|line| line.starts_with("SLAVE-"));
        let is_filtered = shown.contains("only \"node0\"") && slaves.clone().count() > 0;
        (is_filtered && slaves.all(|line| line.contains(" node0 "))).then_some(shown)
    });
    keep(&format!("{size}-one-host-80x24.txt"), &shown);
    terminal.press(&["Escape"]);
    until("the filter to go", || {
        (!terminal.shown().contains("only \"")).then_some(())
    });
    // Each table; the last one's messages may be none.
    terminal.press(&["Tab"]);
    let shown = terminal.await_words(&["compute", "node0 "]);
    keep(&format!("{size}-hosts-80x24.txt"), &shown);
    terminal.press(&["Tab"]);
    let shown = terminal.await_words(&["p90", "square"]);
    keep(&format!("{size}-algorithms-80x24.txt"), &shown);
    terminal.press(&["Tab", "Tab"]);
    terminal.await_words(&["results", "SLAVE-0 "]);
    let resized = terminal.tmux(&["resize-window", "-x", "132", "-y", "43"]);
    assert!(resized.status.success(), "{resized:?}");
    let shown = until("the larger terminal to be filled", || {
        let shown = terminal.shown();
        let foot = shown.lines().nth(42)?;
        foot.contains("q quit").then_some(shown)
    });
    keep(&format!("{size}-slaves-132x43.txt"), &shown);
    if std::env::var_os(KEEP).is_some() {
        keep(&format!("{size}.json"), &status_of(&master));
    }
    terminal.press(&["q"]);
    until("the end of top", || {
        (!terminal.tmux(&["has-session"]).status.success()).then_some(())
    });
    drop(cast);
}

/// In the environment: what `ringmw why` answers is kept anew in `tests/data/why`.
const UPDATE: &str = "RINGMW_UPDATE_SCREENS";

/// The same each time: who has which task, on which host, and for how long is not.
fn normal(answer: &str) -> String {
    const UNITS: [&str; 6] = ["ns", "µs", "ms", "s", "min", "h"];
    const NAMES: [&str; 5] = ["SLAVE-", "TASK-", "node", "(127.0.0.1:", "4711."];
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    let mut lines = Vec::new();
    for line in answer.lines() {
        let mut words: Vec<String> = Vec::new();
        for word in line.split(' ') {
            let bare = word.trim_end_matches([',', ';', ')', ':']);
            let rest = &word[bare.len()..];
            if UNITS.contains(&bare) && words.last().is_some_and(|last| is_number(last)) {
                words.pop();
                // Of more than a minute there are two.
                if words.last().is_some_and(|last| last == "TIME") {
                    words.pop();
                }
                words.push(format!("TIME{rest}"));
                continue;
            }
            let name = NAMES.iter().find(|name| word.starts_with(**name));
            words.push(name.map_or_else(
                || word.to_owned(),
                |name| {
                    let number = &word[name.len()..];
                    let rest = number.trim_start_matches(|digit: char| digit.is_ascii_digit());
                    format!("{name}N{rest}")
                },
            ));
        }
        lines.push(words.join(" "));
    }
    lines.join("\n")
}

/// What is answered about a task that waits, one that runs, a slave and a host is kept, and each is one screen.
pub(crate) fn is_asked(size: usize) {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("app.rsc").display().to_string();
    let tasks = 10 * size;
    let args = [
        ["--story", "queued"],
        ["--tasks", &tasks.to_string()],
        ["--slaves", &size.to_string()],
        ["--mw-resource-file", &file],
        ["--mw-slave-task-group", "1"],
    ];
    let args = [&args.concat()[..], &["--mw-no-secret"]].concat();
    let master = Process::master(dir.path(), &args);
    // Nobody ends a task while it is asked about.
    let cast = Cast::of(master.address(), size, Duration::from_secs(3_600));
    let mut shown = String::new();
    let all = format!("{size} slaves are busy");
    let (last, slave) = (format!("TASK-{}", tasks - 1), format!("SLAVE-{}", size / 2));
    let questions = [
        (&*last, &["waits in the master's queue", &all][..]),
        ("TASK-0", &["runs on", "here for"]),
        (&*slave, &["holds", "it gave 0 results so far"]),
        ("node0", &["SLAVE-"]),
    ];
    for (about, words) in questions {
        let answer = until(about, || {
            let told = Command::new(env!("CARGO_BIN_EXE_ringmw"))
                .arg("why")
                .args([dir.path(), about.as_ref()])
                .output()
                .expect("it runs");
            let answer = String::from_utf8([told.stdout, told.stderr].concat()).expect("text");
            let is_whole = words.iter().all(|word| answer.contains(word));
            (told.status.success() && is_whole).then_some(answer)
        });
        let rows = answer
            .lines()
            .map(|line| line.chars().count().div_ceil(80).max(1));
        let rows: usize = rows.sum();
        assert!(rows < 24, "{about}: {rows} rows\n{answer}");
        shown += &format!("$ ringmw why app.rsc {about}\n{}\n\n", normal(&answer));
    }
    drop(cast);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/why");
    let path = folder.join(format!("{size}.txt"));
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &shown).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, kept, "{}: see {UPDATE}", path.display());
}
