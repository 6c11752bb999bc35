//! Shared data: a slave wants what a task in its hands names, and is sent just that, byte for byte, once, behind everything
//! else; of what nobody can read any more the tasks are unrunnable.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringmw_codec::frame::Kind;
use ringmw_codec::shared::{Blob, BlobName, Want};
use ringmw_sched::{Reason, SlaveId};

use crate::io::engine::ConnId;
use crate::proto::blob::{WINDOW_BYTES, name_of};
use crate::proto::slave::Here;
use crate::testing::coverage::Must;
use crate::testing::law::Law;
use crate::testing::law::tables::Place;

/// The most pieces of one turn.
const PIECES_MAX: u64 = 16;

/// A cache in which nothing is ever dropped.
const AMPLE_BYTES: u64 = 1 << 29;

/// What a slave has asked for and not been sent.
struct Ask {
    name: BlobName,
    at: u64,
    to: u64,
}

#[derive(Default)]
pub(super) struct SharedData {
    contents: BTreeMap<BlobName, Vec<u8>>,
    /// What each task names.
    mentions: BTreeMap<u64, Vec<BlobName>>,
    asks: BTreeMap<ConnId, VecDeque<Ask>>,
    /// What has come to a slave to the last byte.
    had: BTreeMap<ConnId, BTreeSet<BlobName>>,
    /// Whose line in the trail has not been read.
    unsaid: VecDeque<(SlaveId, BlobName)>,
    /// Pieces of this turn.
    pieces: u64,
    /// Who was sent some, from then on nothing else in this turn.
    behind: Vec<ConnId>,
    /// Times that something was sent to the last byte, in the whole run.
    sent: u64,
}

impl Law {
    pub(super) fn begin_pieces(&mut self) {
        self.shared.pieces = 0;
        self.shared.behind.clear();
    }

    /// The application shares this.
    pub(in crate::testing) fn on_share(&mut self, bytes: &[u8]) {
        let name = name_of(bytes);
        self.shared.contents.insert(name, bytes.to_vec());
    }

    /// A slave that has all of `here` has asked for these, from their first bytes on, before or while the last of it came.
    pub(in crate::testing) fn on_wanted(
        &mut self,
        conn: ConnId,
        wanted: &[BlobName],
        here: impl Iterator<Item = BlobName>,
    ) {
        let is_ample = self.config.rules.shared_cache_bytes >= AMPLE_BYTES;
        let had = self.shared.had.entry(conn).or_default();
        for name in wanted {
            assert!(
                !is_ample || !had.contains(name),
                "the slave on {conn} wants {name} again, and has room for all"
            );
        }
        had.extend(here);
    }

    /// A task begins with this: all that it names, to the last byte.
    pub(in crate::testing) fn on_given(&self, seq: u64, here: &[Here]) {
        let named = self.shared.mentions.get(&seq).into_iter().flatten();
        for name in named {
            let given = here.iter().find(|(given, _)| given == name);
            assert!(
                given.is_some_and(|(_, bytes)| **bytes == self.shared.contents[name]),
                "TASK-{seq} begins without all of {name}, which it names"
            );
        }
    }

    /// A task names it.
    pub(in crate::testing) fn on_mentions(&mut self, seq: u64, names: Vec<BlobName>) {
        self.shared.mentions.insert(seq, names);
    }

    /// Nobody can read it any more, and it has not been shared anew: tasks that name it are unrunnable.
    pub(in crate::testing) fn on_gone(&mut self, name: BlobName) {
        let names = |seq: &u64| {
            let mentions = self.shared.mentions.get(seq);
            mentions.is_some_and(|names| names.contains(&name))
        };
        let live = self
            .tasks
            .iter()
            .filter(|(_, task)| task.place != Place::Ended);
        let gone: Vec<u64> = live.map(|(seq, _)| *seq).filter(names).collect();
        for seq in gone {
            self.end_shared_gone(seq);
        }
    }

    /// A task has been submitted that names what is gone.
    pub(in crate::testing) fn on_submit_gone(&mut self, seq: u64) {
        if self.tasks[&seq].place != Place::Ended {
            self.end_shared_gone(seq);
        }
    }

