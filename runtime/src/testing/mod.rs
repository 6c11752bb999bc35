//! The simulated world: the very cores that ship, under a clock, a network and a fate that one seed draws.
//!
//! ```text
//!   application     your master algorithm (World) · a script that uses every call there is (storm)
//!   master          MasterCore, Scheduler, calls, maps, queue: as shipped, in the order of a real turn
//!   links           two byte streams each: delay, split, merge, stall one way, cut at any byte, refuse
//!   slaves          SlaveCore as shipped, called as the two threads of a real slave call it; they compute,
//!                   hang, stop and go on, are killed, lose power, are evicted, lie
//!   tasks           as written, on stacks of their own: where one looks around, simulated time passes
//! ```
//!
//! Single-threaded, with a clock that costs no time: hundreds of runs a second, each the same whenever its seed is the
//! same. [`World`] tests a user's own master algorithm, in ten lines; [`storm`] is what ringmw tests itself with (see
//! `runtime/tests/sim.rs` for the commands).
//!
//! # What is held against the cores
//! An observer reads every frame that the master hears and sends, and knows from that alone what must become of every
//! task. After every turn:
//!
//! - what must have ended has ended, what must not is live; each end is what the frames say, is told once, and where
//!   the task was given;
//! - nobody is handed a task twice, or one that is not theirs: ordered tasks keep slave and order, recycled ones go
//!   first, the others in the order submitted;
//! - a marked task is announced before it begins, and then never given back; a charge stands for an announced task
//!   whose slave crashed, and for no other departure;
//! - a key of a `Best` that is told was offered, and its witness is kept, on the disk where the run has a journal; a slave
//!   that comes back says what it offered again, unless it was told that key or a better one;
//! - of shared data a slave wants what a task in its hands names, and is sent that, byte for byte, behind all else of a turn
//!   and only while it reads; with room for all it wants nothing twice; a task begins with
//!   all that it names, to the last byte; what cannot be read any more makes unrunnable what
//!   names it, and with the last handle and task nothing is kept;
//! - who has not read what it was sent gets no work past its bound, nor past that of all together, those that have waited
//!   longest first; nothing is kept of a half frame whose connection is gone;
//! - packets keep to their bytes and tasks, hands to two packets or a few short tasks, the queue and the ready results to
//!   their bounds;
//! - of failures with no success between them two count against a slave at most, in whatever order they come;
//! - a slave in quarantine was worse than the others, gets nothing of what it is in quarantine for but one task after each
//!   pause, and half of the slaves are served;
//! - no slave is judged by silence that was not silent, nor spared when it was, the master's own pauses aside; no
//!   honest slave commits an offence;
//! - no result that a slave has finished before it goes of its own will (idle, time limit, its algorithm returned, a state
//!   that cannot be made) is lost while its connection lives, and nobody is idle with results unsent;
//! - who dials while nobody listens dials again after pauses that double up to the longest, and gives up when its time is over
//!   and not before;
//! - of the masters that dial a slave that listens the first finished handshake has it, alone, and all others are known to be
//!   told; nobody is let in when its time is over, and of too many the oldest gives way; the master dials such a slave when
//!   it is not connected, and only then, after pauses that double up to the longest and of which at most the half is drawn
//!   away, and begin anew after a good connection;
//! - a slave that was told to go says goodbye, if its link takes what it had begun to write when 7/8 of its second were over; a
//!   task that is begun at most once begins on one slave alone, liars' aside; of one place no more offers wait at a slave than
//!   packets of results, and three;
//! - a slave answers a recall when it hears it, its task running or not, and begins none with four packets of results
//!   unsent; it looks at the clock twice in the client timeout at least, whether its link takes what it says or not;
//! - whoever takes a part of what there is, and awaits a map, a call or one algorithm's results beside the rest, gets them at
//!   every bound, and each end once;
//! - a task that converses has its slave to itself, says and is told nothing before it listens or after it has ended, and neither
//!   side has more under way than it may; within an attempt every message comes once and in order;
//! - of a run whose master is killed between any two effects, leaves, loses its host, or is stopped and goes on beside its
//!   successor, with a journal that is cut, zeroed, flipped, refused and late, and that goes bad when it has been read: each
//!   life knows what of its journal is whole when it reads it and nothing else, hands out nothing that it knows and that is
//!   still there, no `retry(false)` task begins twice in the run, no end is told twice in a
//!   life, and the answer, the witness of its search included, is bit for bit that of the run that nothing befell;
//! - `Scheduler::sanity_check` derives every index and counter again.
//!
//! When the faults stop and healthy slaves come, every task ends, the next one always within [`CALM_TURNS_MAX`] turns.
//!
//! In every seventh run the master lacks descriptors now and then, and those who dial wait for it to accept again.
//!
//! # Does it bite?
//! `runtime/tests/mutants.rs` puts 159 deliberate bugs into copies of the sources and demands that each is
//! found within 500 seeds. The first seed that found it (counted from 1), and how, of those that have been run:
//!
//! | bug | seed | found by |
//! |---|---|---|
//! | double delivery: a cancelled task is told to its owner too | 1 | TASK-76 was never submitted |
//! | lost recycle: the last of several tasks is not queued again | one | assertion `left == right` failed: an owner's tasks (it aborts) |
//! | wrong order after a free: rerouted tasks go to the front | 1 | TASK-212 is overtaken by Some(217) |
//! | off by one: a packet of one task too many | 1 | 4 tasks in the hands of SLAVE-0 |
//! | off by one: the queue takes one task past its bound | 1 | assertion `left == right` failed: TASK-289 is Ended: Some(Unrunnable(QueueFull { bytes_max: 10000 })) |
//! | a forgotten counter: running tasks, at a cancel | 1 | assertion `left == right` failed: queued, queued bytes, running |
//! | a stale slot: an old id finds the task that has its slot now | 1 | assertion `left == right` failed: TASK-44 is Ended: Some(Unrunnable(NotBegunInTime { within: 78234931 })) |
//! | a bound is told before its witness is kept | 1 | best 0: key 4447 is told and has no witness |
//! | the random stream is taken from the TaskId | 1 | assertion `left == right` failed: TASK-139 draws from another stream |
//! | a result is accepted after a cancel | 1 | index out of bounds: the len is 0 but the index is 5 |
//! | what a slave says does not count as a sign of life | 1 | SLAVE-0 is judged by No byte came for 4 s (--mw-client-timeout). after 2837 ms |
//! | a slave is judged by the master's own pause | 16 | a handshake is given up after 4538 ms |
//! | a long turn counts as no silence at all | 8 | a handshake is under way for ever |
//! | a slave is judged before all that came was taken | 16 | a handshake is given up after 10383 ms |
//! | a goodbye is charged | 4 | assertion `left == right` failed: tasks of SLAVE-3 are recycled |
//! | a loss at shutdown is charged | 74 | assertion `left == right` failed: SLAVE-6 is charged for TASK-54 |
//! | the announcement of a marked task is skipped | 1 | slave 4 begins TASK-140, which is marked, unannounced |
//! | a marked task begins before its announcement has left | 2 | slave 3 begins TASK-1, which is marked, unannounced |
//! | a recycled task is not marked | 1 | assertion `left == right` failed: TASK-140 is marked or not |
//! | a slave is not told of a cancel | 1 | SLAVE-0 is not told that \[9, 10, 24] were cancelled |
//! | results are sent twice | 5 | an honest slave on 1.1 commits an offence |
//! | off by one: ready results are held one end too late | 2 | TASK-87 of the queue goes out above the bound of ready results |
//! | no-retry tasks are retried | 2 | assertion `left == right` failed: tasks of SLAVE-1 are recycled |
//! | an idle slave waits for a task that is there | 1 | 86 tasks have not ended and 86 ends are untold, none for 6000 turns after the faults; 3 slaves, 0 compute |
//! | after a lack of descriptors nobody is accepted any more | 21 | 22 tasks have not ended and 22 ends are untold, none for 6000 turns after the faults; 0 slaves, 0 compute |
//! | a slave gives back what is for it alone | 10 | an honest slave on 0.1 commits an offence |
//! | a slave gives back the task that it has announced | 28 | SLAVE-0 gives TASK-45 back, which it has announced |
//! | a task that was given back is lost | one | assertion `left == right` failed: an owner's tasks (it aborts) |
//! | of two that run a straggler one is lost, and it is run a third time | 293 | assertion `left == right` failed: tasks of SLAVE-3 are recycled |
//! | a slave whose straggler another has answered is not told | 1 | a live task has its payload, and ends once |
//! | the turn of owners is forgotten | 1 | Some(Map(16, 1, 0)) is served again while Map(29, 1, 0) waits |
//! | what the close of a series ends is told after what is done next | 27 | a flow that ends takes its tasks back first |
//! | a map's run goes on in whatever series is open | 2 | an end was not told |
//! | a map's window ignores bytes | 2 | a map of 11 tasks passes its bound by 33 bytes: 67108605 and 0 are left |
//! | a bound of bytes stops a map that is awaited | 1 | an awaited map has 2 of 8 tasks out, and is stopped |
//! | a packet goes ahead of time to a slave that has two | 2 | SLAVE-0 holds TASK-71 of the packet before its last one, and gets a third |
//! | what is split off a series is found by its first task alone | 1 | it is found by its last task |
//! | a series that is split in the hands makes no place before the next packet | 336 | SLAVE-3 holds TASK-255 of the packet before its last one, and gets a third |
//! | a crash is charged to the whole series of the announced task | 296 | assertion `left == right` failed: tasks of SLAVE-57 are recycled |
//! | all of a series that is begun at most once count as begun with its first | 26 | assertion `left == right` failed: tasks of SLAVE-1 are recycled |
//! | a part of a series of several lengths has the table of the whole | 5 | the master's own: Value { field: "last end of a series", got: 400 } |
//! | what is left of a series of several lengths counts the first one's bytes | 24 | bytes of queued tasks |
//! | of a series the first tasks are taken back for the last ones | 2 | TASK-71 goes to SLAVE-0, Held(SlaveId(0)), None |
//! | a slave takes the task behind the cancelled one out of a series | 13 | an honest slave on 1.4 commits an offence |
//! | what is left of a split series begins with the arguments of its first task | 1 | assertion `left == right` failed: TASK-158 is told with another body |
//! | who does not read gets work without end | 275 | 1.1 gets work, and 1208 bytes are kept for it of 1004 |
//! | what has been put into a buffer and not been handed over is not counted as unsent | 1 | assertion `left == right` failed: bytes that are kept for peers that do not read |
//! | a half frame is kept though its connection is gone | 1 | assertion `left == right` failed: bytes of frames that are not complete |
//! | the results of a part of a series are read from the series' first on | 1 | TASK-413 must end as Some(Done { slave: SlaveId(4), output: \[116, 8, 0, 0, 0, 0, 0, 0] }) and is told as Done(Results { packet: ResultPacket { owner: Map(29), a .. |
//! | starved: answers are given without a pass | 2 | 129 answers without a pass |
//! | starved: a pass does not wake those who were refused | 2 | after 5s of simulated time the master algorithm has not returned: 5 tasks are queued or running, 2 slaves are here |
//! | starved: who was refused is owed nothing | 2 | it is starved: 20000 passes |
//! | starved: events() makes no pass where there is something at once | 2 | events() makes no pass |
//! | levels: the lowest level goes first | 1 | TASK-53 of priority -3 waits, and one of -4 goes out at 476480308: by level waits {-3: (233493457, 53), -2: (66214415, 13), 0: (66214415, 9), 3: (110210032, 24) .. |
//! | levels: no level ever competes higher | 19 | TASK-8 of priority -1 waits, and one of 1 goes out at 7496762725: by level waits {-3: (7148172327, 53), -2: (7069179924, 38), -1: (1134538535, 8), 0: (706917992 .. |
//! | deadlines: what comes back too late is queued again | 4 | TASK-7 goes to SLAVE-0, Ended, Some(Unrunnable(NotBegunInTime { within: 5612479 })) |
//! | deadlines: all tasks of a series have the first one's | 1 | assertion `left == right` failed: TASK-53 is Queued: None |
//! | deadlines: what has waited too long is handed out | 1 | assertion `left == right` failed: TASK-44 is Ended: Some(Unrunnable(NotBegunInTime { within: 78234931 })) |
//! | reduce: results that came early are combined before their turn | 4 | assertion `left == right` failed: another tree |
//! | reduce: a block is combined the wrong way round | 4 | assertion `left == right` failed: another tree |
//! | reduce: tasks of others count as places | 18 | an end was not told |
//! | reduce: the first failed place that comes is the error | 444 | assertion `left == right` failed: another place is the error |
//! | reduce: results that do not follow one another are kept as one | 8 | after 3000 s the run has no answer: 1 masters, dooms left 0, 11 tasks handed out |
//! | a waker is called while the state is borrowed | 2 | RefCell already borrowed |
//! | passes: whoever has no answer is refused it, and asks again after each | 2 | assertion `left == right` failed: whoever waits is asked again and again |
//! | leaving: goodbye without the results that wait for others | 4 | the slave on 3.1 left of its own will, and {51}, which it had finished, are lost |
//! | leaving: the goodbye waits for results that do not fit into the second of SIGTERM | 42 | time stands still at 5730407432: slave 0 is due: io 5750407432, compute 5730407433, core 18446744073709551615, down None, computing None, leaving 5730407432, en .. |
//! | offers: one that waits is not replaced by a better one | 183 | 36 offers for one place wait at the slave on 1.1 |
//! | a bound: unrunnable ends that nobody takes count for nothing where a task is admitted | 1 | assertion `left == right` failed: TASK-289 is Ended: Some(Unrunnable(QueueFull { bytes_max: 10000 })) |
//! | dials: pauses between those that are refused do not grow | 4 | assertion `left == right` failed: pauses between dials grow |
//! | dials: who is refused gives up at once | 4 | a process whose dial is refused gives up 10182 ms before its time is over |
//! | listening: the last master that has finished its handshake has the slave | 21 | assertion `left == right` failed: of several masters one has the slave |
//! | listening: who dials when the time is over is let in | 120 | assertion `left == right` failed: dials are taken until the time is over |
//! | listening: the newest gives way where too many have dialled | 21 | assertion `left == right` failed: the oldest gives way |
//! | dialling: a slave whose connection has ended is dialled at once | 10 | the slave at place 0 is dialled 131 ms too early |
//! | dialling: pauses begin anew with every connection, good or not | 21 | the slave at place 0 is dialled after 336166039 ns, which is not between the half and the whole of 1402869684 |
//! | leaving: a time limit drops unsent results | 66 | the slave on 1.1 left of its own will, and {362}, which it had finished, are lost |
//! | leaving: gone as soon as it is over | 8 | the slave on 1.1 was told to go, and its goodbye is lost over a link that would have taken it |
//! | back-pressure: a slave goes on beginning tasks whose results nobody takes | 50 | the slave on 0.1 begins a task with Unwritten { packets: 4, bytes_behind: 8087 } |
//! | back-pressure: small packets of results pile up at a slave whose socket takes nothing | 95 | the slave on 1.1 begins a task with Unwritten { packets: 32, bytes_behind: 2432 } |
//! | brief: what a long task gave waits for the next one | 5 | what TASK-272 gave waits for the next task, and it took 5317 ns |
//! | brief: what was announced or offered waits for the next task | 115 | what TASK-60 gave waits for the next task, and it was announced |
//! | brief: results wait for as long as tasks are brief | 5 | results of brief tasks wait 42875164 ns after the last write |
//! | hearing: a slave whose words wait to be written has no deadline | 1 | the slave on 3.1 has not looked at the clock for 2575 ms |
//! | a bound of ready results, once met, is left only when nothing is ready | 13 | after 600s of simulated time the master algorithm has not returned: 14 tasks are queued or running, 0 slaves are here |
//! | what is told of a run: failed results are not counted | 1 | assertion `left == right` failed: Tasks { submitted: 428, queued: 110, running: 12, done: 4, failed: 0, unrunnable: 222, cancelled: 78, recycled: 0, duplicated: .. |
//! | hearing: a recall is heard only at the end of a packet | 2 | the slave on 0.1 has heard 1 recalls that it does not answer |
//! | checkpoint: the position of the random stream is forgotten | 13 | assertion `left == right` failed: TASK-17 draws from another stream |
//! | checkpoint: a task keeps its first one | 4 | another checkpoint of TASK-11 is kept than its last one |
//! | checkpoint: one of a task that has ended is kept | 1 | assertion `left == right` failed: what is kept of checkpoints |
//! | checkpoint: a task that has one gets a twin | 16 | TASK-226 has a checkpoint, and goes to a second slave |
//! | checkpoint: said before what the slave has finished | 1 | an honest slave on 4.1 commits an offence |
//! | quarantine: who is in it is served as any other | 35 | TASK-15 goes to SLAVE-1, which is in quarantine for 936 ms more |
//! | quarantine: tasks are tried without end | 35 | TASK-57 goes to SLAVE-1, which is in quarantine for 0 ms more |
//! | quarantine: all slaves may be in it | 155 | of 1 slaves 1 are in quarantine |
//! | quarantine: pauses do not grow | 35 | assertion `left == right` failed: pauses grow |
//! | quarantine: failures one after another count each | 1 | SLAVE-4 is bad by 6 failures, which are 2 runs |
//! | quarantine: a failure with a lower number lets its run count again | 408 | SLAVE-15 is bad by 5 failures, which are 2 runs |
//! | lives: the hand-out of what is begun at most once does not wait for its record | 24 | task 0, which is begun at most once, is begun twice in the run |
//! | lives: a barrier is passed before what stands before it is safe | 8 | the key 9128953512603536242 of place 0 is told, and its offer is not on the disk |
//! | lives: a life that has only begun something counts as one that came further | 16 | life 2 has results: false; it says: true |
//! | lives: no later life is looked for before a hand-out leaves | 56 | task 1, which is begun at most once, is begun twice in the run |
//! | the secret is skipped where the end is told | 1 | 5.1 is told in plain |
//! | a nonce is used again: a record that is repeated opens | 66 | assertion `left == right` failed: 2.3 is heard to say what it has not said |
//! | records may be left out | 184 | assertion `left == right` failed: 14.23 is heard to say what it has not said |
//! | the secret is mixed in after the first Diffie-Hellman | 4 | 0.2 is answered, and does not know the secret |
//! | an id is given before the first record has been opened | 1 | the master sends Welcome to a connection that is Handshake |
//! | needs: a slave with one of the labels does for all of them | 6 | TASK-67 needs site=fermi, and goes to SLAVE-0, which has \["gpu=1"] |
//! | needs: any slave may run what needs labels | 2 | assertion `left == right` failed: no slave may have run it |
//! | needs: who was idle before a set was first needed is found in another's place | 206 | idle slaves are found by what they have |
//! | needs: what a slave has for its labels is asked back for another one | 2 | assertion `left == right` failed: TASK-1 is bound |
//! | needs: tasks that need different labels travel as one series | 10 | assertion `left == right` failed: TASK-30 is bound |
//! | needs: who is lost is still counted as having its labels | 2 | sets of labels are those that slaves have |
//! | talk: more is said than may be under way | 6 | 57864 bytes are under way to TASK-1, and 79876 more are said |
//! | talk: of what was said before a task listened the first message is lost | 6 | the task hears 1 of attempt 1 and must hear 0 of 1 |
//! | talk: what is heard and not taken is lost with the end | 6 | assertion `left == right` failed: messages are lost |
//! | talk: a task that converses has company | 6 | SLAVE-0 gets TASK-2 behind one that converses |
//! | talk: nobody is told that a task is begun anew | 22 | assertion `left == right` failed: message 0 is heard where 1 must be |
//! | talk: a slave hears the newest message first | 6 | the task hears 4 of attempt 1 and must hear 0 of 1 |
//! | logs: a line is said though something else waits | 1 | slave 1 says a line of its log with other frames |
//! | logs: a slave says as much as there is room for | 1 | slave 5 says 65602 bytes of its log in 4 s |
//! | logs: of what is left out the last line alone is counted | 1 | assertion `left == right` failed: the line of slave 4 that is said, and the next one that was logged and not left out |
//! | logs: the master shows a line as another slave's | 1 | SLAVE-1 has not said Some((Error, Some(24), "1 of 3..............................")) |
//! | hungry: all are told at once | 102 | 3 tasks are told that slaves are hungry, and 1 slaves are idle |
//! | hungry: those that have run shortest first | 102 | TASK-110 is told that slaves are hungry, and TASK-92 has run longer |
//! | hungry: what is queued calls nobody off | 117 | 2 tasks are told that slaves are hungry, and a task waits: Some((101, Task { id: Some(TaskId { seq: 101, slot: 52 }), spec: TaskSpec { algorithm: AlgorithmId(2) .. |
//! | reservations: the loss of the slave is not told | 7 | SLAVE-2 is gone, and its reservation is not told |
//! | reservations: one that waits and is given up is kept | 3 | assertion `left == right` failed: reservations that wait, and that have a slave |
//! | lives: what an earlier life wrote meanwhile is not read | 112 | assertion `left == right` failed: results that life 3 knows, and those that came of a lost offer |
//! | lives: an output that has changed since it was read is believed | 8 | assertion `left == right` failed: another answer than that of the run that nothing befell |
//! | lives: results count without the offers that they came of | 152 | assertion `left == right` failed: results that life 3 knows, and those that came of a lost offer |
//! | lives: the incumbent of an earlier life is forgotten | 16 | assertion `left == right` failed: another answer than that of the run that nothing befell |
//! | lives: a slave of another run is welcome | 16 | assertion `left == right` failed: another answer than that of the run that nothing befell |
//! | lives: what a slave has kept is believed unseen | 32 | index out of bounds: the len is 27 but the index is 460551 |
//! | lives: a slave tells a former life's numbers to the next | 32 | an honest slave at 10.0.0.2:1025 commits an offence: TASK-33 was never given to it, or was answered before |
//! | lives: what a slave offers without a master is lost | 64 | a slave comes back, and its offer 7283222065949689938 for place 0 is lost |
//! | lives: what is known joins a series and is handed out | 8 | (2, 1, 10, 309586803557403849699210826762694676179) is handed out, and its result was recorded by an earlier life |
//! | lives: what was begun by an earlier life is given up before its slave may be | 24 | (4, 18446744073709551615, 0, 58540765945667287824467100944263701938) is given up 300000 ms before its slave may be |
//! | lives: what a slave brings of a task that waits for it is laid aside | 24 | (4, 18446744073709551615, 0, 58540765945667287824467100944263701938) ends as begun by an earlier life, whose slave has brought its result in time |
//! | lives: what was begun joins a series and is handed out | 176 | (4, 18446744073709551615, 1, 252269280388136389310222331028446247074) is handed out, and an earlier life has recorded that it was begun |
//! | lives: what is given back unbegun is not recorded as that | 16 | \[..] were given back, not begun, and that is not recorded |
//! | lives: a torn state takes the place of the one before it | 48 | one of both is whole: File("state: it has 249 bytes where 387 are needed: it was cut off; nor is the one before it whole; remove both to begin anew") |
//! | lives: behind damage nothing is read | 24 | (4, 18446744073709551615, 1, 252269280388136389310222331028446247074) is handed out, and an earlier life has recorded that it was begun |
//! | lives: a slave takes for known what a former life told it | 8 | a slave comes back, and knows what a former life told it |
//! | lives: a key is told to slaves before the record of its offer is on disk | 8 | the key 9128953512603536242 of place 0 is told, and its offer is not on the disk |
//! | lives: a slave does not say what came of which keys | 8 | a slave comes back, and does not say that it was told 18446744073709551615 for place 0 |
//! | told: slaves are missing for ever once some were | 1 | assertion `left == right` failed: since when slaves are missing: Slaves { connected: 5, busy: 5, desired: 2, needed: 0, needed_since_us: Some(0), came: 5, lost: .. |
//! | long: what a record has behind a long frame is lost | 1 | of an honest master: what it sent cannot be read: the peer does not speak ringmw's protocol (a frame begins with other bytes than "RW"); is it another program on this port? |
//! | long: a record that came in part is forgotten | 1 | of an honest master: what it sent cannot be read: a record does not open: it was changed, repeated or put out of order on the way |
//! | shared: what a task in hand names is dropped | 39 | 1 tasks have not ended and 1 ends are untold, none for 6000 turns after the faults; 6 slaves, 0 compute |
//! | shared: half of it counts as had | 3 | TASK-19 begins without all of cab22b7e37fb2a45, which it names |
//! | shared: another content under its name | 19 | TASK-201 begins without all of caac55566a2f4245, which it names |
//! | shared: a block of a file is sent from its beginning again | 23 | assertion `left == right` failed: SLAVE-1 is sent another content of cf561aa9e09d7933 |
//! | shared: a part of a file is taken for the one before it | 23 | assertion `left == right` failed: SLAVE-1 is sent another content of cf561aa9e09d7933 |
//! | shared: pieces stand before packets | 99 | Recall waits behind a piece of shared data to 4.1 |
//! | shared: it is forgotten while a task names it | 91 | SLAVE-5 is not told that \[108] were cancelled |
//! | time-outs: the run's goes before a task's own | 78 | assertion `left == right` failed: TASK-51 has another time-out |
//! | time-outs: tasks with other ones join a series | 12 | assertion `left == right` failed: TASK-38 goes with another body |
//! | time-outs: what is left of a series has none | 15 | assertion `left == right` failed: TASK-0 goes with another body |
//!
//! # Deliberately absent
//! Sockets, files and threads: `runtime/tests/engine` holds the engines to what this world assumes of them. The
//! audit trail's writer and the resource file. Masters that listen again. What other masters and a slave say to each other:
//! of those that dial a slave that listens it is played when they come, prove themselves and go.

mod alone;
mod coroutine;
mod coverage;
mod disk;
mod doors;
mod fleet;
mod law;
mod net;
mod refusals;
mod script;
mod slave;
mod watch;
mod world;

pub use alone::{Alone, Parts};
pub use coverage::{Coverage, ENDS, Happening, Standing, can_happen};
pub use script::{CALM_TURNS_MAX, Lives, Storm, storm};
pub use world::{Churn, Report, World};
