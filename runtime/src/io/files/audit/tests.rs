use super::*;
use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

const LONG: Duration = Duration::from_secs(20);

fn line(number: u64, event: Event) -> Line {
    Line {
        time_us: i64::try_from(number).expect("small"),
        who: Who::Master,
        event,
    }
}

fn push(writer: &AuditWriter, line: &Line) {
    writer.push_all(line.time_us, line.who, std::slice::from_ref(&line.event));
}

fn note(number: u64) -> Line {
    line(
        number,
        Event::Note {
            text: format!("number {number}"),
        },
    )
}

fn packet(number: u64) -> Line {
    line(
        number,
        Event::TasksSent {
            slave: 1,
            tasks: number,
            bytes: 100,
            group: 1,
        },
    )
}

fn lost(number: u64) -> Line {
    let event = Event::Disconnected {
        slave: u32::try_from(number).expect("small"),
        from: "10.0.0.1:1".into(),
    };
    line(number, event)
}

/// Every line of a trail; all must be whole.
fn parse(trail: &[u8]) -> Vec<Line> {
    let trail = std::str::from_utf8(trail).expect("UTF-8");
    assert!(
        trail.is_empty() || trail.ends_with('\n'),
        "half a line at the end"
    );
    trail
        .lines()
        .map(|line| Line::parse(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// A file that answers as the test says: so many bytes taken, or an error.
struct Scripted {
    answers: Arc<Mutex<VecDeque<io::Result<usize>>>>,
    took: Arc<Mutex<Vec<u8>>>,
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = match self.answers.lock().expect("lock").pop_front() {
            Some(answer) => answer?.min(bytes.len()),
            None => bytes.len(),
        };
        self.took
            .lock()
            .expect("lock")
            .extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Out for Scripted {}

fn scripted(
    answers: impl IntoIterator<Item = io::Result<usize>>,
) -> (AuditWriter, Arc<Mutex<Vec<u8>>>) {
    let took = Arc::new(Mutex::new(Vec::new()));
    let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
    let out = Scripted {
        answers,
        took: took.clone(),
    };
    (
        AuditWriter::start("a test".to_owned(), Box::new(out), false).expect("it starts"),
        took,
    )
}

/// A trail that is kept in memory.
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Out for Memory {}

fn in_memory(bytes: &Arc<Mutex<Vec<u8>>>) -> AuditWriter {
    let out = Box::new(Memory(bytes.clone()));
    AuditWriter::start("memory".to_owned(), out, false).expect("it starts")
}

#[test]
fn lines_arrive_in_order_and_none_is_missing() {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let writer = in_memory(&bytes);
    let lines: Vec<Line> = (0..5000).map(note).collect();
    for (index, line) in lines.iter().enumerate() {
        push(&writer, line);
        if index % 1000 == 0 {
            assert_eq!(writer.finish(LONG), Ok(()));
            assert_eq!(parse(&bytes.lock().expect("lock")).len(), index + 1);
        }
    }
    drop(writer);
    assert_eq!(parse(&bytes.lock().expect("lock")), lines);
}

#[test]
fn lines_that_are_pushed_together_are_written_while_others_come() {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let writer = in_memory(&bytes);
    for lines in [0, 1, 63, 64, 65, 3000] {
        let events: Vec<Event> = (0..lines).map(|nth| packet(nth).event).collect();
        bytes.lock().expect("lock").clear();
        writer.push_all(7, Who::Master, &events);
        assert_eq!(writer.finish(LONG), Ok(()));
        let told = parse(&bytes.lock().expect("lock"));
        assert!(told.iter().all(|line| line.time_us == 7));
        let told: Vec<Event> = told.into_iter().map(|line| line.event).collect();
        assert_eq!(told, events);
    }
}

#[test]
fn no_sink_costs_nothing() {
    let writer = AuditWriter::open(Sink::None).expect("it opens");
    push(&writer, &note(1));
    assert_eq!(writer.finish(Duration::ZERO), Ok(()));
}

#[test]
fn errors_and_short_writes_lose_and_glue_nothing() {
    let full = || Err(rustix::io::Errno::NOSPC.into());
    let answers = [
        Ok(3),
        full(),
        Ok(1),
        Err(io::ErrorKind::Interrupted.into()),
        Ok(0),
        Ok(40),
        full(),
        full(),
        Ok(7),
    ];
    let (writer, took) = scripted(answers);
    let lines: Vec<Line> = (0..10).map(note).collect();
    lines.iter().for_each(|line| push(&writer, line));
    assert_eq!(writer.finish(LONG), Ok(()));
    assert_eq!(parse(&took.lock().expect("lock")), lines);
}

#[test]
fn a_broken_pipe_ends_it_in_silence() {
    let (writer, took) = scripted([Err(io::ErrorKind::BrokenPipe.into())]);
    push(&writer, &note(1));
    assert_eq!(writer.finish(LONG), Ok(()));
    push(&writer, &note(2));
    assert_eq!(writer.finish(LONG), Ok(()));
    assert!(took.lock().expect("lock").is_empty());
}

/// A file that hangs in its first write until the test lets it go.
struct Hung {
    begun: mpsc::Sender<()>,
    release: mpsc::Receiver<()>,
    took: Arc<Mutex<Vec<u8>>>,
}

impl Write for Hung {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Both ends of the conversation may be over: then it hangs no more.
        let _ = self.begun.send(());
        let _ = self.release.recv();
        self.took.lock().expect("lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Out for Hung {}

#[test]
fn a_hung_file_costs_packet_lines_first_then_churn_then_the_rest() {
    let took = Arc::new(Mutex::new(Vec::new()));
    let (begun, has_begun) = mpsc::channel();
    let (let_go, release) = mpsc::channel();
    let out = Hung {
        begun,
        release,
        took: took.clone(),
    };
    let writer = AuditWriter::start("a test".to_owned(), Box::new(out), false).expect("it starts");
    push(&writer, &note(0));
    has_begun.recv().expect("it writes");

    let dropped = || writer.shared.as_ref().expect("open").state().dropped.lines;
    let fill = |of: fn(u64) -> Line| {
        let before = dropped();
        let mut kept = 0;
        while dropped() == before {
            push(&writer, &of(kept));
            kept += 1;
        }
        (0..99).for_each(|number| push(&writer, &of(number)));
        kept - 1
    };
    let kept = [fill(packet), fill(lost), fill(note)];
    assert!(
        kept[0] > 5 * kept[1] && kept[1] > 1000 && kept[2] > 1000,
        "{kept:?}"
    );
    let unwritten = writer.finish(Duration::ZERO).expect_err("it hangs");
    assert_eq!(unwritten.lines as u64, 1 + kept.iter().sum::<u64>());
    assert!(unwritten.lines <= PENDING_LINES_MAX);
    assert!(
        unwritten
            .to_string()
            .ends_with("lines of the audit trail (a test) could not be written: it takes too long")
    );

    drop(let_go);
    assert_eq!(writer.finish(LONG), Ok(()));
    push(&writer, &note(1));
    drop(writer);
    let lines = parse(&took.lock().expect("lock"));
    let of = |class| {
        lines
            .iter()
            .filter(|line| Class::of(&line.event) == class)
            .count() as u64
    };
    // The rest: the first line, those kept, the account, and the one after it.
    assert_eq!(
        [of(Class::Packets), of(Class::Churn), of(Class::Rest)],
        [kept[0], kept[1], kept[2] + 3]
    );
    let account = Event::Dropped {
        lines: 300,
        packets: 100,
        tasks: 0,
        connected: 0,
        lost: 0,
        recycled: 0,
        refused: 0,
        state: 0,
    };
    assert_eq!(lines[lines.len() - 2].event, account);
    assert_eq!(lines[lines.len() - 1], note(1));
}

#[test]
fn long_lines_are_bounded_by_their_bytes() {
    let (begun, has_begun) = mpsc::channel();
    let (let_go, release) = mpsc::channel();
    let took = Arc::new(Mutex::new(Vec::new()));
    let writer = AuditWriter::start(
        "a test".to_owned(),
        Box::new(Hung {
            begun,
            release,
            took: took.clone(),
        }),
        false,
    )
    .expect("it starts");
    push(&writer, &note(0));
    has_begun.recv().expect("it writes");
    let long = line(
        1,
        Event::Note {
            text: "x".repeat(100_000),
        },
    );
    (0..20).for_each(|_| push(&writer, &long));
    assert!(
        writer.shared.as_ref().expect("open").state().filling.len() < PENDING_BYTES_MAX + 200_000
    );
    drop(let_go);
    drop(writer);
    let trail = took.lock().expect("lock");
    let dropped = parse(&trail).iter().find_map(|line| match line.event {
        Event::Dropped { lines, .. } => Some(lines),
        _ => None,
    });
    assert_eq!(dropped, Some(9));
}

#[test]
fn kinds_are_counted() {
    let mut dropped = Dropped::default();
    assert_eq!(dropped.take_line(), None);
    let refused = |from: &str| Event::Rejected {
        from: from.into(),
        reason: "x".into(),
    };
    let task = Event::TaskSent {
        slave: 1,
        task: 2,
        algorithm: "a".into(),
    };
    for event in [
        refused("a"),
        refused("b"),
        task,
        packet(1).event,
        note(1).event,
    ] {
        let Line {
            time_us,
            who,
            event,
        } = line(7, event);
        dropped.count(time_us, who, &event);
    }
    let told = dropped.take_line().expect("something was dropped");
    let event = Event::Dropped {
        lines: 5,
        packets: 1,
        tasks: 1,
        connected: 0,
        lost: 0,
        recycled: 0,
        refused: 2,
        state: 0,
    };
    assert_eq!(told, line(7, event));
    assert_eq!(dropped.take_line(), None);
}

#[test]
fn a_trail_is_appended_to_and_half_a_line_is_ended_first() {
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("trail");
    for (before, expected) in [("", ""), ("old\n", "old\n"), ("old\nhalf", "old\nhalf\n")] {
        fs::write(&path, before).expect("written");
        let writer = AuditWriter::open(Sink::File(path.clone(), None)).expect("it opens");
        push(&writer, &note(1));
        drop(writer);
        let trail = fs::read_to_string(&path).expect("read");
        assert_eq!(
            parse(
                trail
                    .strip_prefix(expected)
                    .expect("what was there stays")
                    .as_bytes()
            ),
            [note(1)]
        );
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_named_with_its_flag() {
    let error = AuditWriter::open(Sink::File("/nonexistent/trail".into(), None))
        .expect_err("no such folder");
    assert_eq!(
        error.to_string(),
        "--mw-audit-file /nonexistent/trail: cannot be opened for appending: No such file or directory (os error 2); \
         give a file in a folder that exists and may be written, or leave the flag out"
    );
}

#[test]
fn a_full_disk_stalls_nobody_and_the_end_is_bounded() {
    let writer = AuditWriter::open(Sink::File("/dev/full".into(), None)).expect("it opens");
    (0..100).for_each(|number| push(&writer, &note(number)));
    let began = Instant::now();
    let unwritten = writer
        .finish(Duration::from_millis(100))
        .expect_err("it is full");
    assert!(began.elapsed() < LONG);
    assert_eq!(unwritten.lines, 100);
    let told = unwritten.to_string();
    assert!(
        told.ends_with("(/dev/full) could not be written: No space left on device (os error 28)"),
        "{told}"
    );
}

#[test]
fn a_slow_pipe_gets_everything_that_is_not_accounted_for() {
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("mkfifo");
    let reader_path = path.clone();
    let (finished, is_finished) = mpsc::channel::<()>();
    let reader = thread::spawn(move || {
        let mut pipe = File::open(reader_path).expect("it opens");
        // The pipe takes 64 KiB; then its reader is as slow as the writer of lines is fast: nothing is read before
        // all is pushed.
        let _ = is_finished.recv();
        let mut trail = Vec::new();
        pipe.read_to_end(&mut trail).expect("read");
        trail
    });
    let writer = AuditWriter::open(Sink::File(path, None)).expect("it opens");
    let pushed = 40_000;
    (0..pushed).for_each(|number| push(&writer, &packet(number)));
    drop(finished);
    assert_eq!(writer.finish(LONG), Ok(()));
    drop(writer);
    let lines = parse(&reader.join().expect("read"));
    let numbers: Vec<i64> = lines
        .iter()
        .filter(|line| Class::of(&line.event) == Class::Packets)
        .map(|line| line.time_us)
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b));
    let dropped: u64 = lines
        .iter()
        .map(|line| match line.event {
            Event::Dropped { lines, packets, .. } => {
                assert_eq!(lines, packets);
                lines
            }
            _ => 0,
        })
        .sum();
    assert!(dropped > 0);
    assert_eq!(numbers.len() as u64 + dropped, pushed);
}

/// The other process of the tests below: writes a trail to `RINGMW_TEST_TRAIL` and ends as `RINGMW_TEST_END` says.
#[test]
fn a_process_with_a_trail() {
    let (Some(path), Ok(end)) = (
        std::env::var_os("RINGMW_TEST_TRAIL"),
        std::env::var("RINGMW_TEST_END"),
    ) else {
        return;
    };
    let path = PathBuf::from(path);
    let sink = if path == Path::new("-") {
        Sink::Stdout
    } else {
        Sink::File(path.clone(), None)
    };
    let writer = AuditWriter::open(sink).expect("it opens");
    match end.as_str() {
        "exit" => {
            (0..1000).for_each(|number| push(&writer, &note(number)));
            writer.finish(FINISH_BOUND).expect("written");
            std::process::exit(7);
        }
        "panic" => {
            (0..1000).for_each(|number| push(&writer, &note(number)));
            panic!("as the test wants it");
        }
        "full" => {
            let ballast = path.with_file_name("ballast");
            let _ = fs::write(&ballast, vec![0; 8 << 20]);
            let began = Instant::now();
            (0..50_000).for_each(|number| push(&writer, &packet(number)));
            (0..100).for_each(|number| push(&writer, &note(number)));
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "a full disk must not stall"
            );
            writer
                .finish(Duration::from_millis(200))
                .expect_err("the disk is full");
            fs::remove_file(ballast).expect("room again");
            writer.finish(LONG).expect("room again");
        }
        other => panic!("no such end: {other}"),
    }
}

fn other_process(trail: &Path, end: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command
        .args([
            "--exact",
            "io::files::audit::tests::a_process_with_a_trail",
            "--nocapture",
        ])
        .env("RINGMW_TEST_TRAIL", trail)
        .env("RINGMW_TEST_END", end)
        .stderr(Stdio::null());
    command
}

#[test]
fn exit_and_panic_leave_a_whole_trail() {
    let folder = tempfile::tempdir().expect("tempdir");
    for end in ["exit", "panic"] {
        let path = folder.path().join(end);
        let status = other_process(&path, end)
            .stdout(Stdio::null())
            .status()
            .expect("it starts");
        assert!(!status.success());
        assert_eq!(
            parse(&fs::read(&path).expect("read")),
            (0..1000).map(note).collect::<Vec<_>>()
        );
    }
}

#[test]
fn standard_output_gets_the_lines_and_may_be_closed() {
    let output = other_process(Path::new("-"), "exit")
        .output()
        .expect("it starts");
    let lines: Vec<&str> = std::str::from_utf8(&output.stdout)
        .expect("UTF-8")
        .lines()
        .filter(|line| line.starts_with("2 1970"))
        .collect();
    assert_eq!(
        parse((lines.join("\n") + "\n").as_bytes()),
        (0..1000).map(note).collect::<Vec<_>>()
    );

    let mut child = other_process(Path::new("-"), "exit")
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    // The test harness itself may fail to print; what counts is that it ends.
    child.wait().expect("it ends");
}

#[test]
#[ignore = "mounts a filesystem of its own: `.ci/run machine` runs it"]
fn a_full_filesystem_that_is_emptied_again_gets_the_account() {
    let folder = tempfile::tempdir().expect("tempdir");
    // What unshare itself cannot do is 1.
    let script = "mount -t tmpfs -o size=4m none \"$0\" || exit 1
        \"$@\" >/dev/null 2>&1 || exit 2
        cat \"$0/trail\"";
    let inner = other_process(&folder.path().join("trail"), "full");
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .arg(folder.path())
        .arg(inner.get_program())
        .args(inner.get_args())
        .envs(
            inner
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .output()
        .expect("unshare (util-linux) can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let lines = parse(&output.stdout);
    let packets: Vec<i64> = lines
        .iter()
        .filter(|line| Class::of(&line.event) == Class::Packets)
        .map(|line| line.time_us)
        .collect();
    assert!(packets.is_sorted_by(|a, b| a < b));
    let notes = lines
        .iter()
        .filter(|line| matches!(line.event, Event::Note { .. }))
        .count();
    assert_eq!(
        notes, 100,
        "the rest still has room when packets are dropped"
    );
    let dropped: u64 = lines
        .iter()
        .map(|line| {
            if let Event::Dropped { lines, .. } = line.event {
                lines
            } else {
                0
            }
        })
        .sum();
    assert!(dropped > 0);
    assert_eq!(packets.len() as u64 + dropped, 50_000);
}

/// Every line is in one of the files, none of which is longer than it may be, and the oldest go.
#[test]
fn a_trail_is_begun_anew_at_its_size() {
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("trail");
    let rotate = Rotate {
        bytes: 64 << 10,
        keep: 3,
    };
    let writer = AuditWriter::open(Sink::File(path.clone(), Some(rotate))).expect("it opens");
    let mut said = 0u64;
    let text = "x".repeat(400);
    for _ in 0..60 {
        for _ in 0..20 {
            let text = format!("{said} {text}");
            writer.say(Who::Master, Event::Note { text });
            said += 1;
        }
        writer.finish(FINISH_BOUND).expect("written");
    }
    drop(writer);
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .expect("the folder is there")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    assert_eq!(names, ["trail", "trail.1", "trail.2", "trail.3"]);
    let mut numbers = Vec::new();
    for name in names.iter().rev() {
        let text = fs::read_to_string(folder.path().join(name)).expect("text");
        assert!(text.len() <= 64 << 10, "{name} has {} bytes", text.len());
        for line in text.lines() {
            let Event::Note { text } = Line::parse(line).expect("a whole line").event else {
                panic!("{line}");
            };
            let number: u64 = text
                .split(' ')
                .next()
                .expect("a number")
                .parse()
                .expect("a number");
            numbers.push(number);
        }
    }
    let first = numbers[0];
    assert!(
        first > 0 && numbers.len() > 200,
        "{first} {}",
        numbers.len()
    );
    assert!(
        numbers.iter().copied().eq(first..said),
        "none is missing between"
    );
}
