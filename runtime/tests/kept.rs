//! Tasks that give no output are kept, and run again by themselves: real processes, this program itself being the
//! application.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use ringmw::prelude::*;
use ringmw_codec::audit::{Event, Line};
use ringmw_codec::journal::{FailedFile, How};

/// In the environment of a process that is the application.
const AS_APPLICATION: &str = "RINGMW_KEPT_APP";
/// What a task finds in its run, and nowhere else.
const HERE: &str = "RINGMW_KEPT_HERE";

struct Visits(u64);

impl SlaveState for Visits {
    fn init(_: &mut Cx) -> Result<Self> {
        Ok(Visits(0))
    }
}

/// What it says of its end depends on all that a task is run by.
#[algorithm]
fn luck(
    n: u64,
    blob: &[u8],
    best: &Best<u64, u64>,
    cx: &mut Cx,
) -> std::result::Result<u64, String> {
    let drawn = cx.rng().next_u64();
    let tag = cx.tag::<String>().map_err(|error| error.to_string())?;
    let sum: u64 = blob.iter().map(|byte| u64::from(*byte)).sum();
    let (args, key) = (cx.args().to_vec(), best.get());
    let text = format!(
        "{n} drew {drawn}, tag {tag:?}, {sum} of {} bytes, {args:?}, key {key}",
        blob.len()
    );
    match n % 3 {
        0 => Ok(n),
        1 => Err(text),
        _ => panic!("{text}"),
    }
}

#[algorithm]
fn shy(n: u64, visits: &mut Visits) -> std::result::Result<u64, String> {
    visits.0 += 1;
    match std::env::var_os(HERE) {
        Some(_) => Err("it is not done here".to_owned()),
        None => Ok(n * n + visits.0),
    }
}

/// Two kinds of shared data: values, and bytes that stand in a file.
#[algorithm]
fn look(
    n: u64,
    table: &Shared<Vec<u64>>,
    bytes: &Shared<[u8]>,
) -> std::result::Result<u64, String> {
    let sum: u64 = table.iter().sum();
    let last = bytes.last().copied().unwrap_or_default();
    Err(format!(
        "{n} sees {} of {sum}, {} to {last}",
        table.len(),
        bytes.len()
    ))
}

#[algorithm]
fn hang() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[algorithm]
fn perish() {
    std::process::abort();
}

async fn master(mw: Master, args: Args) -> Result {
    match args.first().map(String::as_str) {
        Some("luck") => {
            let best = mw.minimum::<u64, u64>(1_000);
            let mut blob = vec![3; 100_000];
            for round in 0..3 {
                // Whoever is handed a task of this round has been told this key.
                best.offer(500 - round, &round);
                blob.push(7);
                for n in 0..6 {
                    let task = luck::task(n, &blob, &best).tag(&format!("round {round}"));
                    if let Err(error) = mw.call(task).await {
                        println!("{error}");
                    }
                }
            }
        }
        Some("look") => {
            let file = std::env::temp_dir().join(format!("ringmw-kept-{}", std::process::id()));
            fs::write(&file, vec![9; 2_500_000])?;
            let table = mw.share(&vec![3u64; 50_000]);
            let bytes = mw.share_file(&file).await?;
            for n in 0..4 {
                println!(
                    "{}",
                    mw.call(look::task(n, &table, &bytes)).await.unwrap_err()
                );
            }
            fs::remove_file(file)?;
        }
        Some("shy") => {
            let mut map = mw.map((0..30).map(shy::task));
            while let Some(end) = map.next().await {
                assert!(end.is_err());
            }
        }
        _ => {
            let hang = hang::task()
                .timeout(Duration::from_millis(200))
                .retry(false);
            assert!(mw.call(hang).await.is_err());
            assert!(mw.call(perish::task().needs("label")).await.is_err());
        }
    }
    Ok(())
}

fn app() -> App {
    App::new()
        .algorithm::<luck>()
        .algorithm::<shy>()
        .algorithm::<look>()
        .algorithm::<hang>()
        .algorithm::<perish>()
        .master(master)
}

/// In the arguments of a process of the application: with backtraces.
const TRACED: &str = "--traced";

fn start(args: &[&str], here: bool) -> Output {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(args)
        .env(AS_APPLICATION, "1")
        .env_remove("RUST_BACKTRACE");
    if args.contains(&TRACED) {
        command.env("RUST_BACKTRACE", "1");
    }
    if here {
        command.env(HERE, "1");
    }
    command.output().expect("it runs")
}

