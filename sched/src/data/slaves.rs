//! The table of connected slaves, and who of them stands in which line.
//!
//! | from | to | when |
//! |---|---|---|
//! | idle | busy | tasks were handed out |
//! | busy | idle | its hands are empty |
//! | busy | wanted | unordered, and ordered or intermingle fall short: it gets no more work |
//! | wanted | busy | the shortage is over |
//! | wanted | idle | its hands are empty; it moves at once |
//! | busy | leaving | `free_slave`: it gets no more work |
//! | leaving | idle | its hands are empty; it is unordered now |
//! | idle | idle | it moves to another group |
//!
//! One that is held back keeps its status and gets no work: idle it stands behind those that may be served, busy it gets
//! no packet ahead of time. One in quarantine stands there too, and its own tasks go on.

use crate::data::hands::{Asked, Hands};
use crate::data::labels::{LabelSet, Labels};
use crate::data::line::Line;
use crate::data::list::{Linked, Links, List};
use crate::data::slave_map::SlaveMap;
use crate::ids::{Group, Nanos, Needs, SlaveId};

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Status {
    Idle,
    Busy,
    Wanted,
    Leaving,
}

/// Which links of a slave: the line of its group and status, or one of the lines that depend on what it has.
const LINE: usize = 0;
const OWN_FLOWS: usize = 1;
const OWN_QUEUE: usize = 2;
const ROOM: usize = 3;
const LADEN: usize = 4;
const SHORT: usize = 5;
const AHEAD_FLOWS: usize = 6;
const AHEAD_QUEUE: usize = 7;
const LINES: usize = 8;

#[derive(Clone, Debug)]
pub(crate) struct Slave {
    pub(crate) id: SlaveId,
    pub(crate) group: Group,
    pub(crate) status: Status,
    /// When it went idle, in turns; the lines of idle slaves are merged by it.
    pub(crate) idle_since: u64,
    /// It gets no work for now, whatever its status.
    pub(crate) held_back: bool,
    /// It is in quarantine: unordered tasks are not for it as they are for others.
    pub(crate) barred: bool,
    /// It may be bad: it gets unordered tasks one by one, and none ahead of time.
    pub(crate) suspect: bool,
    /// It is busy and gets no more work, since a reservation waits for a slave with such labels.
    pub(crate) promised: Option<Needs>,
    pub(crate) labels: LabelSet,
    /// Its loss does not lower the crash limit.
    pub(crate) keeps_limit: bool,
    pub(crate) hands: Hands,
    /// Tasks bound to it.
    pub(crate) own: Line,
    links: [Links; LINES],
    /// Whether it stands in each of the lines but the first.
    stands: Stands,
}

/// A bit for each line.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
struct Stands(u8);

impl Stands {
    const NOWHERE: Stands = Stands(0);

    #[inline]
    fn with(self, line: usize, stands: bool) -> Stands {
        Stands(self.0 | (u8::from(stands) << line))
    }

    #[inline]
    fn has(self, line: usize) -> bool {
        self.0 & (1 << line) != 0
    }
}

/// The slots, each free ones an empty option.
#[derive(Clone, Debug)]
struct Table(Vec<Option<Slave>>);

impl Table {
    #[inline]
    fn get(&self, at: u32) -> &Slave {
        self.0[at as usize]
            .as_ref()
            .expect("only connected slaves are referred to")
    }

    #[inline]
    fn get_mut(&mut self, at: u32) -> &mut Slave {
        self.0[at as usize]
            .as_mut()
            .expect("only connected slaves are referred to")
    }
}

/// The table seen through one of the links.
struct By<'a, const LINKS: usize>(&'a mut Table);

