//! `ringmw overseer` as a process, with slaves that are scripts on this machine and resource files written here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringmw_codec::resource::{ResourceFile, UNIVERSAL_TIME_OFFSET};
use tempfile::TempDir;

/// A loaded machine takes its time.
const DEADLINE: Duration = Duration::from_secs(90);

/// Runs until it is told to go, or the test has ended.
const STAYS: &str = "trap 'exit 0' TERM; while [ -e \"$DIR\" ]; do sleep 0.1; done";

struct Run(TempDir);

impl Run {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A slave that writes its name down and then does this; `$DIR` is this folder.
    fn slave(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        let dir = self.0.path().display();
        let text = format!("#!/bin/sh\nDIR={dir}\necho {name} >>\"$DIR/started\"\n{text}\n");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        path
    }

    /// What a master would write whose clock is off by so many seconds.
    fn write(&self, slave: &Path, desired: u64, off: i64) {
        self.write_with(slave, desired, 0, off);
    }

    /// With so many slaves connected, and busy.
    fn write_with(&self, slave: &Path, desired: u64, connected: u64, off: i64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("after 1970").as_secs() + UNIVERSAL_TIME_OFFSET;
        let file = ResourceFile {
            finished: false,
            timestamp: now.checked_add_signed(off).expect("in range"),
            member_id: "test".to_owned(),
            update_interval: 1,
            slaves_needed: desired.saturating_sub(connected),
            slave_executable: (slave.display().to_string(), Vec::new()),
            slave_arguments: Vec::new(),
            slaves_desired: Some(desired),
            slaves_connected: Some(connected),
            slaves_busy: Some(connected),
            tasks_queued: None,
            master_addresses: Vec::new(),
            format: None,
            secret: None,
            run_id: None,
            status_address: None,
            status_page: None,
            status_token: None,
        };
        let aside = self.path("aside");
        fs::write(&aside, file.write()).expect("written");
        fs::rename(&aside, self.path("app.rsc")).expect("replaced");
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringmw"));
        command
            .args(["overseer", "--interval", "1", "--resource-file"])
            .arg(self.path("app.rsc"))
            .args(options)
            .stderr(Stdio::null());
        command
    }

    fn overseer(&self, options: &[&str]) -> Overseer {
        Overseer(self.command(options).spawn().expect("it starts"))
    }

