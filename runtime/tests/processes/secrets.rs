//! Where the secret stands, and what somebody sees who listens on the line.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use ringmw_codec::audit::Event;
use ringmw_codec::frame::{FRAME_VERSION, Kind, MAGIC};
use ringmw_codec::resource::ResourceFile;

use crate::app::{dir, printed};
use crate::process::Process;
use crate::support::until;

/// What all slaves said that go through it, and what they were told.
type Recording = Arc<Mutex<[Vec<u8>; 2]>>;

/// Stands between: records what goes from one to the other.
fn record(address: &str) -> (String, Recording) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let (recording, address) = (Recording::default(), address.to_owned());
    let seen = Arc::clone(&recording);
    thread::spawn(move || {
        for slave in listener.incoming() {
            let (Ok(slave), Ok(master)) = (slave, TcpStream::connect(&address)) else {
                return;
            };
            let way_up = (slave.try_clone().unwrap(), master.try_clone().unwrap());
            for (direction, (mut from, mut to)) in [way_up, (master, slave)].into_iter().enumerate()
            {
                let seen = Arc::clone(&seen);
                thread::spawn(move || {
                    let mut buffer = vec![0; 1 << 16];
                    while let Ok(read) = from.read(&mut buffer)
                        && read > 0
                    {
                        seen.lock().unwrap()[direction].extend_from_slice(&buffer[..read]);
                        if to.write_all(&buffer[..read]).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    (at, recording)
}

fn has(bytes: &[u8], marker: &[u8]) -> bool {
    bytes.windows(marker.len()).any(|window| window == marker)
}

/// A run whose slave dials through somebody who records; what was recorded, and the secret.
fn recorded(dir: &Path, flags: &[&str], printed: &str) -> ([Vec<u8>; 2], Option<String>) {
    let file = dir.join("resource");
    let path = file.to_str().unwrap();
    // The user's arguments travel with the welcome.
    let args = ["--mw-resource-file", path, "--tasks", "40", "MARKER"];
    let mut master = Process::master(dir, &[&args[..], flags].concat());
    let address = master.address();
    until("the resource file", || std::fs::metadata(&file).ok());
    let resource = ResourceFile::parse(&std::fs::read(&file).unwrap()).unwrap();
    let (at, recording) = record(&address);
    let (host, port) = at.rsplit_once(':').unwrap();
    let slave = [
        "--mw-slave",
        "--mw-resource-file",
        path,
        "--mw-master-host",
        host,
        "--mw-master-port",
        port,
    ];
    let mut slave = Process::start(dir, "slave", &slave);
    master.expect_exit(0);
    slave.expect_exit(0);
    assert_eq!(master.stdout(), printed);
    let recorded = recording.lock().unwrap().clone();
    (recorded, resource.secret)
}

/// How each frame of a kind begins, up to its length. A few bytes alone would be in what is sealed by chance, once in some
/// hundreds of runs.
const fn begin(kind: Kind) -> [u8; 8] {
    let [first, second] = MAGIC;
    [first, second, FRAME_VERSION, kind as u8, 0, 0, 0, 0]
}

/// What each run has in plain of each direction: what tasks are, what they are given, and what comes of them.
const SAID: &[&[u8]] = &[&begin(Kind::Results), b"square"];
const TOLD: &[&[u8]] = &[&begin(Kind::Tasks), b"MARKER"];
const GIVEN: &[u8] = &[7; 40];
const RETURNED: &[u8] = &[39; 40];

/// A run, and what of it is seen of what its slaves said and were told.
struct Played<'a> {
    flags: &'a [&'a str],
    printed: &'a str,
    said: &'a [&'a [u8]],
    told: &'a [&'a [u8]],
}

pub(crate) fn nothing_goes_in_plain(engine: &str) {
    // With ballast of sevens each, and with results of which each is one number many times.
    let squares = printed(40);
    let runs = [
        Played {
            flags: &["--ballast", "100"],
            printed: &squares,
            said: SAID,
            told: &[TOLD, &[GIVEN]].concat(),
        },
        Played {
            flags: &["--swell", "100"],
            printed: "40 came, 0 did not\n",
            said: &[SAID, &[RETURNED]].concat(),
            told: TOLD,
        },
    ];
    for played in &runs {
        let run = |more: &[&str]| {
            let dir = dir();
            let flags = [&["--mw-engine", engine], played.flags, more].concat();
            recorded(dir.path(), &flags, played.printed)
        };
        let (plain, secret) = run(&["--mw-no-secret"]);
        assert_eq!(secret, None);
        let (sealed, secret) = run(&[]);
        let secret = secret.expect("by default it has one");
        let digit = |at: usize| u8::from_str_radix(&secret[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..secret.len()).step_by(2).map(digit).collect();
        let markers = [played.said, played.told];
        for ((plain, sealed), markers) in plain.iter().zip(&sealed).zip(markers) {
            assert!(sealed.len() > plain.len(), "as much was said");
            for marker in markers {
                assert!(
                    has(plain, marker),
                    "without a secret it is seen: {marker:?}"
                );
                assert!(!has(sealed, marker), "{marker:?} goes in plain");
            }
            assert!(!has(sealed, secret.as_bytes()) && !has(sealed, &bytes));
        }
    }
}

pub(crate) fn the_secret_stands_nowhere_else() {
    let dir = dir();
    let file = dir.path().join("resource");
    let over = dir.path().join("over");
    // An old one that all could read, and a umask that takes nothing.
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    let mut master = Process::master(
        dir.path(),
        &[
            "--mw-resource-file",
            file.to_str().unwrap(),
            "--nap",
            "1",
            "--until",
            over.to_str().unwrap(),
        ],
    );
    let parsed = || ResourceFile::parse(&std::fs::read(&file).ok()?).ok();
    let secret = until("the resource file", || parsed()?.secret);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let finds = ["--mw-slave", "--mw-resource-file", file.to_str().unwrap()];
    let mut node = Process::start(
        dir.path(),
        "node",
        &[&finds[..], &["--mw-slave-count", "2"]].concat(),
    );
    let told = ["--mw-slave", "--mw-secret-file", file.to_str().unwrap()];
    let address = master.address();
    let (host, port) = address.rsplit_once(':').unwrap();
    let at = ["--mw-master-host", host, "--mw-master-port", port];
    let mut parent = Process::start(
        dir.path(),
        "parent",
        &[&told[..], &at, &["--mw-slave-count", "2"]].concat(),
    );
    // What it prints is among the files that are searched.
    let asks = [&told[..], &["--mw-help", "all"]].concat();
    Process::start(dir.path(), "help", &asks).expect_exit(0);
    let connected = |event: &Event| matches!(event, Event::Connected { .. });
    master.await_count("all slaves", 4, connected);
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        for what in ["cmdline", "environ"] {
            let text = std::fs::read(process.path().join(what)).unwrap_or_default();
            assert!(!has(&text, secret.as_bytes()), "{what} of {process:?}");
        }
    }
    std::fs::write(&over, "").unwrap();
    master.expect_exit(0);
    node.expect_exit(0);
    parent.expect_exit(0);
    assert_eq!(parsed().unwrap().secret, None, "a finished run has none");
    for entry in std::fs::read_dir(dir.path()).unwrap().flatten() {
        let text = std::fs::read(entry.path()).unwrap_or_default();
        assert!(!has(&text, secret.as_bytes()), "{entry:?}");
    }
}
