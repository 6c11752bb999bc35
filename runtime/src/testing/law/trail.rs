//! What the trail says: every loss has its cause, its charge and its line, and silence was silence.

use ringmw_codec::audit::{Event, LossCause};
use ringmw_sched::{Death, Departure, SlaveId};

use crate::proto::HANDSHAKE_TIMEOUT;
use crate::testing::coverage::Happening;
use crate::testing::law::Law;
use crate::testing::law::tables::Phase;

impl Law {
    /// A line of the trail, read as soon as its facts are taken.
    pub(in crate::testing) fn on_line(&mut self, event: &Event) {
        match event {
            Event::Lost {
                slave,
                cause,
                detail,
                recycled,
                ..
            } => {
                let id = SlaveId(*slave);
                if detail.starts_with("It does not read") {
                    self.on_unread(id);
                } else if self.lenient
                    && *cause == LossCause::Protocol
                    && self.slaves.contains_key(&id)
                {
                    // A lie that only the user's own types show.
                    let conn = self.slaves[&id].conn;
                    self.on_offence(conn);
                }
                if *cause == LossCause::Timeout {
                    self.on_timeout(id, detail);
                }
                let gone = self
                    .gone
                    .get_mut(&id)
                    .unwrap_or_else(|| panic!("{id} is lost without a cause: {cause:?} {detail}"));
                assert!(
                    !std::mem::replace(&mut gone.said, true),
                    "{id} is lost twice"
                );
                if !self.lenient {
                    assert_eq!(gone.recycled, *recycled, "tasks of {id} are recycled");
                }
                let crash = matches!(
                    cause,
                    LossCause::Eof | LossCause::Reset | LossCause::Timeout
                );
                assert_eq!(gone.excused, !crash, "{id}: {cause:?}");
                // A task of the typed handle may be one that is not retried, and then nobody is charged with it.
                if !self.lenient {
                    assert_eq!(
                        gone.charged, None,
                        "{id} leaves an announced task uncharged"
                    );
                }
            }
            Event::Disconnected { slave, .. } => {
                let id = SlaveId(*slave);
                if !self.gone.contains_key(&id) {
                    let state = &self.conns[&self.slaves[&id].conn];
                    let dribbles = state.frame_since.is_some_and(|since| since < state.heard);
                    self.on_timeout(id, if dribbles { "A frame" } else { "No byte" });
                }
                let gone = self.gone.get_mut(&id).expect("it left");
                assert!(gone.excused && !std::mem::replace(&mut gone.said, true));
            }
            Event::Charged {
                slave,
                task,
                crashes,
                ..
            } => {
                let id = SlaveId(*slave);
                if !self.gone.contains_key(&id) {
                    // Silence is judged by the core alone; the line of its loss comes right after this one.
                    let conn = self.slaves[&id].conn;
                    self.see(conn, Happening::Silence);
                    self.lose_by(conn, Departure::Crashed, Death::Silence);
                }
                let gone = self.gone.get_mut(&id).expect("just lost");
                assert_eq!(
                    gone.charged.take(),
                    Some(*task),
                    "{id} is charged for TASK-{task}"
                );
                assert_eq!(self.tasks[task].crashes, *crashes, "crashes of TASK-{task}");
                self.coverage.charged();
            }
            Event::Rejected { from, reason } if reason.contains("10 s") => {
                let found = self.conns.iter().find(|(_, state)| state.peer == *from);
                let (&conn, state) = found.expect("it connected");
                let old = self.awake - state.since;
                assert!(
                    self.caught_up && old >= HANDSHAKE_TIMEOUT,
                    "a handshake is given up after {} ms",
                    old / 1_000_000
                );
                self.see(conn, Happening::Silence);
                self.conns.get_mut(&conn).expect("just found").phase = Phase::Dropped;
            }
            _ => self.on_quarantine(event),
        }
    }

    /// A slave is judged by silence: it must have been silent.
    fn on_timeout(&mut self, id: SlaveId, detail: &str) {
        let conn = match (self.slaves.get(&id), self.gone.get(&id)) {
            (Some(slave), _) => slave.conn,
            (None, Some(gone)) => gone.conn,
            (None, None) => panic!("{id} is unknown"),
        };
        let state = &self.conns[&conn];
        let dribbles = detail.starts_with("A frame");
        let since = match dribbles {
            true => state.frame_since.expect("a frame has begun"),
            false => state.heard,
        };
        let silence = self.awake - since;
        assert!(self.caught_up, "{id} is judged before all was taken");
        assert!(
            silence >= self.config.rules.client_timeout,
            "{id} is judged by {detail} after {} ms",
            silence / 1_000_000
        );
        if self.slaves.contains_key(&id) {
            let happening = if dribbles {
                Happening::Dribble
            } else {
                Happening::Silence
            };
            self.see(conn, happening);
            self.lose_by(conn, Departure::Crashed, Death::Silence);
        }
    }
}