struct Run {
    _dir: tempfile::TempDir,
    folder: PathBuf,
    stdout: String,
    stderr: String,
    events: Vec<Event>,
}

/// A run in local mode that keeps what fails.
fn local(args: &[&str]) -> Run {
    let dir = tempfile::tempdir().expect("a folder");
    let (folder, trail) = (dir.path().join("failed ones"), dir.path().join("trail"));
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let (keep, file) = (text(&folder), text(&trail));
    let flags = [
        "--mw-local",
        "2",
        "--mw-keep-failed",
        &keep,
        "--mw-audit-file",
        &file,
    ];
    let output = start(&[&flags, args].concat(), true);
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    let trail = fs::read_to_string(trail).expect("the trail");
    let events = trail
        .lines()
        .map(|line| Line::parse(line).expect("a line").event);
    Run {
        events: events.collect(),
        _dir: dir,
        folder,
        stdout,
        stderr,
    }
}

impl Run {
    fn files(&self) -> Vec<(PathBuf, FailedFile)> {
        let mode = |path: &Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
        };
        assert_eq!(mode(&self.folder) & 0o777, 0o700);
        let entries = fs::read_dir(&self.folder).expect("the folder");
        let mut files: Vec<_> = entries
            .map(|entry| {
                let path = entry.expect("a file").path();
                assert_eq!(mode(&path) & 0o777, 0o600);
                let file = FailedFile::decode(&fs::read(&path).expect("a file"));
                (path, file.expect("whole"))
            })
            .collect();
        files.sort_by_key(|(_, file)| file.task);
        files
    }
}

fn replay(path: &Path) -> (Option<i32>, String, String) {
    let output = start(&["--mw-replay", path.to_str().expect("text")], false);
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        said(&output.stdout),
        said(&output.stderr),
    )
}

/// With tag, blob, arguments of the run and the incumbent of its start.
fn a_failed_random_task_fails_alone_with_the_same_message(engine: &str) {
    let run = local(&["luck", "and more", "--mw-seed", "77", "--mw-engine", engine]);
    let files = run.files();
    assert_eq!(files.len(), 12, "{}", run.stderr);
    for (path, file) in &files {
        assert!(
            run.stdout.contains(&file.message),
            "{} {}",
            file.message,
            run.stdout
        );
        let round = file.task / 6;
        assert!(
            file.message.contains(&format!("key {}", 500 - round)),
            "{}",
            file.message
        );
        let (code, stdout, stderr) = replay(path);
        let expected = format!(
            "TASK-{} failed, as in its run: {}\n",
            file.task, file.message
        );
        assert_eq!((code, stdout), (Some(255), expected), "{stderr}");
        assert!(stderr.contains("a slave's state is made anew"), "{stderr}");
        // Trail and terminal name the command.
        let shown = format!("--mw-replay '{}'", path.display());
        let is_told = |event: &Event| matches!(event, Event::Kept { task, replay, .. } if *task == file.task && replay.ends_with(&shown));
        assert!(run.events.iter().any(is_told), "{:?}", run.events);
        assert!(run.stderr.contains(&shown), "{}", run.stderr);
    }
    // What another wrote into it is noticed.
    let (path, _) = &files[0];
    let mut bytes = fs::read(path).expect("a file");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(path, bytes).expect("ours");
    let (code, _, stderr) = replay(path);
    assert!(
        code == Some(255) && stderr.contains("it is damaged"),
        "{stderr}"
    );
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("ours");
    let (_, _, stderr) = replay(path);
    assert!(stderr.contains("others may write it"), "{stderr}");
}

