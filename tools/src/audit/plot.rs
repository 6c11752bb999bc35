//! The pictures of a run.

use super::churn::mean;
use super::model::{Column, HEAT_ROWS_MAX, Heat, Interval, Model};
use super::output::{count, figure};
use super::picture::{Anchor, FAINT, GRID, INK, Picture, Rgb};
use super::times::{Zone, show_duration};

/// For `--help`.
pub(crate) const HELP: &str = "\
Examples:
  ringmw audit plot --kind slaves -o slaves.svg master.audit
  ringmw audit plot --kind heat --since 14:00 -o heat.png master.audit

The form follows the file's name: .svg or .png.";

/// Which picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Slaves present and busy over time
    Slaves,
    /// Arrivals and departures per interval
    Churn,
    /// Results per second
    Throughput,
    /// Share of slaves that live longer
    Survival,
    /// Every slave over time: busy, idle, absent
    Heat,
}

impl Kind {
    pub(crate) const ALL: [Kind; 5] = [
        Kind::Slaves,
        Kind::Churn,
        Kind::Throughput,
        Kind::Heat,
        Kind::Survival,
    ];
}

/// Intervals of a picture at most.
pub(crate) const INTERVALS_MAX: usize = 300;

const WIDTH: f32 = 1000.0;
const LEFT: f32 = 78.0;
const RIGHT: f32 = 18.0;
const TOP: f32 = 58.0;
const BOTTOM: f32 = 34.0;
const SURVIVAL_POINTS: usize = 400;

/// Colours that those who do not tell red from green can tell.
const BLUE: Rgb = [0x1f, 0x5f, 0xa8];
const PALE_BLUE: Rgb = [0xb9, 0xd3, 0xec];
const AMBER: Rgb = [0xf0, 0xb4, 0x5f];
const RED: Rgb = [0xc0, 0x3a, 0x2b];
const GREY: Rgb = [0x9a, 0xa3, 0xae];
const ABSENT: Rgb = [0xf4, 0xf5, 0xf7];

/// Draws a picture.
pub(crate) fn draw(kind: Kind, model: &Model, zone: &Zone) -> Picture {
    match kind {
        Kind::Slaves => slaves(model, zone),
        Kind::Churn => churn(model, zone),
        Kind::Throughput => throughput(model, zone),
        Kind::Survival => survival(model),
        Kind::Heat => heat(model, zone),
    }
}

/// A picture with its axes.
struct Frame {
    picture: Picture,
    height: f32,
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn new(title: &str, height: f32, x: (f64, f64), y: (f64, f64)) -> Self {
        let mut picture = Picture::new(WIDTH, height, title);
        picture.title(16.0, 26.0, title);
        let x = if x.1 > x.0 { x } else { (x.0, x.0 + 1.0) };
        let y = if y.1 > y.0 { y } else { (y.0, y.0 + 1.0) };
        Self {
            picture,
            height,
            x,
            y,
        }
    }

    fn to_x(&self, x: f64) -> f32 {
        LEFT + ((x - self.x.0) / (self.x.1 - self.x.0)) as f32 * (WIDTH - LEFT - RIGHT)
    }

    fn to_y(&self, y: f64) -> f32 {
        let floor = self.height - BOTTOM;
        floor - ((y - self.y.0) / (self.y.1 - self.y.0)) as f32 * (floor - TOP)
    }

    /// Lines across, with what they stand for.
    fn y_axis(&mut self, label: impl Fn(f64) -> String) {
        let step = nice_step((self.y.1 - self.y.0) / 5.0);
        let mut tick = (self.y.0 / step).ceil() * step;
        while tick <= self.y.1 + step * 1e-6 {
            let y = self.to_y(tick);
            self.picture
                .line(vec![(LEFT, y), (WIDTH - RIGHT, y)], GRID, 1.0);
            self.picture
                .text(LEFT - 8.0, y + 4.5, label(tick), Anchor::End, FAINT);
            tick += step;
        }
    }

