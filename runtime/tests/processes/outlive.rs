//! Masters that are killed and started again, and one that is stopped while its successor runs.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::audit::Event;
use rustix::process::Signal;

use crate::app::{count, dir, printed};
use crate::ports::free_ports;
use crate::process::{AS_APPLICATION, Process};
use crate::support::until;

/// Tasks of each of the three maps.
const TASKS: u64 = 1_000;

/// Times that the master is killed.
const KILLS: u64 = 5;

fn args<'a>(engine: &'a str, journal: &'a str, tasks: &'a str) -> Vec<&'a str> {
    vec![
        "--mw-engine",
        engine,
        "--mw-journal",
        journal,
        "--mw-seed",
        "42",
        // What was taken is told at once, not summed up by the second.
        "--mw-audit-level",
        "packets",
        "--slaves",
        "0",
        "--outlive",
        tasks,
    ]
}

fn results(events: &[Event]) -> u64 {
    let results = events.iter().map(|event| match event {
        Event::ResultsReceived { results, .. } => *results,
        Event::Packets { results, .. } => *results,
        _ => 0,
    });
    results.sum()
}

fn last_life(events: &[Event]) -> u32 {
    let mut lives = events.iter().filter_map(|event| match event {
        Event::Life { life, .. } => Some(*life),
        _ => None,
    });
    lives.next_back().unwrap_or(0)
}

fn slave(dir: &Path, name: &str, address: &str, more: &[&str]) -> Process {
    let (host, port) = address.rsplit_once(':').unwrap();
    let role = [
        "--mw-slave",
        "--mw-master-host",
        host,
        "--mw-master-port",
        port,
    ];
    Process::start(dir, name, &[&role, more].concat())
}

/// Whatever becomes of the test, nobody waits for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keeps four slaves alive, as a batch system does, until `over`.
fn keep_slaves(dir: &Path, address: &str, over: &AtomicBool) {
    let mut slaves: Vec<Process> = Vec::new();
    let mut started = 0;
    while !over.load(Ordering::Relaxed) {
        slaves.retain_mut(|slave| !slave.has_ended());
        while slaves.len() < 4 {
            // A new one comes in its place.
            let name = format!("slave-{started}");
            slaves.push(slave(dir, &name, address, &["--mw-slave-reconnect", "0"]));
            started += 1;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// An in-order sum of floats, a search and a tree of floats: the same bits as undisturbed, and hardly anything is computed
/// again.
pub(crate) fn a_master_killed_again_and_again(engine: &str) {
    let undisturbed = dir();
    let folder = undisturbed.path().join("journal");
    let tasks = TASKS.to_string();
    let expected = {
        let args = args(engine, folder.to_str().unwrap(), &tasks);
        let mut master = Process::master(undisturbed.path(), &args);
        let address = master.address();
        let mut slaves: Vec<_> = (0..4)
            .map(|n| Process::slave(undisturbed.path(), &format!("slave-{n}"), &address))
            .collect();
        master.expect_exit(0);
        for slave in &mut slaves {
            slave.exit();
        }
        master.stdout()
    };
    assert_eq!(expected.lines().count(), 1, "{expected}");

    let disturbed = dir();
    let folder = disturbed.path().join("journal");
    let args = args(engine, folder.to_str().unwrap(), &tasks);
    let count = disturbed.path().join("master.starts");
    let start = |more: &[&str]| {
        Process::master_with(disturbed.path(), &[&args, more].concat(), |command| {
            command.env("RINGMW_STARTS", &count);
        })
    };
    // The lives after it are told of no port, and none may find that it was given away meanwhile.
    let port = free_ports(1).to_string();
    let mut master = start(&["--mw-master-port", &port]);
    let address = master.address();
    let over = AtomicBool::new(false);
    let events = thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| keep_slaves(disturbed.path(), &address, &over));
        for kill in 1..=KILLS {
            // Of a killed life the trail may lack the last lines, so each is counted by itself.
            let share = TASKS / (2 * KILLS);
            until("results to kill it after", || {
                let events = master.events();
                let begun = u64::from(last_life(&events)) == kill;
                (begun && results(&events) >= share).then_some(())
            });
            // It counts as none of those that fail at their start.
            until("a life that has come further", || {
                (!count.exists()).then_some(())
            });
            assert!(!master.has_ended(), "{}", master.stderr());
            master.signal(Signal::KILL);
            master.exit();
            assert_eq!(master.stdout(), "", "no life has finished");
            master = start(&[]);
        }
        master.expect_exit(0);
        over.store(true, Ordering::Relaxed);
        master.all_events()
    });
    assert_eq!(master.stdout(), expected);
    assert_eq!(u64::from(last_life(&events)), KILLS + 1);
    let addresses: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Ready { addresses, .. } => Some(addresses[0].clone()),
            _ => None,
        })
        .collect();
    assert!(
        addresses.iter().all(|again| *again == address),
        "every life has the port of the first: {addresses:?}"
    );
    let again = results(&events).saturating_sub(3 * TASKS);
    eprintln!(
        "{engine}: {again} of {} tasks were computed again",
        3 * TASKS
    );
    assert!(again <= 3 * TASKS / 10, "{again} tasks were computed again");

    // The whole run from the journal alone.
    let mut master = Process::master(disturbed.path(), &args);
    master.expect_exit(0);
    assert_eq!(master.stdout(), expected);
}

