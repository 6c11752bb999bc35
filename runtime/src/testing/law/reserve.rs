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
            if is_lost {
                // It may be somebody else's by now.
                continue;
            }
            let here = self.slaves.get(&id);
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
