//! The figures of a trail, counted again straight from its text, by the definitions alone: nothing here is shared with
//! the program.
//!
//! A window is `[since, until)`. A line counts where its time is inside; time counts where it is inside of the window
//! and of a run's first and last line; a summing line's tasks and bytes are spread evenly over its span.

use std::collections::BTreeMap;

/// One line, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    pub(crate) us: i64,
    pub(crate) event: String,
    facts: Vec<(String, String)>,
}

impl Words {
    fn read(line: &str) -> Words {
        let mut words = Vec::new();
        let mut word = String::new();
        let (mut is_quoted, mut chars) = (false, line.chars());
        while let Some(char) = chars.next() {
            match char {
                '"' => is_quoted = !is_quoted,
                '\\' if is_quoted => match chars.next().expect("an escape") {
                    'n' => word.push('\n'),
                    'u' => word.push('?'),
                    char => word.push(char),
                },
                ' ' if !is_quoted => words.push(std::mem::take(&mut word)),
                char => word.push(char),
            }
        }
        words.push(word);
        let facts = words[4..].iter().map(|fact| {
            let (key, value) = fact.split_once('=').expect("a fact");
            (key.to_owned(), value.to_owned())
        });
        Words {
            us: time(&words[1]),
            event: words[3].clone(),
            facts: facts.collect(),
        }
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.facts
            .iter()
            .find(|fact| fact.0 == key)
            .map_or("", |fact| &fact.1)
    }

    fn number(&self, key: &str) -> u64 {
        self.text(key).parse().unwrap_or(0)
    }

    fn slave(&self) -> u32 {
        self.text("slave")
            .strip_prefix("SLAVE-")
            .and_then(|number| number.parse().ok())
            .expect("a slave")
    }
}

/// `2026-11-20T08:03:03.123456Z` in microseconds since 1970, by the calendar's own rule.
fn time(text: &str) -> i64 {
    let part = |from: usize, to: usize| text[from..to].parse::<i64>().expect("a number");
    let (year, month, day) = (part(0, 4), part(5, 7), part(8, 10));
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut days = day - 1;
    for before in 1970..year {
        days += if is_leap(before) { 366 } else { 365 };
    }
    for before in 1..month {
        days += match before {
            2 if is_leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
    }
    let seconds = days * 86_400 + part(11, 13) * 3600 + part(14, 16) * 60 + part(17, 19);
    seconds * 1_000_000 + part(20, 26)
}

/// Microseconds since 1970 as the trail writes them.
pub(crate) fn show(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us)
        .expect("in range")
        .to_string()
}

/// One slave's life, as far as the trail tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    pub(crate) host: String,
    pub(crate) subnet: String,
    pub(crate) joined_us: i64,
    pub(crate) left_us: Option<i64>,
    pub(crate) cause: String,
    /// When it held tasks.
    pub(crate) busy: Vec<(i64, i64)>,
    /// When it computed, by the compute times of its results.
    pub(crate) computed: Vec<(i64, i64)>,
    /// The last change of its state, or its last results.
    told_us: i64,
    /// When it left, or its run's last line.
    pub(crate) end_us: i64,
    holds: u64,
    busy_from_us: Option<i64>,
}

/// Something that happened at a time, or over a span of it.
#[derive(Debug, Clone)]
struct Flow {
    from_us: i64,
    to_us: i64,
    slave: (usize, u32),
    sent: u64,
    results: u64,
    failed: u64,
    recycled: u64,
    packets_out: u64,
    packets_in: u64,
    bytes_out: u64,
    bytes_in: u64,
    compute_us: u64,
}

/// A run: from its INIT line to its last.
#[derive(Debug, Clone, Default)]
struct Span {
    first_us: i64,
    last_us: i64,
}

/// What a trail holds, before any window.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recount {
    lines: Vec<Words>,
    /// Slaves that come and go, in the order of their lines.
    moves: Vec<(i64, i64)>,
    spans: Vec<Span>,
    pub(crate) lives: BTreeMap<(usize, u32), Life>,
    flows: Vec<Flow>,
}

