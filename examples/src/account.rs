//! What the audit trail of a master must add up to.

use std::collections::{BTreeMap, BTreeSet};

use ringmw_codec::audit::{Event, GroupWord};

/// Holds a master's whole trail to the law: whoever joined has left, once, and what it was given has come back, was given
/// up, or was taken back.
///
/// Gives a line that sums it up, and the numbers of those who joined.
///
/// # Panics
/// When it is not so, or when the trail is incomplete.
pub fn account(trail: &[Event]) -> (String, BTreeSet<u32>) {
    #[derive(Default)]
    struct Slave {
        ends: u32,
        lost: bool,
        given: u64,
        back: u64,
        /// It had tasks of its own; so many ended with it, of which some may never have been given.
        addressed: bool,
        unrunnable: u64,
    }
    let mut slaves: BTreeMap<u32, Slave> = BTreeMap::new();
    let mut causes: BTreeMap<&str, u32> = BTreeMap::new();
    let (mut recycled_all, mut late) = (0, 0);
    for event in trail {
        match event {
            Event::Connected { slave, group, .. } => {
                let fresh = Slave {
                    addressed: *group != GroupWord::Unordered,
                    ..Slave::default()
                };
                let before = slaves.insert(*slave, fresh);
                assert!(before.is_none(), "SLAVE-{slave} joined twice");
            }
            Event::Group { slave, to, .. } => {
                let slave = slaves.get_mut(slave).expect("it joined");
                slave.addressed |= *to != GroupWord::Unordered;
            }
            Event::TasksSent { slave, tasks, .. } => {
                slaves.get_mut(slave).expect("it joined").given += tasks;
            }
            Event::ResultsReceived { slave, results, .. } => {
                slaves.get_mut(slave).expect("it joined").back += results;
            }
            Event::Packets {
                slave,
                tasks,
                results,
                ..
            } => {
                let slave = slaves.get_mut(slave).expect("it joined");
                slave.given += tasks;
                slave.back += results;
            }
            Event::Returned { slave, count, .. } => {
                slaves.get_mut(slave).expect("it joined").back += count;
            }
            Event::Late { results, .. } => late += results,
            Event::Lost {
                slave,
                cause,
                recycled,
                unrunnable,
                cancelled,
                ..
            } => {
                *causes.entry(cause.word()).or_default() += 1;
                recycled_all += recycled;
                let slave = slaves.get_mut(slave).expect("it joined");
                slave.ends += 1;
                slave.lost = true;
                slave.unrunnable = *unrunnable;
                slave.back += recycled + unrunnable + cancelled;
            }
            Event::Disconnected { slave, .. } => {
                slaves.get_mut(slave).expect("it joined").ends += 1;
            }
            Event::Offence { reason, .. } => panic!("nobody lies here: {reason}"),
            Event::Dropped { lines, .. } => panic!("{lines} lines of the trail are missing"),
            _ => {}
        }
    }
    for (number, slave) in &slaves {
        assert_eq!(slave.ends, 1, "ends of SLAVE-{number}");
        let not_given = if slave.addressed { slave.unrunnable } else { 0 };
        assert!(
            (slave.given..=slave.given + not_given).contains(&slave.back),
            "tasks of SLAVE-{number}: {} given, {} back; lost: {}, late in all: {late}",
            slave.given,
            slave.back,
            slave.lost
        );
    }
    let line = format!(
        "{} joined, lost {causes:?}, {recycled_all} tasks recycled, {late} late",
        slaves.len()
    );
    (line, slaves.into_keys().collect())
}