impl<const LINKS: usize> Linked for By<'_, LINKS> {
    #[inline]
    fn links(&self, at: u32) -> Links {
        self.0.get(at).links[LINKS]
    }

    #[inline]
    fn links_mut(&mut self, at: u32) -> &mut Links {
        &mut self.0.get_mut(at).links[LINKS]
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Slaves {
    table: Table,
    labels: Labels,
    free: Vec<u32>,
    index: SlaveMap,
    members: [u32; 3],
    turn: u64,
    /// Idle slaves by group, the one that was served least recently first.
    idle: [List; 3],
    /// Idle slaves that are held back or in quarantine, by group.
    idle_held_back: [List; 3],
    /// Busy unordered slaves, which can be marked as wanted.
    busy: List,
    /// Unordered slaves that get no more work and move when their hands are empty.
    wanted: List,
    /// Idle slaves with tasks of their own whose end goes to a flow, in the order in which that came about.
    own_flows: List,
    /// The same for those whose end goes to the queue.
    own_queue: List,
    /// Busy slaves that run unordered tasks and have one packet in hand, in the order in which that came about.
    room: List,
    /// Slaves with tasks that could be taken back, the one that was handed a packet least recently first.
    laden: List,
    /// Busy slaves that run unordered tasks and have more than one packet in hand, but no more than `short_tasks`
    /// tasks, the one that was handed a packet or passed over least recently first.
    short: List,
    /// Busy slaves that may get a packet of their own tasks ahead, some of whose end goes to a flow.
    ahead_flows: List,
    /// The same for those whose end goes to the queue.
    ahead_queue: List,
    short_tasks: u32,
    prefetch: bool,
    /// How many are promised to reservations.
    promised: u32,
    /// How many were asked to give tasks back and have not answered.
    asked: u32,
}

impl Slaves {
    /// A slave may have several packets ahead with at most `short_tasks` tasks in hand, and one at all if `prefetch`.
    pub(crate) fn new(short_tasks: u32, prefetch: bool) -> Self {
        Slaves {
            table: Table(Vec::new()),
            labels: Labels::default(),
            free: Vec::new(),
            index: SlaveMap::default(),
            members: [0; 3],
            turn: 0,
            idle: [List::EMPTY; 3],
            idle_held_back: [List::EMPTY; 3],
            busy: List::EMPTY,
            wanted: List::EMPTY,
            own_flows: List::EMPTY,
            own_queue: List::EMPTY,
            room: List::EMPTY,
            laden: List::EMPTY,
            short: List::EMPTY,
            ahead_flows: List::EMPTY,
            ahead_queue: List::EMPTY,
            short_tasks,
            prefetch,
            promised: 0,
            asked: 0,
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// How many hold something.
    pub(crate) fn busy_len(&self) -> usize {
        self.len()
            - self
                .idle
                .iter()
                .chain(&self.idle_held_back)
                .map(|line| line.len() as usize)
                .sum::<usize>()
    }

    pub(crate) fn wanted_len(&self) -> u32 {
        self.wanted.len()
    }

    #[inline]
    pub(crate) fn members(&self, group: Group) -> u32 {
        self.members[group as usize]
    }

    /// How many run unordered tasks.
    #[inline]
    pub(crate) fn takers(&self) -> u32 {
        self.members(Group::Intermingle) + self.members(Group::Unordered)
    }

    #[inline]
    pub(crate) fn find(&self, id: SlaveId) -> Option<u32> {
        self.index.get(id)
    }

    #[inline]
    pub(crate) fn get(&self, at: u32) -> &Slave {
        self.table.get(at)
    }

    #[inline]
    pub(crate) fn hands(&self, at: u32) -> &Hands {
        &self.table.get(at).hands
    }

    #[inline]
    pub(crate) fn hands_mut(&mut self, at: u32) -> &mut Hands {
        &mut self.table.get_mut(at).hands
    }

    /// A busy slave. What is changed in it, [`on_hands_changed`](Self::on_hands_changed) sees to afterwards.
    #[inline]
    pub(crate) fn busy_mut(&mut self, at: u32) -> &mut Slave {
        let slave = self.table.get_mut(at);
        debug_assert_eq!(slave.status, Status::Busy);
        slave
    }

    /// Changes the line of its own tasks, then sees to the lines that depend on it.
    #[inline]
    pub(crate) fn change_own<R>(&mut self, at: u32, change: impl FnOnce(&mut Line) -> R) -> R {
        let result = change(&mut self.table.get_mut(at).own);
        self.see_to_lines(at);
        result
    }

    /// A packet is handed out: what goes into its hands next belongs to it.
    #[inline]
    pub(crate) fn begin_packet(&mut self, at: u32, now: Nanos) {
        let slave = self.table.get_mut(at);
        slave.hands.begin_packet(now);
        let stands = slave.stands;
        if stands.has(LADEN) {
            to_back::<LADEN>(&mut self.laden, &mut self.table, at);
        }
        if stands.has(SHORT) {
            self.pass_over(at);
        }
        if stands.has(AHEAD_FLOWS) {
            to_back::<AHEAD_FLOWS>(&mut self.ahead_flows, &mut self.table, at);
        }
        if stands.has(AHEAD_QUEUE) {
            to_back::<AHEAD_QUEUE>(&mut self.ahead_queue, &mut self.table, at);
        }
    }

    /// It stands behind the others with little in hand.
    #[inline]
    pub(crate) fn pass_over(&mut self, at: u32) {
        to_back::<SHORT>(&mut self.short, &mut self.table, at);
    }

    /// Busy slaves that may get a packet of their own tasks ahead, the one that was served or passed over least recently
    /// first: of tasks whose end goes to the queue, or of others.
    #[inline]
    pub(crate) fn first_with_own_ahead(&self, of_queue: bool) -> Option<u32> {
        match of_queue {
            false => self.ahead_flows.front(),
            true => self.ahead_queue.front(),
        }
    }

    /// It stands behind the others of that line.
    pub(crate) fn pass_over_own(&mut self, at: u32, of_queue: bool) {
        match of_queue {
            false => to_back::<AHEAD_FLOWS>(&mut self.ahead_flows, &mut self.table, at),
            true => to_back::<AHEAD_QUEUE>(&mut self.ahead_queue, &mut self.table, at),
        }
    }

    /// How many slaves may get a packet of their own tasks ahead.
    #[inline]
    pub(crate) fn with_own_ahead(&self, of_queue: bool) -> u32 {
        match of_queue {
            false => self.ahead_flows.len(),
            true => self.ahead_queue.len(),
        }
    }

    /// What it holds has changed. Constant time, and next to nothing where no line depends on it.
    #[inline]
    pub(crate) fn on_hands_changed(&mut self, at: u32) {
        self.see_to_lines(at);
    }

    /// It was asked to give tasks back, or has answered, or is lost.
    pub(crate) fn set_asked(&mut self, at: u32, asked: Asked) {
        let hands = &mut self.table.get_mut(at).hands;
        let was = std::mem::replace(&mut hands.asked, asked);
        self.asked += u32::from(asked == Asked::Waiting);
        self.asked -= u32::from(was == Asked::Waiting);
        self.see_to_lines(at);
    }

    /// How many were asked to give tasks back and have not answered.
    pub(crate) fn asked(&self) -> u32 {
        self.asked
    }

    /// How many idle slaves run unordered tasks and may be served.
    #[inline]
    pub(crate) fn idle_takers(&self) -> u32 {
        self.idle[Group::Intermingle as usize].len() + self.idle[Group::Unordered as usize].len()
    }

    /// The first busy slave that may have its next packet in hand before it is through with this one.
    #[inline]
    pub(crate) fn first_with_room(&self) -> Option<u32> {
        self.room.front()
    }

    /// Whether packets are so small that a slave may have several ahead.
    #[inline]
    pub(crate) fn may_have_several(&self) -> bool {
        self.short_tasks > 0
    }

    /// The first busy slave that has more than one packet in hand, and little in them.
    #[inline]
    pub(crate) fn first_with_little(&self) -> Option<u32> {
        self.short.front()
    }

    /// The slave to take tasks back from.
    pub(crate) fn first_laden(&self) -> Option<u32> {
        self.laden.front()
    }

    /// The idle slave of a group that is served next; where none may be served, one that is held back.
    pub(crate) fn first_idle(&self, group: Group) -> Option<u32> {
        let group = group as usize;
        let held_back = || self.idle_held_back[group].front();
        self.idle[group].front().or_else(held_back)
    }

    pub(crate) fn first_busy(&self) -> Option<u32> {
        self.busy.front()
    }

    pub(crate) fn last_wanted(&self) -> Option<u32> {
        self.wanted.back()
    }

    /// The first idle slave that has tasks of its own.
    #[inline]
    pub(crate) fn first_with_own(&self, hold_queue: bool) -> Option<u32> {
        self.own_flows.front().or_else(|| {
            if hold_queue {
                None
            } else {
                self.own_queue.front()
            }
        })
    }

    /// The idle slave served least recently of those that run unordered tasks.
    #[inline]
    pub(crate) fn first_for_unordered(&self) -> Option<u32> {
        match (
            self.idle[Group::Intermingle as usize].front(),
            self.idle[Group::Unordered as usize].front(),
        ) {
            (Some(a), Some(b)) => Some(if self.get(a).idle_since < self.get(b).idle_since {
                a
            } else {
                b
            }),
            (a, b) => a.or(b),
        }
    }

    pub(crate) fn keep_limit(&mut self, at: u32) {
        self.table.get_mut(at).keeps_limit = true;
    }

    pub(crate) fn add(&mut self, id: SlaveId, group: Group) -> u32 {
        let slave = Slave {
            id,
            group,
            status: Status::Idle,
            idle_since: 0,
            held_back: false,
            barred: false,
            suspect: false,
            promised: None,
            labels: 0,
            keeps_limit: false,
            hands: Hands::default(),
            own: Line::EMPTY,
            links: [Links::NONE; LINES],
            stands: Stands::NOWHERE,
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.table.0.push(None);
            self.table.0.len() as u32 - 1
        });
        self.table.0[at as usize] = Some(slave);
        self.index.insert(id, at);
        self.enter(at);
        at
    }

    pub(crate) fn remove(&mut self, at: u32) -> Slave {
        self.leave(at);
        self.asked -= u32::from(self.hands(at).asked == Asked::Waiting);
        self.promised -= u32::from(self.get(at).promised.is_some());
        let slave = self.table.0[at as usize]
            .take()
            .expect("a slave is lost once");
        self.index.remove(slave.id);
        self.labels.give_back(slave.labels);
        self.free.push(at);
        slave
    }

    /// Moves a slave to the lines where its group and status put it. The one place where these change; everything that
    /// follows from them follows here.
    pub(crate) fn line_up(&mut self, at: u32, group: Group, status: Status) {
        let slave = self.table.get(at);
        let from = (slave.group, slave.status);
        debug_assert!(
            is_transition(from, (group, status)),
            "{from:?} to {:?}",
            (group, status)
        );
        self.leave(at);
        let slave = self.table.get_mut(at);
        (slave.group, slave.status) = (group, status);
        if (from.1, status) == (Status::Wanted, Status::Busy) {
            // Where it came from, as if it had never been marked.
            self.members[group as usize] += 1;
            self.busy.push_front(&mut By::<LINE>(&mut self.table), at);
            self.see_to_lines(at);
        } else {
            self.enter(at);
        }
    }

    /// How many are promised to reservations.
    pub(crate) fn promised(&self) -> u32 {
        self.promised
    }

    /// It is to be a reservation's that needs such labels, once its hands are empty; or not.
    pub(crate) fn set_promised(&mut self, at: u32, promised: Option<Needs>) {
        let was = std::mem::replace(&mut self.table.get_mut(at).promised, promised);
        self.promised += u32::from(promised.is_some());
        self.promised -= u32::from(was.is_some());
        self.see_to_lines(at);
    }

    /// The idle unordered slave that meets these needs and was served least recently.
    pub(crate) fn first_unordered_with(&self, needs: Needs) -> Option<u32> {
        let mut idle = self.labels.idle(needs);
        idle.find(|&at| self.get(at).group == Group::Unordered)
    }

    /// It gets no work from here on, or does again.
    pub(crate) fn set_held_back(&mut self, at: u32, held_back: bool) {
        let was = self.table.get(at).held_back;
        self.set_apart(at, was != held_back, |slave| slave.held_back = held_back);
    }

    /// It is in quarantine from here on, or is not.
    pub(crate) fn set_barred(&mut self, at: u32, barred: bool) {
        let was = self.table.get(at).barred;
        self.set_apart(at, was != barred, |slave| slave.barred = barred);
    }

    /// It gets unordered tasks one by one, or as others do.
    pub(crate) fn set_suspect(&mut self, at: u32, suspect: bool) {
        self.table.get_mut(at).suspect = suspect;
        self.see_to_lines(at);
    }

    /// Changes what decides in which line it stands while it is idle.
    fn set_apart(&mut self, at: u32, is_change: bool, set: impl FnOnce(&mut Slave)) {
        if self.table.get(at).status == Status::Idle && is_change {
            self.leave(at);
            set(self.table.get_mut(at));
            self.enter(at);
        } else {
            set(self.table.get_mut(at));
            self.see_to_lines(at);
        }
    }

    fn enter(&mut self, at: u32) {
        let slave = self.table.get_mut(at);
        if slave.status == Status::Idle {
            slave.idle_since = self.turn;
            self.turn += 1;
        }
        let (group, status) = (slave.group, slave.status);
        let held_back = slave.is_apart();
        self.members[group as usize] += 1;
        let by = &mut By::<LINE>(&mut self.table);
        match status {
            Status::Idle if held_back => self.idle_held_back[group as usize].push_back(by, at),
            Status::Idle => self.idle[group as usize].push_back(by, at),
            Status::Busy if group == Group::Unordered => self.busy.push_back(by, at),
            Status::Wanted => self.wanted.push_back(by, at),
            Status::Busy | Status::Leaving => {}
        }
        self.see_to_needs(at, true);
        self.see_to_lines(at);
    }

    /// One that is idle and has labels is found by those who need them: from now on, or no more.
    #[inline]
    fn see_to_needs(&mut self, at: u32, is_here: bool) {
        let slave = self.table.get(at);
        if slave.labels != 0 && slave.is_idle_taker() {
            let (labels, since) = (slave.labels, slave.idle_since);
            match is_here {
                true => self.labels.on_idle(labels, since, at),
                false => self.labels.on_not_idle(labels, since, at),
            }
        }
    }

    /// The labels of a slave.
    pub(crate) fn set_labels(&mut self, at: u32, labels: Vec<String>) {
        self.see_to_needs(at, false);
        let labels = self.labels.take(labels);
        let before = std::mem::replace(&mut self.table.get_mut(at).labels, labels);
        self.labels.give_back(before);
        self.see_to_needs(at, true);
    }

    /// The number of a set of needs.
    pub(crate) fn needs(&mut self, needs: Vec<String>) -> Needs {
        let (needs, is_new) = self.labels.needs(needs);
        if is_new {
            let all = (0u32..).zip(&self.table.0);
            for (at, slave) in all.filter_map(|(at, slave)| Some((at, slave.as_ref()?))) {
                if slave.labels != 0 && slave.is_idle_taker() {
                    self.labels.on_idle(slave.labels, slave.idle_since, at);
                }
            }
        }
        needs
    }

    /// The needs that a slave meets, ascending.
    #[inline]
    pub(crate) fn meets(&self, at: u32) -> &[Needs] {
        self.labels.met_by(self.get(at).labels)
    }

    /// The idle slave that meets these needs and was served least recently.
    pub(crate) fn first_idle_with(&self, needs: Needs) -> Option<u32> {
        self.labels.first_idle(needs)
    }

    fn check_needs(&self) {
        for (needs, idle) in self.labels.all_idle() {
            let here = self.iter().filter(|(at, slave)| {
                slave.is_idle_taker() && self.meets(*at).binary_search(&needs).is_ok()
            });
            let mut here: Vec<_> = here.map(|(at, slave)| (slave.idle_since, at)).collect();
            here.sort_unstable();
            assert!(
                here.iter().eq(idle),
                "idle slaves are found by what they have"
            );
        }
        let mut had = std::collections::BTreeMap::new();
        for (_, slave) in self.iter().filter(|(_, slave)| slave.labels != 0) {
            *had.entry(slave.labels).or_insert(0) += 1;
        }
        assert!(
            had.into_iter().eq(self.labels.all_had()),
            "sets of labels are those that slaves have"
        );
    }

    fn leave(&mut self, at: u32) {
        let Slave { group, status, .. } = *self.table.get(at);
        let held_back = self.table.get(at).is_apart();
        self.see_to_needs(at, false);
        self.members[group as usize] -= 1;
        let by = &mut By::<LINE>(&mut self.table);
        match status {
            Status::Idle if held_back => self.idle_held_back[group as usize].remove(by, at),
            Status::Idle => self.idle[group as usize].remove(by, at),
            Status::Busy if group == Group::Unordered => self.busy.remove(by, at),
            Status::Wanted => self.wanted.remove(by, at),
            Status::Busy | Status::Leaving => {}
        }
        if self.table.get(at).stands != Stands::NOWHERE {
            self.stand(at, Stands::NOWHERE);
        }
    }

    #[inline]
    fn see_to_lines(&mut self, at: u32) {
        let slave = self.table.get(at);
        let stands = slave.should_stand(self.short_tasks, self.prefetch);
        if slave.stands != stands {
            self.stand(at, stands);
        }
    }

    fn stand(&mut self, at: u32, stands: Stands) {
        let was = std::mem::replace(&mut self.table.get_mut(at).stands, stands);
        let table = &mut self.table;
        let mut changed = was.0 ^ stands.0;
        while changed != 0 {
            let line = changed.trailing_zeros() as usize;
            changed &= changed - 1;
            let enters = stands.has(line);
            match line {
                OWN_FLOWS => enter_or_leave::<OWN_FLOWS>(&mut self.own_flows, table, at, enters),
                OWN_QUEUE => enter_or_leave::<OWN_QUEUE>(&mut self.own_queue, table, at, enters),
                ROOM => enter_or_leave::<ROOM>(&mut self.room, table, at, enters),
                LADEN => enter_or_leave::<LADEN>(&mut self.laden, table, at, enters),
                SHORT => enter_or_leave::<SHORT>(&mut self.short, table, at, enters),
                AHEAD_FLOWS => {
                    enter_or_leave::<AHEAD_FLOWS>(&mut self.ahead_flows, table, at, enters)
                }
                AHEAD_QUEUE => {
                    enter_or_leave::<AHEAD_QUEUE>(&mut self.ahead_queue, table, at, enters)
                }
                _ => unreachable!("line {line} does not depend on what a slave has"),
            }
        }
    }

    /// All connected slaves with their slots, by slot; for `sanity_check`.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Slave)> {
        (0u32..)
            .zip(&self.table.0)
            .filter_map(|(at, slave)| Some((at, slave.as_ref()?)))
    }

    /// Re-derives every line, index and counter.
    pub(crate) fn check(&self) {
        self.check_needs();
        let mut members = [0; 3];
        let mut lines: [Vec<u32>; 15] = Default::default();
        for (line, list) in lines
            .iter_mut()
            .zip(self.idle.iter().chain([&self.busy, &self.wanted]))
        {
            *line = list.checked_slots(|at| self.get(at).links[LINE]);
        }
        lines[5] = self
            .own_flows
            .checked_slots(|at| self.get(at).links[OWN_FLOWS]);
        lines[6] = self
            .own_queue
            .checked_slots(|at| self.get(at).links[OWN_QUEUE]);
        lines[7] = self.room.checked_slots(|at| self.get(at).links[ROOM]);
        lines[8] = self.laden.checked_slots(|at| self.get(at).links[LADEN]);
        lines[9] = self.short.checked_slots(|at| self.get(at).links[SHORT]);
        lines[10] = self
            .ahead_flows
            .checked_slots(|at| self.get(at).links[AHEAD_FLOWS]);
        lines[11] = self
            .ahead_queue
            .checked_slots(|at| self.get(at).links[AHEAD_QUEUE]);
        for (line, list) in lines[12..].iter_mut().zip(&self.idle_held_back) {
            *line = list.checked_slots(|at| self.get(at).links[LINE]);
        }
        let promised = self.iter().filter(|(_, slave)| slave.promised.is_some());
        assert_eq!(
            promised.count(),
            self.promised as usize,
            "those that are promised are counted"
        );
        let waiting = |(_, slave): &(u32, &Slave)| slave.hands.asked == Asked::Waiting;
        assert_eq!(
            self.iter().filter(waiting).count(),
            self.asked as usize,
            "those that were asked are counted"
        );
        for line in lines[..3].iter().chain(&lines[12..]) {
            assert!(
                line.is_sorted_by_key(|&at| self.get(at).idle_since),
                "idle slaves stand in line by age"
            );
        }
        for (at, slave) in self.iter() {
            assert_eq!(
                self.find(slave.id),
                Some(at),
                "the index leads to every slave"
            );
            members[slave.group as usize] += 1;
            assert_eq!(
                slave.hands.is_empty(),
                slave.status == Status::Idle,
                "idle is having empty hands"
            );
            assert_eq!(
                slave.stands,
                slave.should_stand(self.short_tasks, self.prefetch)
            );
            let line = match (slave.status, slave.group) {
                (Status::Idle, group) if slave.is_apart() => Some(12 + group as usize),
                (Status::Idle, group) => Some(group as usize),
                (Status::Busy, Group::Unordered) => Some(3),
                (Status::Wanted, _) => Some(4),
                _ => None,
            };
            let stands: Vec<usize> = (0..15).filter(|&line| lines[line].contains(&at)).collect();
            let others = (OWN_FLOWS..LINES)
                .filter(|&line| slave.stands.has(line))
                .map(|line| line + 5 - OWN_FLOWS);
            let mut expected: Vec<usize> = line.into_iter().chain(others).collect();
            expected.sort_unstable();
            assert_eq!(stands, expected, "it stands in its lines alone");
        }
        assert_eq!(members, self.members, "groups count their members");
        let slaves: u32 = members.iter().sum();
        assert_eq!(
            (slaves as usize, self.table.0.len()),
            (self.len(), self.len() + self.free.len())
        );
    }
}

impl Slave {
    /// Whether it is idle, runs unordered tasks and may be served.
    #[inline]
    fn is_idle_taker(&self) -> bool {
        self.status == Status::Idle && !self.is_apart() && self.group.takes_unordered()
    }

    /// Whether it stands apart from those that are served as they come.
    #[inline]
    fn is_apart(&self) -> bool {
        self.held_back || self.barred
    }

    #[inline]
    fn should_stand(&self, short_tasks: u32, prefetch: bool) -> Stands {
        let idle = self.status == Status::Idle;
        let served = idle && !self.held_back;
        let busy = self.status == Status::Busy && !self.held_back && self.promised.is_none();
        let takes = busy && !self.barred && !self.suspect && self.group.takes_unordered();
        let room = self.hands.has_room();
        let short = !room && self.hands.len() <= short_tasks as usize;
        let (flows, queue) = (!self.own.flows.is_empty(), !self.own.queue.is_empty());
        let ahead = prefetch && busy && (room || short);
        Stands::NOWHERE
            .with(OWN_FLOWS, served && flows)
            .with(OWN_QUEUE, served && queue)
            .with(ROOM, takes && room)
            .with(
                LADEN,
                !idle && self.hands.asked == Asked::No && self.hands.takeable() > 0,
            )
            .with(SHORT, takes && short)
            .with(AHEAD_FLOWS, ahead && flows)
            .with(AHEAD_QUEUE, ahead && queue)
    }
}

/// One of a line goes to its end.
fn to_back<const LINKS: usize>(line: &mut List, table: &mut Table, at: u32) {
    let table = &mut By::<LINKS>(table);
    line.remove(table, at);
    line.push_back(table, at);
}

/// Puts a slave into a line, or takes it out.
fn enter_or_leave<const LINKS: usize>(line: &mut List, table: &mut Table, at: u32, enters: bool) {
    match enters {
        true => line.push_back(&mut By::<LINKS>(table), at),
        false => line.remove(&mut By::<LINKS>(table), at),
    }
}

/// The table at the head of this file.
fn is_transition((from_group, from): (Group, Status), (to_group, to): (Group, Status)) -> bool {
    let moves = from_group != to_group;
    match (from, to) {
        (Status::Idle, Status::Idle) => moves,
        (Status::Leaving, Status::Idle) => moves && to_group == Group::Unordered,
        (Status::Busy, Status::Wanted) | (Status::Wanted, Status::Busy | Status::Idle) => {
            !moves && to_group == Group::Unordered
        }
        (Status::Busy, Status::Leaving) => !moves && to_group != Group::Unordered,
        (Status::Idle, Status::Busy) | (Status::Busy, Status::Idle) => !moves,
        _ => false,
    }
}