/// Sums of a window or of one of its parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sums {
    /// Those that were there, however short.
    pub(crate) slaves: u64,
    pub(crate) sent: u64,
    pub(crate) results: u64,
    pub(crate) failed: u64,
    pub(crate) recycled: u64,
    pub(crate) packets_out: u64,
    pub(crate) packets_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) compute_us: u64,
    pub(crate) arrivals: u64,
    pub(crate) departures: u64,
    pub(crate) losses: u64,
    pub(crate) present_us: i64,
    pub(crate) busy_us: i64,
    pub(crate) computed_us: i64,
    pub(crate) watched_us: i64,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.slaves += other.slaves;
        self.sent += other.sent;
        self.results += other.results;
        self.failed += other.failed;
        self.recycled += other.recycled;
        self.packets_out += other.packets_out;
        self.packets_in += other.packets_in;
        self.bytes_out += other.bytes_out;
        self.bytes_in += other.bytes_in;
        self.compute_us += other.compute_us;
        self.arrivals += other.arrivals;
        self.departures += other.departures;
        self.losses += other.losses;
        self.present_us += other.present_us;
        self.busy_us += other.busy_us;
        self.computed_us += other.computed_us;
    }
}

fn overlap(a: (i64, i64), b: (i64, i64)) -> i64 {
    (a.1.min(b.1) - a.0.max(b.0)).max(0)
}

impl Recount {
    pub(crate) fn read(trail: &[u8]) -> Recount {
        let text = std::str::from_utf8(trail).expect("UTF-8");
        let mut recount = Recount::default();
        for line in text.lines() {
            let words = Words::read(line);
            recount.on_line(&words);
            recount.lines.push(words);
        }
        for ((run, _), life) in &mut recount.lives {
            life.end_us = life.left_us.unwrap_or(recount.spans[*run].last_us);
            if let Some(from_us) = life.busy_from_us.take() {
                life.busy.push((from_us, life.end_us));
            }
        }
        recount
    }

    fn on_line(&mut self, words: &Words) {
        if words.event == "init" {
            if let Some(before) = self.spans.last() {
                let left = self.moves.iter().map(|step| step.1).sum::<i64>();
                self.moves.push((before.last_us, -left));
            }
            self.spans.push(Span {
                first_us: words.us,
                last_us: words.us,
            });
        }
        let run = self.spans.len() - 1;
        self.spans[run].last_us = words.us;
        let mut flow = Flow {
            from_us: words.us,
            to_us: words.us,
            slave: (run, u32::MAX),
            sent: 0,
            results: 0,
            failed: 0,
            recycled: 0,
            packets_out: 0,
            packets_in: 0,
            bytes_out: 0,
            bytes_in: 0,
            compute_us: 0,
        };
        match words.event.as_str() {
            "connected" => {
                let from = words.text("from");
                let ip = from.rsplit_once(':').expect("a port").0;
                let net = ip.rsplit_once('.').expect("four parts").0;
                let life = Life {
                    host: words.text("host").to_owned(),
                    subnet: format!("{net}.0/24"),
                    joined_us: words.us,
                    told_us: words.us,
                    ..Life::default()
                };
                self.lives.insert((run, words.slave()), life);
                self.moves.push((words.us, 1));
            }
            "lost" | "disconnected" => {
                flow.slave = (run, words.slave());
                let life = self.lives.get_mut(&flow.slave).expect("it came");
                life.left_us = Some(words.us);
                life.cause = match words.event.as_str() {
                    "lost" => words.text("cause").to_owned(),
                    _ => "shutdown".to_owned(),
                };
                if let Some(from_us) = life.busy_from_us.take() {
                    life.busy.push((from_us, words.us));
                }
                self.moves.push((words.us, -1));
                flow.recycled = words.number("recycled");
                self.flows.push(flow);
            }
            "tasks-sent" => {
                flow.slave = (run, words.slave());
                flow.sent = words.number("tasks");
                flow.packets_out = 1;
                flow.bytes_out = words.number("bytes");
                self.hold(flow.slave, words.us, flow.sent as i64);
                self.flows.push(flow);
            }
            "results-received" => {
                flow.slave = (run, words.slave());
                flow.results = words.number("results");
                flow.failed = words.number("failed");
                flow.packets_in = 1;
                flow.bytes_in = words.number("bytes");
                flow.compute_us = words.number("compute_us");
                let life = self.lives.get_mut(&flow.slave).expect("it came");
                // Nobody computed before it was given the tasks, or what it had sent results of before.
                let from_us = (words.us - flow.compute_us as i64).max(life.told_us);
                life.computed.push((from_us, words.us));
                life.told_us = words.us;
                self.hold(flow.slave, words.us, -(flow.results as i64));
                self.flows.push(flow);
            }
            "packets" => {
                flow.slave = (run, words.slave());
                flow.from_us = words.us - 1000 * words.number("span_ms") as i64;
                flow.sent = words.number("tasks");
                flow.results = words.number("results");
                flow.failed = words.number("failed");
                flow.packets_out = words.number("packets_out");
                flow.packets_in = words.number("packets_in");
                flow.bytes_out = words.number("bytes_out");
                flow.bytes_in = words.number("bytes_in");
                flow.compute_us = words.number("compute_us");
                let change = flow.sent as i64 - flow.results as i64;
                self.hold(flow.slave, words.us, change);
                self.flows.push(flow);
            }
            _ => {}
        }
    }

