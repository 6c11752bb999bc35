//! A master and its slaves on hosts of their own, as far as the network can tell: network namespaces, joined by lines
//! that lose, delay and fall silent.
//!
//! Needs root, `ip` (iproute2) and `nft` (nftables), so all are ignored unless they are asked for: `.ci/run netns` installs
//! what they need and runs them. A line is slowed by `tc netem`, or, where the kernel has none, by a token
//! bucket with a queue.
//!
//! ```text
//! namespace of the master                      namespace of a slave, one each
//! 10.77.N.1  lineN ────────── veth ────────── line  10.77.N.2
//!            input filter                     input filter
//! ```
//!
//! Packets are dropped where they come in, so that whoever sends them learns nothing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::audit::{Event, LossCause};
use ringmw_examples::{Process, Stage, account, wait_for};

/// Runs a program of the system; what it complained of if it failed.
fn run(program: &str, args: &[&str], input: &str) -> Result<(), String> {
    let described = || format!("{program} {}", args.join(" "));
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", described()))?;
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that fails early does not read it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it is our child");
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", described(), complaint.trim()))
}

fn ip(args: &str) -> Result<(), String> {
    run("ip", &args.split(' ').collect::<Vec<_>>(), "")
}

/// What befalls the packets that come in at one end of a line.
#[derive(Copy, Clone, Debug)]
enum Fault {
    None,
    /// So many of a hundred are lost.
    Loss(u32),
    /// All are.
    Cut,
    /// Those are that would begin a connection.
    Undialled,
}

/// The namespaces; they go with it.
struct Network {
    name: String,
    lines: usize,
    /// Those that are there.
    namespaces: Vec<String>,
}

impl Network {
    /// With so many lines.
    fn new(lines: usize) -> Result<Network, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut network = Network {
            name: format!("ringmw-{}-{number}", std::process::id()),
            lines,
            namespaces: Vec::new(),
        };
        network.add(network.of_master())?;
        for line in 0..lines {
            let (ours, theirs) = (network.of_master(), network.of_slave(line));
            network.add(theirs.clone())?;
            ip(&format!(
                "link add line{line} netns {ours} type veth peer name line netns {theirs}"
            ))?;
            ip(&format!(
                "-n {ours} addr add 10.77.{line}.1/24 dev line{line}"
            ))?;
            ip(&format!("-n {theirs} addr add 10.77.{line}.2/24 dev line"))?;
            ip(&format!("-n {ours} link set line{line} up"))?;
            ip(&format!("-n {theirs} link set line up"))?;
            network.filter(line, Fault::None, Fault::None)?;
        }
        Ok(network)
    }

    fn add(&mut self, namespace: String) -> Result<(), String> {
        ip(&format!("netns add {namespace}"))?;
        self.namespaces.push(namespace.clone());
        ip(&format!("-n {namespace} link set lo up"))
    }

    fn of_master(&self) -> String {
        format!("{}-master", self.name)
    }

    fn of_slave(&self, line: usize) -> String {
        format!("{}-{line}", self.name)
    }

    /// Has this befall what goes to the master, and to the slave, in place of what befell it before.
    fn filter(&self, line: usize, to_master: Fault, to_slave: Fault) -> Result<(), String> {
        for (namespace, device, fault) in [
            (self.of_master(), format!("line{line}"), to_master),
            (self.of_slave(line), "line".to_owned(), to_slave),
        ] {
            let rule = match fault {
                Fault::None => String::new(),
                Fault::Loss(percent) => {
                    format!("iifname {device} numgen random mod 100 < {percent} drop")
                }
                Fault::Cut => format!("iifname {device} drop"),
                Fault::Undialled => {
                    format!("iifname {device} tcp flags & (syn | ack) == syn drop")
                }
            };
            // In one transaction; a table must be there to be deleted.
            let rules = format!(
                "table inet {device} {{}}
                 delete table inet {device}
                 table inet {device} {{
                     chain in {{
                         type filter hook input priority 0
                         {rule}
                     }}
                 }}
                "
            );
            let args = ["netns", "exec", &namespace, "nft", "-f", "-"];
            run("ip", &args, &rules)?;
        }
        Ok(())
    }

    /// What this namespace finds in its `/etc/hosts`.
    fn hosts(&self, namespace: &str, text: &str) {
        let folder = hosts_of(namespace);
        std::fs::create_dir_all(&folder).expect("root may");
        std::fs::write(folder.join("hosts"), text).expect("root may");
    }

    fn set(&self, line: usize, to_master: Fault, to_slave: Fault) {
        self.filter(line, to_master, to_slave)
            .expect("it could be set when the line was laid");
    }

    /// Slows all lines, both ways; says how.
    fn slow(&self) -> String {
        let ends = (0..self.lines).flat_map(|line| {
            [
                (self.of_master(), format!("line{line}")),
                (self.of_slave(line), "line".to_owned()),
            ]
        });
        let mut how = String::new();
        for (namespace, device) in ends {
            let tc = |discipline: &str| {
                ip(&format!(
                    "netns exec {namespace} tc qdisc replace dev {device} root {discipline}"
                ))
            };
            how = match tc("netem delay 20ms 10ms") {
                Ok(()) => "20 ms by netem".to_owned(),
                Err(_) => {
                    tc("tbf rate 8mbit burst 4kb latency 200ms")
                        .expect("every kernel with tc has a token bucket");
                    "a queue of up to 200 ms at 8 Mbit/s, for want of netem".to_owned()
                }
            };
        }
        how
    }

    fn slave(&self, stage: &Stage, line: usize, port: u16) -> Process {
        stage.slave_in(&self.of_slave(line), &format!("10.77.{line}.1"), port)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            // Both ends of a line go with either.
            let _ = ip(&format!("netns del {namespace}"));
            let _ = std::fs::remove_dir_all(hosts_of(namespace));
        }
    }
}

