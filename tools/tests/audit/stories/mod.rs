//! True stories: trails of runs in which one thing went wrong, or nothing did, each with its truth.
//!
//! A kind and a seed are a story. What a calm run is like is drawn at large: from a second to seven days, from one slave
//! to 5,000, with losses and failures that strike everybody alike.

mod stream;
pub(crate) mod world;

use ringmw_codec::audit::{Event, Line, Who};

pub(crate) use stream::Stream;
use world::{Bad, Plan, SECOND_US, Shape};

/// What happened in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing worth a complaint.
    Calm,
    /// Nothing either: many losses, which strike 400 hosts by uniform chance.
    CalmHosts,
    /// Half the slaves are lost in one millisecond.
    MassLoss,
    /// All slaves of one subnet are.
    SubnetCut,
    /// From one time on everything takes four times as long.
    Throughput,
    /// For two thirds of the run there is no slave.
    NoSlaves,
    /// Nothing comes back for 95 s or more.
    NothingDone,
    /// One slave fails almost all that it is given.
    FailingSlave,
    /// A host fails at once whatever it is given, and so is given the most.
    BlackHole,
    /// On one host whatever prints fails: its standard output is full.
    StdoutFull,
    /// The master is started again and again, and crashes each time.
    CrashLoop,
    /// One host loses its slaves over and over.
    LosingHost,
    /// All hosts of a subnet do.
    LosingSubnet,
    /// One host is four times as slow.
    SlowHost,
    /// The master algorithm holds its thread.
    Held,
    /// The master has no tasks for its slaves, for half of the run.
    QueueEmpty,
    /// One algorithm fails, wherever it runs.
    FailingAlgorithm,
    /// Whoever dials is refused.
    Refused,
}

impl Kind {
    pub(crate) const TROUBLES: [Kind; 16] = [
        Kind::MassLoss,
        Kind::SubnetCut,
        Kind::Throughput,
        Kind::NoSlaves,
        Kind::NothingDone,
        Kind::FailingSlave,
        Kind::BlackHole,
        Kind::StdoutFull,
        Kind::CrashLoop,
        Kind::LosingHost,
        Kind::LosingSubnet,
        Kind::SlowHost,
        Kind::Held,
        Kind::QueueEmpty,
        Kind::FailingAlgorithm,
        Kind::Refused,
    ];
}

/// What a reader of the trail should be told first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Truth {
    /// The finding's id.
    pub(crate) id: &'static str,
    /// When it began, where it began at all.
    pub(crate) at_us: Option<i64>,
    /// Who is to blame: the kind, and the name.
    pub(crate) culprit: Option<(&'static str, String)>,
}

/// A trail and its truth; none of a calm run.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) trail: Vec<u8>,
    pub(crate) truth: Option<Truth>,
}

fn truth(id: &'static str, at_us: Option<i64>, culprit: Option<(&'static str, String)>) -> Truth {
    Truth { id, at_us, culprit }
}

/// The story of a kind and a seed; `lines` is about how many lines it may have.
pub(crate) fn story(kind: Kind, seed: u64, lines: f64) -> Story {
    let mut chance = Stream::new(seed.wrapping_mul(0x1_0001) ^ (kind as u64) << 40);
    match kind {
        Kind::Calm | Kind::CalmHosts => {
            let plan = match kind {
                Kind::Calm => calm(&mut chance, lines),
                _ => calm_hosts(&mut chance, lines),
            };
            Story {
                trail: world::run(plan, chance.next()),
                truth: None,
            }
        }
        Kind::CrashLoop => crash_loop(&mut chance),
        _ => {
            let mut plan = ordinary(&mut chance, lines);
            let truth = spoil(kind, &mut plan, &mut chance);
            Story {
                trail: world::run(plan, chance.next()),
                truth: Some(truth),
            }
        }
    }
}

/// A start anywhere in 2026, so that every hour and both changes of summer time are met.
fn start(chance: &mut Stream) -> i64 {
    const YEAR_2026_US: i64 = 1_767_225_600_000_000;
    YEAR_2026_US + chance.below(365 * 86_400_000_000) as i64
}

/// Packets of a run, so that it has about so many lines.
fn packet_us(chance: &mut Stream, slaves: u32, length_us: i64, lines: f64) -> f64 {
    let packets_max = (lines / 4.0).max(f64::from(slaves) * 4.0);
    let packets = chance.magnitude(f64::from(slaves) * 3.0, packets_max);
    (f64::from(slaves) * length_us as f64 / packets).max(300.0)
}

