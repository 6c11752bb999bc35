//! The fuzz targets on the stable toolchain: the same functions over their corpus, and over mutations of it.
//!
//! `RINGMW_FUZZ_SECONDS=60 cargo test --release -p ringmw-codec --test fuzz` mutates for that long per target, from a
//! fresh seed; without it, a fixed number from a fixed one. No coverage guides it: `codec/fuzz/run.sh` does that.
//! `RINGMW_FUZZ_WRITE=1` writes the corpus anew, which is right after a format got another version.

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a crate of its own too")]
mod entry;
#[path = "support/golden.rs"]
mod golden;
#[path = "support/kept.rs"]
mod kept;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use ringmw_codec::audit::EVENTS;
use ringmw_codec::frame::put_frame;
use ringmw_codec::kinds::{Direction, FromMaster, FromObserver, FromSlave, Kind, ToObserver};

/// Mutations per target where no time is given.
const MUTATIONS: u64 = 4000;
const SEED: u64 = 1;
/// Longer inputs are cut, so that many are tried.
const INPUT_BYTES_MAX: usize = 4096;

// ---- the corpus

type Seeds = Vec<(String, Vec<u8>)>;

/// Lines of the trail with every form of fact: numbers, slaves, tasks, ranges, texts, lists, quotes, left-out facts.
const LINES: &[&str] = &[
    "MASTER init version=0.1.0 role=master member_id=default-member-id build=b1 app_version=\"\" seed=42 pid=7 host=node7",
    "MASTER ready addresses=\"10.0.0.1:99,a\\\\,b,\\\\e\"",
    "MASTER connected slave=SLAVE-17 from=10.1.7.3:4432 host=node7 job=123.4 group=unordered",
    "MASTER lost slave=SLAVE-3 from=[::1]:9 cause=timeout detail=\"no byte for 60 s\" recycled=203 tasks=TASK-4..6,TASK-9,+199 unrunnable=0 cancelled=1",
    "MASTER task-ended task=TASK-9 end=cancelled why=\"\"",
    "MASTER task-ended slave=SLAVE-1 task=TASK-9 end=done compute_us=77",
    "MASTER packets slave=SLAVE-0 span_ms=1000 packets_out=5 tasks=50 bytes_out=4096 packets_in=5 results=50 failed=0 bytes_in=4096 compute_us=9000000",
    "MASTER shutdown-begun slaves=2 finished=yes",
    "SLAVE evicted",
    r#"SLAVE-4294967295 note text="a=\"b\"\\\n\r\t\u{1b}\u{2028}é x""#,
    "SLAVE-1 note text=naïve",
    "MASTER exit code=255 reason=\"2 slaves died\"",
];

const RESOURCE_OF_OURS: &str = concat!(
    include_str!("data/cl-mw-monte-carlo-pi-in-progress.resource"),
    "; another reader's\n(:UNKNOWN (1.5e3 (nil sym) \"x\"))\n(:slaves-desired 5)(:slaves-connected 3)\n(:slaves-busy 0)\n",
    "(:master-addresses (\"10.1.0.2:4432\" \"a\\\\b\\\"c\nd\"))\n(:secret \"s\")\n(:format-version 1)\n",
);

/// What a target's corpus is made of.
fn seeds(target: &str) -> Seeds {
    let of = |is_of: &dyn Fn(Kind) -> bool| -> Seeds {
        let kinds = Kind::ALL.into_iter().filter(|kind| is_of(*kind));
        let named = kinds.flat_map(golden::payloads);
        named
            .map(|(name, bytes)| (name.to_owned(), bytes))
            .collect()
    };
    match target {
        "frames" => frame_seeds(),
        "handshake" => of(&entry::is_handshake),
        "task_batch" => of(&|kind| kind == Kind::Tasks),
        "result_batch" => of(&|kind| kind == Kind::Results),
        "control" => {
            let mut seeds = of(&entry::is_control);
            seeds.push(("task-body".to_owned(), golden::task_body()));
            seeds
        }
        "journal" => vec![("segment".to_owned(), kept::file().0)],
        "saved" => vec![
            ("state".to_owned(), kept::state().encode()),
            ("run".to_owned(), kept::run().encode()),
            ("failed".to_owned(), kept::failed().encode()),
        ],
        "secret_proof" => golden::secret()
            .into_iter()
            .filter(|(name, _)| *name != "secret-record")
            .map(|(name, bytes)| (name.to_owned(), bytes))
            .collect(),
        "secret_records" => {
            let (.., mut at_slave, _) = entry::secret_example();
            let mut stream = vec![5];
            for words in entry::SECRET_WORDS {
                at_slave.seal(&mut words.to_vec(), &mut stream);
            }
            vec![("records".to_owned(), stream)]
        }
        "audit_line" => LINES
            .iter()
            .enumerate()
            .map(|(number, line)| {
                let line = format!("1 2026-11-20T08:03:03.123456Z {line}");
                (format!("line-{number:02}"), line.into_bytes())
            })
            .collect(),
        "resource_file" => vec![
            (
                "cl-mw-finished".to_owned(),
                include_bytes!("data/cl-mw-hello-world-finished.resource").to_vec(),
            ),
            (
                "cl-mw-manual".to_owned(),
                include_bytes!("data/cl-mw-manual-listing-5.2.resource").to_vec(),
            ),
            ("ours".to_owned(), RESOURCE_OF_OURS.into()),
        ],
        unknown => unreachable!("no corpus for {unknown}"),
    }
}

