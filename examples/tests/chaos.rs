//! Eight slaves under a supervisor that kills, stops, evicts, restarts, cuts and holds at random, while their master
//! checks every answer. In the second story tasks kill, hang and fail beside that, one node is a black hole, and one lacks
//! a licence.
//!
//! For longer than the few seconds that it takes otherwise, and with another seed:
//!
//! ```text
//! cargo build --release -p ringmw-examples --examples
//! RINGMW_CHAOS_SECONDS=600 RINGMW_CHAOS_SEED=7 cargo test --release -p ringmw-examples --test chaos -- --nocapture
//! ```
//!
//! What the supervisor does is drawn from the seed; when the system lets it happen is not.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::audit::Event;
use ringmw_examples::{DEADLINE, Process, Signal, Stage, account};

const SLAVES: usize = 8;
const SECONDS: u64 = 4;
/// Of the second story, on each engine.
const SHORT_SECONDS: u64 = 15;
const LONG_SECONDS: u64 = 600;
/// Stops and holds last up to two and a half of it: some slaves are lost by them, others are not.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(1);

#[test]
fn chaos_on_the_ring() {
    chaos("ring");
}

#[test]
fn chaos_on_epoll() {
    chaos("epoll");
}

#[test]
fn misfortunes_on_the_ring() {
    misfortunes("ring", SHORT_SECONDS);
}

#[test]
fn misfortunes_on_epoll() {
    misfortunes("epoll", SHORT_SECONDS);
}

/// A week in small.
#[test]
#[ignore = "twenty minutes: `.ci/run chaos-all` runs it"]
fn misfortunes_for_long() {
    misfortunes("ring", LONG_SECONDS);
    misfortunes("epoll", LONG_SECONDS);
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number: {text:?}"))
    })
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_millis(self.below(longest.as_millis() as u64))
    }
}

// ---- a link that can be cut and held

/// Passes bytes on between slaves and their master, until it is told otherwise.
struct Relay {
    port: u16,
    links: Arc<Mutex<Vec<Link>>>,
}

/// One connection, seen from both sides.
struct Link {
    ends: [TcpStream; 2],
    /// Bytes to the master wait; bytes to the slave wait.
    held: [Arc<AtomicBool>; 2],
    held_until: Option<Instant>,
}

impl Relay {
    fn new(master: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let links = Arc::new(Mutex::new(Vec::new()));
        let accepted = Arc::clone(&links);
        // Both live as long as the test's process; a dialler of the last moment finds nobody behind it.
        thread::spawn(move || {
            for slave in listener.incoming() {
                let Ok(slave) = slave else { continue };
                if let Ok(master) = TcpStream::connect(("127.0.0.1", master)) {
                    accepted
                        .lock()
                        .expect("no thread panics with it")
                        .push(Link::new(slave, master));
                }
            }
        });
        Relay { port, links }
    }

    /// Lets go of what has been held for long enough, or of all.
    fn release(&self, all: bool) {
        let now = Instant::now();
        for link in self.links.lock().expect("no thread panics").iter_mut() {
            if link.held_until.is_some_and(|until| all || until <= now) {
                link.held_until = None;
                for held in &link.held {
                    held.store(false, Ordering::Relaxed);
                }
            }
        }
    }

    /// Does something to a link that is there.
    fn with_link(&self, random: &mut Random, change: impl FnOnce(&mut Link, &mut Random)) -> bool {
        let mut links = self.links.lock().expect("no thread panics with it");
        links.retain(Link::is_up);
        let Some(index) = (links.len() as u64)
            .checked_sub(1)
            .map(|last| random.below(last + 1))
        else {
            return false;
        };
        change(&mut links[index as usize], random);
        true
    }
}