/// Any calm run: long, short, wide, narrow, with chance losses and failures or without.
pub(crate) fn calm(chance: &mut Stream, lines: f64) -> Plan {
    let length_us = (chance.magnitude(1.0, 7.0 * 86_400.0) * 1e6) as i64;
    let slaves_max = (lines / 16.0).clamp(2.0, 5001.0);
    let slaves = chance.magnitude(1.0, slaves_max) as u32;
    let hosts = (slaves / chance.pick(&[1, 2, 8, 32])).max(1);
    let span = f64::from(slaves) * length_us as f64 / 1e6;
    let losses = match chance.below(3) {
        0 => 0.0,
        _ => chance.magnitude(0.5, 2.0 * f64::from(slaves) + 1.0),
    };
    let failure = match chance.below(2) {
        0 => 0.0,
        _ => chance.magnitude(1e-4, 0.02),
    };
    let mut spread = chance.pick(&[0.0, 0.001, 0.02, 0.3]);
    if slaves < 8 {
        // That the only slaves come late is no calm run.
        spread = f64::min(spread, 0.02);
    }
    let packet_us = packet_us(chance, slaves, length_us, lines);
    Plan {
        start_us: start(chance),
        length_us,
        slaves,
        hosts,
        join_spread_us: (length_us as f64 * spread) as i64,
        packet_us,
        packet_tasks: chance.magnitude(1.0, 200.0) as u64,
        shape: chance.pick(&[Shape::Even, Shape::Exponential, Shape::Heavy]),
        is_ahead: chance.chance(0.5),
        is_halved: chance.chance(0.3),
        starve_us: if chance.chance(0.12) {
            (3.0 * packet_us).min(length_us as f64 / 20.0)
        } else {
            0.0
        },
        losses_per_s: losses / span,
        rejoin_us: (length_us as f64 / 50.0).min(600e6),
        failure,
        algorithms: chance
            .pick(&[
                &["monte-carlo-pi"][..],
                &["collatz", "ping"],
                &["fit", "predict", "score", "sweep"],
            ])
            .to_vec(),
        ..Plan::default()
    }
}

/// Slaves on 400 hosts, lost so often that some hosts lose several, all by the same chance.
fn calm_hosts(chance: &mut Stream, lines: f64) -> Plan {
    let slaves = if lines < 2000.0 {
        400
    } else {
        400 * chance.pick(&[1, 2, 4])
    };
    let length_us = (chance.magnitude(600.0, 86_400.0) * 1e6) as i64;
    let span = f64::from(slaves) * length_us as f64 / 1e6;
    Plan {
        slaves,
        hosts: 400,
        losses_per_s: chance.magnitude(100.0, 3000.0) / span,
        failure: chance.pick(&[0.0, 0.001, 0.01]),
        rejoin_us: length_us as f64 / 100.0,
        length_us,
        packet_us: packet_us(chance, slaves, length_us, lines),
        start_us: start(chance),
        ..Plan::default()
    }
}

/// A run in which something may go wrong: long enough, wide enough, and else calm.
fn ordinary(chance: &mut Stream, lines: f64) -> Plan {
    let length_us = (chance.magnitude(600.0, 2.0 * 86_400.0) * 1e6) as i64;
    let hosts = chance.magnitude(6.0, 100.0) as u32;
    let slaves = hosts * chance.pick(&[2, 4, 8]);
    let packets = chance.magnitude(
        (f64::from(slaves) * 30.0).max(4000.0),
        (f64::from(slaves) * 31.0).max(4001.0).max(lines / 4.0),
    );
    let span_s = f64::from(slaves) * length_us as f64 / 1e6;
    Plan {
        start_us: start(chance),
        length_us,
        slaves,
        hosts,
        join_spread_us: (length_us / 100).min(60 * SECOND_US),
        packet_us: span_s * 1e6 / packets,
        packet_tasks: chance.magnitude(1.0, 50.0) as u64,
        shape: chance.pick(&[Shape::Even, Shape::Exponential]),
        is_ahead: chance.chance(0.5),
        losses_per_s: chance.pick(&[0.0, 0.05, 0.2]) * f64::from(slaves) / span_s,
        rejoin_us: (length_us as f64 / 100.0).min(600e6),
        failure: chance.pick(&[0.0, 0.0005]),
        algorithms: chance
            .pick(&[&["fit"][..], &["collatz", "ping", "fit"]])
            .to_vec(),
        ..Plan::default()
    }
}

