//! Reservations: each has a slave of its own in the ordered group until that is gone; none is kept that nobody has.

use std::collections::BTreeSet;

use ringmw_sched::{Group, SlaveId};

use crate::proto::master::MasterCore;
use crate::testing::law::Law;

impl Law {
    /// What the application knows of its reservations: the slave, and whether it is told that it is lost.
    pub(in crate::testing) fn check_reserved(
        &self,
        looks: &[(Option<SlaveId>, bool)],
        core: &MasterCore,
    ) {
        let mut seen = BTreeSet::new();
        let (mut waiting, mut held) = (0, 0);
        for &(slave, is_lost) in looks {
            let Some(id) = slave else {
                waiting += 1;
                continue;
            };
            let here = self.slaves.get(&id);
            if is_lost {
                let is_freed =
                    here.is_some_and(|slave| slave.freed || !slave.group.takes_ordered());
                assert!(
                    here.is_none() || is_freed,
                    "{id} is told as lost, and is reserved"
                );
                continue;
            }
            held += 1;
            let slave =
                here.unwrap_or_else(|| panic!("{id} is gone, and its reservation is not told"));
            assert_eq!(slave.group, Group::Ordered, "{id} is reserved");
            assert!(seen.insert(id), "{id} is reserved twice");
        }
        assert_eq!(
            core.sched().reservations(),
            (waiting, held),
            "reservations that wait, and that have a slave"
        );
    }
}