    /// A slave holds so many tasks more, or fewer.
    fn hold(&mut self, slave: (usize, u32), us: i64, change: i64) {
        let life = self.lives.get_mut(&slave).expect("it came");
        life.holds = life
            .holds
            .checked_add_signed(change)
            .expect("no more than sent");
        if life.holds > 0 && life.busy_from_us.is_none() {
            life.busy_from_us = Some(us);
            life.told_us = us;
        } else if life.holds == 0
            && let Some(from_us) = life.busy_from_us.take()
        {
            life.busy.push((from_us, us));
            life.told_us = us;
        }
    }

    /// First and last line.
    pub(crate) fn bounds(&self) -> (i64, i64) {
        let first = self.spans.iter().map(|span| span.first_us).min();
        let last = self.spans.iter().map(|span| span.last_us).max();
        (first.expect("a run"), last.expect("a run"))
    }

    pub(crate) fn has_sums(&self) -> bool {
        self.lines.iter().any(|words| words.event == "packets")
    }

    /// The lines of a window.
    pub(crate) fn lines_in(&self, window: (i64, i64)) -> impl Iterator<Item = &Words> {
        self.lines
            .iter()
            .filter(move |words| (window.0..window.1).contains(&words.us))
    }

    /// The part of a window in which there was a run.
    pub(crate) fn watched_us(&self, window: (i64, i64)) -> i64 {
        self.spans
            .iter()
            .map(|span| overlap((span.first_us, span.last_us), window))
            .sum()
    }

    /// Sums over a window, of all slaves together.
    pub(crate) fn sums(&self, window: (i64, i64)) -> Sums {
        let mut sums = self.sums_by(window, |_, _| ());
        let mut sums = sums.remove(&()).unwrap_or_default();
        sums.watched_us = self.watched_us(window);
        sums
    }

