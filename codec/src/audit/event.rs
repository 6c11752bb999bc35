//! The table of events. Names, fields, writer and parser all come from it.

use super::AuditError;
use super::form::{
    EndWord, EngineWord, Form, GroupWord, LossCause, Maybe, Number, Ranges, ResourceStatus,
    RoleWord, Slave, StateWord, Task, TaskRanges, Text, Texts, YesNo,
};
use super::text::Facts;

/// An event's word and the keys of its facts, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventForm {
    /// The word in the trail.
    pub word: &'static str,
    /// The keys; optional facts may be left out.
    pub keys: &'static [&'static str],
}

/// Declares the events: `Name = "word" { field: type as form, .. }`.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $word:literal
        $({ $($(#[$field_doc:meta])* $field:ident: $type:ty as $form:ty,)* })?)*) => {
        /// What happened.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Event {
            $($(#[$doc])* $name $({ $($(#[$field_doc])* $field: $type,)* })?,)*
        }

        /// Every event's word and keys.
        pub const EVENTS: &[EventForm] = &[
            $(EventForm { word: $word, keys: &[$($(stringify!($field),)*)?] },)*
        ];

        impl Event {
            /// The word in the trail.
            #[must_use]
            pub const fn word(&self) -> &'static str {
                match self {
                    $(Event::$name { .. } => $word,)*
                }
            }

            /// Appends the facts, a space before each.
            pub(super) fn write_facts(&self, out: &mut Vec<u8>) {
                match self {
                    $(Event::$name $({ $($field,)* })? => {
                        $($(<$form as Form<$type>>::put_fact(concat!(" ", stringify!($field), "="), $field, out);)*)?
                    })*
                }
            }

            /// Reads the event's word and its facts.
            pub(super) fn read(facts: &mut Facts<'_>) -> Result<Event, AuditError> {
                let word = facts.word("the event")?;
                match word.text {
                    $($word => Ok(Event::$name $({
                        $($field: <$form as Form<$type>>::read_fact(concat!(" ", stringify!($field), "="), facts)?,)*
                    })?),)*
                    unknown => Err(AuditError {
                        is_of_later: true,
                        ..facts.error(word.at, format!("{unknown:?} is no event that this program knows"))
                    }),
                }
            }

            /// Arbitrary events of each name.
            #[cfg(test)]
            pub(super) fn arbitrary() -> Vec<proptest::strategy::BoxedStrategy<Event>> {
                use proptest::strategy::{Just, Strategy};
                vec![
                    $((Just(()), $($(<$form as Form<$type>>::arbitrary(),)*)?)
                        .prop_map(|((), $($($field,)*)?)| Event::$name $({ $($field,)* })?)
                        .boxed(),)*
                ]
            }
        }
    };
}

events! {
    /// A process starts.
    Init = "init" {
        /// ringmw's version.
        version: String as Text,
        /// What the process is.
        role: RoleWord as RoleWord,
        /// Its membership token.
        member_id: String as Text,
        /// Identity of its binary.
        build: String as Text,
        /// The application's version.
        app_version: String as Text,
        /// The run's seed; a slave does not know it yet.
        seed: Option<u64> as Maybe<Number>,
        /// Its process id.
        pid: u32 as Number,
        /// Its host name.
        host: String as Text,
    }
    /// The master has chosen its engine.
    Engine = "engine" {
        /// Which.
        engine: EngineWord as EngineWord,
        /// Why: asked for, or what the system refused.
        why: String as Text,
    }
    /// How many files the process may have open: the most slaves it can serve.
    FileLimit = "file-limit" {
        /// The limit after it was raised.
        files: u64 as Number,
    }
    /// The master takes connections.
    Ready = "ready" {
        /// Every `host:port` that slaves may try, best first.
        addresses: Vec<String> as Texts,
        /// What slaves must prove: `secret`, or `none`.
        security: Option<String> as Maybe<Text>,
    }

    /// A connection was accepted.
    Client = "client" {
        /// The peer's address.
        from: String as Text,
    }
    /// A slave has joined.
    Connected = "connected" {
        /// Its number.
        slave: u32 as Slave,
        /// Its address.
        from: String as Text,
        /// Its host name.
        host: String as Text,
        /// Its batch job's id, empty when there is none.
        job: String as Text,
        /// Its group.
        group: GroupWord as GroupWord,
    }
    /// How the one before a slave in its place ended, as whoever started both saw it.
    Predecessor = "predecessor" {
        /// The slave that came in its place.
        slave: u32 as Slave,
        /// How that one ended: by which signal or status, at which task.
        ended: String as Text,
    }
    /// A slave may not join.
    Refused = "refused" {
        /// Its address.
        from: String as Text,
        /// Its host name.
        host: String as Text,
        /// The refusal's sentence.
        reason: String as Text,
    }
    /// A handshake broke off: no hello, not in time, or none that could be read.
    Rejected = "rejected" {
        /// The peer's address.
        from: String as Text,
        /// What was wrong.
        reason: String as Text,
    }
    /// A slave became idle or busy.
    State = "state" {
        /// The slave.
        slave: u32 as Slave,
        /// Its state now.
        state: StateWord as StateWord,
    }
    /// A slave moved to another group.
    Group = "group" {
        /// The slave.
        slave: u32 as Slave,
        /// Its group before.
        from: GroupWord as GroupWord,
        /// Its group now.
        to: GroupWord as GroupWord,
    }

    /// A packet of tasks went to a slave.
    TasksSent = "tasks-sent" {
        /// The slave.
        slave: u32 as Slave,
        /// Tasks in the packet.
        tasks: u64 as Number,
        /// Bytes of the packet.
        bytes: u64 as Number,
        /// The task group in force: tasks per packet wanted.
        group: u64 as Number,
    }
    /// A packet of results came from a slave.
    ResultsReceived = "results-received" {
        /// The slave.
        slave: u32 as Slave,
        /// Results in the packet, failed ones included.
        results: u64 as Number,
        /// Failed results among them.
        failed: u64 as Number,
        /// Bytes of the packet.
        bytes: u64 as Number,
        /// Their compute time together, in microseconds.
        compute_us: u64 as Number,
    }
    /// The packets of a slave that got no line of their own.
    Packets = "packets" {
        /// The slave.
        slave: u32 as Slave,
        /// The time summed over, in milliseconds.
        span_ms: u64 as Number,
        /// Packets to the slave.
        packets_out: u64 as Number,
        /// Tasks in them.
        tasks: u64 as Number,
        /// Their bytes.
        bytes_out: u64 as Number,
        /// Packets from the slave.
        packets_in: u64 as Number,
        /// Results in them, failed ones included.
        results: u64 as Number,
        /// Failed results among them.
        failed: u64 as Number,
        /// Their bytes.
        bytes_in: u64 as Number,
        /// Compute time of the results together, in microseconds.
        compute_us: u64 as Number,
    }
    /// A task went to a slave (level tasks).
    TaskSent = "task-sent" {
        /// The slave.
        slave: u32 as Slave,
        /// The task.
        task: u64 as Task,
        /// Its algorithm's name.
        algorithm: String as Text,
    }
    /// A task ended (level tasks).
    TaskEnded = "task-ended" {
        /// The slave that ended it, if one did.
        slave: Option<u32> as Maybe<Slave>,
        /// The task.
        task: u64 as Task,
        /// How.
        end: EndWord as EndWord,
        /// Compute time in microseconds, if it was computed.
        compute_us: Option<u64> as Maybe<Number>,
        /// Why, unless it is done.
        why: Option<String> as Maybe<Text>,
    }

    /// A slave was lost, and what became of its tasks.
    Lost = "lost" {
        /// The slave.
        slave: u32 as Slave,
        /// Its address.
        from: String as Text,
        /// Why.
        cause: LossCause as LossCause,
        /// The particulars of the cause, empty when there are none.
        detail: String as Text,
        /// Tasks that go to other slaves.
        recycled: u64 as Number,
        /// Which.
        tasks: TaskRanges as Ranges,
        /// Tasks that became unrunnable.
        unrunnable: u64 as Number,
        /// Tasks that had been cancelled, whose withdrawal it had not acknowledged.
        cancelled: u64 as Number,
    }
    /// The desire fell: an idle slave is told to shut down.
    Dismissed = "dismissed" {
        /// The slave.
        slave: u32 as Slave,
    }
    /// A slave left after it was told to: no loss.
    Disconnected = "disconnected" {
        /// The slave.
        slave: u32 as Slave,
        /// Its address.
        from: String as Text,
    }
    /// A peer broke the rules.
    Offence = "offence" {
        /// The slave, if the peer was one.
        slave: Option<u32> as Maybe<Slave>,
        /// Its address.
        from: String as Text,
        /// What it did.
        reason: String as Text,
    }
    /// A failed result.
    Failed = "failed" {
        /// The task.
        task: u64 as Task,
        /// Its algorithm's name.
        algorithm: String as Text,
        /// The slave.
        slave: u32 as Slave,
        /// The failure's message and place.
        message: String as Text,
    }
    /// A task cannot run.
    Unrunnable = "unrunnable" {
        /// The task.
        task: u64 as Task,
        /// Why.
        reason: String as Text,
    }
    /// Results came after their tasks had ended.
    Late = "late" {
        /// The slave.
        slave: u32 as Slave,
        /// How many.
        results: u64 as Number,
    }
    /// Tasks were cancelled.
    Cancelled = "cancelled" {
        /// How many.
        tasks: u64 as Number,
    }
    /// Tasks ended with what an earlier life of the run recorded.
    Known = "known" {
        /// How many.
        results: u64 as Number,
        /// Which, at the level of tasks.
        task: Option<u64> as Maybe<Task>,
    }
    /// A slave gave back tasks that it had not begun, for an idle one.
    Returned = "returned" {
        /// The slave.
        slave: u32 as Slave,
        /// How many.
        count: u64 as Number,
        /// Which.
        tasks: TaskRanges as Ranges,
    }
    /// A slave that came back to its run brought results that it had kept.
    Brought = "brought" {
        /// The slave.
        slave: u32 as Slave,
        /// How many.
        results: u64 as Number,
    }
    /// A task runs far longer than the median and was handed to an idle slave too.
    Duplicated = "duplicated" {
        /// The task.
        task: u64 as Task,
        /// The second slave.
        slave: u32 as Slave,
    }
    /// A task that gave no output was kept, to be run again by itself.
    Kept = "kept" {
        /// The task.
        task: u64 as Task,
        /// Its file.
        file: String as Text,
        /// How it is run again.
        replay: String as Text,
    }
    /// A task was under way when its slave was lost, and is charged for it.
    Charged = "charged" {
        /// The task.
        task: u64 as Task,
        /// The slave.
        slave: u32 as Slave,
        /// Its losses so far.
        crashes: u32 as Number,
        /// Losses at which it becomes unrunnable; 0 for never.
        limit: u32 as Number,
    }
    /// A slave or a host gets no more unordered tasks of an algorithm: they fail there, and succeed elsewhere.
    Quarantined = "quarantined" {
        /// The slave; none where it is all of the host's.
        slave: Option<u32> as Maybe<Slave>,
        /// The host.
        host: String as Text,
        /// The algorithm's name.
        algorithm: String as Text,
        /// Of its outcomes the failed ones; of a host's slaves the bad ones.
        failed: u64 as Number,
        /// Its outcomes; of a host its slaves.
        of: u64 as Number,
        /// Of the others' the same.
        others_failed: u64 as Number,
        /// The others'.
        others_of: u64 as Number,
        /// After so many milliseconds one task is tried.
        pause_ms: u64 as Number,
    }
    /// The task that was tried with one in quarantine has failed too.
    QuarantineProlonged = "quarantine-prolonged" {
        /// The slave; none where it is all of the host's.
        slave: Option<u32> as Maybe<Slave>,
        /// The host.
        host: String as Text,
        /// The algorithm's name.
        algorithm: String as Text,
        /// After so many milliseconds one more is tried.
        pause_ms: u64 as Number,
    }
    /// One in quarantine is served again.
    QuarantineOver = "quarantine-over" {
        /// The slave; none where it is all of the host's.
        slave: Option<u32> as Maybe<Slave>,
        /// The host.
        host: String as Text,
        /// The algorithm's name.
        algorithm: String as Text,
        /// The task that was tried succeeded; else it is gone, or too few others are left.
        healed: bool as YesNo,
    }
    /// All of some shared data has been sent to a slave.
    Shared = "shared" {
        /// To whom.
        slave: u32 as Slave,
        /// The first bytes of its name.
        name: String as Text,
        /// Its length.
        bytes: u64 as Number,
    }
    /// An incumbent improved.
    Best = "best" {
        /// Which.
        best: u32 as Number,
        /// The order-preserving image of its key.
        key: u64 as Number,
        /// The slave that offered it; none when the master did.
        slave: Option<u32> as Maybe<Slave>,
    }

    /// One turn of the master took more than a second.
    Stall = "stall" {
        /// How long, in milliseconds.
        ms: u64 as Number,
    }
    /// The master algorithm waits, and nothing is queued, running or desired.
    Nothing = "nothing"
    /// Tasks wait, and no slave here may run them: no group that runs such has any, or none has the labels that they need.
    Waiting = "waiting" {
        /// How many.
        tasks: u64 as Number,
        /// The labels that they need and no connected slave has, `gpu site=fermi`.
        needs: Option<String> as Maybe<Text>,
        /// For how many seconds that has been so.
        since_s: Option<u64> as Maybe<Number>,
    }
    /// Ready results have reached their bound; no more tasks whose end goes to the queue are handed out.
    ReadyFull = "ready-full" {
        /// Bytes of ready results.
        bytes: u64 as Number,
        /// Their bound.
        bytes_max: u64 as Number,
    }
    /// Queued tasks have reached their bound; further ones are unrunnable, and maps wait.
    QueueFull = "queue-full" {
        /// Bytes of queued tasks.
        bytes: u64 as Number,
        /// Their bound.
        bytes_max: u64 as Number,
    }

    /// How the run does: every ten seconds while anything changes.
    RunState = "run-state" {
        /// Tasks that wait in the master.
        queued: u64 as Number,
        /// Tasks in slaves' hands.
        running: u64 as Number,
        /// Tasks that have ended with a result so far.
        done: u64 as Number,
        /// Tasks that have ended with a failed result so far.
        failed: u64 as Number,
        /// Ordered slaves.
        ordered: u64 as Number,
        /// Intermingled slaves.
        intermingle: u64 as Number,
        /// Unordered slaves.
        unordered: u64 as Number,
        /// Slaves with tasks in hand.
        busy: u64 as Number,
        /// Slaves desired.
        desired: u64 as Number,
        /// Of the last ten seconds, in how many of a thousand parts the master's thread was busy, where that is known.
        load: Option<u64> as Maybe<Number>,
        /// Of each algorithm with queued tasks its name and how many, `collatz=12`.
        queue: Vec<String> as Texts,
    }

    /// The resource file was written.
    ResourceFile = "resource-file" {
        /// Its path.
        path: String as Text,
        /// The computation's status in it.
        status: ResourceStatus as ResourceStatus,
        /// Slaves needed in it.
        needed: u64 as Number,
    }
    /// The resource file could not be written or read.
    ResourceFileError = "resource-file-error" {
        /// Its path.
        path: String as Text,
        /// Why.
        error: String as Text,
    }
    /// Lines that the trail lacks: the disk was full or slow.
    Dropped = "dropped" {
        /// How many in all.
        lines: u64 as Number,
        /// Of them: lines about packets.
        packets: u64 as Number,
        /// Of them: lines about single tasks.
        tasks: u64 as Number,
        /// Of them: slaves that joined.
        connected: u64 as Number,
        /// Of them: slaves that were lost.
        lost: u64 as Number,
        /// Tasks recycled in those.
        recycled: u64 as Number,
        /// Of them: refusals and rejections.
        refused: u64 as Number,
        /// Of them: idle, busy and group changes.
        state: u64 as Number,
    }
    /// The process was sent a signal.
    Signal = "signal" {
        /// Its name, `SIGTERM`.
        name: String as Text,
    }
    /// The master tells its slaves to stop.
    ShutdownBegun = "shutdown-begun" {
        /// How many it tells.
        slaves: u64 as Number,
        /// Whether the computation is finished.
        finished: bool as YesNo,
    }
    /// Tasks that had no end yet when the master algorithm returned.
    Left = "left" {
        /// How many.
        tasks: u64 as Number,
    }
    /// A process of local mode was started.
    ChildStarted = "child-started" {
        /// Which slave of local mode.
        child: u32 as Number,
        /// Its process id.
        pid: u32 as Number,
    }
    /// A process of local mode has ended.
    ChildEnded = "child-ended" {
        /// Which slave of local mode.
        child: u32 as Number,
        /// Its exit code or signal.
        status: String as Text,
    }

    /// A slave dials its master.
    Connecting = "connecting" {
        /// The master's address.
        to: String as Text,
    }
    /// A slave has reached its master.
    MasterConnected = "master-connected" {
        /// The master's address.
        to: String as Text,
        /// The slave's own.
        from: String as Text,
    }
    /// The master has refused the slave.
    RefusedByMaster = "refused-by-master" {
        /// The refusal's sentence.
        reason: String as Text,
    }
    /// A slave was given its number.
    Id = "id" {
        /// The number.
        slave: u32 as Slave,
    }
    /// A packet of tasks came from the master.
    TasksReceived = "tasks-received" {
        /// Tasks in the packet.
        tasks: u64 as Number,
        /// Bytes of the packet.
        bytes: u64 as Number,
        /// The result group in force: results per packet wanted.
        group: u64 as Number,
    }
    /// A packet of results went to the master.
    ResultsSent = "results-sent" {
        /// Results in the packet.
        results: u64 as Number,
        /// Bytes of the packet.
        bytes: u64 as Number,
    }
    /// The master told the slave to stop.
    MasterShutdown = "master-shutdown" {
        /// Whether the computation is finished.
        finished: bool as YesNo,
    }
    /// The master is gone.
    MasterLost = "master-lost" {
        /// How that showed.
        reason: String as Text,
    }
    /// The batch system takes the slave's machine back.
    Evicted = "evicted"
    /// The application has no slave algorithm of its own; the library's runs.
    DefaultSlaveAlgorithm = "default-slave-algorithm"
    /// The application has no master algorithm.
    NoMasterAlgorithm = "no-master-algorithm"
    /// A life of a run that outlives its master begins.
    Life = "life" {
        /// The run's id.
        run: String as Text,
        /// Which life it is, from 1.
        life: u32 as Number,
        /// Where results are recorded, empty for nowhere.
        journal: String as Text,
        /// Where the state is saved, empty for nowhere.
        state: String as Text,
    }
    /// What earlier lives left in the journal.
    JournalRead = "journal-read" {
        /// Segments that were read.
        segments: u64 as Number,
        /// Results that count.
        results: u64 as Number,
        /// Results of tasks that had one already.
        repeated: u64 as Number,
        /// Results that came of an offer which is lost.
        unfounded: u64 as Number,
        /// Places where bytes are damaged.
        damaged: u64 as Number,
        /// Segments that were cut off, as a killed master leaves them.
        torn: u64 as Number,
        /// Segments whose head cannot be read, each with the reason.
        unread: Vec<String> as Texts,
        /// The first of the damaged places: segment, offset, bytes.
        places: Option<Vec<String>> as Maybe<Texts>,
    }
    /// The journal cannot be written or read; it is tried again.
    JournalTrouble = "journal-trouble" {
        /// What the system says.
        error: String as Text,
    }
    /// More waits to be recorded than may: results are told and not recorded.
    JournalFull = "journal-full"
    /// The journal is written again.
    JournalWritten = "journal-written" {
        /// Results that were not recorded meanwhile.
        unrecorded: u64 as Number,
    }
    /// A later life of the run has begun: this one ends.
    Superseded = "superseded" {
        /// The later one.
        life: u32 as Number,
    }
    /// Anything else worth a line.
    Note = "note" {
        /// The text.
        text: String as Text,
    }
    /// The process ends.
    Exit = "exit" {
        /// Its exit code.
        code: u8 as Number,
        /// Why.
        reason: String as Text,
    }
    /// Checkpoints are not kept any more: with the queue they take what the queue may.
    CheckpointsFull = "checkpoints-full" {
        /// What is kept of them.
        bytes: u64 as Number,
        /// What queue and checkpoints may take together.
        bytes_max: u64 as Number,
    }
    /// A task and the master algorithm seem to wait for each other: each says and does not hear.
    Stuck = "conversation-stuck" {
        /// The task.
        task: u64 as Task,
        /// The slave that runs it.
        slave: Option<u32> as Maybe<Slave>,
        /// Bytes of what was said to the task that it has not heard.
        unheard: u64 as Number,
        /// Bytes of what the task said that the master algorithm has not taken.
        untaken: u64 as Number,
        /// How long the master algorithm has waited to say more.
        ms: u64 as Number,
    }
    /// Unrunnable tasks that nobody takes have, with the queued ones, reached the bound of queued tasks; further ones
    /// are kept without their arguments.
    UnrunnableFull = "unrunnable-full" {
        /// Bytes of queued and of unrunnable tasks.
        bytes: u64 as Number,
        /// Their bound.
        bytes_max: u64 as Number,
    }
    /// Slaves are idle, nothing is queued, and tasks that ask are told to give back what they have not done. Said once in
    /// 10 s at most.
    Hungry = "hungry" {
        /// Slaves that are idle.
        idle: u64 as Number,
        /// Tasks that are told.
        tasks: u64 as Number,
    }
    /// A slave is the application's own.
    Reserved = "reserved" {
        /// The slave.
        slave: u32 as Slave,
    }
    /// Reserved slaves have nothing to do, and others than the last time: said with a line of state.
    ReservedIdle = "reserved-idle" {
        /// How many.
        count: u64 as Number,
        /// The first of them, eight at most.
        slaves: Vec<String> as Texts,
    }
}
