//! How the run does, from the core's view: counts and slaves. Who publishes it adds what the core does not know: wall
//! time, rates, what the application has not taken, the trail's messages.

use std::sync::Arc;

use ringmw_codec::status::{self, SLAVES_LISTED_MAX, STATUS_VERSION, Status};
use ringmw_sched::{AlgorithmId, Doing, Group, Nanos, SlaveId};

use super::conn::{Phase, SlaveInfo};
use super::{MasterCore, trail};

const MS: Nanos = 1_000_000;

impl MasterCore {
    /// The run as it is now. Costs the slaves and hosts that there are: a millisecond with five thousand.
    pub fn snapshot(&self) -> Status {
        let (account, sched) = (&self.account, &self.sched);
        let mut hosts: Vec<status::Host> = account
            .host
            .iter()
            .map(|host| status::Host {
                host: Arc::clone(&host.host),
                slaves: host.slaves,
                busy: 0,
                done: host.done,
                failed: host.failed,
                lost: host.lost,
                compute_ms: host.compute / MS,
            })
            .collect();
        let lists = self.slots.len() <= SLAVES_LISTED_MAX;
        let mut each = Vec::with_capacity(if lists { self.slots.len() } else { 0 });
        for (id, slot) in self.slots.sorted() {
            let Some(Some(conn)) = self.conns.get(slot as usize) else {
                continue;
            };
            let Phase::Slave { info, leaving, .. } = &conn.phase else {
                continue;
            };
            let is_busy = sched.held_by(id) > 0;
            let host = &mut hosts[info.deeds.host as usize];
            host.busy += u32::from(is_busy);
            if lists {
                let host = Arc::clone(&host.host);
                each.extend(self.slave_status(id, host, info, *leaving));
            }
        }
        hosts.sort_by(|a, b| a.host.cmp(&b.host));
        let traffic = self.traffic();
        Status {
            version: STATUS_VERSION,
            run: status::Run {
                uptime_ms: self.now / MS,
                is_leaving: self.stopping.is_some(),
                stalls: account.stalls,
                packets_out: traffic.packets_out,
                bytes_out: traffic.bytes_out,
                packets_in: traffic.packets_in,
                bytes_in: traffic.bytes_in,
                unsent_bytes: self.unsent_bytes(),
                ..status::Run::default()
            },
            tasks: self.tasks_status(),
            slaves: self.slaves_status(),
            groups: [Group::Ordered, Group::Intermingle, Group::Unordered]
                .map(|group| status::Group {
                    group: trail::group(group).word().to_owned(),
                    desired: sched.desired(group).into(),
                    here: sched.acquired(group).into(),
                })
                .into(),
            algorithms: self.algorithms_status(),
            hosts,
            each,
            losses: account
                .losses
                .iter()
                .map(|(cause, (slaves, last))| status::Loss {
                    cause: cause.word().to_owned(),
                    slaves: *slaves,
                    // The core knows no wall clock: it is told by the run's, and set by who publishes it.
                    last_us: (*last / 1_000) as i64,
                })
                .collect(),
            ..Status::default()
        }
    }

    /// What has become of the tasks so far. Costs the algorithms that there are.
    pub fn tasks_status(&self) -> status::Tasks {
        let (account, sched) = (&self.account, &self.sched);
        let (queued_bytes, queued_bytes_max) = self.queued_bytes();
        status::Tasks {
            submitted: account.sum(|tally| tally.submitted),
            queued: sched.queued(),
            running: sched.running(),
            done: account.sum(|tally| tally.done),
            failed: account.sum(|tally| tally.failed),
            unrunnable: account.sum(|tally| tally.unrunnable),
            cancelled: account.sum(|tally| tally.cancelled),
            recycled: account.recycled,
            duplicated: sched.duplicated(),
            late: self.late,
            queued_bytes,
            queued_bytes_max,
            waiting_for_nobody: sched.waits_for_nobody(),
            ..status::Tasks::default()
        }
    }

    /// How many slaves there are, should be, came and went.
    pub fn slaves_status(&self) -> status::Slaves {
        let (account, need) = (&self.account, self.need());
        status::Slaves {
            connected: need.connected,
            busy: need.busy,
            desired: need.desired,
            needed: need.needed,
            // As the times of losses.
            needed_since_us: self.missing_since.map(|since| (since / 1_000) as i64),
            came: account.came,
            lost: account.lost(),
            left: account.left,
            refused: account.refused,
            pending: self.pending_count as u64,
            quarantined: self.sched.in_quarantine() as u64,
        }
    }

    fn algorithms_status(&self) -> Vec<status::Algorithm> {
        let infos = self.config.algorithms.iter().enumerate();
        infos
            .zip(&self.account.algorithms)
            .map(|((index, info), tally)| {
                let queued = self.sched.pending(Some(AlgorithmId(index as u16)));
                status::Algorithm {
                    name: info.name.to_owned(),
                    submitted: tally.submitted,
                    queued,
                    running: tally.submitted - tally.ended() - queued,
                    done: tally.done,
                    failed: tally.failed,
                    unrunnable: tally.unrunnable,
                    cancelled: tally.cancelled,
                    rate: 0.0,
                    compute: tally.times.times(tally.compute),
                }
            })
            .collect()
    }

    fn slave_status(
        &self,
        id: SlaveId,
        host: Arc<str>,
        info: &SlaveInfo,
        leaving: bool,
    ) -> Option<status::Slave> {
        let look = self.sched.slave_look(id)?;
        let since = |at: Nanos| self.now.saturating_sub(at) / MS;
        Some(status::Slave {
            slave: id.0,
            host,
            from: info.address,
            job: Arc::clone(&info.job),
            pid: info.pid,
            group: trail::group(look.group).word().into(),
            state: match look.doing {
                _ if leaving => status::Doing::Leaving,
                _ if look.held_back => status::Doing::Behind,
                Doing::Idle => status::Doing::Idle,
                Doing::Busy => status::Doing::Busy,
                Doing::Moving => status::Doing::Moving,
            },
            age_ms: since(info.since),
            held: look.held as u32,
            first_ms: look.first.map_or(0, |(_, at)| since(at)),
            done: info.deeds.done,
            failed: info.deeds.failed,
            compute_ms: info.deeds.compute / MS,
            progress: self.progress_of(id).map(|told| status::Progress {
                task: told.task,
                done: told.done,
                total: told.total,
            }),
            quarantined: self.quarantined(id),
        })
    }
}
