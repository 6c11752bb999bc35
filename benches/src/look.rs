//! A process that looks at a run over HTTP as its status page does in a browser.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ringmw_codec::resource::ResourceFile;
use serde_json::{Value, json};

/// The first argument of a process that looks; [`start`] gives it.
pub const FLAG: &str = "--look";

/// Starts a process that asks for the status every so often, from the time on at which the resource file says where.
/// What it had to wait for each answer stands in the last line of its output, once its input ends: [`wait`].
///
/// # Errors
/// When the process cannot be started.
pub fn start(file: &Path, every: Duration) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg(FLAG)
        .arg(file)
        .arg(every.as_millis().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
}

/// Ends a process that [`start`] has started: `answers`, `bytes` of the last one, and `p50_ms`, `p99_ms`, `max_ms` of
/// the wait for them.
///
/// # Errors
/// When it failed.
pub fn wait(mut child: Child) -> io::Result<Value> {
    drop(child.stdin.take());
    let output = child.wait_with_output()?;
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout)?),
        false => Err(io::Error::other(format!(
            "who looks ended with {}",
            output.status
        ))),
    }
}

/// What the process that [`start`] starts does.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(2).collect();
    match look(&args) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("who looks: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the input has ended within this time.
fn is_told_to_end(within: Duration) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdin = io::stdin();
    let wait = Timespec {
        tv_sec: within.as_secs() as i64,
        tv_nsec: within.subsec_nanos().into(),
    };
    let ready = poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&wait))?;
    Ok(ready > 0)
}

fn look(args: &[String]) -> io::Result<Value> {
    let [file, every_ms] = args else {
        return Err(io::Error::other("a file, and milliseconds"));
    };
    let every = Duration::from_millis(every_ms.parse().map_err(io::Error::other)?);
    let (host, token) = loop {
        let text = std::fs::read(file).unwrap_or_default();
        let told = ResourceFile::parse(&text).ok();
        let found = told.and_then(|told| told.status_page.zip(told.status_token));
        if let Some((page, token)) = found {
            let host = page.trim_start_matches("http://");
            let host = host.split('/').next().unwrap_or_default().to_owned();
            break (host, token);
        }
        if is_told_to_end(Duration::from_millis(10))? {
            return Err(io::Error::other(
                "the run ended before it said where it is seen",
            ));
        }
    };
    let request = format!(
        "GET /status.json HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let (mut waits, mut answer) = (Vec::new(), Vec::new());
    while !is_told_to_end(every)? {
        let begun = Instant::now();
        let Ok(mut stream) = TcpStream::connect(&host) else {
            // The run has ended.
            break;
        };
        let asked = stream.write_all(request.as_bytes());
        answer.clear();
        if asked
            .and_then(|()| stream.read_to_end(&mut answer))
            .is_err()
        {
            break;
        }
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            let head = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
            return Err(io::Error::other(head));
        }
        waits.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits.get((share * waits.len().saturating_sub(1) as f64) as usize);
    Ok(json!({
        "answers": waits.len(),
        "bytes": answer.len(),
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "max_ms": at(1.0),
    }))
}
