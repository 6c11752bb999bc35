//! One task per packet, held against a bare ring that only echoes.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin floor
//! cargo run --release -p ringmw-benches --bin floor -- --slaves 1000 --runs 9 --json
//! ```

use std::process::ExitCode;

use clap::Parser;
use ringmw_benches::apart::{self, median, number};
use ringmw_benches::case::{self, Case, Load, Through};
use ringmw_benches::played::Cast;
use ringmw_benches::shapes::Shape;
use ringmw_benches::{bare, fleet::Slaves, machine};
use serde_json::{Value, json};

/// Holds the master's CPU per packet of one task against that of a bare ring that only echoes
///
/// Both serve the same played slaves over loopback, in turns: bare ring, ours, bare ring, and so on, each in a process
/// of its own; the first of each is a rehearsal and not counted. Told are medians, and the medians of the ratios of
/// neighbours. With several numbers of slaves, also how the cost grows from the first to the last. With one packet under
/// way to each slave ours sends none ahead; with more it does so as it is made to, up to 64.
#[derive(Parser)]
struct Opts {
    /// Numbers of played slaves
    #[arg(
        long,
        value_name = "N,..",
        value_delimiter = ',',
        default_value = "64,1000,10000"
    )]
    slaves: Vec<u32>,
    /// Rounds that count
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Packets in each measurement
    #[arg(long, value_name = "N", default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(10..))]
    packets: u64,
    /// Packets that the bare ring has under way to each slave; ours: one, or up to 64
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    outstanding: u32,
    /// What our trail tells: none, default, packets or tasks
    #[arg(long, value_name = "LEVEL", default_value = "default")]
    audit: String,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[arg(long, hide = true, value_parser = ["bare", "ours"])]
    here: Option<String>,
}

fn main() -> ExitCode {
    if let Some(code) = ringmw_benches::role() {
        return code;
    }
    let opts = Opts::parse();
    let outcome = match opts.here.as_deref() {
        Some("bare") => bare::run(
            opts.slaves[0],
            opts.outstanding,
            opts.packets,
            case::WORK_MAX,
        )
        .map(|figures| println!("{figures}"))
        .map_err(|error| format!("bare ring: {error}")),
        Some(_) => {
            println!("{}", ours(&opts));
            Ok(())
        }
        None => compare(&opts),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ours(opts: &Opts) -> Value {
    let case = Case {
        through: Through::Map,
        shape: Shape::Noop,
        group: 1,
        slaves: opts.slaves[0],
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("trail");
    let trail = (opts.audit != "none").then_some((&*file, &*opts.audit));
    let load = Load {
        slaves: Slaves::Played(Cast {
            slaves: case.slaves,
            ..Cast::default()
        }),
        prefetch: opts.outstanding > 1,
        ..Load::with(case, opts.packets)
    };
    case::run(&load, "ring", trail)
}

fn measure(what: &str, slaves: u32, opts: &Opts) -> Result<f64, String> {
    let figures = apart::run(&[
        "--here",
        what,
        "--slaves",
        &slaves.to_string(),
        "--packets",
        &opts.packets.to_string(),
        "--outstanding",
        &opts.outstanding.to_string(),
        "--audit",
        &opts.audit,
    ])?;
    Ok(number(&figures, "master_cpu_ns_per_packet"))
}

fn compare(opts: &Opts) -> Result<(), String> {
    let machine = machine::describe();
    let mut samples = vec![(Vec::new(), Vec::new()); opts.slaves.len()];
    for round in 0..=opts.runs {
        for (&slaves, (bare, ours)) in opts.slaves.iter().zip(&mut samples) {
            let figures = (
                measure("bare", slaves, opts)?,
                measure("ours", slaves, opts)?,
            );
            if round > 0 {
                bare.push(figures.0);
                ours.push(figures.1);
            }
        }
    }
    let ratios = |above: &[f64], below: &[f64]| {
        median(above.iter().zip(below).map(|(a, b)| a / b).collect())
    };
    let first = samples[0].clone();
    for (slaves, (bare, ours)) in opts.slaves.iter().zip(&samples) {
        let mut line = json!({
            "case": format!("floor-g1-s{slaves}"),
            "runs": opts.runs,
            "outstanding": opts.outstanding,
            "bare_ns_per_packet": median(bare.clone()),
            "master_cpu_ns_per_packet": median(ours.clone()),
            "cpu_ratio": ratios(ours, bare),
            "bare_growth": ratios(bare, &first.0),
            "growth": ratios(ours, &first.1),
            "load_after": machine::load(),
        });
        for (key, value) in machine.as_object().expect("an object") {
            line[key] = value.clone();
        }
        match opts.json {
            true => println!("{line}"),
            false => println!(
                "{slaves:>6} slaves: bare ring {:>6.0} ns per packet, ours {:>6.0}: {:.3} times; from {} slaves on the bare ring grows by {:.3}, ours by {:.3}",
                median(bare.clone()),
                median(ours.clone()),
                ratios(ours, bare),
                opts.slaves[0],
                ratios(bare, &first.0),
                ratios(ours, &first.1),
            ),
        }
    }
    Ok(())
}