/// With RUST_BACKTRACE the file has the panic's backtrace; application and trail have the message alone.
fn a_backtrace_is_kept_where_it_is_asked_for() {
    let run = local(&["luck", TRACED]);
    let files = run.files();
    let panicked: Vec<_> = files
        .iter()
        .filter(|(_, file)| file.message.starts_with("panicked"))
        .collect();
    assert_eq!(panicked.len(), 6, "{}", run.stderr);
    assert!(!run.stdout.contains("run_caught"), "{}", run.stdout);
    let is_told = |event: &Event| matches!(event, Event::Failed { message, .. } if message.contains("run_caught"));
    assert!(!run.events.iter().any(is_told), "{:?}", run.events);
    for (path, file) in panicked {
        assert!(file.message.contains("run_caught"), "{}", file.message);
        let message = file.message.split('\u{1e}').next().expect("a message");
        assert!(run.stdout.contains(message), "{}", run.stdout);
        let (code, stdout, stderr) = replay(path);
        let expected = format!("TASK-{} failed, as in its run: {message}\n", file.task);
        assert_eq!((code, stdout), (Some(255), expected), "{stderr}");
        let kept = stderr.split("it is run here").next().expect("a head");
        assert!(kept.contains("run_caught"), "{stderr}");
        assert!(!stderr.contains('\u{1e}'), "{stderr}");
    }
    // Of an error that is returned there is none.
    let returned = files
        .iter()
        .filter(|(_, file)| !file.message.starts_with("panicked"));
    assert!(returned.clone().count() > 0);
    returned.for_each(|(_, file)| assert!(!file.message.contains('\u{1e}'), "{}", file.message));
}

/// The shared data stands beside the tasks, once, and goes with them.
fn shared_data_is_kept_beside_its_tasks() {
    let run = local(&["look"]);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let mut names = Vec::new();
    for entry in fs::read_dir(&run.folder).expect("the folder") {
        let path = entry.expect("a file").path();
        let name = path.file_name().expect("a name").to_owned();
        let to = elsewhere.path().join(&name);
        fs::rename(&path, &to).expect("it moves");
        let mode = fs::metadata(&to).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        names.push(name.into_string().expect("text"));
    }
    let of = |begin: &'static str| names.iter().filter(move |name| name.starts_with(begin));
    assert_eq!(
        (of("TASK-").count(), of("SHARED-").count()),
        (4, 2),
        "{names:?}"
    );
    for name in of("TASK-") {
        let path = elsewhere.path().join(name);
        let file = FailedFile::decode(&fs::read(&path).expect("a file")).expect("whole");
        assert!(
            file.message.ends_with("sees 50000 of 150000, 2500000 to 9"),
            "{}",
            file.message
        );
        let (code, stdout, stderr) = replay(&path);
        let expected = format!(
            "TASK-{} failed, as in its run: {}\n",
            file.task, file.message
        );
        assert_eq!((code, stdout), (Some(255), expected), "{stderr}");
    }
    of("SHARED-").for_each(|name| fs::remove_file(elsewhere.path().join(name)).expect("ours"));
    let task = of("TASK-").next().expect("one");
    let (code, _, stderr) = replay(&elsewhere.path().join(task));
    assert!(
        code == Some(255) && stderr.contains("that file was not kept, or is gone"),
        "{stderr}"
    );
}

fn of_one_message_ten_are_kept_and_what_returns_here_is_shown() {
    let run = local(&["shy"]);
    let files = run.files();
    assert_eq!(files.len(), 10);
    let (path, file) = &files[0];
    let (code, stdout, _) = replay(path);
    let n = file.task;
    assert_eq!(
        (code, stdout),
        (Some(0), format!("TASK-{n} returned {}\n", n * n + 1))
    );
}

fn tasks_that_hang_and_tasks_that_crash_are_kept() {
    let run = local(&[
        "others",
        "--mw-crash-limit",
        "1",
        "--mw-slave-label",
        "label",
    ]);
    let files = run.files();
    let ends: Vec<_> = files
        .iter()
        .map(|(_, file)| (file.how, &*file.policy))
        .collect();
    assert_eq!(
        ends,
        [
            (How::TimedOut, "no retry, time-out 200 ms"),
            (How::Poisoned, "needs label")
        ],
        "{}",
        run.stderr
    );
    let (code, stdout, _) = replay(&files[1].0);
    assert_eq!(
        (code, &*stdout),
        (None, ""),
        "it is ended by its signal here too"
    );
}

fn main() -> ExitCode {
    if std::env::var_os(AS_APPLICATION).is_some() {
        return app().run();
    }
    a_failed_random_task_fails_alone_with_the_same_message("auto");
    a_failed_random_task_fails_alone_with_the_same_message("epoll");
    a_backtrace_is_kept_where_it_is_asked_for();
    shared_data_is_kept_beside_its_tasks();
    of_one_message_ten_are_kept_and_what_returns_here_is_shown();
    tasks_that_hang_and_tasks_that_crash_are_kept();
    ExitCode::SUCCESS
}