/// Where `ip netns exec` looks for the namespace's own `/etc/hosts`.
fn hosts_of(namespace: &str) -> PathBuf {
    Path::new("/etc/netns").join(namespace)
}

/// Takes down what tests have left that were killed themselves.
fn sweep() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else {
        return;
    };
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let pid = name
            .strip_prefix("ringmw-")
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid: u32| !std::fs::exists(format!("/proc/{pid}")).unwrap_or(true)) {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

fn network(lines: usize) -> Network {
    Network::new(lines).unwrap_or_else(|why| panic!("no network namespaces: {why}"))
}

/// The master of a computation that goes on until [`finish`].
fn begin(network: &Network, stage: &Stage, client_timeout_s: u64) -> Process {
    let until = stage.path("until");
    stage.master_in(
        &network.of_master(),
        [
            "--until",
            until.to_str().expect("a temporary path"),
            "--mw-client-timeout",
            &client_timeout_s.to_string(),
            // Whoever is cut off often enough had some task in its hands each time.
            "--mw-crash-limit",
            "0",
            // There are few slaves.
            "--addressed",
            "1",
        ],
    )
}

/// Every answer was right and came once, as the application itself checks; the trail adds up.
fn finish(stage: &Stage, mut master: Process, slaves: &mut [Process]) -> String {
    std::fs::write(stage.path("until"), "").expect("a temporary file");
    let end = master.success();
    for slave in slaves {
        slave.success();
    }
    let (sum, _) = account(&master.trail());
    format!("{sum}; {}", end.lines().join("; "))
}

fn losses(trail: &[Event]) -> Vec<(u32, LossCause, u64)> {
    let lost = |event: &Event| match event {
        Event::Lost {
            slave,
            cause,
            recycled,
            unrunnable,
            cancelled,
            ..
        } => Some((*slave, *cause, recycled + unrunnable + cancelled)),
        _ => None,
    };
    trail.iter().filter_map(lost).collect()
}

/// Waits until this slave has given results.
fn at_work(master: &Process, number: u32) {
    master.wait_for("the slave to be at work", |trail| {
        let works = |event: &Event| matches!(event, Event::ResultsReceived { slave, .. } if *slave == number);
        trail.iter().any(works).then_some(())
    });
}

#[test]
#[ignore = "needs network namespaces: `.ci/run netns` runs it"]
fn a_bad_line_costs_time_alone_on_the_ring() {
    a_bad_line_costs_time_alone("ring");
}

#[test]
#[ignore = "needs network namespaces: `.ci/run netns` runs it"]
fn a_bad_line_costs_time_alone_on_epoll() {
    a_bad_line_costs_time_alone("epoll");
}

/// Five packets of a hundred are lost either way, the others are late.
fn a_bad_line_costs_time_alone(engine: &str) {
    const LINES: usize = 3;
    let network = network(LINES);
    let how = network.slow();
    for line in 0..LINES {
        network.set(line, Fault::Loss(5), Fault::Loss(5));
    }
    let stage = Stage::new("test-chaos").with_engine(engine);
    let master = begin(&network, &stage, 10);
    let port = master.port();
    let mut slaves: Vec<_> = (0..LINES)
        .map(|line| network.slave(&stage, line, port))
        .collect();
    // So much that hundreds of packets were lost.
    let results = |trail: &[Event]| -> u64 {
        let results = trail.iter().map(|event| match event {
            Event::ResultsReceived { results, .. } | Event::Packets { results, .. } => *results,
            _ => 0,
        });
        results.sum()
    };
    let begun = Instant::now();
    master.wait_for("many results", |trail| {
        (results(trail) >= 1_500).then_some(())
    });
    let took = begun.elapsed();
    assert_eq!(losses(&master.trail()), [], "{}", master.describe());
    let sum = finish(&stage, master, &mut slaves);
    println!("{engine}, delay: {how}; 1,500 results in {took:.1?}; {sum}");
}

#[test]
#[ignore = "needs network namespaces: `.ci/run netns` runs it"]
fn a_silent_line_is_found_at_both_ends_on_the_ring() {
    a_silent_line_is_found_at_both_ends("ring");
}

#[test]
#[ignore = "needs network namespaces: `.ci/run netns` runs it"]
fn a_silent_line_is_found_at_both_ends_on_epoll() {
    a_silent_line_is_found_at_both_ends("epoll");
}

fn a_silent_line_is_found_at_both_ends(engine: &str) {
    use Fault::{Cut, None as Well};
    const TIMEOUT: Duration = Duration::from_secs(3);
    // What goes to the master, to the slave; what the master may see.
    let rows: [(Fault, Fault, &[LossCause]); 3] = [
        (Cut, Cut, &[LossCause::Timeout]),
        // The refusal waits behind what the slave never acknowledged: it may take some of its own timeouts.
        (Cut, Well, &[LossCause::Timeout]),
        // The slave misses its acknowledgements, and goes; what it says again says nothing new to the master.
        (
            Well,
            Cut,
            &[LossCause::Timeout, LossCause::Eof, LossCause::Reset],
        ),
    ];
    const HEALTHY: usize = 3;
    let network = network(HEALTHY + 1);
    let stage = Stage::new("test-chaos").with_engine(engine);
    let master = begin(&network, &stage, TIMEOUT.as_secs());
    let port = master.port();
    let mut slaves: Vec<_> = (0..=HEALTHY)
        .map(|line| network.slave(&stage, line, port))
        .collect();
    let numbers: Vec<_> = slaves.iter().map(Process::slave_id).collect();
    for &number in &numbers {
        at_work(&master, number);
    }

    // A line that is silent for less than the timeout costs nobody.
    network.set(HEALTHY, Cut, Cut);
    thread::sleep(TIMEOUT / 3);
    network.set(HEALTHY, Well, Well);

    let cut = Instant::now();
    for (line, (to_master, to_slave, _)) in rows.into_iter().enumerate() {
        network.set(line, to_master, to_slave);
    }
    for (line, (to_master, to_slave, causes)) in rows.into_iter().enumerate() {
        let row = format!("{engine}, to the master: {to_master:?}, to the slave: {to_slave:?}");
        let end = slaves[line].end();
        let left = cut.elapsed();
        assert_eq!(end.code, Some(255), "{row}: {}", slaves[line].describe());
        assert!(left >= TIMEOUT / 2, "{row}: after {left:?}");
        let (_, cause, tasks) = wait_for(
            "the loss",
            || format!("{row}: {}", master.describe()),
            || {
                let trail = master.trail();
                losses(&trail)
                    .into_iter()
                    .find(|(slave, ..)| *slave == numbers[line])
            },
        );
        let lost = cut.elapsed();
        assert!(causes.contains(&cause), "{row}: {cause:?}");
        assert!(tasks > 0, "{row}: it had work");
        assert!(lost < 8 * TIMEOUT, "{row}: {lost:?}");
        println!(
            "{row}: the slave had left after {left:.1?} ({}), lost by {}",
            end.stderr.trim(),
            cause.word()
        );
    }

    // The lines are mended, and others come on them.
    for (line, slave) in slaves[..HEALTHY].iter_mut().enumerate() {
        network.set(line, Well, Well);
        *slave = network.slave(&stage, line, port);
    }
    for slave in &slaves[..HEALTHY] {
        at_work(&master, slave.slave_id());
    }
    assert_eq!(losses(&master.trail()).len(), rows.len());
    let sum = finish(&stage, master, &mut slaves);
    println!("{engine}: {sum}");
}

/// The master of `hello-world` listens at both addresses of its name, though each slave reaches one of them alone; and a
/// slave that finds an address of nobody's first in the name goes on to the next.
#[test]
#[ignore = "needs network namespaces: `.ci/run netns` runs it"]
fn a_host_name_is_all_its_addresses() {
    for engine in ["ring", "epoll"] {
        let network = network(2);
        let stage = Stage::new("test-chaos").with_engine(engine);
        network.hosts(&network.of_master(), "10.77.0.1 both\n10.77.1.1 both\n");
        let until = stage.path("until");
        let until = until.to_str().expect("a temporary path");
        let args = [
            "--mw-master-host",
            "both",
            "--until",
            until,
            "--addressed",
            "0",
        ];
        let master = stage.master_in(&network.of_master(), args);
        let port = master.port();
        let mut addresses = master.wait_for("its addresses", |trail| {
            trail.iter().find_map(|event| match event {
                Event::Ready { addresses, .. } => Some(addresses.clone()),
                _ => None,
            })
        });
        addresses.sort_unstable();
        assert_eq!(
            addresses,
            ["10.77.0.1", "10.77.1.1"].map(|ip| format!("{ip}:{port}"))
        );
        let mut slaves: Vec<_> = (0..2)
            .map(|line| {
                let namespace = network.of_slave(line);
                // Nobody has the first: whoever asks for it waits for seconds.
                let names = format!("10.77.{line}.9 both\n10.77.{line}.1 both\n");
                network.hosts(&namespace, &names);
                stage.slave_in(&namespace, "both", port)
            })
            .collect();
        for (line, slave) in slaves.iter().enumerate() {
            at_work(&master, slave.slave_id());
            let peer = slave.trail().into_iter().find_map(|event| match event {
                Event::MasterConnected { to, .. } => Some(to),
                _ => None,
            });
            assert_eq!(
                peer,
                Some(format!("10.77.{line}.1:{port}")),
                "{}",
                slave.describe()
            );
        }
        println!("{engine}: {}", finish(&stage, master, &mut slaves));
    }
}

/// What comes in to the master may begin no connection: no slave reaches it, and it reaches those that listen.
#[test]
#[ignore = "needs network namespaces: `.ci/run netns` runs it"]
fn a_master_that_cannot_be_reached_dials() {
    for (engine, has_secret) in [("ring", true), ("epoll", false)] {
        let network = network(1);
        network.set(0, Fault::Undialled, Fault::None);
        let stage = Stage::new("hello-world").with_engine(engine);
        let secret = stage.path("secret");
        std::fs::write(&secret, "c0ffee11".repeat(8)).expect("a temporary file");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, mode).expect("it is ours");
        let secret = [
            "--mw-secret-file",
            secret.to_str().expect("a temporary path"),
        ];
        let flags: &[&str] = if has_secret { &secret } else { &[] };
        let _slave = stage.listening(Some(&network.of_slave(0)), "10.77.0.2:0", flags);
        let address = format!("10.77.0.2:{}", _slave.port());
        // In vain.
        let mut dials = network.slave(&stage, 0, 9);
        let dials = dials.end();
        assert!(
            dials.stderr.contains("10.77.0.1:9: no answer in 10 s"),
            "{dials:?}"
        );
        let args = [&["--mw-slave-at", &address][..], flags].concat();
        let mut master = stage.master_in(&network.of_master(), args);
        assert_eq!(master.success().lines().len(), 10);
    }
}

#[test]
#[ignore = "needs network namespaces: `.ci/run netns` runs it"]
fn nothing_is_left() {
    let network = network(1);
    let namespaces = network.namespaces.clone();
    let here = |name: &String| std::fs::exists(format!("/run/netns/{name}")).expect("a folder");
    assert!(namespaces.iter().all(here));
    let failed = thread::spawn(move || {
        let _network = network;
        panic!("as a test that fails");
    });
    failed.join().expect_err("it panicked");
    assert!(!namespaces.iter().any(here), "{namespaces:?}");
}