    fn x_axis(&mut self, ticks: Vec<(f64, String)>) {
        let floor = self.height - BOTTOM;
        for (tick, label) in ticks {
            let x = self.to_x(tick);
            self.picture
                .line(vec![(x, floor), (x, floor + 5.0)], FAINT, 1.0);
            let anchor = match x {
                _ if x > WIDTH - 60.0 => Anchor::End,
                _ => Anchor::Middle,
            };
            self.picture.text(x, floor + 20.0, label, anchor, FAINT);
        }
        self.picture
            .line(vec![(LEFT, floor), (WIDTH - RIGHT, floor)], FAINT, 1.0);
    }

    fn time_axis(&mut self, zone: &Zone) {
        let ticks = time_ticks(self.x, zone);
        self.x_axis(ticks);
    }

    /// What the colours mean, below the title.
    fn legend(&mut self, entries: &[(&str, Rgb)]) {
        let mut x = LEFT;
        for &(text, colour) in entries {
            self.picture.rect(x, 37.0, 12.0, 12.0, colour);
            self.picture.text(x + 18.0, 48.0, text, Anchor::Start, INK);
            x += 44.0 + 8.4 * text.chars().count() as f32;
        }
    }

    /// Steps that hold their height over each interval.
    fn steps(&self, values: &[(f64, f64)], width: f64) -> Vec<(f32, f32)> {
        values
            .iter()
            .flat_map(|&(x, y)| {
                let y = self.to_y(y);
                [(self.to_x(x), y), (self.to_x((x + width).min(self.x.1)), y)]
            })
            .collect()
    }

    fn area(&mut self, values: &[(f64, f64)], width: f64, fill: Rgb) {
        let mut points = self.steps(values, width);
        let floor = self.to_y(0.0);
        if let (Some(&first), Some(&last)) = (points.first(), points.last()) {
            points.push((last.0, floor));
            points.push((first.0, floor));
            self.picture.area(points, fill);
        }
    }
}

/// The next of 1, 2, 5, 10, …
fn nice_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|&step| step >= least * 0.999)
        .unwrap_or(power * 10.0)
}

fn time_ticks(x: (f64, f64), zone: &Zone) -> Vec<(f64, String)> {
    const MONTH_S: i64 = 30 * 86_400;
    const STEPS_S: [i64; 19] = [
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200,
        86_400, 604_800,
    ];
    let span_s = (x.1 - x.0) / 1e6;
    if span_s < 4.0 {
        let step = nice_step(span_s / 6.0);
        let label = |tick: i32| {
            (
                x.0 + f64::from(tick) * step * 1e6,
                format!("+{} s", figure(f64::from(tick) * step)),
            )
        };
        return (0..).map(label).take_while(|tick| tick.0 <= x.1).collect();
    }
    let step_s = STEPS_S
        .into_iter()
        .find(|&step| span_s / step as f64 <= 9.0)
        .unwrap_or_else(|| MONTH_S * (span_s / 9.0 / MONTH_S as f64).ceil() as i64);
    let format = match step_s {
        0..60 => "%H:%M:%S",
        _ if span_s <= 86_400.0 => "%H:%M",
        60..86_400 => "%d.%m. %H:%M",
        _ => "%Y-%m-%d",
    };
    let step_us = step_s * 1_000_000;
    let first = (x.0 as i64).div_euclid(step_us) + i64::from((x.0 as i64).rem_euclid(step_us) != 0);
    let times = (first..)
        .map(|number| number * step_us)
        .take_while(|&us| us as f64 <= x.1);
    times
        .map(|us| (us as f64, zone.format(format, us)))
        .collect()
}

fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 1e9 => format!("{}G", figure(number / 1e9)),
        size if size >= 1e6 => format!("{}M", trim(number / 1e6)),
        size if size >= 1e4 => format!("{}k", trim(number / 1e3)),
        size if size >= 1.0 || size == 0.0 => trim(number),
        _ => figure(number),
    }
}