/// Of two masters of one run the earlier one ends, and takes nothing from the later one: not the resource file either, though
/// that is due as soon as it goes on.
pub(crate) fn a_stopped_master_and_its_successor() {
    let dir = dir();
    let folder = dir.path().join("journal");
    let resource = dir.path().join("resource");
    let tasks = TASKS.to_string();
    let mut args = args("auto", folder.to_str().unwrap(), &tasks);
    args.extend(["--mw-resource-file", resource.to_str().unwrap()]);
    let often = ["--mw-resource-file-update-interval", "1"];
    let role = ["--mw-master", "--mw-master-host", "127.0.0.1"];
    let mut first = Process::start(dir.path(), "first", &[&role[..], &often, &args].concat());
    let names = |address: &str| {
        let text = std::fs::read_to_string(&resource).unwrap_or_default();
        (text.contains(address) && text.contains("in-progress")).then_some(())
    };
    let address = first.address();
    until("its resource file", || names(&address));
    first.signal(Signal::STOP);
    let stopped = Instant::now();
    let second = Process::master(dir.path(), &args);
    let address = second.address();
    until("the later life's resource file", || names(&address));
    until("the earlier one's to be due", || {
        (stopped.elapsed() > Duration::from_secs(1)).then_some(())
    });
    first.signal(Signal::CONT);
    ends_superseded(&mut first);
    names(&address).expect("the file is the later life's");
}

/// Nor the state, where there is no journal: it ends when it would save its own.
pub(crate) fn a_stopped_master_and_its_successors_state() {
    let dir = dir();
    let state = dir.path().join("state");
    let start = |name: &str| {
        let folder = dir.path().join(format!("{name}.d"));
        std::fs::create_dir(&folder).unwrap();
        let args = [
            "--mw-master",
            "--mw-master-host",
            "127.0.0.1",
            "--mw-state",
            state.to_str().unwrap(),
            "--mw-journal-any-args",
            "--slaves",
            "0",
            "--saves",
            folder.to_str().unwrap(),
        ];
        (Process::start(dir.path(), name, &args), folder)
    };
    // What is saved is how often it was before.
    let save = |folder: &Path, number: u32| std::fs::write(folder.join(number.to_string()), "");
    let saved = |(master, folder): &(Process, PathBuf), number| {
        save(folder, number).unwrap();
        let said = format!("saved {number}\n");
        until(&said, || master.stdout().ends_with(&said).then_some(()));
    };
    let mut first = start("first");
    saved(&first, 0);
    first.0.signal(Signal::STOP);
    let mut second = start("second");
    for number in 0..3 {
        saved(&second, number);
    }
    save(&first.1, 1).unwrap();
    first.0.signal(Signal::CONT);
    ends_superseded(&mut first.0);
    assert_eq!(first.0.stdout(), "saved 0\n");
    std::fs::write(second.1.join("over"), "").unwrap();
    second.0.expect_exit(0);
    assert!(second.0.stdout().ends_with("restored 2\n"));
}

/// It says so, and that it does not go on.
fn ends_superseded(first: &mut Process) {
    first.expect_exit(255);
    assert!(
        first.stderr().contains("life 2 of this run has begun"),
        "{}",
        first.stderr()
    );
    let superseded = |event: &Event| matches!(event, Event::Superseded { life: 2 });
    assert_eq!(count(&first.events(), superseded), 1);
}

/// What ends with what is known, be it of the journal or of slaves that came back.
fn known(events: &[Event]) -> u64 {
    let known = events.iter().map(|event| match event {
        Event::Known { results, .. } => *results,
        _ => 0,
    });
    known.sum()
}