/// Streams of a frame each and of all together, behind the byte and the lengths that cut them.
fn frame_seeds() -> Seeds {
    let mut all = b"\x84\x05\x00\x01\x40".to_vec();
    let mut seeds = Seeds::new();
    for kind in Kind::ALL {
        for (name, payload) in golden::payloads(kind) {
            put_frame(&mut all, kind, &payload);
            let mut one = b"\x02\x11\x03".to_vec();
            put_frame(&mut one, kind, &payload);
            seeds.push((name.to_owned(), one));
        }
    }
    seeds.push(("all".to_owned(), all));
    seeds
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target)
}

/// The files of a target's corpus, what a fuzzer found included.
fn stored(target: &str) -> Seeds {
    let dir = corpus(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Seeds = entries
        .map(|entry| {
            let path = entry.expect("a folder of ours").path();
            let name = path.file_name().expect("a file").to_string_lossy();
            (name.into_owned(), fs::read(&path).expect("a file of ours"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_corpus_is_what_the_encoders_write() {
    for (target, _) in entry::TARGETS {
        let dir = corpus(target);
        if std::env::var_os("RINGMW_FUZZ_WRITE").is_some() {
            fs::create_dir_all(&dir).expect("a folder of ours");
            for (name, bytes) in seeds(target) {
                fs::write(dir.join(name), bytes).expect("a file of ours");
            }
        }
        let stored = stored(target);
        for seed in seeds(target) {
            assert!(
                stored.contains(&seed),
                "{target}/{}: not there or not as it is encoded now",
                seed.0
            );
        }
    }
}

/// A seed that is refused at its first byte would lead a fuzzer nowhere.
#[test]
fn seeds_are_of_their_format() {
    use ringmw_codec::{audit::Line, resource::ResourceFile};
    for (name, bytes) in seeds("audit_line") {
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(
            Line::parse(&text).is_ok(),
            "{name}: {:?}",
            Line::parse(&text)
        );
    }
    for (name, bytes) in seeds("resource_file") {
        assert!(ResourceFile::parse(&bytes).is_ok(), "{name}");
    }
    for kind in Kind::ALL {
        for (name, payload) in golden::payloads(kind) {
            let error = match kind.direction() {
                Direction::ToMaster => FromSlave::read(kind, &payload).err(),
                Direction::ToSlave => FromMaster::read(kind, &payload).err(),
                Direction::OfObserver => FromObserver::read(kind, &payload).err(),
                Direction::ToObserver => ToObserver::read(kind, &payload).err(),
            };
            assert_eq!(error, None, "{name}");
        }
    }
}

// ---- the driver

/// SplitMix64: enough for mutations, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Pieces that mean something in one format or another.
const WORDS: &[&[u8]] = &[
    b"RW\x01",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x01\0\0\0\0\0\0\0",
    b"\0\x10\0\0",
    b"\\",
    b"\"",
    b"\\u{",
    b"\\e",
    b",+",
    b"..",
    b"none",
    b" ",
    b"=",
    b"(",
    b")",
    b"NIL",
    b":",
    b";",
    b"TASK-",
    b"SLAVE-",
    b"18446744073709551615",
    b"00",
    "é".as_bytes(),
    "\u{2028}".as_bytes(),
    b"\r\n",
];

/// A few changes to one of the inputs, as fuzzers make them.
fn mutated(inputs: &Seeds, random: &mut Random) -> Vec<u8> {
    let mut bytes = inputs[random.below(inputs.len())].1.clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        let until = at + random.below(bytes.len() - at + 1).min(random.below(64));
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..until)),
            4 => bytes.insert(at, random.next() as u8),
            5 => {
                let piece = bytes[at..until].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            6 => {
                let word = match EVENTS.get(random.below(2 * EVENTS.len())) {
                    Some(event) if random.below(4) == 0 => event.word.as_bytes(),
                    _ => WORDS[random.below(WORDS.len())],
                };
                let over = (at + word.len() * random.below(2)).min(bytes.len());
                bytes.splice(at..over, word.iter().copied());
            }
            _ => {
                let other = &inputs[random.below(inputs.len())].1;
                let from = random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

/// Runs the target; an input that it does not bear is kept, and told.
fn bear(target: &str, run: entry::Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
        let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("found-{target}"));
        fs::write(&found, input).expect("a temporary file");
        eprintln!(
            "{target} does not bear {} ({} bytes): {:?}",
            found.display(),
            input.len(),
            String::from_utf8_lossy(input)
        );
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn targets_bear_their_corpus_and_mutations_of_it() {
    let seconds: Option<u64> = std::env::var("RINGMW_FUZZ_SECONDS")
        .ok()
        .map(|text| text.parse().expect("RINGMW_FUZZ_SECONDS is a number"));
    let seed = seconds.map_or(SEED, |_| {
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        now.as_nanos() as u64
    });
    for (target, run) in entry::TARGETS {
        let inputs = stored(target);
        for (_, input) in &inputs {
            bear(target, run, input);
        }
        bear(target, run, b"");
        let mut random = Random(seed);
        let begun = Instant::now();
        let mut executions = 0;
        let goes_on = |executions| match seconds {
            Some(seconds) => begun.elapsed() < Duration::from_secs(seconds),
            None => executions < MUTATIONS,
        };
        while goes_on(executions) {
            bear(target, run, &mutated(&inputs, &mut random));
            executions += 1;
        }
        println!(
            "{target}: {executions} mutations in {:.1} s, seed {seed}, nothing found",
            begun.elapsed().as_secs_f64()
        );
    }
}