    /// When the overseer last wrote its status, by its own clock.
    fn time_of_status(&self) -> Option<jiff::Timestamp> {
        let text = fs::read_to_string(self.path("app.rsc.overseer/status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("time: "))?;
        Some(line.parse().expect("RFC 3339"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("app.rsc.overseer/overseer.log")).unwrap_or_default()
    }

    /// The names of the slaves that were started, in this order.
    fn started(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("started")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn wait_for<T>(&self, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(value) = condition() {
                return value;
            }
            assert!(Instant::now() < until, "no {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn code(&self, overseer: &mut Overseer) -> Option<i32> {
        self.wait_for("end of the overseer", || {
            overseer.0.try_wait().expect("it is ours")
        })
        .code()
    }
}

/// Ended when this is dropped; its slaves end with their folder.
struct Overseer(Child);

impl Drop for Overseer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ten hours behind was stale at the first look, and all slaves were removed.
#[test]
fn a_master_whose_clock_is_behind_gets_its_slaves() {
    let run = Run::new();
    run.write(&run.slave("slave", STAYS), 2, -36_000);
    let _overseer = run.overseer(&["--batch", "local"]);
    run.wait_for("two slaves", || (run.started().len() == 2).then_some(()));
    assert!(!run.log().contains("stale"), "{}", run.log());
}

/// An hour ahead was not stale for an hour, and then it was a success.
#[test]
fn a_file_that_nobody_writes_any_more_is_stale_whatever_its_time_says() {
    for off in [-3_600, 0, 3_600] {
        let run = Run::new();
        run.write(&run.slave("slave", STAYS), 0, off);
        let mut overseer = run.overseer(&["--batch", "local", "--stale-after", "2"]);
        assert_eq!(run.code(&mut overseer), Some(1), "{off}: {}", run.log());
        assert!(
            run.log().contains("the resource file is stale"),
            "{}",
            run.log()
        );
    }
    let run = Run::new();
    let mut overseer = run.overseer(&["--batch", "local", "--stale-after", "1"]);
    assert_eq!(run.code(&mut overseer), Some(1), "a missing one too");
    assert!(run.log().contains("no resource file"), "{}", run.log());
}

/// The wall clock of what is started with this library in `LD_PRELOAD` steps by `BY` seconds once the file `STEP` is there.
const STEPPING_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (clock == CLOCK_REALTIME && access(getenv("STEP"), F_OK) == 0) time->tv_sec += atol(getenv("BY"));
    return result;
}
"#;

/// By an hour or two, as a machine's clock does that finds a time server at last.
#[test]
fn an_overseer_whose_clock_steps_goes_on() {
    let run = Run::new();
    let (source, library) = (run.path("clock.c"), run.path("clock.so"));
    fs::write(&source, STEPPING_CLOCK).expect("written");
    let cc = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(cc.expect("the linker of Rust is there").success());
    for hours in [2, -2] {
        let run = Run::new();
        run.write(&run.slave("slave", STAYS), 2, 0);
        let child = run
            .command(&["--batch", "local", "--stale-after", "600"])
            .env("LD_PRELOAD", &library)
            .env("STEP", run.path("step"))
            .env("BY", (hours * 3_600).to_string())
            .spawn();
        let mut overseer = Overseer(child.expect("it starts"));
        run.wait_for("two slaves", || {
            run.log().contains("running 2, queued 0").then_some(())
        });
        let before = run.time_of_status().expect("it wrote one");
        fs::write(run.path("step"), "").expect("written");
        let stepped = run.wait_for("the step", || {
            let now = run.time_of_status()?;
            (now.duration_since(before).as_hours().abs() >= 1).then_some(now)
        });
        run.wait_for("turns after it", || {
            let now = run.time_of_status()?;
            (now.duration_since(stepped).as_secs() >= 3).then_some(())
        });
        assert_eq!(overseer.0.try_wait().expect("it is ours"), None);
        let log = run.log();
        assert!(
            !log.contains("stale") && !log.contains(" died on "),
            "{log}"
        );
        assert_eq!(run.started().len(), 2, "{log}");
    }
}

/// The master was built anew and started again: the overseer went on with the program of its first look.
#[test]
fn the_program_that_the_file_names_now_is_started() {
    let run = Run::new();
    run.write(
        &run.slave("old", "[ -e \"$DIR/go\" ] || sleep 0.1\nexit 3"),
        1,
        0,
    );
    let _overseer = run.overseer(&["--batch", "local"]);
    run.wait_for("the old one", || run.started().pop());
    run.write(&run.slave("new", STAYS), 1, 0);
    run.wait_for("the new one", || {
        run.started().pop().filter(|name| name == "new")
    });
}

/// `--binary /bin/true`: eight jobs every interval.
#[test]
fn a_program_that_exits_with_0_at_once_is_told_and_not_started_over_and_over() {
    let run = Run::new();
    run.write(&run.slave("slave", "echo I am no slave"), 8, 0);
    let _overseer = run.overseer(&["--batch", "local"]);
    run.wait_for("word of it", || {
        run.log()
            .contains("end at once with exit status 0")
            .then_some(())
    });
    let log = run.log();
    assert!(log.contains("I am no slave"), "its last lines\n{log}");
    assert!(log.contains("8 slaves left with exit status 0"), "{log}");
    assert_eq!(run.started().len(), 8, "{log}");
}

/// Idle slaves left, as they are told to by `--mw-slave-idle-timeout`, and others came in their place to be idle.
#[test]
fn idle_leavers_are_replaced_when_the_desire_changes() {
    let run = Run::new();
    let text = "while [ -e \"$DIR\" ] && [ ! -e \"$DIR/idle\" ]; do sleep 0.1; done";
    let slave = run.slave("slave", text);
    run.write_with(&slave, 2, 2, 0);
    let _overseer = run.overseer(&["--batch", "local", "--stale-after", "600"]);
    run.wait_for("two slaves", || (run.started().len() == 2).then_some(()));
    fs::write(run.path("idle"), "").expect("written");
    run.wait_for("word of it", || {
        run.log()
            .contains("left with exit status 0, as idle ones do")
            .then_some(())
    });
    assert_eq!(run.started().len(), 2, "{}", run.log());
    fs::remove_file(run.path("idle")).expect("it is there");
    run.write_with(&slave, 3, 2, 0);
    run.wait_for("three more", || (run.started().len() == 5).then_some(()));
}

#[test]
fn a_drain_waits_for_what_runs_and_starts_nothing() {
    let run = Run::new();
    let slave = "while [ -e \"$DIR\" ] && [ ! -e \"$DIR/go\" ]; do sleep 0.1; done\nexit 255";
    run.write(&run.slave("slave", slave), 3, 0);
    let watching = ["--batch", "local", "--stale-after", "3600"];
    let mut overseer = run.overseer(&watching);
    run.wait_for("three slaves", || (run.started().len() == 3).then_some(()));
    // Through the one that runs.
    let mut drain = run.overseer(&["--drain"]);
    run.wait_for("its word", || run.log().contains("draining").then_some(()));
    run.write(&run.path("slave"), 6, 0);
    assert_eq!(overseer.0.try_wait().expect("it is ours"), None);
    assert_eq!(drain.0.try_wait().expect("it is ours"), None);
    fs::write(run.path("go"), "").expect("written");
    assert_eq!(run.code(&mut overseer), Some(0), "{}", run.log());
    assert_eq!(run.code(&mut drain), Some(0), "{}", run.log());
    assert_eq!(run.started().len(), 3, "none was started\n{}", run.log());
    // Nobody runs that could be told.
    let mut drain = run.overseer(&["--drain"]);
    assert_eq!(run.code(&mut drain), Some(1));
    // By itself, also after one that was killed.
    fs::remove_file(run.path("go")).expect("it is there");
    let mut overseer = run.overseer(&watching);
    run.wait_for("six more", || (run.started().len() == 9).then_some(()));
    overseer.0.kill().expect("it runs");
    overseer.0.wait().expect("it ends");
    let mut drain = run.overseer(&[&watching[..], &["--drain"]].concat());
    run.wait_for("its word", || {
        (run.log().matches("draining").count() == 2).then_some(())
    });
    fs::write(run.path("go"), "").expect("written");
    assert_eq!(run.code(&mut drain), Some(0), "{}", run.log());
    assert_eq!(run.started().len(), 9, "{}", run.log());
}

/// An `ssh` that runs everything here, but for a host whose line is cut: `$DIR/cut-HOST` is there.
const FAKE_SSH: &str = r#"#!/bin/sh
while [ "$1" != -- ]; do shift; done
host=$2; shift 2
if [ -e "$DIR/cut-$host" ]; then
  echo "ssh: connect to host $host port 22: No route to host" >&2
  exit 255
fi
mkdir -p "$DIR/home" && cd "$DIR/home" && HOME="$DIR/home" exec sh -c "$*"
"#;

/// What the operator reads: that it is silent and its slaves count as running, that they count as lost, that it is back.
#[test]
fn a_host_that_is_lost_in_the_middle_is_told_and_replaced() {
    let run = Run::new();
    run.write(&run.slave("slave", STAYS), 2, 0);
    fs::create_dir(run.path("bin")).expect("a folder");
    let ssh = run.path("bin/ssh");
    fs::write(&ssh, FAKE_SSH).expect("written");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::write(
        run.path("farm"),
        "a\tslots=2\tvalid=1\nb\tslots=2\tvalid=1\n",
    )
    .expect("written");
    let path = std::env::var("PATH").expect("there is one");
    let farm = run.path("farm").display().to_string();
    let child = run
        .command(&["--batch", "ssh", "--farm", &farm, "--lost-after", "4"])
        .env("PATH", format!("{}:{path}", run.path("bin").display()))
        .env("DIR", run.path(""))
        .spawn();
    let _overseer = Overseer(child.expect("it starts"));
    run.wait_for("a slave on each", || {
        run.log().contains("running 2, queued 0").then_some(())
    });
    assert_eq!(run.started().len(), 2, "{}", run.log());
    fs::write(run.path("cut-b"), "").expect("written");
    let log = run.wait_for("another in place of the lost one", || {
        (run.started().len() == 3).then(|| run.log())
    });
    let silent =
        log.find("No route to host; its slaves, 1 when it last answered, count as running for 4 s");
    let lost = log
        .find("b has not answered for 4 s: its 1 slaves count as lost, and others start elsewhere");
    assert!(silent.is_some() && silent < lost, "{log}");
    assert_eq!(log.matches("No route to host").count(), 1, "{log}");
    fs::remove_file(run.path("cut-b")).expect("it is ours");
    run.wait_for("its return", || {
        run.log().contains("b answers again").then_some(())
    });
    assert!(!run.log().contains(" died on "), "{}", run.log());
}
