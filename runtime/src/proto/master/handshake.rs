//! How a connection becomes a slave: what it says of itself is judged, first difference first.

use std::cmp::Reverse;

use ringmw_codec::audit::{Event, StateWord};
use ringmw_codec::frame::Kind;
use ringmw_codec::handshake::{Hello, Refusal, Welcome, judge};

use super::conn::{Phase, SlaveInfo, Stop};
use super::incumbents::tell_bests;
use super::kept::CameOf;
use super::logs::LogPace;
use super::{MasterCore, trail};
use crate::proto::conn::ConnId;
use crate::proto::put;

impl MasterCore {
    pub(super) fn on_hello(&mut self, conn: ConnId, payload: &[u8]) -> Result<(), Stop> {
        let hello = match Hello::decode(payload) {
            Ok(hello) => hello,
            Err(error) => return Err(Stop::Refused(error.into(), String::new())),
        };
        let judged = judge(
            &hello,
            &self.config.member_id,
            &self.config.fingerprint,
            self.config.rules.any_build,
        );
        if let Err(refusal) = judged {
            return Err(Stop::Refused(refusal, hello.host));
        }
        let former = hello.about.comes_back_to;
        if former != 0 && former != self.config.run {
            return Err(Stop::Refused(
                Refusal::run(self.config.run, former),
                hello.host,
            ));
        }
        self.on_slave(conn, hello);
        Ok(())
    }

    pub(super) fn on_slave(&mut self, conn: ConnId, hello: Hello) {
        let (id, group) = self.sched.connect();
        if hello.about.is_watched && self.config.rules.is_crash_limit_given {
            self.sched.keep_crash_limit(id);
        }
        if !hello.about.labels.is_empty() {
            self.sched.label(id, hello.about.labels.clone());
        }
        let welcome = Welcome {
            slave: id.0,
            client_timeout_ms: self.config.rules.client_timeout / 1_000_000,
            task_packet_bytes_max: self.config.rules.sched.task_packet_bytes_max,
            result_packet_bytes_max: self.config.rules.result_packet_bytes_max,
            result_group: self.config.rules.result_group,
            checkpoint_interval_ms: self.config.rules.checkpoint_interval / 1_000_000,
            crash_limit: self.config.rules.sched.crash_limit,
            task_timeout_ms: (self.config.rules.task_timeout)
                .map_or(0, |limit| (limit / 1_000_000).max(1)),
            seed: self.config.seed,
            shared_cache_bytes: self.config.rules.shared_cache_bytes,
            run: self.config.run,
            life: self.life,
            reconnect_ms: self.config.reconnect / 1_000_000,
            log: self.config.rules.log,
            args: self.config.args.clone(),
        };
        let (awake, now, timeout) = (self.awake, self.now, self.config.rules.client_timeout);
        let bests = &self.bests;
        let state = self.conns[conn.slot()]
            .as_mut()
            .expect("its Hello has just been read");
        let info = SlaveInfo {
            address: state.peer,
            deeds: self.account.on_slave(&hello.host),
            host: hello.host,
            job: hello.job.into(),
            pid: hello.pid,
            about: hello.about,
            since: now,
            progress: None,
            log_pace: LogPace::default(),
            came_of: CameOf::default(),
        };
        let connected = Event::Connected {
            slave: id.0,
            from: state.peer.to_string(),
            host: info.host.clone(),
            job: info.job.to_string(),
            group: trail::group(group),
        };
        let (host, before) = (info.deeds.host, info.about.before.clone());
        state.phase = Phase::Slave {
            id,
            info: Box::new(info),
            told: 0,
            pushing: false,
            leaving: false,
        };
        state.heard = awake;
        self.welcomed.push(conn);
        state.due = awake + timeout;
        put(&mut state.out, Kind::Welcome, |out| welcome.encode(out));
        tell_bests(state, bests, self.config.rules.sched.task_packet_bytes_max);
        self.trail.push(connected);
        if !before.is_empty() {
            let (slave, ended) = (id.0, before);
            self.trail.push(Event::Predecessor { slave, ended });
        }
        self.trail.push(Event::State {
            slave: id.0,
            state: StateWord::Idle,
        });
        self.slots.insert(id, conn.slot() as u32);
        self.sched.on_host(id, host);
        self.tell_quarantines();
        self.deadlines.push(Reverse((awake + timeout, conn)));
        self.pending_done();
        self.mark_dirty(conn);
        if let Some(finished) = self.stopping {
            self.tell_shutdown(conn.slot(), finished);
        }
    }
}
