//! The cores that ship, in a world where everything goes wrong, one seed at a time.
//!
//! | command | runs |
//! |---|---|
//! | `cargo test --test sim` | a fixed set of seeds and a fresh handful |
//! | `RINGMW_SEEDS=100000 cargo test --release --test sim` | as many as asked, on all cores, and tells the rate |
//! | `RINGMW_SEED=17 cargo test --test sim -- --nocapture` | seed 17 alone, with a transcript |

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ringmw::testing::{Coverage, Storm, storm};

/// Seeds of every run; the coverage is asserted over them.
const FIXED: u64 = 300;
/// Fresh ones beside them.
const FRESH: u64 = 20;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    )
}

/// Sums over many seeds.
#[derive(Default)]
struct Sums {
    seeds: u64,
    turns: u64,
    tasks: u64,
    begun: u64,
    late: u64,
    slaves: u64,
    faults: u64,
    coverage: Coverage,
}

impl Sums {
    fn add(&mut self, storm: &Storm) {
        self.seeds += 1;
        self.turns += storm.turns;
        self.tasks += storm.tasks;
        self.begun += storm.begun;
        self.late += storm.late;
        self.slaves += storm.slaves;
        self.faults += storm.faults;
        self.coverage.add(&storm.coverage);
    }
}

/// One seed; what broke, if something did.
fn run(seed: u64) -> Result<Storm, String> {
    catch_unwind(AssertUnwindSafe(|| storm(seed, false))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    })
}

/// Runs these seeds on all cores.
fn run_all(seeds: &[u64]) -> Sums {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(0);
    let (sums, failures) = (Mutex::new(Sums::default()), Mutex::new(Vec::new()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failures.lock().unwrap().len() < 3
                    && let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                {
                    match run(seed) {
                        Ok(storm) => sums.lock().unwrap().add(&storm),
                        Err(text) => failures.lock().unwrap().push((seed, text)),
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    for (seed, text) in &failures {
        println!(
            "seed {seed}: {text}\n  replay: RINGMW_SEED={seed} cargo test -p ringmw --test sim -- --nocapture"
        );
    }
    let sums = sums.into_inner().unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} seeds in {seconds:.1} s, {:.0} a second: {} turns, {} tasks submitted, {} begun, {} late results, {} slaves, {} faults",
        sums.seeds,
        sums.seeds as f64 / seconds,
        sums.turns,
        sums.tasks,
        sums.begun,
        sums.late,
        sums.slaves,
        sums.faults,
    );
    assert!(
        failures.is_empty(),
        "seed {}: {}",
        failures[0].0,
        failures[0].1
    );
    sums
}

#[test]
fn the_cores_keep_the_law() {
    if let Some(seed) = number("RINGMW_SEED") {
        println!("{:#?}", storm(seed, true));
        return;
    }
    let mut seeds: Vec<u64> = (0..number("RINGMW_SEEDS").unwrap_or(FIXED)).collect();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let fresh = now.as_nanos() as u64 >> 10;
    seeds.extend((0..FRESH).map(|nth| fresh.wrapping_add(nth) | 1 << 40));
    let sums = run_all(&seeds);
    println!("{}", sums.coverage);
    let coverage = &sums.coverage;
    assert_eq!(
        coverage.pairs_missing(),
        [],
        "pairs that can happen and were not seen"
    );
    assert_eq!(
        coverage.pairs_impossible(),
        [],
        "pairs that cannot happen and were seen"
    );
    assert_eq!(coverage.ends_missing(), [""; 0], "ends that were not seen");
}