/// Puts what the kind is about into a plan; its truth.
fn spoil(kind: Kind, plan: &mut Plan, chance: &mut Stream) -> Truth {
    let length_us = plan.length_us as f64;
    let at_us = plan.start_us + (length_us * chance.between(0.2, 0.7)) as i64;
    let host = chance.below(u64::from(plan.hosts)) as u32;
    let host_name = format!("node{host}");
    match kind {
        Kind::MassLoss => {
            let away_us = (length_us * chance.between(0.05, 0.3)) as i64;
            plan.mass_loss = Some((at_us, None, away_us));
            truth("mass-loss", Some(at_us), None)
        }
        Kind::SubnetCut => {
            plan.hosts = plan.hosts.max(30);
            plan.slaves = plan.slaves.max(60);
            let net = u32::from(chance.below(u64::from(plan.hosts / 10)) as u16);
            let hosts = (net * 10..net * 10 + 10).collect();
            let away_us = (length_us * chance.between(0.05, 0.3)) as i64;
            plan.mass_loss = Some((at_us, Some(hosts), away_us));
            let culprit = ("subnet", world::subnet_of(net * 10));
            truth("mass-loss", Some(at_us), Some(culprit))
        }
        Kind::Throughput => {
            plan.slow_from = Some((at_us, 4.0));
            truth("throughput-fell", Some(at_us), None)
        }
        Kind::NoSlaves => {
            if chance.chance(0.5) {
                // They come only when two thirds are over.
                plan.first_join_us = (length_us * 0.67) as i64;
                truth("no-slaves", Some(plan.start_us), None)
            } else {
                let at_us = plan.start_us + (length_us * chance.between(0.1, 0.25)) as i64;
                let over_us = (length_us * 0.005) as i64;
                let again_us = at_us + (length_us * 0.67) as i64;
                plan.nobody = Some((at_us, over_us, again_us));
                truth("no-slaves", Some(at_us + over_us), None)
            }
        }
        Kind::NothingDone => {
            if chance.chance(0.5) {
                // It never worked: they take tasks, and nothing comes.
                plan.length_us = chance.pick(&[95, 300, 3600]) * SECOND_US;
                plan.join_spread_us = SECOND_US;
                plan.hang = Some((plan.start_us, plan.start_us + 86_400 * SECOND_US));
                plan.cut_us = Some(plan.start_us + plan.length_us);
                plan.losses_per_s = 0.0;
                // That it is ended is the only line that tells how long nothing came.
                plan.exit = Some((143, "the process was sent SIGTERM"));
                truth("nothing-done", Some(plan.start_us), None)
            } else {
                plan.length_us = (chance.magnitude(600.0, 3600.0) * 1e6) as i64;
                plan.packet_us = 2e6;
                plan.join_spread_us = SECOND_US;
                let at_us =
                    plan.start_us + (plan.length_us as f64 * chance.between(0.2, 0.6)) as i64;
                let hang_us = chance.between(95.0, 150.0) * 1e6;
                plan.hang = Some((at_us, at_us + hang_us as i64));
                truth("nothing-done", Some(at_us), None)
            }
        }
        Kind::FailingSlave => {
            plan.losses_per_s = 0.0;
            let slave = chance.below(u64::from(plan.slaves)) as u32;
            plan.bad = Bad {
                slave: Some(slave),
                failure: 0.9925,
                message: "cannot open /scratch/model.bin: Permission denied (os error 13)".into(),
                ..Bad::default()
            };
            truth("failing", None, Some(("slave", format!("SLAVE-{slave}"))))
        }
        Kind::BlackHole => {
            plan.bad = Bad {
                hosts: vec![host],
                slow: Some(0.1),
                failure: 0.99,
                message: "libmodel.so.3: cannot open shared object file".into(),
                ..Bad::default()
            };
            truth("failing", None, Some(("host", host_name)))
        }
        Kind::StdoutFull => {
            plan.bad = Bad {
                hosts: vec![host],
                failure: chance.between(0.2, 0.9),
                message: "failed printing to stdout: No space left on device (os error 28)".into(),
                ..Bad::default()
            };
            truth("failing", None, Some(("host", host_name)))
        }
        Kind::LosingHost => {
            let each = length_us / 1e6 / chance.between(10.0, 40.0);
            plan.bad = Bad {
                hosts: vec![host],
                losses_per_s: 1.0 / each,
                ..Bad::default()
            };
            plan.rejoin_us = each * 0.2e6;
            truth("losing", None, Some(("host", host_name)))
        }
        Kind::LosingSubnet => {
            plan.hosts = plan.hosts.max(40);
            plan.slaves = plan.slaves.max(80);
            let net = chance.below(u64::from(plan.hosts / 10)) as u32;
            let each = length_us / 1e6 / chance.between(6.0, 20.0);
            plan.bad = Bad {
                hosts: (net * 10..net * 10 + 10).collect(),
                losses_per_s: 1.0 / each,
                ..Bad::default()
            };
            plan.rejoin_us = each * 0.2e6;
            truth("losing", None, Some(("subnet", world::subnet_of(net * 10))))
        }
        Kind::SlowHost => {
            plan.bad = Bad {
                hosts: vec![host],
                slow: Some(chance.between(3.5, 6.0)),
                ..Bad::default()
            };
            truth("slow", None, Some(("host", host_name)))
        }
        Kind::Held => {
            let held_us = (length_us * chance.between(0.1, 0.3)) as i64;
            plan.stall = Some((at_us, held_us));
            truth("master-held", Some(at_us), None)
        }
        Kind::QueueEmpty => {
            // The tail of what was handed out before is short against the rest of the run.
            plan.packet_us = plan.packet_us.min(length_us / 150.0);
            let at_us = plan.start_us + (length_us * chance.between(0.4, 0.6)) as i64;
            plan.dry_from = Some(at_us);
            truth("queue-empty", Some(at_us), None)
        }
        Kind::FailingAlgorithm => {
            plan.algorithms = vec!["collatz", "ping", "fit"];
            let message = "assertion failed: residual < 1e-9 (src/fit.rs:210)";
            plan.bad_algorithm = Some((2, chance.between(0.3, 1.0), message));
            truth("failing", None, Some(("algorithm", "fit".into())))
        }
        Kind::Refused => {
            let reason = "another build: the master's is da725763, the slave's 11aa0c3f";
            plan.slaves = 0;
            plan.refused = Some((100 + chance.below(400) as u32, reason));
            truth(
                "refused",
                Some(plan.start_us),
                Some(("message", reason.into())),
            )
        }
        Kind::Calm | Kind::CalmHosts | Kind::CrashLoop => {
            unreachable!("it is not a run gone wrong")
        }
    }
}

