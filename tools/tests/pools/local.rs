//! Processes of this machine.

use crate::stories::{self, Waves, cannot_start};
use crate::{Dir, facts, one, signal, slave_pids};

/// The arguments of a master of `waves` on the loopback.
pub(crate) const WAVES: [&str; 6] = [
    "--mw-master-host",
    "127.0.0.1",
    "--mw-resource-file-update-interval",
    "5",
    "--seconds",
    "10",
];

#[test]
#[ignore = "needs programs of its own: `tools/tests/pools.sh` brings that up and runs it"]
fn ping() {
    let _one = one("local");
    stories::ping_by_overseer(&Dir::new("local-ping", "ping"), "local", &[], "fork.");
}

#[test]
#[ignore = "needs programs of its own: `tools/tests/pools.sh` brings that up and runs it"]
fn waves_with_the_overseer() {
    let _one = one("local");
    let dir = Dir::new("local-waves", "waves");
    let master = dir.master(&WAVES);
    let hurt = |trail: &str| {
        assert_eq!(facts(trail, "init", "pid").len(), 1);
        for pid in slave_pids(&dir.0).iter().take(3) {
            signal(pid, "KILL");
        }
    };
    let story = Waves {
        system: "local",
        options: &[],
        left: &|| slave_pids(&dir.0).len(),
        hurt: &hurt,
    };
    stories::waves(&dir, Some(master), &story);
}

#[test]
#[ignore = "needs programs of its own: `tools/tests/pools.sh` brings that up and runs it"]
fn a_slave_that_cannot_start() {
    let _one = one("local");
    cannot_start("local", &[], &|_| {});
}
