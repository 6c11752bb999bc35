//! What improvements of a `Best` cost the master when thousands of slaves want to hear of them.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin best
//! cargo run --release -p ringmw-benches --bin best -- --slaves 1000 --offers 100 --json
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use ringmw::prelude::*;
use ringmw_benches::fleet::{self, Setting, Slaves};
use ringmw_benches::{apart, app, machine, meter, noop, played::Cast};
use serde_json::{Value, json};

/// Has played slaves, all busy, find improvements of one `Best`, and measures the master's share of a core, with and
/// without them
#[derive(Parser)]
struct Opts {
    /// Played slaves
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    slaves: u32,
    /// Improvements a second, all slaves together
    #[arg(long, value_name = "N", default_value_t = 100)]
    offers: u32,
    /// How long it is measured, in seconds
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    seconds: f64,
    /// The master's engine: auto, ring or epoll
    #[arg(long, default_value = "auto")]
    engine: String,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[arg(long, hide = true)]
    here: bool,
}

fn main() -> ExitCode {
    if let Some(code) = ringmw_benches::role() {
        return code;
    }
    let opts = Opts::parse();
    if opts.here {
        println!("{}", measure(&opts));
        return ExitCode::SUCCESS;
    }
    match compare(&opts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("best: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(opts: &Opts) -> Value {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("trail");
    let setting = Setting {
        slaves: Slaves::Played(Cast {
            slaves: opts.slaves,
            offers_per_s: opts.offers,
            holds: true,
            ..Cast::default()
        }),
        engine: &opts.engine,
        trail: Some((&file, "default")),
        group: 1,
        result_group: None,
        prefetch: true,
        secret: false,
    };
    let (slaves, span) = (opts.slaves, Duration::from_secs_f64(opts.seconds));
    let master = async move |mw: Master| {
        let best = mw.minimum::<u64, u64>(u64::MAX);
        fleet::connected(&mw, slaves).await;
        mw.submit_all((0..u64::from(slaves)).map(noop::task));
        while mw.traffic().packets_out < u64::from(slaves) {
            mw.poll_events().await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (from, cpu, begun) = (best.get(), meter::process_cpu(), Instant::now());
        tokio::time::sleep(span).await;
        let (cpu, wall) = (meter::process_cpu() - cpu, begun.elapsed());
        // Each is better by one.
        let improvements = from - best.get();
        mw.cancel_all();
        Ok(json!({
            "improvements_per_s": improvements as f64 / wall.as_secs_f64(),
            "master_cpu_share": cpu.as_secs_f64() / wall.as_secs_f64(),
        }))
    };
    let (mut figures, report) = fleet::run(app(), &setting, master);
    figures["told"] = report["bests"].clone();
    figures
}

fn compare(opts: &Opts) -> Result<(), String> {
    let load = machine::load();
    let run = |offers: u32| {
        let (slaves, offers) = (opts.slaves.to_string(), offers.to_string());
        let seconds = opts.seconds.to_string();
        let args = ["--here", "--slaves", &slaves, "--offers", &offers];
        apart::run(
            &[
                &args[..],
                &["--seconds", &seconds, "--engine", &opts.engine],
            ]
            .concat(),
        )
    };
    let (without, with) = (run(0)?, run(opts.offers)?);
    let share = |figures: &Value| apart::number(figures, "master_cpu_share");
    let mut line = json!({
        "case": format!("best-o{}-s{}", opts.offers, opts.slaves),
        "improvements_per_s": with["improvements_per_s"],
        "bests_told": with["told"],
        "master_cpu_share": share(&with),
        "master_cpu_share_without": share(&without),
        "best_cpu_share": share(&with) - share(&without),
    });
    for (key, value) in machine::describe().as_object().expect("an object") {
        line[key] = value.clone();
    }
    line["load"] = load.into();
    match opts.json {
        true => println!("{line}"),
        false => println!(
            "{} busy slaves, {:.0} improvements a second: {:.2} % of the master's core, {:.2} % without them (load {})",
            opts.slaves,
            apart::number(&line, "improvements_per_s"),
            100.0 * share(&with),
            100.0 * share(&without),
            line["load"],
        ),
    }
    Ok(())
}
