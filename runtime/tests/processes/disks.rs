//! Disks that are full for ever and for a while, and a folder that vanishes: the computation goes on.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::audit::Event;
use ringmw_codec::resource::ResourceFile;

use crate::app::{assert_exit_line, count, dir, lost, printed};
use crate::process::{Process, SmallDisk};
use crate::support::until;

/// A disk of this size for the trails of master and slave.
fn small_disk(dir: &Path, bytes: u64) -> SmallDisk {
    let disk = SmallDisk::mount(dir.join("disk"), bytes)
        .unwrap_or_else(|why| panic!("a disk cannot be mounted: {why}"));
    for name in ["master.trail", "slave.trail"] {
        std::os::unix::fs::symlink(disk.path(name), dir.join(name)).unwrap();
    }
    disk
}

/// It stays full: everything goes on, and both say at their end which file it was, and why.
pub(crate) fn a_full_disk_under_the_trails() {
    let dir = dir();
    let disk = small_disk(dir.path(), 64 << 10);
    // A line for every packet is more than a page.
    let level = ["--mw-slave-task-group", "1", "--mw-audit-level", "packets"];
    let mut master = Process::master(dir.path(), &[&level[..], &["--tasks", "2000"]].concat());
    let address = master.address();
    disk.fill();
    let (host, port) = address.rsplit_once(':').unwrap();
    let to = ["--mw-slave", "--mw-master-host", host, "--mw-master-port"];
    let args = [&to[..], &[port], &level[2..]].concat();
    let mut slave = Process::start(dir.path(), "slave", &args);
    for process in [&mut master, &mut slave] {
        process.expect_exit(0);
    }
    assert_eq!(master.stdout(), printed(2_000));
    for (process, name) in [(&master, "master.trail"), (&slave, "slave.trail")] {
        let complaint = process.complaint();
        for word in [name, "could not be written", "No space left on device"] {
            assert!(complaint.contains(word), "{complaint}");
        }
    }
}

/// The room comes back before the end: the trail misses nothing, and nobody complains.
pub(crate) fn a_disk_that_is_full_for_a_while() {
    let dir = dir();
    let disk = small_disk(dir.path(), 4 << 20);
    let over = dir.path().join("over");
    let args = [
        "--nap",
        "2",
        "--mw-slave-task-group",
        "1",
        "--mw-audit-level",
        "packets",
        "--until",
        over.to_str().unwrap(),
    ];
    let mut master = Process::master(dir.path(), &args);
    let address = master.address();
    disk.fill();
    let mut slave = Process::slave(dir.path(), "slave", &address);
    let results =
        |event: &Event| matches!(event, Event::ResultsReceived { .. } | Event::Packets { .. });
    // A page of the trail may be begun.
    let size = || std::fs::metadata(disk.path("master.trail")).unwrap().len();
    until("the trail to be stuck", || {
        let before = size();
        thread::sleep(Duration::from_millis(300));
        (size() == before && before > 0).then_some(())
    });
    let stuck = count(&master.events(), results);
    disk.empty();
    master.await_count("the trail to go on", stuck + 5, results);
    std::fs::write(&over, "").unwrap();
    for process in [&mut master, &mut slave] {
        process.expect_exit(0);
        assert_eq!(process.stderr(), "");
        assert_exit_line(process, 0);
    }
    let events = master.events();
    let given = |event: &Event| match event {
        Event::TasksSent { tasks, .. } | Event::Packets { tasks, .. } => *tasks,
        Event::Dropped { lines, .. } => panic!("{lines} lines are missing"),
        _ => 0,
    };
    let tasks: u64 = events.iter().map(given).sum();
    assert_eq!(master.stdout(), printed(tasks));
}

/// The run goes on, one line says it; the file is back with its folder.
pub(crate) fn a_folder_of_the_resource_file_that_vanishes() {
    let dir = dir();
    let over = dir.path().join("over");
    let [here, away] = ["here", "away"].map(|name| dir.path().join(name));
    std::fs::create_dir(&here).unwrap();
    let file = here.join("resource");
    let mut master = Process::master(
        dir.path(),
        &[
            "--nap",
            "10",
            "--until",
            over.to_str().unwrap(),
            "--mw-resource-file",
            file.to_str().unwrap(),
            "--mw-resource-file-update-interval",
            "1",
            "--mw-no-secret",
        ],
    );
    let address = master.address();
    let mut slaves = vec![Process::slave(dir.path(), "slave-0", &address)];
    until("the resource file", || std::fs::metadata(&file).ok());
    std::fs::rename(&here, &away).unwrap();
    let failed = |event: &Event| match event {
        Event::ResourceFileError { path, error } => Some((path.clone(), error.clone())),
        _ => None,
    };
    let (path, error) = master.await_event("the error", failed);
    assert_eq!(path, file.to_str().unwrap());
    assert!(error.contains("No such file or directory"), "{error}");
    // It fails again and again, and others come and work meanwhile.
    slaves.push(Process::slave(dir.path(), "slave-1", &address));
    let results = |event: &Event| matches!(event, Event::ResultsReceived { slave: 1, .. });
    master.await_count("the second slave to work", 1, results);
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_millis(2_500) {
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(
        count(&master.events(), |event| failed(event).is_some()),
        1,
        "one line"
    );
    std::fs::rename(&away, &here).unwrap();
    let stale = std::fs::read(&file).unwrap();
    until("the resource file to be written again", || {
        let now = std::fs::read(&file).ok()?;
        (now != stale).then_some(())
    });
    std::fs::write(&over, "").unwrap();
    master.expect_exit(0);
    for slave in &mut slaves {
        slave.expect_exit(0);
    }
    let said = master.stderr();
    assert!(
        said.lines().count() == 1 && said.contains("--mw-master-host 127.0.0.1"),
        "{said}"
    );
    let resource = ResourceFile::parse(&std::fs::read(&file).unwrap()).unwrap();
    assert!(resource.finished);
    let events = master.events();
    assert_eq!(count(&events, |event| failed(event).is_some()), 1);
    assert_eq!(lost(&events), []);
    let out = master.stdout();
    let tasks: u64 = out.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(out, printed(tasks));
}