    fn end_shared_gone(&mut self, seq: u64) {
        if let Place::Held(id) = self.tasks[&seq].place {
            self.drop_twin(seq, id);
            self.withdraw(id, seq);
        }
        self.end(seq, Must::Unrunnable(Reason::SharedGone));
    }

    pub(super) fn on_want(&mut self, conn: ConnId, id: SlaveId, payload: &[u8]) -> bool {
        let Ok(want) = Want::decode(payload) else {
            return false;
        };
        if self.lenient {
            return true;
        }
        let shared = &mut self.shared;
        let bytes = shared.contents[&want.name].len() as u64;
        assert!(want.to <= bytes, "{id} wants byte {} of {bytes}", want.to);
        let more = want.to - want.from;
        assert!(more <= WINDOW_BYTES, "{id} wants {more} bytes at once");
        let is_named = self.slaves[&id].hands.iter().any(|(seq, _)| {
            let names = shared.mentions.get(seq);
            names.is_some_and(|names| names.contains(&want.name))
        });
        // A liar may have answered its task, and goes on as if it had not.
        assert!(
            is_named || self.liars.contains(&conn),
            "{id} wants {} for no task: it has {:?}",
            want.name,
            self.slaves[&id].hands
        );
        let asks = shared.asks.entry(conn).or_default();
        match asks.back_mut() {
            Some(ask) if ask.name == want.name && ask.to == want.from => ask.to = want.to,
            _ => {
                assert_eq!(want.from, 0, "{id} wants {} from the middle on", want.name);
                asks.push_back(Ask {
                    name: want.name,
                    at: want.from,
                    to: want.to,
                });
            }
        }
        true
    }

    /// Nothing goes out behind a piece.
    pub(super) fn check_behind(&mut self, conn: ConnId, kind: Kind) {
        let is_behind = kind != Kind::Blob && self.shared.behind.contains(&conn);
        assert!(
            !is_behind,
            "{kind:?} waits behind a piece of shared data to {conn}"
        );
    }

    pub(super) fn on_piece(&mut self, conn: ConnId, id: SlaveId, payload: &[u8]) {
        let piece = Blob::decode(payload).expect("the master's own");
        let shared = &mut self.shared;
        shared.pieces += 1;
        assert!(
            shared.pieces <= PIECES_MAX,
            "{} pieces in one turn",
            shared.pieces
        );
        shared.behind.push(conn);
        self.check_piece_room(conn);
        if self.lenient {
            return;
        }
        let shared = &mut self.shared;
        let asks = shared.asks.entry(conn).or_default();
        let to = piece.from + piece.bytes.len() as u64;
        // What it asked for before may have been nobody's any more, and then was passed over.
        let is_this = |ask: &Ask| ask.name == piece.name && ask.at == piece.from && to <= ask.to;
        let at = asks.iter().position(is_this);
        let at = at.unwrap_or_else(|| panic!("{id} is sent what it has not asked for: {piece:?}"));
        asks.drain(..at);
        asks[0].at = to;
        let content = &shared.contents[&piece.name];
        assert_eq!(
            &content[piece.from as usize..to as usize],
            piece.bytes,
            "{id} is sent another content of {}",
            piece.name
        );
        if to == content.len() as u64 {
            asks.pop_front();
            shared.unsaid.push_back((id, piece.name));
            shared.sent += 1;
        }
    }

    pub(super) fn on_shared_line(&mut self, id: SlaveId, name: &str, bytes: u64) {
        if self.lenient {
            return;
        }
        let content = self.shared.contents.iter();
        let mut content = content.filter(|(known, _)| known.to_string() == name);
        assert!(
            content.any(|(_, content)| content.len() as u64 == bytes),
            "{id} is said to have been sent {bytes} bytes of {name}"
        );
        let unsaid = &mut self.shared.unsaid;
        let at = unsaid
            .iter()
            .position(|(to, known)| *to == id && known.to_string() == name);
        let at = at.unwrap_or_else(|| panic!("{id} was not sent {name}"));
        unsaid.remove(at);
    }

    pub(super) fn close_shared(&mut self, conn: ConnId) {
        self.shared.asks.remove(&conn);
        self.shared.had.remove(&conn);
    }

    /// Times that a slave was sent something to the last byte.
    pub(in crate::testing) fn shared_whole(&self) -> u64 {
        self.shared.sent
    }
}
