//! `ringmw audit stats` against runs in the simulated world, which knows what befell its slaves.

use std::time::Duration;

use ringmw::prelude::*;
use ringmw::testing::{Churn, World};

use crate::audit_stdin;

#[algorithm]
fn square(n: u64) -> u64 {
    n * n
}

async fn master(mw: Master, _args: Args) -> Result {
    let mut squares = mw.map((0..300).map(square::task));
    let mut sum = 0;
    while let Some(square) = squares.try_next().await? {
        sum += square;
    }
    assert_eq!(sum, 8_955_050);
    Ok(())
}

#[test]
fn simulated_runs_come_to_what_befell_them() {
    let (mut lost, mut recycled) = (0, 0);
    for seed in 0..8 {
        let app = App::new().algorithm::<square>().master(master);
        let churn = Churn::every(Duration::from_millis(300));
        let report = World::new(seed)
            .slaves(5)
            .churn(churn)
            .args(["--mw-crash-limit", "0"])
            .run(app);
        assert_eq!(report.code, 0, "seed {seed}: {report:?}");
        let summary = audit_stdin(&["stats", "--format", "json", "-"], &report.trail).json();
        let slaves = &summary["slaves"];
        let gone = slaves["disconnected_by"].as_object().expect("an object");
        let losses: u64 = gone
            .iter()
            .filter(|(cause, _)| *cause != "shutdown")
            .map(|(_, count)| count.as_u64().expect("a number"))
            .sum();
        assert_eq!(slaves["connected"], report.joined, "seed {seed}");
        assert_eq!(losses, report.lost, "seed {seed}: {gone:?}");
        assert_eq!(summary["tasks"]["recycled"], report.recycled, "seed {seed}");
        assert_eq!(summary["tasks"]["late"], report.late, "seed {seed}");
        assert_eq!(
            summary["tasks"]["given_back"], report.given_back,
            "seed {seed}"
        );
        assert_eq!(summary["seed"], seed, "seed {seed}");
        assert_eq!(summary["exit"], 0, "seed {seed}");
        assert_eq!(summary["unparsed"], 0, "seed {seed}");
        lost += report.lost;
        recycled += report.recycled;
    }
    assert!(lost > 0 && recycled > 0, "something befell them");
}
