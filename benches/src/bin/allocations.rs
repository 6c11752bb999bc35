//! How often the master's thread allocates in the steady state.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin allocations
//! cargo run --release -p ringmw-benches --bin allocations -- --case noop-g100-s64 --json
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::process::ExitCode;

use clap::Parser;
use ringmw_benches::case::{self, Case, Load};

/// Counts what the threads that ask for it allocate.
struct Counting;

thread_local! {
    static COUNTS: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

fn count(bytes: usize) {
    // A thread that is ending has no counts any more; nobody asks for them either.
    let _ = COUNTS.try_with(|counts| {
        if let Some((times, sum)) = counts.get() {
            counts.set(Some((times + 1, sum + bytes as u64)));
        }
    });
}

// SAFETY: the system's allocator does all the work; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as for `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes.saturating_sub(layout.size()));
        // SAFETY: as for `alloc`.
        unsafe { System.realloc(block, layout, bytes) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as for `alloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts allocations (reallocations too) of the master's thread in cases of the throughput benchmark, from the first
/// tenth of the tasks on
#[derive(Parser)]
struct Opts {
    /// A case of the throughput benchmark [default: group 1, 100, 1000 and auto with 2 and 64 slaves, through map and queue]
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Tasks in each case
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..))]
    tasks: u64,
    /// The master's engine: auto, ring or epoll
    #[arg(long, default_value = "auto")]
    engine: String,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    if let Some(code) = ringmw_benches::role() {
        return code;
    }
    let opts = Opts::parse();
    let cases: Vec<Case> = match &opts.case {
        None => Case::all()
            .into_iter()
            .filter(|case| [2, 64].contains(&case.slaves) && case.group != 10)
            .collect(),
        Some(name) => match Case::named(name) {
            Some(case) => vec![case],
            None => {
                eprintln!("allocations: there is no case {name}; see throughput --help");
                return ExitCode::from(2);
            }
        },
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    for case in cases {
        let file = folder.path().join(case.name());
        COUNTS.set(Some((0, 0)));
        let trail = Some((&*file, "default"));
        let load = Load {
            allocated: &|| COUNTS.get().expect("this thread counts"),
            ..Load::with(case, opts.tasks)
        };
        let mut line = case::run(&load, &opts.engine, trail);
        let per = |key: &str, of: &str| {
            let of = line[of].as_f64().expect("a number");
            line[key].as_f64().expect("a number") / of
        };
        let per_task = per("allocations", "tasks");
        let per_packet = per_task * line["tasks_per_packet"].as_f64().expect("a number");
        let bytes = per("allocated_bytes", "tasks");
        line["allocations_per_task"] = per_task.into();
        line["allocations_per_packet"] = per_packet.into();
        line["allocated_bytes_per_task"] = bytes.into();
        match opts.json {
            true => println!("{line}"),
            false => println!(
                "{:<23} {per_task:>8.4} allocations per task, {per_packet:>8.2} per packet, {bytes:>7.1} bytes per task",
                case.name()
            ),
        }
    }
    ExitCode::SUCCESS
}