/// Slaves that were started once outlast every life of their master: they compute on, bring what they have kept, and are
/// what they were. The answer is the undisturbed one, bit for bit.
pub(crate) fn slaves_outlive_their_masters(engine: &str) {
    let tasks = TASKS.to_string();
    let run = |kills: u64, leaves: bool| {
        let dir = dir();
        let folder = dir.path().join("run1");
        let mut args = args(engine, folder.to_str().unwrap(), &tasks);
        // All files of the run are in one folder.
        args[2] = "--mw-dir";
        let mut master = Process::master(dir.path(), &args);
        master.address();
        until("the resource file", || {
            let files = std::fs::read_dir(&folder).ok()?;
            let mut names = files.map(|file| file.unwrap().file_name());
            names
                .any(|name| name.to_string_lossy().ends_with(".rsc"))
                .then_some(())
        });
        let mut slaves: Vec<_> = (0..4)
            .map(|n| {
                let role = ["--mw-slave", "--mw-dir", folder.to_str().unwrap()];
                Process::start(dir.path(), &format!("slave-{n}"), &role)
            })
            .collect();
        for kill in 1..=kills {
            let share = TASKS / (2 * KILLS);
            until("results to kill it after", || {
                let events = master.events();
                let begun = u64::from(last_life(&events)) == kill;
                (begun && results(&events) >= share).then_some(())
            });
            assert!(!master.has_ended(), "{}", master.stderr());
            match leaves {
                true => master.signal(Signal::TERM),
                false => master.signal(Signal::KILL),
            }
            master.exit();
            assert_eq!(master.stdout(), "", "no life has finished");
            master = Process::master(dir.path(), &args);
        }
        master.expect_exit(0);
        let events = master.all_events();
        for slave in &mut slaves {
            slave.expect_exit(0);
            assert_eq!(slave.stdout(), "made\n", "its state lives on");
            let is_id = |event: &Event| matches!(event, Event::Id { .. });
            assert!(
                count(&slave.events(), is_id) as u64 > kills / 2,
                "it has served several lives: {:?}",
                slave.events()
            );
        }
        let kept = count(&events, |event| matches!(event, Event::Brought { .. }));
        eprintln!(
            "{engine}: {} results for {} tasks, {} known, {kept} packets were kept",
            results(&events),
            3 * TASKS,
            known(&events)
        );
        assert_eq!(kept > 0, kills > 0);
        (master.stdout(), results(&events))
    };
    let (expected, once) = run(0, false);
    assert_eq!((expected.lines().count(), once), (1, 3 * TASKS));
    for leaves in [false, true] {
        let (answer, results) = run(KILLS, leaves);
        assert_eq!(answer, expected);
        let again = results.saturating_sub(3 * TASKS);
        assert!(again <= 3 * TASKS / 50, "{again} tasks were computed again");
    }
}

/// Of two masters of one run the second is refused by name as long as the first answers.
pub(crate) fn a_second_master_is_refused() {
    let dir = dir();
    // Without a resource file, which has a guard of its own.
    let run = dir.path().join("journal");
    let args = ["--mw-journal", run.to_str().unwrap(), "--slaves", "1"];
    let mut first = Process::master(dir.path(), &args);
    let address = first.address();
    let life = |event: &Event| matches!(event, Event::Life { .. }).then_some(());
    first.await_event("its life", life);
    let role = ["--mw-master", "--mw-master-host", "127.0.0.1"];
    let mut second = Process::start(dir.path(), "second", &[&role[..], &args].concat());
    second.expect_exit(255);
    let complaint = second.complaint();
    let words = format!(
        "life 1 of this run still answers at {address} (process {}",
        first.pid()
    );
    assert!(complaint.contains(&words), "{complaint}");
    assert!(!first.has_ended(), "{}", first.stderr());
    // Killed, it answers no more.
    first.signal(Signal::KILL);
    first.exit();
    let second = Process::start(dir.path(), "second", &[&role[..], &args].concat());
    second.await_event("its life", |event| match event {
        Event::Life { life: 2, .. } => Some(()),
        _ => None,
    });
}