/// Five times within 16 s a master begins and dies; the sixth, if there is one, works.
fn crash_loop(chance: &mut Stream) -> Story {
    let mut trail = Vec::new();
    let start_us = start(chance);
    let mut us = start_us;
    let mut first_crash_us = None;
    let has_exit = chance.chance(0.6);
    let reason = "the master algorithm panicked: index out of bounds: the len is 3 but the index is 3 (src/main.rs:41)";
    for _ in 0..5 {
        let mut tell = |us: i64, event: Event| {
            Line {
                time_us: us,
                who: Who::Master,
                event,
            }
            .write(&mut trail);
        };
        for event in world::opening(7) {
            tell(us, event);
            us += 3000;
        }
        let last_us = us - 3000;
        us += chance.between(0.5e6, 2e6) as i64;
        // Where nothing is said of the end, the last line is all that is known of it.
        first_crash_us.get_or_insert(if has_exit { us } else { last_us });
        if has_exit {
            tell(
                us,
                Event::Exit {
                    code: 1,
                    reason: reason.into(),
                },
            );
        }
        us += chance.between(0.3e6, 1e6) as i64;
    }
    let culprit = has_exit.then(|| ("message", reason.to_owned()));
    if chance.chance(0.5) {
        let plan = Plan {
            start_us: us,
            length_us: (chance.magnitude(30.0, 3600.0) * 1e6) as i64,
            packet_us: 3e6,
            ..Plan::default()
        };
        trail.extend(world::run(plan, chance.next()));
    }
    Story {
        trail,
        truth: Some(truth("crash-loop", first_crash_us, culprit)),
    }
}

/// Every line is one that the codec reads back as it was written, and what is true is inside of the trail.
#[test]
fn stories_are_trails_with_their_truth_in_them() {
    for kind in [Kind::Calm, Kind::CalmHosts]
        .into_iter()
        .chain(Kind::TROUBLES)
    {
        for seed in 0..3 {
            let story = story(kind, seed, 600.0);
            let text = std::str::from_utf8(&story.trail).expect("UTF-8");
            let mut again = Vec::new();
            let mut times = Vec::new();
            for line in text.lines() {
                let line = Line::parse(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                times.push(line.time_us);
                line.write(&mut again);
            }
            assert_eq!(again, story.trail);
            assert!(times.is_sorted(), "{kind:?} {seed}");
            let is_calm = matches!(kind, Kind::Calm | Kind::CalmHosts);
            assert_eq!(story.truth.is_none(), is_calm);
            let Some(truth) = story.truth else {
                continue;
            };
            let (first, last) = (times[0], times[times.len() - 1]);
            assert!(
                truth.at_us.is_none_or(|us| (first..=last).contains(&us)),
                "{kind:?} {seed}"
            );
            if let Some((_, name)) = truth.culprit {
                assert!(
                    text.contains(name.split(".0/24").next().expect("a part")),
                    "{kind:?} {seed}"
                );
            }
        }
    }
}
