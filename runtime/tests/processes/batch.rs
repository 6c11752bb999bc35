//! What a batch system sees of masters and slaves that it starts again and again, and two masters of one resource file.

use std::path::Path;

use ringmw_codec::audit::Event;
use ringmw_codec::resource::ResourceFile;
use rustix::process::Signal;

use crate::app::dir;
use crate::process::Process;
use crate::support::until;

/// A master that waits for slaves, with a resource file.
fn waiting(dir: &Path, name: &str, file: &str, more: &[&str]) -> Process {
    let args = [
        "--mw-master",
        "--mw-master-host",
        "127.0.0.1",
        "--slaves",
        "1000",
        "--mw-resource-file",
        file,
    ];
    Process::start(dir, name, &[&args, more].concat())
}

/// Until the master has written where it is.
fn await_file(file: &str) -> ResourceFile {
    until("the resource file", || {
        ResourceFile::parse(&std::fs::read(file).ok()?).ok()
    })
}

/// A second master on the file of one that answers says whose it is and takes nothing; one that was killed is followed.
pub(crate) fn a_file_whose_master_answers_is_not_taken_over() {
    for more in [&[][..], &["--mw-no-secret"]] {
        let dir = dir();
        let file = dir.path().join("app.rsc").display().to_string();
        let first = waiting(dir.path(), "first", &file, more);
        let before = await_file(&file);
        let mut second = waiting(dir.path(), "second", &file, more);
        second.expect_exit(255);
        let told = second.stderr();
        let process = format!("process {}", first.pid());
        assert!(
            told.contains(&process) && told.contains("ringmw stop"),
            "{told}"
        );
        assert!(await_file(&file) == before, "the file is the first one's");
        first.signal(Signal::KILL);
        // Its listener is gone only with the last of its threads.
        drop(first);
        let third = waiting(dir.path(), "third", &file, more);
        third.address();
        until("the third one's file", || {
            (await_file(&file).master_addresses == [third.address()]).then_some(())
        });
    }
}

/// A master that is killed again and again before it has lived for a minute is held with the sixth start; what ends by
/// itself is counted by nobody.
pub(crate) fn a_master_that_aborts_again_and_again_is_held() {
    let dir = dir();
    let count = dir.path().join("master.starts");
    let start = |name: &str| {
        let args = ["--mw-master", "--mw-master-host", "127.0.0.1"];
        let args = [&args[..], &["--slaves", "1000"]].concat();
        Process::start_with(dir.path(), name, &args, |command| {
            command.env("RINGMW_STARTS", &count);
        })
    };
    let ended = |name: &str, signal: Signal| {
        let mut master = start(name);
        master.address();
        master.signal(signal);
        master.exit();
    };
    for n in 0..5 {
        ended(&format!("aborted-{n}"), Signal::KILL);
    }
    let mut held = start("held");
    held.expect_exit(253);
    assert!(held.complaint().contains("5 times in a row"));
    // Somebody has released it.
    for n in 0..3 {
        ended(&format!("again-{n}"), Signal::KILL);
    }
    ended("told", Signal::TERM);
    assert!(!count.exists(), "an end of its own");
}

/// A slave in a batch job waits for a master that does not answer, and reads the file again while it does.
pub(crate) fn a_slave_in_a_batch_job_waits_for_its_master() {
    let dir = dir();
    let file = dir.path().join("app.rsc").display().to_string();
    // The socket of a ring may listen for longer than its process lives.
    let flags = ["--mw-no-secret", "--mw-engine", "epoll"];
    let first = waiting(dir.path(), "first", &file, &flags);
    await_file(&file);
    drop(first);
    let args = ["--mw-slave", "--mw-resource-file", &file];
    let slave = Process::start_with(dir.path(), "slave", &args, |command| {
        command.env("SLURM_JOB_ID", "17");
    });
    until("it to wait", || {
        slave
            .stderr()
            .contains("tries again for 300 s")
            .then_some(())
    });
    let second = waiting(dir.path(), "second", &file, &["--mw-no-secret"]);
    let came = |event: &Event| matches!(event, Event::Connected { job, .. } if job == "slurm.17");
    second.await_count("it to come", 1, came);
    // Outside of a batch job nobody waits.
    drop(second);
    let mut alone = Process::start(dir.path(), "alone", &args);
    alone.expect_exit(255);
}

/// Refused by a master that it reached: the exit code counts such ends in a row, as the job's ad tells the last one.
pub(crate) fn a_slave_that_is_refused_counts_by_its_exit_code() {
    let dir = dir();
    let master = Process::master(dir.path(), &["--slaves", "1000"]);
    let address = master.address();
    let (host, port) = address.rsplit_once(':').expect("host and port");
    let args = [
        "--mw-slave",
        "--mw-master-host",
        host,
        "--mw-master-port",
        port,
        "--mw-member-id",
        "another-run",
    ];
    let ad = dir.path().join("job.ad");
    let last = [
        "",
        "ExitCode = 241\n",
        "ExitCode = 249\n",
        "ExitCode = 250\n",
        "ExitCode = 255\n",
    ];
    for (last, code) in last.into_iter().zip([241, 242, 250, 250, 241]) {
        std::fs::write(&ad, format!("ClusterId = 4\nProcId = 0\n{last}")).expect("written");
        let mut slave = Process::start_with(dir.path(), "slave", &args, |command| {
            command.env("_CONDOR_JOB_AD", &ad);
        });
        slave.expect_exit(code);
    }
    // Evicted before it has done anything: no such end.
    let good = &args[..5];
    let mut evicted = Process::start_with(dir.path(), "evicted", good, |command| {
        command.env("_CONDOR_JOB_AD", &ad);
    });
    let came = |event: &Event| matches!(event, Event::Connected { .. });
    master.await_count("it to come", 1, came);
    evicted.signal(Signal::TERM);
    evicted.expect_exit(255);
}
