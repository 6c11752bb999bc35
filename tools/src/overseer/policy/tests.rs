use super::*;

const LIMITS: Limits = Limits {
    max: 10,
    step: 100,
    pause: 0,
    unseen: 15 * SECOND,
    stale: 60 * SECOND,
};

fn in_progress(desired: u64) -> Resource {
    Resource::InProgress {
        desired,
        connected: Some(1),
        busy: Some(1),
        queued: None,
        overdue: 0,
    }
}

fn job(id: u32, state: JobState, host: &str, seconds: u64) -> Job {
    Job {
        id: id.to_string(),
        state,
        host: Some(host.to_owned()),
        ran: seconds * SECOND,
        listens: false,
    }
}

fn running(ids: std::ops::Range<u32>) -> Vec<Job> {
    ids.map(|id| job(id, JobState::Running, "a", 60)).collect()
}

fn queued(ids: std::ops::Range<u32>) -> Vec<Job> {
    ids.map(|id| job(id, JobState::Queued, "a", 0)).collect()
}

fn death(host: &str) -> End {
    End {
        job: "99".to_owned(),
        host: Some(host.to_owned()),
        how: How::Died("exit status 127".to_owned()),
        lines: vec!["libsolve.so.2: cannot open shared object file".to_owned()],
    }
}

fn turn(
    policy: &mut Policy,
    seconds: u64,
    resource: Resource,
    jobs: &[Job],
    ends: &[End],
) -> Vec<Effect> {
    policy.turn(&Facts {
        now: seconds * SECOND,
        resource,
        jobs,
        ends,
    })
}

fn submit(jobs: u32) -> Effect {
    Effect::Submit {
        jobs,
        avoid: Vec::new(),
    }
}

fn remove(ids: &[&str]) -> Effect {
    Effect::Remove {
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        running: false,
    }
}

/// One desire, one list of jobs, a fresh policy: what it does at once.
#[test]
fn first_turns() {
    let rows = [
        (in_progress(0), vec![], vec![]),
        (in_progress(8), vec![], vec![submit(8)]),
        (in_progress(8), running(0..3), vec![submit(5)]),
        // Queued ones count; after a restart too, when the policy has never seen them.
        (in_progress(8), queued(0..3), vec![submit(5)]),
        (in_progress(8), running(0..8), vec![]),
        // A fall: nothing yet.
        (in_progress(3), queued(0..8), vec![]),
        (
            Resource::Finished,
            vec![],
            vec![Effect::Done(Over::Finished)],
        ),
        (
            Resource::Finished,
            [running(0..2), queued(2..4)].concat(),
            vec![
                Effect::Say("the computation is finished: removing what is queued".to_owned()),
                remove(&["3", "2"]),
            ],
        ),
    ];
    for (resource, jobs, expected) in rows {
        let mut policy = Policy::new(LIMITS);
        assert_eq!(
            turn(&mut policy, 0, resource, &jobs, &[]),
            expected,
            "{resource:?} {jobs:?}"
        );
    }
}

#[test]
fn never_above_max_and_a_step_at_a_time() {
    let mut policy = Policy::new(Limits {
        step: 4,
        pause: 5 * SECOND,
        ..LIMITS
    });
    let effects = turn(&mut policy, 0, in_progress(100), &[], &[]);
    assert_eq!(effects[1..], [submit(4)], "the first says that --max binds");
    policy.on_submitted(0, (0..4).map(|id: u32| id.to_string()).collect());
    // They are not shown yet: they count all the same.
    assert_eq!(turn(&mut policy, 4, in_progress(100), &[], &[]), []);
    assert_eq!(
        turn(&mut policy, 5, in_progress(100), &[], &[]),
        [submit(4)]
    );
    policy.on_submitted(5 * SECOND, (4..8).map(|id: u32| id.to_string()).collect());
    assert_eq!(
        turn(&mut policy, 10, in_progress(100), &running(0..8), &[]),
        [submit(2)]
    );
}

