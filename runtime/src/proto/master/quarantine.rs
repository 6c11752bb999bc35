//! Slaves and hosts in quarantine, as trail, status and those who ask hear of them. Who is, the scheduler decides.

use std::sync::Arc;

use ringmw_codec::audit::Event;
use ringmw_sched::{Quarantine, SlaveId, Suspect, Ward};

use super::MasterCore;

impl MasterCore {
    #[inline]
    pub(super) fn tell_quarantines(&mut self) {
        if self.sched.has_quarantine_news() {
            self.tell_quarantines_of(None);
        }
    }

    /// As [`tell_quarantines`](Self::tell_quarantines), where this slave has just gone from that host.
    pub(super) fn tell_quarantines_of(&mut self, gone: Option<(SlaveId, Arc<str>)>) {
        while let Some(news) = self.sched.poll_quarantine() {
            let event = self.quarantine_event(news, gone.as_ref());
            self.trail.push(event);
        }
    }

    fn quarantine_event(&self, news: Quarantine, gone: Option<&(SlaveId, Arc<str>)>) -> Event {
        let algorithm = self.config.info(news.algorithm).name.to_owned();
        let (slave, host) = match news.who {
            Suspect::Slave(id) => {
                let gone = gone.filter(|(slave, _)| *slave == id).map(|gone| &*gone.1);
                let host = || self.slave(id).map(|(info, _)| &*info.host);
                (
                    Some(id.0),
                    gone.or_else(host).unwrap_or_default().to_owned(),
                )
            }
            Suspect::Host(host) => (None, self.account.host[host as usize].host.to_string()),
        };
        match news.ward {
            Ward::Begun { own, others, pause } => Event::Quarantined {
                slave,
                host,
                algorithm,
                failed: own.failed,
                of: own.all,
                others_failed: others.failed,
                others_of: others.all,
                pause_ms: pause / 1_000_000,
            },
            Ward::Prolonged { pause } => Event::QuarantineProlonged {
                slave,
                host,
                algorithm,
                pause_ms: pause / 1_000_000,
            },
            Ward::Over { healed } => Event::QuarantineOver {
                slave,
                host,
                algorithm,
                healed,
            },
        }
    }

    /// The algorithms of which a slave gets no unordered tasks, for the status.
    pub(super) fn quarantined(&self, slave: SlaveId) -> Vec<Arc<str>> {
        let wards = self.sched.wards(slave).into_iter();
        wards
            .map(|(algorithm, ..)| self.config.info(algorithm).name.into())
            .collect()
    }

    /// Why a slave gets no tasks of some algorithms, a line each.
    pub(super) fn why_quarantined(&self, slave: SlaveId) -> Vec<String> {
        let wards = self.sched.wards(slave).into_iter();
        let line = |(algorithm, since, again, is_host): (_, _, u64, _)| {
            let whose = if is_host { "its host's" } else { "its" };
            let again = match again.checked_sub(self.now) {
                None | Some(0) => "one is tried when it is idle".to_owned(),
                Some(left) => format!("one is tried in {}", super::why::duration(left)),
            };
            format!(
                "in quarantine for {}: {whose} tasks of {} fail and succeed elsewhere, so it gets none of them; {again} \
                 (--mw-quarantine)",
                self.ago(since),
                self.config.info(algorithm).name
            )
        };
        wards.map(line).collect()
    }
}
