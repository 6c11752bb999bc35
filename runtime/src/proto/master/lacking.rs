//! Tasks that need labels which no connected slave has are said: when that is so, and once more when it has lasted.

use ringmw_codec::audit::Event;
use ringmw_sched::{Lack, Nanos};

use super::MasterCore;
use crate::proto::SECOND;

/// Between two looks.
const LOOK: Nanos = SECOND;
/// Said again after so long.
const LASTED: Nanos = 60 * SECOND;
/// Sets of labels that are remembered, and so the most lines in this time.
const REMEMBERED_MAX: usize = 64;

/// What is lacking, as it was last seen.
#[derive(Default)]
pub(super) struct Lacking {
    next_look: Nanos,
    seen: Vec<Seen>,
}

struct Seen {
    needs: Vec<String>,
    since: Nanos,
    /// Lines about it so far.
    said: u32,
}

impl MasterCore {
    /// Looks, if it is time. What is met by the next look was a moment, as slaves come and go; without any slave there is
    /// nothing to say of labels.
    pub(crate) fn say_lacking(&mut self) {
        if self.now < self.lacking.next_look {
            return;
        }
        self.lacking.next_look = self.now + LOOK;
        let is_met = !self.sched.has_needy() || self.slots.is_empty() || self.stopping.is_some();
        if is_met {
            self.lacking.seen.clear();
            return;
        }
        let lacks = self.sched.lacks();
        let seen = &mut self.lacking.seen;
        seen.retain(|seen| lacks.iter().any(|lack| lack.needs == seen.needs));
        for Lack { needs, tasks } in lacks {
            let Some(of) = seen.iter_mut().find(|seen| seen.needs == needs) else {
                if seen.len() < REMEMBERED_MAX {
                    let (since, said) = (self.now, 0);
                    seen.push(Seen { needs, since, said });
                }
                continue;
            };
            let lasted = self.now - of.since;
            if of.said == 0 || (of.said == 1 && lasted >= LASTED) {
                of.said += 1;
                let since_s = lasted / SECOND;
                self.trail.push(Event::Waiting {
                    tasks,
                    needs: Some(needs.join(" ")),
                    since_s: Some(since_s),
                });
            }
        }
    }
}