#[test]
fn a_fall_that_lasts_removes_queued_jobs_and_no_running_one() {
    let mut policy = Policy::new(LIMITS);
    let jobs = [running(0..5), queued(5..8)].concat();
    assert_eq!(turn(&mut policy, 0, in_progress(8), &jobs, &[]), []);
    assert_eq!(turn(&mut policy, 1, in_progress(3), &jobs, &[]), []);
    assert_eq!(turn(&mut policy, 10, in_progress(3), &jobs, &[]), []);
    assert_eq!(
        turn(&mut policy, 11, in_progress(3), &jobs, &[]),
        [remove(&["7", "6", "5"])]
    );
    assert_eq!(
        turn(&mut policy, 12, in_progress(3), &jobs, &[]),
        [],
        "asked for once"
    );
    // A dip removes nothing.
    let mut policy = Policy::new(LIMITS);
    for second in 0..60 {
        let desired = if second % 9 == 0 { 8 } else { 3 };
        assert_eq!(
            turn(&mut policy, second, in_progress(desired), &jobs, &[]),
            []
        );
    }
}

#[test]
fn five_deaths_in_a_row_stop_it_and_say_why_and_one_probe_follows() {
    let mut policy = Policy::new(LIMITS);
    let dead: Vec<End> = vec![death("node3"); 5];
    let effects = turn(&mut policy, 0, in_progress(8), &queued(0..3), &dead);
    let [Effect::Say(why), Effect::Remove { ids: gone, .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert!(
        why.contains("node3") && why.contains("127") && why.contains("libsolve.so.2"),
        "{why}"
    );
    assert_eq!(gone.len(), 3);
    assert_eq!(turn(&mut policy, 29, in_progress(8), &[], &[]), []);
    let effects = turn(&mut policy, 30, in_progress(8), &[], &[]);
    assert_eq!(effects[1..], [submit(1)]);
    policy.on_submitted(30 * SECOND, vec!["9".to_owned()]);
    // It dies too: twice the pause.
    turn(&mut policy, 31, in_progress(8), &[], &[death("node3")]);
    assert_eq!(turn(&mut policy, 90, in_progress(8), &[], &[]), []);
    let effects = turn(&mut policy, 92, in_progress(8), &[], &[]);
    assert_eq!(effects[1..], [submit(1)]);
    // This one lives: back to work.
    let lives = running(10..11);
    assert_eq!(
        turn(&mut policy, 110, in_progress(8), &lives, &[]),
        [submit(7)]
    );
}

#[test]
fn deaths_while_others_live_stop_nothing_but_their_host() {
    let mut policy = Policy::new(LIMITS);
    let others = running(0..6);
    let dead = vec![death("bad"); 3];
    let effects = turn(&mut policy, 0, in_progress(8), &others, &dead);
    let [
        Effect::Say(why),
        Effect::Submit {
            jobs: 2,
            avoid: hosts,
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert!(why.contains("bad"), "{why}");
    assert_eq!(hosts, &["bad"]);
    // HTCondor puts the dead one back, and may send it there for ever.
    let back = [others.clone(), queued(98..100)].concat();
    let effects = turn(&mut policy, 5, in_progress(8), &back, &[death("bad")]);
    let elsewhere = Effect::Submit {
        jobs: 1,
        avoid: vec!["bad".to_owned()],
    };
    assert_eq!(effects, [remove(&["99"]), elsewhere]);
    let effects = turn(&mut policy, 61, in_progress(8), &back[..7], &[]);
    assert_eq!(effects, [submit(1)], "forgiven after a while");
    // The only host of a pool is never avoided.
    let mut policy = Policy::new(LIMITS);
    let effects = turn(
        &mut policy,
        0,
        in_progress(8),
        &others,
        &vec![death("a"); 3],
    );
    assert_eq!(effects, [submit(2)]);
}

/// A master that keeps the slaves of a bad host in quarantine tries one at a time; the others wait there and seem alive.
#[test]
fn slaves_that_wait_on_a_bad_host_do_not_make_it_good() {
    let bad = |id: u32, ran| job(id, JobState::Running, "bad", ran);
    let mut policy = Policy::new(LIMITS);
    let young: Vec<Job> = (0..6)
        .map(|id| job(id, JobState::Running, "a", 5))
        .collect();
    // Three die before anybody is known to be alive: nothing is said yet.
    let dead: Vec<End> = (6..9)
        .map(|id: u32| End {
            job: id.to_string(),
            ..death("bad")
        })
        .collect();
    let back = [young, queued(6..9)].concat();
    assert_eq!(turn(&mut policy, 5, in_progress(9), &back, &dead), []);
    // The others prove to be alive, and so seem two that wait there since before the next death.
    let died = End {
        job: "6".to_owned(),
        ..death("bad")
    };
    let jobs = [running(0..6), queued(6..7), vec![bad(7, 26), bad(8, 26)]].concat();
    let effects = turn(
        &mut policy,
        30,
        in_progress(9),
        &jobs,
        std::slice::from_ref(&died),
    );
    let [Effect::Say(why), Effect::Remove { ids, .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert!(why.contains("on bad, 4 in a row"), "{why}");
    assert_eq!(ids, &["6"], "running ones are left alone");

    // Nobody dies any more: once others live it is found all the same.
    let mut policy = Policy::new(LIMITS);
    turn(&mut policy, 5, in_progress(9), &back, &dead);
    let jobs = [running(0..6), queued(6..9)].concat();
    let effects = turn(&mut policy, 16, in_progress(9), &jobs, &[]);
    let [Effect::Say(why), Effect::Remove { ids, .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert!(why.contains("on bad, 3 in a row"), "{why}");
    assert_eq!(ids, &["8", "7", "6"]);

    // One that came after the deaths and is alive takes them back, and so does a long time without another one.
    for (seconds, ran, avoided) in [(30, 20, false), (30, 27, true), (700, 800, false)] {
        let mut policy = Policy::new(LIMITS);
        turn(&mut policy, 5, in_progress(9), &back, &dead);
        let before = [running(0..1), vec![bad(9, ran)]].concat();
        // Nobody lives elsewhere in between.
        turn(&mut policy, seconds, in_progress(9), &before[1..], &[]);
        let effects = turn(&mut policy, seconds + 1, in_progress(9), &before, &[]);
        let said = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Say(_)));
        assert_eq!(said, avoided, "{seconds} {ran} {effects:?}");
    }
}

/// The master was killed and took all slaves along, or all had the same time limit: the overseer said that slaves do not
/// start, and waited.
#[test]
fn slaves_that_lived_and_die_together_are_replaced() {
    let mut policy = Policy::new(LIMITS);
    assert_eq!(
        turn(&mut policy, 0, in_progress(8), &running(0..8), &[]),
        []
    );
    let deaths: Vec<End> = (0..8)
        .map(|id: u32| End {
            job: id.to_string(),
            ..death("a")
        })
        .collect();
    // Half of them died before the jobs were listed, half after.
    let left = running(4..8);
    assert_eq!(turn(&mut policy, 5, in_progress(8), &left, &deaths), []);
    assert_eq!(turn(&mut policy, 10, in_progress(8), &[], &[]), [submit(4)]);
    // Those that come now and die at once are another matter.
    policy.on_submitted(10 * SECOND, (0..4).map(|id: u32| id.to_string()).collect());
    let effects = turn(&mut policy, 12, in_progress(8), &[], &deaths);
    assert!(
        matches!(&effects[..], [Effect::Say(text)] if text.starts_with("slaves do not start")),
        "{effects:?}"
    );
}

/// It waited a minute for slaves that had come and gone before they were listed.
#[test]
fn at_the_end_jobs_that_were_never_shown_are_not_waited_for_for_long() {
    let mut policy = Policy::new(LIMITS);
    assert_eq!(turn(&mut policy, 0, in_progress(1), &[], &[]), [submit(1)]);
    policy.on_submitted(0, vec!["7".to_owned()]);
    let over = |seconds| turn(&mut policy, seconds, Resource::Finished, &[], &[]);
    let done: Vec<bool> = [5, 14, 15]
        .map(over)
        .iter()
        .map(|effects| matches!(effects[..], [Effect::Done(_)]))
        .collect();
    assert_eq!(done, [false, false, true]);
}

/// A pool of a bad host and good ones: before the good slaves had been there for long the overseer stopped for all.
#[test]
fn one_bad_host_does_not_stop_the_start_of_the_others() {
    let mut policy = Policy::new(LIMITS);
    let young: Vec<Job> = (0..8)
        .map(|id| job(id, JobState::Running, "a", 4))
        .collect();
    let dead = vec![death("bad"); 6];
    assert_eq!(turn(&mut policy, 0, in_progress(8), &young, &dead), []);
    // They were not: it stops.
    let effects = turn(&mut policy, 5, in_progress(8), &[], &[death("a")]);
    assert!(
        matches!(&effects[..], [Effect::Say(text)] if text.starts_with("slaves do not start: 7 died")),
        "{effects:?}"
    );
}

#[test]
fn held_jobs_make_room() {
    let mut policy = Policy::new(LIMITS);
    let jobs = [
        running(0..2),
        vec![job(2, JobState::Held("no exec bit".into()), "a", 0)],
    ]
    .concat();
    assert_eq!(
        turn(&mut policy, 0, in_progress(3), &jobs, &[]),
        [remove(&["2"]), submit(1)]
    );
}

#[test]
fn a_missing_or_stale_file_is_waited_for_then_all_goes() {
    let mut policy = Policy::new(LIMITS);
    let jobs = [running(0..1), queued(1..3)].concat();
    let effects = turn(&mut policy, 0, Resource::Missing, &jobs, &[]);
    assert!(matches!(&effects[..], [Effect::Say(_)]), "{effects:?}");
    assert_eq!(turn(&mut policy, 60, Resource::Missing, &jobs, &[]), []);
    let effects = turn(&mut policy, 61, Resource::Missing, &jobs, &[]);
    assert!(
        matches!(&effects[..], [Effect::Say(_), Effect::Remove { ids, running: false }] if ids.len() == 2),
        "{effects:?}"
    );
    let mut policy = Policy::new(LIMITS);
    let stale = |overdue| Resource::InProgress {
        desired: 8,
        connected: None,
        busy: None,
        queued: None,
        overdue: overdue * SECOND,
    };
    assert_eq!(turn(&mut policy, 0, stale(60), &jobs, &[]), [submit(5)]);
    policy.on_refused(0);
    let effects = turn(&mut policy, 1, stale(61), &jobs, &[]);
    assert!(
        matches!(&effects[..], [Effect::Say(why), Effect::Remove { .. }] if why.contains("stale")),
        "{effects:?}"
    );
    assert!(matches!(
        &turn(&mut policy, 2, stale(62), &[], &[])[..],
        [Effect::Done(_)]
    ));
}

#[test]
fn a_batch_system_that_refuses_is_asked_less_and_less() {
    let mut policy = Policy::new(LIMITS);
    let mut asked = Vec::new();
    for second in 0..2_000 {
        if !turn(&mut policy, second, in_progress(8), &[], &[]).is_empty() {
            asked.push(second);
            policy.on_refused(second * SECOND);
        }
    }
    assert_eq!(
        asked,
        [0, 15, 45, 105, 225, 465, 765, 1065, 1365, 1665, 1965]
    );
}

/// Draws that depend on the seed alone.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// A batch system that starts jobs slowly, kills 5 % of them an hour, shows new ones late, refuses at random, and
/// sometimes takes what it says it refused. The master sends idle slaves away when the desire falls.
struct Pool {
    dice: Dice,
    jobs: Vec<Job>,
    /// Taken, and the second from which they are shown.
    late: VecDeque<(u64, Vec<Job>)>,
    next: u32,
    submissions: u32,
    submitted: u32,
    ended: u32,
    removed: u32,
}

const TURN: u64 = 5;
const STARTS_A_SECOND: usize = 20;

impl Pool {
    fn advance(&mut self, second: u64, desired: u64) -> Vec<End> {
        while self.late.front().is_some_and(|(due, _)| *due <= second) {
            let (_, shown) = self.late.pop_front().expect("it is there");
            self.jobs.extend(shown);
        }
        let mut starts = STARTS_A_SECOND * TURN as usize;
        for job in &mut self.jobs {
            match job.state {
                JobState::Queued if starts > 0 => {
                    job.state = JobState::Running;
                    starts -= 1;
                }
                JobState::Running => job.ran += TURN * SECOND,
                _ => {}
            }
        }
        let mut dead = Vec::new();
        let dice = &mut self.dice;
        // 5 % an hour, in turns of 5 s: one in 14,400.
        self.jobs.retain(|job| {
            let dies = job.state == JobState::Running && dice.below(14_400) == 0;
            if dies {
                dead.push(End {
                    job: job.id.clone(),
                    ..death(&format!("node{}", dice.below(500)))
                });
            }
            !dies
        });
        let running = self
            .jobs
            .iter()
            .filter(|job| job.state == JobState::Running);
        let mut excess = (running.count() as u64).saturating_sub(desired);
        let before = self.jobs.len();
        self.jobs.retain(|job| {
            let is_sent_away = excess > 0 && job.state == JobState::Running;
            excess -= u64::from(is_sent_away);
            !is_sent_away
        });
        self.ended += (dead.len() + before - self.jobs.len()) as u32;
        dead
    }

    fn alive(&self) -> usize {
        self.jobs.len() + self.late.iter().map(|(_, jobs)| jobs.len()).sum::<usize>()
    }

    fn perform(&mut self, policy: &mut Policy, now: Nanos, effect: Effect) -> bool {
        match effect {
            Effect::Say(_) => {}
            Effect::Done(_) => return true,
            Effect::Remove { ids, running } => {
                assert!(!running, "slaves end by themselves in this world");
                self.removed += ids.len() as u32;
                let gone: BTreeSet<String> = ids.into_iter().collect();
                self.jobs.retain(|job| {
                    let goes = gone.contains(&job.id);
                    assert!(
                        !goes || job.state == JobState::Queued,
                        "a running job is never removed"
                    );
                    !goes
                });
            }
            Effect::Submit { jobs, .. } => {
                self.submissions += 1;
                let outcome = self.dice.below(10);
                let taken: Vec<Job> = (0..jobs)
                    .map(|index| job(self.next + index, JobState::Queued, "a", 0))
                    .collect();
                let ids = taken.iter().map(|job| job.id.clone()).collect();
                // Two in ten are refused, one more says so and is not.
                if outcome >= 2 {
                    self.next += jobs;
                    self.submitted += jobs;
                    self.late.push_back((now / SECOND + 2 * TURN, taken));
                }
                if outcome >= 3 {
                    policy.on_submitted(now, ids);
                } else {
                    policy.on_refused(now);
                }
            }
        }
        false
    }
}

/// "Must show" 7: ten thousand slaves, two hours; further seeds by raising the range.
#[test]
fn ten_thousand_slaves_on_a_slow_deadly_and_moody_batch_system() {
    for seed in 0..1 {
        let limits = Limits {
            unseen: 15 * SECOND,
            max: 10_500,
            step: 200,
            pause: 5 * SECOND,
            stale: 3_600 * SECOND,
        };
        let mut policy = Policy::new(limits);
        let mut pool = Pool {
            dice: Dice(seed),
            jobs: Vec::new(),
            late: VecDeque::new(),
            next: 0,
            submissions: 0,
            submitted: 0,
            ended: 0,
            removed: 0,
        };
        let mut done_at = None;
        let mut longest_below: u64 = 0;
        let mut below_since = 1_800;
        for second in (0..2 * 3_600).step_by(TURN as usize) {
            let now = second * SECOND;
            // Wanted at once; a fall after an hour; the old desire; the end.
            let desired = match second {
                0..3_600 => 10_000,
                3_600..4_200 => 4_000,
                4_200..6_600 => 10_000,
                _ => 0,
            };
            let dead = pool.advance(second, desired);
            let resource = if second < 6_600 {
                in_progress(desired)
            } else {
                Resource::Finished
            };
            let facts = Facts {
                now,
                resource,
                jobs: &pool.jobs,
                ends: &dead,
            };
            for effect in policy.turn(&facts) {
                if pool.perform(&mut policy, now, effect) {
                    done_at.get_or_insert(second);
                }
            }
            assert!(
                pool.alive() <= 10_500,
                "seed {seed}, second {second}: never above max"
            );
            if second < 3_600 {
                assert_eq!(
                    pool.removed, 0,
                    "seed {seed}, second {second}: a steady desire removes nothing"
                );
                // One submission whose outcome was lost may be too many, never more.
                assert!(
                    pool.alive() <= 10_000 + 200,
                    "seed {seed}, second {second}: {}",
                    pool.alive()
                );
            }
            if (1_800..3_600).contains(&second) {
                let is_below = pool.alive() < 9_990;
                below_since = if is_below { below_since } else { second };
                longest_below = longest_below.max(second - below_since);
            }
            if done_at.is_some() {
                break;
            }
        }
        // Three refusals in a row cost 15, 30 and 60 s.
        assert!(
            longest_below <= 240,
            "seed {seed}: below its desire for {longest_below} s"
        );
        let done_at =
            done_at.unwrap_or_else(|| panic!("seed {seed}: {} jobs are left", pool.alive()));
        assert!(
            done_at < 6_700,
            "seed {seed}: cleaned up {} s after the end",
            done_at - 6_600
        );
        assert_eq!(pool.alive(), 0);
        // Each slave that was missing was submitted once: 10,000, what ended, what was wanted again.
        assert!(
            pool.submitted <= 10_000 + pool.ended + pool.removed + 400,
            "seed {seed}: {} submitted",
            pool.submitted
        );
        assert!(
            pool.submissions <= 6_600 / 5,
            "seed {seed}: {} submissions",
            pool.submissions
        );
    }
}

#[test]
fn slaves_that_leave_at_the_end_are_not_replaced() {
    let mut policy = Policy::new(LIMITS);
    assert_eq!(
        turn(&mut policy, 0, in_progress(8), &running(0..8), &[]),
        []
    );
    // They were told to go; the file still says that eight are desired.
    assert_eq!(
        turn(&mut policy, 1, in_progress(8), &running(0..2), &[]),
        []
    );
    assert_eq!(turn(&mut policy, 3, in_progress(8), &[], &[]), []);
    assert!(matches!(
        &turn(&mut policy, 4, Resource::Finished, &[], &[])[..],
        [Effect::Done(_)]
    ));
    // Those that are gone for another reason are.
    let mut policy = Policy::new(LIMITS);
    assert_eq!(
        turn(&mut policy, 0, in_progress(8), &running(0..8), &[]),
        []
    );
    assert_eq!(
        turn(&mut policy, 1, in_progress(8), &running(0..5), &[]),
        []
    );
    assert_eq!(
        turn(&mut policy, 5, in_progress(8), &running(0..5), &[]),
        [submit(3)]
    );
}

fn end(job: u32, how: How) -> End {
    End {
        job: job.to_string(),
        host: Some("a".to_owned()),
        how,
        lines: vec!["hello".to_owned()],
    }
}

/// Somebody ran `condor_hold` on two: they were removed, and others submitted.
#[test]
fn jobs_that_somebody_holds_are_left_alone_and_count() {
    let by_hand = |id| job(id, JobState::HeldByHand, "a", 0);
    let jobs = [running(0..2), vec![by_hand(2), by_hand(3)]].concat();
    let mut policy = Policy::new(LIMITS);
    assert_eq!(turn(&mut policy, 0, in_progress(4), &jobs, &[]), []);
    // A fall removes none of them, nor do deaths, nor the end.
    for second in [20, 40] {
        assert_eq!(turn(&mut policy, second, in_progress(1), &jobs, &[]), []);
    }
    let effects = turn(&mut policy, 41, Resource::Finished, &jobs, &[]);
    assert!(matches!(&effects[..], [Effect::Say(_)]), "{effects:?}");
    let effects = turn(&mut policy, 200, Resource::Finished, &jobs, &[]);
    let [
        Effect::Say(_),
        Effect::Remove {
            ids: ended,
            running: true,
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!(ended, &["0", "1"], "those that run are ended at last");
    assert_eq!(
        turn(&mut policy, 201, Resource::Finished, &jobs[2..], &[]),
        [Effect::Done(Over::Finished)]
    );
}

/// Slaves with a time limit below ALIVE_AFTER: "slaves do not start" was said of them.
#[test]
fn a_leave_at_the_time_limit_is_no_death_and_is_replaced() {
    let mut policy = Policy::new(LIMITS);
    let young: Vec<Job> = (0..8)
        .map(|id| job(id, JobState::Running, "a", 4))
        .collect();
    assert_eq!(turn(&mut policy, 0, in_progress(8), &young, &[]), []);
    let ends: Vec<End> = (0..8).map(|id| end(id, How::TimeLimit)).collect();
    assert_eq!(turn(&mut policy, 5, in_progress(8), &[], &ends), []);
    assert_eq!(turn(&mut policy, 9, in_progress(8), &[], &[]), [submit(8)]);
}

#[test]
fn idle_leavers_are_not_replaced_until_the_desire_changes() {
    let mut policy = Policy::new(LIMITS);
    assert_eq!(
        turn(&mut policy, 0, in_progress(8), &running(0..8), &[]),
        []
    );
    let ends: Vec<End> = (3..8).map(|id| end(id, How::Left)).collect();
    let left = running(0..3);
    assert_eq!(turn(&mut policy, 5, in_progress(8), &left, &ends), []);
    let effects = turn(&mut policy, 10, in_progress(8), &left, &[]);
    assert!(
        matches!(&effects[..], [Effect::Say(text)] if text.contains("as idle ones do")),
        "{effects:?}"
    );
    assert!(
        policy.state(10).contains("5 slaves left"),
        "{}",
        policy.state(10)
    );
    assert_eq!(turn(&mut policy, 40, in_progress(8), &left, &[]), []);
    // One that dies is replaced all the same.
    let fewer = &left[..2];
    assert_eq!(turn(&mut policy, 45, in_progress(8), fewer, &[]), []);
    assert_eq!(
        turn(&mut policy, 49, in_progress(8), fewer, &[]),
        [submit(1)]
    );
    let effects = turn(&mut policy, 55, in_progress(9), &left, &[]);
    assert_eq!(effects, [submit(6)], "the desire has changed");
}

/// `--binary /bin/true`: eight jobs every five seconds, for ever, without a word.
#[test]
fn a_binary_that_exits_with_0_at_once_is_told_and_paced() {
    let mut policy = Policy::new(LIMITS);
    let nobody = Resource::InProgress {
        desired: 8,
        connected: Some(0),
        busy: Some(0),
        queued: None,
        overdue: 0,
    };
    let (mut submitted, mut said, mut ends) = (0, Vec::new(), Vec::new());
    for second in (0..3_600).step_by(5) {
        for effect in turn(&mut policy, second, nobody, &[], &std::mem::take(&mut ends)) {
            match effect {
                Effect::Say(text) => said.push(text),
                Effect::Submit { jobs, .. } => {
                    ends = (submitted..submitted + jobs)
                        .map(|id| end(id, How::Left))
                        .collect();
                    submitted += jobs;
                    let ids = ends.iter().map(|end| end.job.clone()).collect();
                    policy.on_submitted(second * SECOND, ids);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!((10..25).contains(&submitted), "{submitted} in an hour");
    let told = said.first().expect("it is told");
    assert!(
        told.contains("end at once with exit status 0") && told.contains("hello"),
        "{said:?}"
    );
    assert!(said.len() < 20, "not over and over: {said:?}");
}

#[test]
fn a_drained_overseer_removes_what_is_queued_and_waits_for_what_runs() {
    let mut policy = Policy::new(LIMITS);
    let jobs = [running(0..2), queued(2..4)].concat();
    assert_eq!(
        turn(&mut policy, 0, in_progress(10), &jobs, &[]),
        [submit(6)]
    );
    policy.on_submitted(0, vec!["4".to_owned()]);
    policy.drain();
    let effects = turn(&mut policy, 1, in_progress(10), &jobs, &[]);
    assert!(
        matches!(&effects[..], [Effect::Say(_), gone] if *gone == remove(&["3", "2"])),
        "{effects:?}"
    );
    // The one that was submitted shows up late; a dead one of HTCondor's comes back to the queue.
    let late = [running(0..1), queued(1..2), queued(4..5)].concat();
    assert_eq!(
        turn(&mut policy, 2, in_progress(10), &late, &[]),
        [remove(&["4", "1"])]
    );
    // However long they run.
    for second in [500, 5_000] {
        assert_eq!(
            turn(&mut policy, second, in_progress(10), &running(0..1), &[]),
            []
        );
    }
    assert_eq!(
        turn(&mut policy, 5_001, in_progress(10), &[], &[]),
        [Effect::Done(Over::Drained)]
    );
    assert_eq!(policy.state(0), "draining");
}

/// A job began to run just before it was removed, lost its master, and was queued again: it was never asked for any more, and a
/// drain waited for it without end.
#[test]
fn what_ran_when_it_was_to_be_removed_is_removed_when_it_is_queued_again() {
    let mut policy = Policy::new(LIMITS);
    policy.drain();
    let waits = |id| job(id, JobState::Queued, "a", 0);
    let runs = |id| job(id, JobState::Running, "a", 1);
    let in_progress =
        |policy: &mut Policy, second, jobs: &[Job]| turn(policy, second, in_progress(2), jobs, &[]);
    let effects = in_progress(&mut policy, 0, &[waits(1), waits(2)]);
    assert!(effects.contains(&remove(&["2", "1"])), "{effects:?}");
    // The removal of one takes a while; the other has begun.
    assert_eq!(in_progress(&mut policy, 2, &[waits(1), runs(2)]), []);
    assert_eq!(in_progress(&mut policy, 4, &[runs(2)]), []);
    let effects = in_progress(&mut policy, 6, &[waits(2)]);
    assert_eq!(effects, [remove(&["2"])]);
    assert_eq!(in_progress(&mut policy, 8, &[waits(2)]), []);
    assert_eq!(
        in_progress(&mut policy, 10, &[]),
        [Effect::Done(Over::Drained)]
    );
}

#[test]
fn only_a_finished_or_a_drained_run_is_a_success() {
    assert!(Over::Finished.is_success() && Over::Drained.is_success());
    assert!(!Over::Stale(900).is_success() && !Over::Missing(900).is_success());
}

/// Nobody will dial the slaves that wait for that once the computation is finished: they are ended soon, once, and count as
/// no deaths; one that has no ear of its own leaves by itself.
#[test]
fn slaves_that_nobody_dialled_end_with_the_run() {
    let mut policy = Policy::new(LIMITS);
    let listening = |id: u32| Job {
        listens: true,
        ..job(id, JobState::Running, "a", 60)
    };
    let jobs = [
        listening(1),
        job(2, JobState::Running, "a", 60),
        listening(3),
    ];
    let mut removed = Vec::new();
    for second in 0..60 {
        let facts = Facts {
            now: second * SECOND,
            resource: Resource::Finished,
            jobs: &jobs,
            ends: &[],
        };
        for effect in policy.turn(&facts) {
            if let Effect::Remove { ids, running: true } = effect {
                removed.push((second, ids));
            }
        }
    }
    assert_eq!(removed, [(4, vec!["1".to_owned(), "3".to_owned()])]);
    let died = |job: &str| End {
        job: job.to_owned(),
        ..death("a")
    };
    let judged = ["1", "2"].map(|job| policy.judged(died(job)).how);
    assert_eq!(judged, [How::Ended, died("2").how]);
    // A master that is only missing may come back and dial them.
    let mut policy = Policy::new(LIMITS);
    for second in 0..150 {
        let facts = Facts {
            now: second * SECOND,
            resource: Resource::Missing,
            jobs: &jobs[..1],
            ends: &[],
        };
        let effects = policy.turn(&facts);
        let ends_any = |effect: &Effect| matches!(effect, Effect::Remove { running: true, .. });
        assert!(!effects.iter().any(ends_any), "{effects:?}");
    }
}