/// What of a journal is another's, of another format, or open to others is refused in one line that names it and says what
/// to do, before anything is computed; what is damaged is counted.
pub(crate) fn what_is_not_this_runs_is_refused_by_name() {
    let dir = dir();
    let folder = dir.path().join("journal");
    let own = ["--mw-journal", folder.to_str().unwrap(), "--mw-audit-level"];
    let args = |seed: &'static str, tasks: &'static str| {
        let rest = ["packets", "--slaves", "0", "--mw-seed", seed, "--tasks"];
        [&own[..], &rest, &[tasks]].concat()
    };
    let mut master = Process::master(dir.path(), &args("7", "10"));
    let mut worker = Process::slave(dir.path(), "slave", &master.address());
    master.expect_exit(0);
    worker.expect_exit(0);
    let build = master.await_event("its build", |event| match event {
        Event::Init { build, .. } => Some(build.clone()),
        _ => None,
    });
    let refused = |name: &str, args: &[&str], words: &[&str]| {
        let mut master = Process::master(dir.path(), args);
        master.expect_exit(255);
        let complaint = master.complaint();
        for word in words {
            assert!(
                complaint.contains(word),
                "{name}: no {word:?} in {complaint}"
            );
        }
    };
    let shown = folder.display().to_string();
    refused(
        "seed",
        &args("8", "10"),
        &[&shown, "seed 7, this run has 8", "--mw-seed"],
    );
    let any = [
        "\"10\"",
        "\"11\"",
        "--mw-journal-any-args",
        "another folder",
    ];
    refused("arguments", &args("7", "11"), &any);

    // Another build: one byte of what says so is another.
    let id: Vec<u8> = (0..build.len() / 2)
        .map(|at| u8::from_str_radix(&build[2 * at..][..2], 16).unwrap())
        .collect();
    let mut binary = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let at = binary.windows(id.len()).position(|bytes| bytes == id);
    *binary[at.expect("the build is in it")..]
        .first_mut()
        .unwrap() ^= 1;
    let name = std::env::current_exe().unwrap();
    let name = name.file_name().unwrap();
    for (program, words) in [
        (name, &["it is of build", "--mw-journal-any-build"][..]),
        (
            std::ffi::OsStr::new("another"),
            &[
                "it is of the program",
                "this is \"another\"",
                "another folder",
            ],
        ),
    ] {
        let copy = dir.path().join("copy").join(program);
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::write(&copy, &binary).unwrap();
        std::fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
        let output = Command::new(&copy)
            .args(["--mw-master", "--mw-master-host", "127.0.0.1"])
            .args(args("7", "10"))
            .env(AS_APPLICATION, "1")
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(255), "{complaint}");
        for word in words.iter().chain([&&*shown]) {
            assert!(complaint.contains(word), "no {word:?} in {complaint}");
        }
    }

    let segment = folder.join("000001-000001.journal");
    let run = folder.join("run");
    let modes: [(&Path, u32); 3] = [(&folder, 0o770), (&segment, 0o606), (&run, 0o620)];
    for (path, mode) in modes {
        let before = std::fs::metadata(path).unwrap().permissions();
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let words = ["others may write it", "chmod go-w", path.to_str().unwrap()];
        refused("mode", &args("7", "10"), &words);
        std::fs::set_permissions(path, before).unwrap();
    }

    let whole = [&segment, &run].map(|path| std::fs::read(path).unwrap());
    let with = |path: &Path, before: &[u8], at: usize, words: &[&str]| {
        let mut bytes = before.to_vec();
        bytes[at] ^= 4;
        std::fs::write(path, bytes).unwrap();
        refused(
            "format",
            &args("7", "10"),
            &[words, &[path.to_str().unwrap()]].concat(),
        );
        std::fs::write(path, before).unwrap();
    };
    with(
        &segment,
        &whole[0],
        8,
        &["its format is version 5", "another folder"],
    );
    with(
        &run,
        &whole[1],
        8,
        &["its format is version 5", "may be removed"],
    );
    with(&run, &whole[1], 30, &["it is damaged", "may be removed"]);

    // Damaged records are counted, and what they held is computed again.
    let mut bytes = whole[0].clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let mut master = Process::master(dir.path(), &args("7", "10"));
    let read = master.await_event("what it has read", |event| match event {
        Event::JournalRead {
            results,
            damaged,
            torn,
            ..
        } => Some((*results, *damaged + *torn)),
        _ => None,
    });
    assert!(read.0 < 10 && read.1 == 1, "{read:?}");
    let _worker = Process::slave(dir.path(), "slave", &master.address());
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(10));

    // Without the file `run`, as a life leaves it that ends between its first segment and that file, seed and run are those
    // of the segments.
    std::fs::remove_file(&run).unwrap();
    let unseeded: Vec<&str> = args("7", "10");
    let unseeded: Vec<&str> = unseeded
        .into_iter()
        .filter(|arg| !["--mw-seed", "7"].contains(arg))
        .collect();
    let mut master = Process::master(dir.path(), &unseeded);
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(10));
    let ids = master.all_events();
    let ids = ids.iter().filter_map(|event| match event {
        Event::Life { run, .. } => Some(run.clone()),
        _ => None,
    });
    let ids: std::collections::BTreeSet<_> = ids.collect();
    assert_eq!(ids.len(), 1, "one run: {ids:?}");
}
