//! HTCondor on four hosts, which have names and addresses of their own: node1 to node4.

use std::collections::BTreeSet;

use crate::condor::{queued, wait_for_an_empty_queue};
use crate::{Dir, facts, one};

/// An `init` that fails on one host costs that host only.
#[test]
#[ignore = "needs a pool of four HTCondor hosts: `tools/tests/pools.sh` brings that up and runs it"]
fn one_bad_host_of_four_costs_that_host_only() {
    let _one = one("condor_hosts");
    let dir = Dir::new("bad", "test-picky");
    dir.submit("condor", &["--slaves", "8"], &["--tasks", "1500", "node3"]);
    wait_for_an_empty_queue(&dir);
    assert!(dir.told().contains("sum 1124250 of 1500"), "{}", dir.told());
    let trail = dir.trail();
    let hosts: BTreeSet<&str> = facts(&trail, "connected", "host").into_iter().collect();
    assert_eq!(hosts.len(), 4, "slaves come from four hosts: {hosts:?}");
    let addresses: BTreeSet<&str> = facts(&trail, "connected", "from")
        .iter()
        .filter_map(|from| Some(from.rsplit_once(':')?.0))
        .collect();
    assert_eq!(addresses.len(), 4, "{addresses:?}");
    assert!(trail.contains("no licence on node3"), "the reason is told");
}

/// The same with the overseer, which wants more slaves than the good hosts have slots: it avoids the bad one, and what died
/// there waits for another.
#[test]
#[ignore = "needs a pool of four HTCondor hosts: `tools/tests/pools.sh` brings that up and runs it"]
fn the_overseer_avoids_one_bad_host_of_four() {
    let _one = one("condor_hosts");
    let dir = Dir::new("avoid", "test-picky");
    let args = ["--mw-slaves-wanted", "11", "--tasks", "12000", "node3"];
    dir.submit("condor", &["--slaves", "0"], &args);
    let mut overseer = dir.overseer("condor", &[]);
    let code = overseer.end("the overseer", || dir.log() + &dir.told());
    let log = dir.log();
    assert_eq!(code, 0, "{log}");
    let told = dir.told();
    assert!(told.contains("sum 71994000 of 12000"), "{told}{log}");
    assert_eq!(queued(&dir), 0, "no job is left");
    let why = "slaves die at once on node3, ";
    let (before, after) = log.split_once(why).expect(&log);
    assert!(after.contains("no licence on node3"), "it says why\n{log}");
    assert!(!log.contains("slaves do not start"), "others live\n{log}");
    assert!(!log.contains(" died on node1: "), "{log}");
    // At most three at a time die there, one of each slot.
    let deaths = |log: &str| log.matches(" died on node3: ").count();
    assert!(
        deaths(after) < deaths(before).max(7),
        "it does not avoid node3\n{log}"
    );
    let file = dir.read("test-picky.rsc.overseer/slaves.sub");
    assert!(file.contains(r#"(Machine =!= "node3")"#), "{file}");
}