    /// Sums over a window of those slaves that were there in it, by a mark of theirs; and how many they were.
    pub(crate) fn sums_by<K: Ord>(
        &self,
        window: (i64, i64),
        mark: impl Fn((usize, u32), &Life) -> K,
    ) -> BTreeMap<K, Sums> {
        let is_in = |us: i64| (window.0..window.1).contains(&us);
        let mut marks = BTreeMap::new();
        let mut all: BTreeMap<K, Sums> = BTreeMap::new();
        let mut of_slave: BTreeMap<(usize, u32), Sums> = BTreeMap::new();
        for flow in &self.flows {
            if flow.to_us < window.0 || flow.from_us >= window.1 {
                continue;
            }
            let sums = of_slave.entry(flow.slave).or_default();
            let part = |number: u64| part_of(number, flow.from_us, flow.to_us, window);
            sums.sent += part(flow.sent);
            sums.results += part(flow.results);
            sums.failed += part(flow.failed);
            sums.recycled += part(flow.recycled);
            sums.packets_out += part(flow.packets_out);
            sums.packets_in += part(flow.packets_in);
            sums.bytes_out += part(flow.bytes_out);
            sums.bytes_in += part(flow.bytes_in);
            sums.compute_us += part(flow.compute_us);
        }
        for (&key, life) in &self.lives {
            // One that leaves with the window's first instant was there in it.
            if life.joined_us < window.1 && life.end_us >= window.0 {
                marks.insert(key, life);
            }
        }
        for (key, life) in marks {
            let mut sums = of_slave.remove(&key).unwrap_or_default();
            sums.slaves = 1;
            sums.arrivals = u64::from(is_in(life.joined_us));
            if life.left_us.is_some_and(is_in) {
                sums.departures = 1;
                sums.losses = u64::from(life.cause != "shutdown");
            }
            sums.present_us = overlap((life.joined_us, life.end_us), window);
            sums.busy_us = life.busy.iter().map(|&busy| overlap(busy, window)).sum();
            let parts = life.computed.iter();
            sums.computed_us = parts.map(|&part| overlap(part, window)).sum();
            all.entry(mark(key, life)).or_default().add(&sums);
        }
        assert!(
            of_slave.is_empty(),
            "a packet of a slave that was not there"
        );
        all
    }

    /// The most slaves at once in the window, those that were there when it began included.
    pub(crate) fn peak(&self, window: (i64, i64)) -> u64 {
        let before: i64 = self
            .moves
            .iter()
            .filter(|step| step.0 < window.0)
            .map(|step| step.1)
            .sum();
        let (mut present, mut peak) = (before, before);
        for step in self
            .moves
            .iter()
            .filter(|step| (window.0..window.1).contains(&step.0))
        {
            present += step.1;
            peak = peak.max(present);
        }
        peak as u64
    }

    /// Slaves there at the end of the window.
    pub(crate) fn at_end(&self, window: (i64, i64)) -> u64 {
        let is_there = |life: &Life| {
            life.joined_us < window.1 && life.left_us.is_none_or(|left_us| left_us >= window.1)
        };
        self.lives.values().filter(|life| is_there(life)).count() as u64
    }

    /// How long those lived that left in the window, in order.
    pub(crate) fn lifetimes_us(&self, window: (i64, i64)) -> Vec<i64> {
        let mut lifetimes: Vec<i64> = self
            .lives
            .values()
            .filter_map(|life| {
                let left_us = life.left_us?;
                (window.0..window.1)
                    .contains(&left_us)
                    .then_some(left_us - life.joined_us)
            })
            .collect();
        lifetimes.sort_unstable();
        lifetimes
    }
}

/// What of a number that is spread over a span belongs to a window: so that the parts of adjoining windows come to the
/// whole.
fn part_of(number: u64, from_us: i64, to_us: i64, window: (i64, i64)) -> u64 {
    if from_us >= to_us {
        let is_in = (window.0..window.1).contains(&to_us);
        return if is_in { number } else { 0 };
    }
    let until = |us: i64| {
        let us = us.clamp(from_us, to_us);
        (u128::from(number) * (us - from_us) as u128 / (to_us - from_us) as u128) as u64
    };
    until(window.1) - until(window.0)
}

#[test]
fn times_by_the_calendar() {
    assert_eq!(time("2026-11-20T08:03:03.123456Z"), 1_795_161_783_123_456);
    assert_eq!(time("2024-03-01T00:00:00.000000Z"), 1_709_251_200_000_000);
}

#[test]
fn parts_come_to_the_whole() {
    let cuts = [-5, 0, 1, 3, 10, 99, 100, 101];
    let sum: u64 = cuts
        .windows(2)
        .map(|pair| part_of(17, 0, 100, (pair[0], pair[1])))
        .sum();
    assert_eq!(sum, 17);
}