impl Link {
    fn new(slave: TcpStream, master: TcpStream) -> Link {
        let held = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let copy = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
        for (from, to, held) in [(&slave, &master, &held[0]), (&master, &slave, &held[1])] {
            let (from, to, held) = (copy(from), copy(to), Arc::clone(held));
            thread::spawn(move || pass_on(from, to, &held));
        }
        Link {
            ends: [slave, master],
            held,
            held_until: None,
        }
    }

    fn is_up(&self) -> bool {
        self.ends.iter().all(|end| end.peer_addr().is_ok())
    }

    fn cut(&self) {
        for end in &self.ends {
            // It may have been closed meanwhile.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

/// Copies until either side has closed; then both have. A small buffer cuts frames everywhere.
fn pass_on(mut from: TcpStream, mut to: TcpStream, held: &AtomicBool) {
    let mut bytes = [0; 1009];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        while held.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

// ---- the supervisor

/// Where one slave after the other sits.
struct Seat {
    port: u16,
    /// Arguments of its slaves.
    args: &'static [&'static str],
    slave: Option<Process>,
    /// When its slave goes on, if it is stopped.
    stopped_until: Option<Instant>,
    /// When its next slave comes, if it is empty.
    empty_until: Instant,
    killed: bool,
    evicted: bool,
}

struct Supervisor {
    stage: Stage,
    relay: Relay,
    random: Random,
    seats: Vec<Seat>,
    /// Tasks end their slaves, in any way.
    has_deadly_tasks: bool,
    /// Seats that are left in peace: the first ones, which no link of the relay reaches either.
    in_peace: usize,
    /// Numbers of the slaves of the first seat.
    sick: Vec<u32>,
    did: BTreeMap<&'static str, u32>,
    /// Numbers of the slaves that were killed; the master must have noticed.
    killed: Vec<u32>,
}

impl Supervisor {
    fn new(
        stage: Stage,
        master: &Process,
        seed: u64,
        in_peace: usize,
        args: fn(usize) -> &'static [&'static str],
    ) -> Supervisor {
        let relay = Relay::new(master.port());
        let seats = (0..SLAVES).map(|seat| Seat {
            port: if seat % 2 == 0 {
                master.port()
            } else {
                relay.port
            },
            args: args(seat),
            slave: None,
            stopped_until: None,
            empty_until: Instant::now(),
            killed: false,
            evicted: false,
        });
        Supervisor {
            seats: seats.collect(),
            has_deadly_tasks: false,
            in_peace,
            sick: Vec::new(),
            stage,
            relay,
            random: Random(seed),
            did: BTreeMap::new(),
            killed: Vec::new(),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.did.entry(what).or_default() += 1;
    }

    /// Does something to somebody.
    fn disturb(&mut self) {
        let random = &mut self.random;
        let longest = CLIENT_TIMEOUT * 5 / 2;
        let disturbed = &mut self.seats[self.in_peace..];
        let seat = &mut disturbed[random.below(disturbed.len() as u64) as usize];
        let action = random.below(10);
        let done = match (action, &seat.slave) {
            (0..3, Some(slave)) => {
                slave.send(Signal::KILL);
                seat.killed = true;
                Some("killed")
            }
            (3, Some(slave)) => {
                slave.send(Signal::TERM);
                seat.evicted = true;
                Some("evicted")
            }
            (4..7, Some(slave)) if seat.stopped_until.is_none() => {
                slave.send(Signal::STOP);
                seat.stopped_until = Some(Instant::now() + random.up_to(longest));
                Some("stopped")
            }
            (7..9, _) => self
                .relay
                .with_link(random, |link, _| link.cut())
                .then_some("cut"),
            (9, _) => {
                let hold = |link: &mut Link, random: &mut Random| {
                    link.held_until = Some(Instant::now() + random.up_to(longest));
                    // Both ways, or one.
                    let ways = random.below(3);
                    link.held[0].store(ways != 2, Ordering::Relaxed);
                    link.held[1].store(ways != 1, Ordering::Relaxed);
                };
                self.relay.with_link(random, hold).then_some("held")
            }
            _ => None,
        };
        if let Some(done) = done {
            self.count(done);
        }
    }

    /// Continues whose time has come, takes leave of the ended and fills empty seats.
    fn mend(&mut self, all: bool) {
        let now = Instant::now();
        self.relay.release(all);
        for index in 0..SLAVES {
            let seat = &mut self.seats[index];
            if seat.stopped_until.is_some_and(|until| all || until <= now) {
                seat.stopped_until = None;
                if let Some(slave) = &mut seat.slave
                    && !slave.has_ended()
                {
                    slave.send(Signal::CONT);
                }
            }
            if seat.slave.as_mut().is_some_and(Process::has_ended) {
                self.take_leave(index, all);
            }
            let seat = &mut self.seats[index];
            if seat.slave.is_none() && seat.empty_until <= now {
                seat.slave = Some(self.stage.slave_at(seat.port, seat.args));
                (seat.killed, seat.evicted) = (false, false);
                self.count("started");
            }
        }
    }

    /// A slave has ended in a way that it had a reason for.
    fn take_leave(&mut self, index: usize, told_to_go: bool) {
        let pause = self.random.up_to(CLIENT_TIMEOUT / 2);
        let seat = &mut self.seats[index];
        let mut slave = seat.slave.take().expect("the caller saw it");
        seat.stopped_until = None;
        seat.empty_until = Instant::now() + pause;
        let end = slave.end();
        let is_deadly = self.has_deadly_tasks;
        let expected = match (end.code, end.signal) {
            (None, Some(libc::SIGSEGV | libc::SIGABRT)) if is_deadly => true,
            // Of `_exit`.
            (Some(0), _) if is_deadly => true,
            (None, Some(signal)) => {
                seat.killed && signal == Signal::KILL.as_raw()
                    // Before it had a handler.
                    || seat.evicted && signal == Signal::TERM.as_raw()
            }
            (Some(0), _) => told_to_go,
            (Some(code), _) => code == 255,
            (None, None) => false,
        };
        assert!(
            expected
                && (is_deadly || !end.stderr.contains("panicked"))
                && !end.stderr.contains("panicked at runtime/"),
            "code {:?}, signal {:?}: {}",
            end.code,
            end.signal,
            slave.describe()
        );
        let id = slave.trail().into_iter().find_map(|event| match event {
            Event::Id { slave } => Some(slave),
            _ => None,
        });
        if end.signal == Some(Signal::KILL.as_raw()) {
            self.killed.extend(id);
        }
        if index == 0 {
            self.sick.extend(id);
        }
    }

    /// Disturbs for so long and until enough has been `seen` in the trail, then lets everybody be well, and waits for the
    /// master's end: what its trail and it itself have to say.
    fn run(
        &mut self,
        master: &mut Process,
        time: Duration,
        seen: fn(&[Event]) -> bool,
        until: &Path,
    ) -> (String, String, Vec<Event>) {
        let begun = Instant::now();
        let mut next = begun;
        while begun.elapsed() < time || !seen(&master.trail()) {
            assert!(
                begun.elapsed() < time + DEADLINE,
                "it is not seen: {}",
                master.describe()
            );
            self.mend(false);
            assert!(!master.has_ended(), "{}", master.describe());
            if next <= Instant::now() {
                self.disturb();
                next = Instant::now() + self.random.up_to(Duration::from_millis(120));
            }
            // The disturber's own pace; it waits for nothing.
            thread::sleep(Duration::from_millis(5));
        }

        // From here on everybody is well.
        std::fs::write(until, "").expect("a temporary file");
        let by = Instant::now() + DEADLINE;
        while !master.has_ended() {
            assert!(
                Instant::now() < by,
                "it does not end: {}",
                master.describe()
            );
            self.mend(true);
            thread::sleep(Duration::from_millis(5));
        }
        let end = master.success();
        for index in 0..SLAVES {
            if self.seats[index].slave.is_some() {
                self.take_leave(index, true);
            }
        }
        let trail = master.trail();
        let (losses, joined) = account(&trail);
        for number in &self.killed {
            assert!(joined.contains(number), "SLAVE-{number} had its number");
        }
        let left = self.stage.running();
        assert!(left.is_empty(), "processes are left: {left:?}");
        (losses, end.lines().join("; "), trail)
    }
}

fn chaos(engine: &str) {
    let time = Duration::from_secs(from_environment("RINGMW_CHAOS_SECONDS", SECONDS));
    let seed = from_environment("RINGMW_CHAOS_SEED", 1);
    let stage = Stage::new("test-chaos").with_engine(engine);
    let until = stage.path("until");
    let timeout = CLIENT_TIMEOUT.as_secs().to_string();
    let mut master = stage.master([
        "--until",
        until.to_str().expect("a temporary path"),
        "--mw-client-timeout",
        &timeout,
        // Whoever is killed often enough had some task in its hands each time.
        "--mw-crash-limit",
        "0",
    ]);
    let mut supervisor = Supervisor::new(stage, &master, seed, 0, |_| &[]);
    let (told, lines, _) = supervisor.run(&mut master, time, |_| true, &until);
    println!(
        "{engine}, {time:?}, seed {seed}: {:?}; {told}; {lines}",
        supervisor.did
    );
}

/// The slave that is put into quarantine.
fn in_quarantine(event: &Event) -> Option<u32> {
    match event {
        Event::Quarantined { slave, .. } => *slave,
        _ => None,
    }
}

fn misfortunes(engine: &str, seconds: u64) {
    let time = Duration::from_secs(from_environment("RINGMW_CHAOS_SECONDS", seconds));
    let seed = from_environment("RINGMW_CHAOS_SEED", 1);
    let stage = Stage::new("test-misfortunes").with_engine(engine);
    let (until, failed) = (stage.path("until"), stage.path("failed"));
    let timeout = CLIENT_TIMEOUT.as_secs().to_string();
    let mut master = stage.master([
        "--until",
        until.to_str().expect("a temporary path"),
        "--mw-client-timeout",
        &timeout,
        "--mw-keep-failed",
        failed.to_str().expect("a temporary path"),
    ]);
    let args = |seat: usize| -> &'static [&'static str] {
        match seat {
            0 => &["--mw-slave-memory", "200MiB", "--sick"],
            1 => &[
                "--mw-slave-memory",
                "200MiB",
                "--mw-slave-label",
                "spare",
                "--unlicensed",
            ],
            2 | 3 => &[
                "--mw-slave-memory",
                "200MiB",
                "--mw-slave-label",
                "spare",
                "--mw-slave-label",
                "gpu",
            ],
            _ => &["--mw-slave-memory", "200MiB", "--mw-slave-label", "spare"],
        }
    };
    // The black hole lives on, and is found.
    let mut supervisor = Supervisor::new(stage, &master, seed, 1, args);
    supervisor.has_deadly_tasks = true;
    let is_found = |trail: &[Event]| trail.iter().any(|event| in_quarantine(event).is_some());
    let (told, lines, trail) = supervisor.run(&mut master, time, is_found, &until);
    println!(
        "{engine}, {time:?}, seed {seed}: {:?}; {told}; {lines}",
        supervisor.did
    );
    let in_quarantine: Vec<u32> = trail.iter().filter_map(in_quarantine).collect();
    let healthy = in_quarantine
        .iter()
        .filter(|slave| !supervisor.sick.contains(slave));
    assert_eq!(
        healthy.count(),
        0,
        "{in_quarantine:?}, and sick are {:?}",
        supervisor.sick
    );
    // What is left is what was asked for, within its bound.
    assert_eq!(supervisor.stage.files(), ["failed", "until"]);
    let kept = std::fs::read_dir(&failed).expect("it is there").count();
    assert!((1..=100).contains(&kept), "{kept} tasks are kept");
}