fn trim(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// From the first interval's start to the last one's end.
fn extent(model: &Model) -> (f64, f64) {
    match model.intervals.iter().next() {
        Some((first, _)) => (first as f64, model.intervals.end_us() as f64),
        None => (0.0, model.intervals.width_us() as f64),
    }
}

fn values(model: &Model, value: impl Fn(&Interval) -> f64) -> Vec<(f64, f64)> {
    model
        .intervals
        .iter()
        .map(|(us, cell)| (us as f64, value(cell)))
        .collect()
}

fn most(values: &[(f64, f64)]) -> f64 {
    values.iter().map(|value| value.1).fold(0.0, f64::max)
}

fn every(model: &Model) -> String {
    show_duration(model.intervals.width_us())
}

fn slaves(model: &Model, zone: &Zone) -> Picture {
    let present = values(model, |cell| {
        mean(cell.time.present_us, cell.observed_us).unwrap_or(0.0)
    });
    let busy = values(model, |cell| {
        mean(cell.time.busy_us, cell.observed_us).unwrap_or(0.0)
    });
    let mut frame = Frame::new(
        "Slaves over time",
        300.0,
        extent(model),
        (0.0, most(&present).max(1.0) * 1.05),
    );
    let width = model.intervals.width_us() as f64;
    frame.y_axis(short);
    frame.area(&present, width, AMBER);
    frame.area(&busy, width, BLUE);
    frame.time_axis(zone);
    frame.legend(&[("busy", BLUE), ("idle", AMBER)]);
    frame.picture
}

/// At the end of a run all slaves are sent away at once: a bar that would leave no room for the others is cut, and says
/// how long it is.
fn churn(model: &Model, zone: &Zone) -> Picture {
    let high = most(&values(model, |cell| cell.arrivals as f64)).max(1.0);
    let losses = most(&values(model, |cell| cell.losses as f64));
    let departures = most(&values(model, |cell| cell.departures as f64));
    let low = departures.min((2.0 * losses).max(0.6 * high)).max(1.0);
    let title = format!("Arrivals and departures per {}", every(model));
    let mut frame = Frame::new(&title, 300.0, extent(model), (-low * 1.1, high * 1.05));
    frame.y_axis(|tick| short(tick.abs()));
    let width = model.intervals.width_us() as f64;
    let floor = frame.to_y(0.0);
    for (us, cell) in model.intervals.iter() {
        let x = frame.to_x(us as f64);
        // A hair's breadth between bars, but never none of a bar.
        let bar = (frame.to_x(us as f64 + width) - x - 0.6).max(0.8);
        let top = frame.to_y(cell.arrivals as f64);
        frame.picture.rect(x, top, bar, floor - top, BLUE);
        let lost = frame.to_y(-(cell.losses as f64));
        frame.picture.rect(x, floor, bar, lost - floor, RED);
        let told = frame.to_y(-(cell.departures as f64).min(low * 1.1));
        frame.picture.rect(x, lost, bar, told - lost, GREY);
        if cell.departures as f64 > low * 1.1 {
            frame.picture.text(
                x - 4.0,
                told - 4.0,
                format!("{} at once", count(cell.departures)),
                Anchor::End,
                FAINT,
            );
        }
    }
    frame
        .picture
        .line(vec![(LEFT, floor), (WIDTH - RIGHT, floor)], INK, 1.0);
    frame.time_axis(zone);
    frame.legend(&[
        ("arrivals (up)", BLUE),
        ("losses (down)", RED),
        ("sent away (down)", GREY),
    ]);
    frame.picture
}

fn throughput(model: &Model, zone: &Zone) -> Picture {
    let seconds = model.intervals.width_us() as f64 / 1e6;
    let results = values(model, |cell| cell.results as f64 / seconds);
    let failed = values(model, |cell| cell.failed as f64 / seconds);
    let title = format!("Results per second, every {}", every(model));
    let mut frame = Frame::new(&title, 300.0, extent(model), (0.0, most(&results) * 1.05));
    let width = model.intervals.width_us() as f64;
    frame.y_axis(short);
    frame.area(&results, width, PALE_BLUE);
    let line = frame.steps(&results, width);
    frame.picture.line(line, BLUE, 1.5);
    let mut legend = vec![("results", BLUE)];
    if most(&failed) > 0.0 {
        frame.area(&failed, width, RED);
        legend.push(("failed", RED));
    }
    // Time in which the master algorithm held its thread: a band at the foot.
    let floor = frame.height - BOTTOM;
    let is_stalled = model.intervals.iter().any(|(_, cell)| cell.stalled_us > 0);
    for (us, cell) in model
        .intervals
        .iter()
        .filter(|(_, cell)| cell.stalled_us as f64 > 0.2 * width)
    {
        let _ = cell;
        let (from, to) = (frame.to_x(us as f64), frame.to_x(us as f64 + width));
        frame.picture.rect(from, floor - 6.0, to - from, 6.0, INK);
    }
    if is_stalled {
        legend.push(("master algorithm held its thread", INK));
    }
    frame.time_axis(zone);
    frame.legend(&legend);
    frame.picture
}

fn survival(model: &Model) -> Picture {
    let curve = model.survival(SURVIVAL_POINTS);
    let end = curve.last().map_or(1.0, |point| point.0);
    let mut frame = Frame::new(
        "Share of slaves that live longer",
        300.0,
        (0.0, end),
        (0.0, 1.0),
    );
    frame.y_axis(|tick| format!("{:.0} %", tick * 100.0));
    let mut points = Vec::new();
    let mut before = 1.0;
    for &(seconds, share) in &curve {
        points.push((frame.to_x(seconds), frame.to_y(before)));
        points.push((frame.to_x(seconds), frame.to_y(share)));
        before = share;
    }
    frame.picture.line(points, BLUE, 2.0);
    let units = [(86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s")];
    let (unit, name) = units
        .into_iter()
        .find(|unit| end / unit.0 >= 3.0)
        .unwrap_or((1.0, "s"));
    let step = nice_step(end / unit / 8.0);
    let labels = (0..)
        .map(|tick| f64::from(tick) * step)
        .take_while(|&tick| tick * unit <= end * 1.0001);
    let ticks = labels
        .map(|tick| (tick * unit, format!("{} {name}", short(tick))))
        .collect();
    frame.x_axis(ticks);
    frame.legend(&[(
        "slaves sent away or still there have lived at least so long",
        BLUE,
    )]);
    frame.picture
}

fn blend(from: Rgb, to: Rgb, share: f32) -> Rgb {
    let mix = |index: usize| {
        (f32::from(from[index])
            + (f32::from(to[index]) - f32::from(from[index])) * share.clamp(0.0, 1.0)) as u8
    };
    [mix(0), mix(1), mix(2)]
}

/// A row of the heat map: a slave, a host, or hosts that follow one another.
struct HeatRow {
    host: String,
    /// Its row in the model.
    index: usize,
}

/// `node10` behind `node9`: digits count as one number.
fn in_order(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let word = rest
            .find(|char: char| char.is_ascii_digit())
            .unwrap_or(rest.len());
        let digits = rest[word..]
            .find(|char: char| !char.is_ascii_digit())
            .map_or(rest.len(), |digits| word + digits);
        let number = rest[word..digits].parse().unwrap_or(u64::MAX);
        parts.push((rest[..word].to_owned(), number));
        rest = &rest[digits..];
    }
    parts
}

/// Slaves by host while every slave has a row; else hosts.
fn heat_rows(model: &Model) -> (&Heat, Vec<HeatRow>) {
    let mut rows: Vec<HeatRow> = Vec::new();
    if model.slaves.len() <= HEAT_ROWS_MAX {
        for slave in &model.slaves {
            let host = model.host(slave);
            rows.extend(slave.row.map(|row| HeatRow {
                host: host.to_owned(),
                index: row as usize,
            }));
        }
        rows.sort_by_cached_key(|row| (in_order(&row.host), row.index));
        return (&model.heat_of_slaves, rows);
    }
    let heat = &model.heat_of_hosts;
    let mut seen = vec![false; model.hosts.len()];
    for slave in &model.slaves {
        seen[slave.host as usize] = true;
    }
    for (index, hosts) in model.hosts.chunks(heat.stride).enumerate() {
        let mut here = (index * heat.stride..)
            .zip(hosts)
            .filter(|&(host, _)| seen[host]);
        if let Some((_, first)) = here.next() {
            rows.push(HeatRow {
                host: first.clone(),
                index,
            });
        }
    }
    if heat.stride == 1 {
        rows.sort_by_cached_key(|row| in_order(&row.host));
    }
    (heat, rows)
}

fn heat(model: &Model, zone: &Zone) -> Picture {
    let (heat, by_row) = heat_rows(model);
    let is_of_slaves = std::ptr::eq(heat, &model.heat_of_slaves);
    let rows = by_row.len().max(1);
    // Every row is seen: thick ones where there are few, a pixel or more where there are many.
    let row_height = (400.0 / rows as f32).clamp(1.25, 16.0);
    let height = TOP + BOTTOM + rows as f32 * row_height;
    let title = match (is_of_slaves, heat.stride) {
        (true, _) => "Each slave over time, by host".to_owned(),
        (false, 1) => "Slaves of each host over time".to_owned(),
        (false, stride) => format!("Slaves of {stride} hosts to a row, over time"),
    };
    let width_us = heat.columns.width_us();
    let columns = heat.columns.iter().len().max(1);
    let first = heat.columns.iter().next().map_or(0, |(us, _)| us);
    let last = if heat.columns.iter().len() == 0 {
        1
    } else {
        heat.columns.end_us()
    };
    let x = (first as f64, last as f64);
    let mut frame = Frame::new(&title, height, x, (0.0, 1.0));
    let mut cells = vec![ABSENT; columns * rows];
    for (row, HeatRow { index, .. }) in by_row.iter().enumerate() {
        let warmth = |column: &Column| column.0.get(*index).copied().unwrap_or_default();
        let most = heat
            .columns
            .iter()
            .map(|(_, column)| warmth(column).present_us / width_us as f32)
            .fold(if is_of_slaves { 1.0 } else { 0.0 }, f32::max);
        for (at, (_, column)) in heat.columns.iter().enumerate() {
            let time = warmth(column);
            if time.present_us <= 0.0 {
                continue;
            }
            let here = (time.present_us / (width_us as f32 * most)).clamp(0.25, 1.0);
            let part = |us: f32| us / time.present_us;
            let held = blend(AMBER, PALE_BLUE, part(time.busy_us));
            // Of what is busy, the share that computes.
            let of_busy = if time.busy_us > 0.0 {
                time.compute_us / time.busy_us
            } else {
                0.0
            };
            let state = match time.compute_us {
                0.0 => held,
                _ => blend(held, BLUE, of_busy * part(time.busy_us)),
            };
            cells[row * columns + at] = blend(ABSENT, state, here);
        }
    }
    frame.picture.image(
        LEFT,
        TOP,
        WIDTH - LEFT - RIGHT,
        rows as f32 * row_height,
        columns as u32,
        &cells,
    );
    // A name where there is room for it, at a host's first row.
    const LABEL_CHARS: usize = 8;
    let mut free_from = f32::MIN;
    let mut before = "";
    for (row, HeatRow { host, .. }) in by_row.iter().enumerate() {
        let y = TOP + (row as f32 + 0.5) * row_height + 4.5;
        if y >= free_from && host != before {
            let length = host.chars().count();
            let short: String = match length > LABEL_CHARS {
                false => host.clone(),
                true => std::iter::once('…')
                    .chain(host.chars().skip(length + 1 - LABEL_CHARS))
                    .collect(),
            };
            frame.picture.text(LEFT - 6.0, y, short, Anchor::End, FAINT);
            free_from = y + 13.0;
        }
        before = host;
    }
    frame.time_axis(zone);
    frame.legend(&[
        ("computing", BLUE),
        ("holding tasks", PALE_BLUE),
        ("idle", AMBER),
        ("absent", [0xe3, 0xe6, 0xea]),
    ]);
    frame.picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_round() {
        let zone = Zone::parse("UTC").expect("a zone");
        let start = 1_795_161_783_000_000.0;
        for span_s in [
            0.001, 0.5, 3.0, 13.0, 100.0, 3000.0, 40_000.0, 300_000.0, 5e6, 4e8,
        ] {
            let ticks = time_ticks((start, start + span_s * 1e6), &zone);
            assert!(
                (1..=160).contains(&ticks.len()),
                "{span_s}: {}",
                ticks.len()
            );
            if span_s < 5e6 {
                assert!((2..=12).contains(&ticks.len()), "{span_s}: {}", ticks.len());
            }
        }
        assert_eq!(time_ticks((start, start + 13e6), &zone)[0].1, "08:03:04");
        assert_eq!(
            (nice_step(3.0), nice_step(0.12), nice_step(100.0)),
            (5.0, 0.2, 100.0)
        );
    }
}
