//! One command on a slave: its process, all that it starts, and what becomes of them.
//!
//! Its processes are in the group of a *warden*, a shell that waits for the end of a pipe that the slave holds. However
//! the slave ends, by a kill even, the pipe ends with it, and the warden kills its group.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use ringmw::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// What is kept of a command's output: a little less than a packet of results takes.
const OUTPUT_BYTES_MAX: usize = (64 << 20) - (64 << 10);

/// How long a command may go on after it was told that its time is over.
const GRACE: Duration = Duration::from_millis(200);

/// How often a command that runs is asked whether anybody still wants it.
const LOOKS_APART: Duration = Duration::from_millis(50);

/// The most seconds of a time-out: a year.
const SECONDS_MAX: f64 = 365.0 * 86_400.0;

/// The code of a command that could not be started, as a shell has it.
const NOT_FOUND: i32 = 127;

/// A command.
#[wire]
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) seq: u64,
    /// The program and its arguments, or a shell's text.
    pub(super) words: Vec<Vec<u8>>,
    pub(super) shell: bool,
    /// In seconds.
    pub(super) timeout: Option<f64>,
}

/// What came of a command.
#[wire]
#[derive(Debug, Clone, Default)]
pub(super) struct Ran {
    pub(super) host: String,
    /// Seconds since 1970.
    pub(super) start: f64,
    pub(super) seconds: f64,
    /// Its code; -1 when its time was over.
    pub(super) exit: i32,
    /// The signal that ended it, or 0.
    pub(super) signal: i32,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Ran {
    /// Of a command that has no end of its own.
    pub(super) fn not_run(why: &str) -> Self {
        Ran {
            host: ":".into(),
            exit: 255,
            stderr: format!("commands: {why}\n").into(),
            ..Ran::default()
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        (self.exit, self.signal) != (0, 0)
    }

    pub(super) fn output_bytes(&self) -> usize {
        self.stdout.len() + self.stderr.len()
    }
}

/// Reads a time-out.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    let fits = seconds > 0.0 && seconds <= SECONDS_MAX;
    fits.then_some(seconds)
        .ok_or_else(|| format!("not above 0 and at most {SECONDS_MAX}"))
}

/// The process that outlives a slave by the moment that it takes to kill what the slave has started.
pub(super) struct Warden(Option<Watch>);

struct Watch {
    shell: Child,
    /// It ends with this process.
    _ends: ChildStdin,
}

impl SlaveState for Warden {
    fn init(_cx: &mut Cx) -> Result<Self> {
        Ok(Warden(None))
    }
}

impl Warden {
    /// The process group to start a command in.
    fn group(&mut self) -> io::Result<Pid> {
        let lives = |watch: &mut Watch| matches!(watch.shell.try_wait(), Ok(None));
        if !self.0.as_mut().is_some_and(lives) {
            let mut shell = Command::new("/bin/sh")
                .args(["-c", "trap '' HUP INT QUIT TERM; read -r end; kill -KILL 0"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()?;
            let _ends = shell.stdin.take().expect("it is piped");
            self.0 = Some(Watch { shell, _ends });
        }
        let shell = &self.0.as_ref().expect("it was just made").shell;
        Ok(Pid::from_child(shell))
    }

    /// Ends all that is left of a command's processes, and the warden with them.
    fn kill(&mut self) {
        if let Some(Watch { mut shell, .. }) = self.0.take() {
            // Nobody has waited for it, so that the group is its own still.
            let _ = kill_process_group(Pid::from_child(&shell), Signal::KILL);
            let _ = shell.wait();
        }
    }
}

/// Runs a command to its end, or to the end of its time.
pub(super) fn run(job: &Job, warden: &mut Warden, cx: &Cx) -> Ran {
    let begun = Instant::now();
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut ran = Ran {
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        start: since_1970.unwrap_or_default().as_secs_f64(),
        ..Ran::default()
    };
    match execute(job, warden, cx, &mut ran) {
        Ok(()) => {}
        Err(error) => {
            warden.kill();
            let program = String::from_utf8_lossy(&job.words[0]);
            let text = format!("commands: {program}: {error}\n");
            ran.stderr.extend(text.bytes());
            ran.exit = NOT_FOUND;
        }
    }
    ran.seconds = begun.elapsed().as_secs_f64();
    ran
}

fn execute(job: &Job, warden: &mut Warden, cx: &Cx, ran: &mut Ran) -> io::Result<()> {
    let words: Vec<_> = job
        .words
        .iter()
        .map(|word| OsStr::from_bytes(word))
        .collect();
    let (program, arguments) = match job.shell {
        true => (
            OsStr::new("/bin/sh"),
            [&[OsStr::new("-c")], &words[..]].concat(),
        ),
        false => (words[0], words[1..].to_vec()),
    };
    let group = warden.group()?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("PARALLEL_SEQ", job.seq.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(group.as_raw_nonzero().get())
        .spawn()?;
    let deadline = job
        .timeout
        .map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    let mut outputs = Outputs::of(&mut child)?;
    let mut told_to_go = None;
    let status = loop {
        outputs.read()?;
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let now = Instant::now();
        let over = deadline.is_some_and(|deadline| now >= deadline);
        if over && told_to_go.is_none() {
            told_to_go = Some(now);
            let _ = kill_process_group(group, Signal::TERM);
        }
        let is_stubborn = told_to_go.is_some_and(|told| now >= told + GRACE);
        if is_stubborn || cx.cancelled() || outputs.is_too_much() {
            warden.kill();
            break child.wait()?;
        }
        let left = deadline.filter(|_| !over).map(|deadline| deadline - now);
        outputs.wait(left.unwrap_or(LOOKS_APART).min(LOOKS_APART))?;
    };
    // What it has said is in the pipes; they may stay open, for what it has started and left behind.
    outputs.read()?;
    if told_to_go.is_some() {
        // What heard the signal and went on is of no use any more.
        warden.kill();
    }
    let is_too_much = outputs.is_too_much();
    (ran.stdout, ran.stderr) = (outputs.stdout.bytes, outputs.stderr.bytes);
    (ran.exit, ran.signal) = ended(status, told_to_go.is_some());
    if is_too_much {
        let text = format!(
            "commands: killed: an output above {OUTPUT_BYTES_MAX} bytes; write it to a file\n"
        );
        ran.stdout.truncate(OUTPUT_BYTES_MAX / 2);
        ran.stderr.truncate(OUTPUT_BYTES_MAX / 2 - text.len());
        ran.stderr.extend(text.bytes());
    }
    Ok(())
}

/// Code and signal as a job log has them.
fn ended(status: ExitStatus, is_over_time: bool) -> (i32, i32) {
    match is_over_time {
        true => (-1, Signal::TERM.as_raw()),
        false => (status.code().unwrap_or(0), status.signal().unwrap_or(0)),
    }
}

/// What a command says, as it comes.
struct Outputs {
    stdout: Output,
    stderr: Output,
    /// It is readable once the process has ended.
    process: Option<OwnedFd>,
}

struct Output {
    pipe: Option<OwnedFd>,
    bytes: Vec<u8>,
}

impl Outputs {
    fn of(child: &mut Child) -> io::Result<Outputs> {
        let stdout = child.stdout.take().expect("it is piped").into();
        let stderr = child.stderr.take().expect("it is piped").into();
        Ok(Outputs {
            stdout: Output::new(stdout)?,
            stderr: Output::new(stderr)?,
            process: pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok(),
        })
    }

    fn read(&mut self) -> io::Result<()> {
        self.stdout.read()?;
        self.stderr.read()
    }

    fn is_too_much(&self) -> bool {
        self.stdout.bytes.len() + self.stderr.bytes.len() > OUTPUT_BYTES_MAX
    }

    fn wait(&self, at_most: Duration) -> io::Result<()> {
        let pipes = [&self.stdout, &self.stderr]
            .into_iter()
            .filter_map(|output| output.pipe.as_ref());
        let mut fds: Vec<_> = pipes
            .chain(&self.process)
            .map(|fd| PollFd::new(fd, PollFlags::IN))
            .collect();
        let at_most = match self.process {
            Some(_) => at_most,
            // A kernel without descriptors of processes: it is asked often.
            None => at_most.min(Duration::from_millis(2)),
        };
        let at_most = Timespec {
            tv_sec: at_most.as_secs() as i64,
            tv_nsec: at_most.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&at_most)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Output {
    fn new(pipe: OwnedFd) -> io::Result<Output> {
        rustix::io::ioctl_fionbio(pipe.as_fd(), true)?;
        Ok(Output {
            pipe: Some(pipe),
            bytes: Vec::new(),
        })
    }

    /// Takes what is there.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 64 << 10];
        while let Some(pipe) = &self.pipe {
            if self.bytes.len() > OUTPUT_BYTES_MAX {
                return Ok(());
            }
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(read) => self.bytes.extend_from_slice(&buffer[..read]),
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(words: &[&str], shell: bool, timeout: Option<f64>, cx: &Cx) -> Ran {
        let words = words.iter().map(|word| word.as_bytes().into()).collect();
        run(
            &Job {
                seq: 5,
                words,
                shell,
                timeout,
            },
            &mut Warden(None),
            cx,
        )
    }

    #[test]
    fn a_command_says_what_it_says_and_how_it_ended() {
        let cx = Cx::for_test(1);
        let end = ran(&["echo $PARALLEL_SEQ; echo b >&2; exit 3"], true, None, &cx);
        assert_eq!(
            (&end.stdout[..], &end.stderr[..]),
            (&b"5\n"[..], &b"b\n"[..])
        );
        assert_eq!((end.exit, end.signal), (3, 0));
        let end = ran(&["kill -9 $$"], true, None, &cx);
        assert_eq!((end.exit, end.signal), (0, 9));
        let end = ran(&["echo", "$x  y"], false, None, &cx);
        assert_eq!((end.stdout, end.exit), (b"$x  y\n".into(), 0));
        let end = ran(&["/no/such/program"], false, None, &cx);
        assert_eq!(end.exit, NOT_FOUND);
        assert!(
            String::from_utf8(end.stderr)
                .unwrap()
                .contains("/no/such/program: No such file")
        );
    }

    /// What it leaves behind holds its pipes, and is not waited for.
    #[test]
    fn a_command_has_ended_when_its_process_has() {
        let mut warden = Warden(None);
        let job = Job {
            seq: 1,
            words: vec![b"sleep 1000 & echo $!".into()],
            shell: true,
            timeout: None,
        };
        let end = run(&job, &mut warden, &Cx::for_test(1));
        let left = Pid::from_raw(
            String::from_utf8(end.stdout)
                .unwrap()
                .trim()
                .parse()
                .unwrap(),
        );
        let left = left.unwrap();
        assert!(rustix::process::test_kill_process(left).is_ok());
        warden.kill();
        while is_running(left) {
            std::thread::yield_now();
        }
    }

    fn is_running(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        stat.is_ok_and(|stat| !stat.contains(") Z"))
    }

    #[test]
    fn all_that_a_command_has_started_ends_with_its_time() {
        let stubborn = "trap '' TERM; sleep 1000 & echo $!; while :; do sleep 1000; done";
        // Where much else runs, the shell may not have come far in so short a time.
        let mut times = (0..).map(|n| 0.05 * f64::from(1 << n));
        let left = loop {
            let end = ran(&[stubborn], true, times.next(), &Cx::for_test(1));
            assert_eq!((end.exit, end.signal), (-1, 15));
            let said = String::from_utf8(end.stdout).unwrap();
            if let Some(pid) = said.strip_suffix('\n') {
                break pid.parse().unwrap();
            }
        };
        while is_running(Pid::from_raw(left).unwrap()) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_command_that_nobody_wants_is_killed() {
        let end = ran(
            &["sleep 1000"],
            true,
            None,
            &Cx::for_test(1).with_cancelled(),
        );
        assert_eq!((end.exit, end.signal), (0, 9));
    }
}
