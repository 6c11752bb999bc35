//! The pictures of a run.

use serde_json::{Value as Json, json};

use super::churn::mean;
use super::model::{Interval, Model, State};
use super::output::count;
use super::picture::{Anchor, FAINT, INK, Picture};
use super::timeline::has_compute;
use super::times::{Zone, show_duration};
use frame::{
    AMBER, BLUE, BOTTOM, Frame, GREY, LEFT, PALE_BLUE, RED, RIGHT, Value, WIDTH, height_of, most,
    nice_step, short,
};

mod frame;
mod heat;

/// For `--help`.
pub(crate) const HELP: &str = "\
Examples:
  ringmw audit plot --kind slaves -o slaves.svg master.audit
  ringmw audit plot --kind heat --since 14:00 -o heat.png master.audit

The form follows the file's name: .svg or .png.";

/// Which picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Slaves computing, holding tasks and idle over time
    Slaves,
    /// Arrivals and departures per interval
    Churn,
    /// Results per second
    Throughput,
    /// Share of slaves that live longer
    Survival,
    /// Every slave over time, by host: computing, holding tasks, idle, absent
    Heat,
    /// Tasks that wait in the master over time, where the trail has lines of state
    Queue,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [
        Kind::Slaves,
        Kind::Churn,
        Kind::Throughput,
        Kind::Queue,
        Kind::Heat,
        Kind::Survival,
    ];

    /// Whether the trail has what it shows.
    pub(crate) fn is_told(self, model: &Model) -> bool {
        self != Kind::Queue || !model.states.is_empty()
    }
}

/// Intervals of a picture at most.
pub(crate) const INTERVALS_MAX: usize = 300;

const SURVIVAL_POINTS: usize = 400;

/// Draws a picture.
pub(crate) fn draw(kind: Kind, model: &Model, zone: &Zone) -> Picture {
    match kind {
        Kind::Slaves => slaves(model, zone),
        Kind::Churn => churn(model, zone),
        Kind::Throughput => throughput(model, zone),
        Kind::Survival => survival(model, zone),
        Kind::Heat => heat::draw(model, zone),
        Kind::Queue => queue(model, zone),
    }
}

/// A time or an age, its name, and what is told there where the mouse is.
fn hover(
    frame: &Frame,
    kind: &str,
    zone: &Zone,
    starts: &[i64],
    series: &[(&str, Vec<f64>)],
    model: &Model,
) -> Json {
    let labels: Vec<Json> = starts
        .iter()
        .map(|&start| match kind {
            "time" => zone.format("%Y-%m-%d %H:%M:%S%.3f", start).into(),
            _ => show_duration(start).into(),
        })
        .collect();
    let short = |number: &f64| -> Json {
        let number = *number;
        match number.abs() {
            0.0 => 0.into(),
            size if size >= 1000.0 => (number.round() as i64).into(),
            // Four digits that count are more than a picture shows.
            size => {
                let unit = 10f64.powf(3.0 - size.log10().floor());
                json!((number * unit).round() / unit)
            }
        }
    };
    let series: Vec<Json> = series
        .iter()
        .map(|(name, values)| json!([name, values.iter().map(short).collect::<Vec<_>>()]))
        .collect();
    let marks: Vec<Json> = match kind {
        "time" => model
            .marks
            .iter()
            .map(|mark| json!([mark.us, zone.format("%H:%M:%S", mark.us), mark.text]))
            .collect(),
        _ => Vec::new(),
    };
    json!({
        "kind": kind, "x": [frame.x.0, frame.x.1], "height": frame.height,
        "at": starts, "labels": labels, "series": series, "marks": marks,
    })
}

/// From the first observed time to the last.
fn extent(model: &Model) -> (f64, f64) {
    match model.extent() {
        Some((from, to)) if to > from => (from as f64, to as f64),
        Some((from, _)) => (from as f64, from as f64 + 1.0),
        None => (0.0, 1.0),
    }
}

/// Figures of the intervals, each as long as it was observed.
fn values(model: &Model, value: impl Fn(&Interval) -> f64) -> Vec<Value> {
    let (from, to) = extent(model);
    let starts: Vec<i64> = starts(model);
    let ends = starts
        .iter()
        .skip(1)
        .copied()
        .chain([model.intervals.end_us()]);
    let cells = model.intervals.iter().map(|(_, cell)| cell);
    starts
        .iter()
        .zip(ends)
        .zip(cells)
        .map(|((&start, end), cell)| Value {
            from: (start as f64).clamp(from, to),
            to: (end as f64).clamp(from, to),
            y: value(cell),
        })
        .collect()
}

fn starts(model: &Model) -> Vec<i64> {
    model.intervals.iter().map(|(us, _)| us).collect()
}

fn ys(values: &[Value]) -> Vec<f64> {
    values.iter().map(|value| value.y).collect()
}

fn every(model: &Model) -> String {
    show_duration(model.intervals.width_us())
}

fn slaves(model: &Model, zone: &Zone) -> Picture {
    let over_time = |state: fn(&Interval) -> i64| {
        values(model, |cell| {
            mean(state(cell), cell.observed_us).unwrap_or(0.0)
        })
    };
    let present = over_time(|cell| cell.time.present_us);
    let busy = over_time(|cell| cell.time.busy_us);
    let compute = over_time(|cell| cell.time.compute_us);
    let held = over_time(|cell| cell.time.held_us());
    let idle = over_time(|cell| cell.time.idle_us());
    // A desire for a thousand more than there are does not flatten those.
    let desired = of_state(model, |state| state.desired);
    let high = most(&present).max(most(&desired).min(2.0 * most(&present)));
    let mut frame = Frame::new(
        "Slaves over time",
        300.0,
        extent(model),
        (0.0, high.max(1.0) * 1.05),
    );
    frame.y_axis(short);
    frame.begin_plot();
    frame.area(&present, AMBER);
    frame.area(&busy, PALE_BLUE);
    let mut legend = vec![("holding tasks", PALE_BLUE), ("idle", AMBER)];
    if most(&desired) > 0.0 {
        let line = frame.steps(&desired);
        frame.picture.line(line, INK, 1.0);
        legend.push(("desired", INK));
    }
    let mut series = vec![
        ("holding tasks", ys(&held)),
        ("idle", ys(&idle)),
        ("present", ys(&present)),
        ("most at once", ys(&values(model, |cell| cell.peak as f64))),
    ];
    if has_compute(model) {
        frame.area(&compute, BLUE);
        legend.insert(0, ("computing", BLUE));
        series.insert(0, ("computing", ys(&compute)));
    }
    if most(&desired) > 0.0 {
        series.push(("desired", ys(&desired)));
    }
    frame.marks(model);
    frame.end_plot();
    frame.time_axis(zone);
    frame.legend(&legend);
    let hover = hover(&frame, "time", zone, &starts(model), &series, model);
    frame.picture.hover = Some(hover.to_string());
    frame.picture
}

/// At the start of a run all slaves come at once, and at its end they go: a bar that would leave no room for the others
/// is cut, and says how long it is.
fn churn(model: &Model, zone: &Zone) -> Picture {
    let arrivals = values(model, |cell| cell.arrivals as f64);
    let losses = values(model, |cell| cell.losses as f64);
    let departures = values(model, |cell| cell.departures as f64);
    let high = height_of(&arrivals).max(height_of(&losses)).max(1.0);
    let low = most(&departures)
        .min((2.0 * height_of(&losses)).max(0.6 * high))
        .max(1.0);
    let title = format!("Arrivals and departures per {}", every(model));
    let mut frame = Frame::new(&title, 300.0, extent(model), (-low * 1.1, high * 1.05));
    frame.y_axis(|tick| short(tick.abs()));
    let floor = frame.to_y(0.0);
    frame.begin_plot();
    let mut cut = Vec::new();
    for ((arrived, lost), left) in arrivals.iter().zip(&losses).zip(&departures) {
        let x = frame.to_x(arrived.from);
        // A hair's breadth between bars, but never none of a bar.
        let bar = (frame.to_x(arrived.to) - x - 0.6).max(0.8);
        let top = frame.to_y(arrived.y.min(high * 1.05));
        frame.picture.rect(x, top, bar, floor - top, BLUE);
        let red = frame.to_y(-lost.y.min(low * 1.1));
        frame.picture.rect(x, floor, bar, red - floor, RED);
        let grey = frame.to_y(-left.y.min(low * 1.1));
        frame.picture.rect(x, red, bar, grey - red, GREY);
        if arrived.y > high * 1.05 {
            cut.push((x, top + 12.0, arrived.y));
        }
        if left.y > low * 1.1 {
            cut.push((x, grey - 4.0, left.y));
        }
    }
    frame
        .picture
        .line(vec![(LEFT, floor), (WIDTH - RIGHT, floor)], INK, 1.0);
    frame.marks(model);
    frame.end_plot();
    say_cut(&mut frame, &cut, "at once");
    frame.time_axis(zone);
    frame.legend(&[
        ("arrivals (up)", BLUE),
        ("losses (down)", RED),
        ("sent away (down)", GREY),
    ]);
    let series = [
        ("arrivals", ys(&arrivals)),
        ("losses", ys(&losses)),
        ("departures", ys(&departures)),
        (
            "sent away, fewer desired",
            ys(&values(model, |cell| cell.dismissed as f64)),
        ),
    ];
    let hover = hover(&frame, "time", zone, &starts(model), &series, model);
    frame.picture.hover = Some(hover.to_string());
    frame.picture
}

/// How high what was cut is, beside it.
fn say_cut(frame: &mut Frame, cut: &[(f32, f32, f64)], what: &str) {
    let mut free_from = f32::MIN;
    for &(x, y, height) in cut {
        let is_right = x > WIDTH / 2.0;
        if x < free_from {
            continue;
        }
        let text = format!("{} {what}", count(height.round() as u64));
        let (x, anchor) = match is_right {
            true => (x - 4.0, Anchor::End),
            false => (x + 8.0, Anchor::Start),
        };
        frame.picture.free_text(x, y, text, anchor, FAINT);
        free_from = x + 120.0;
    }
}

fn throughput(model: &Model, zone: &Zone) -> Picture {
    let per_second = |number: fn(&Interval) -> u64| {
        values(model, |cell| {
            mean(number(cell) as i64, cell.observed_us).map_or(0.0, |rate| rate * 1e6)
        })
    };
    let results = per_second(|cell| cell.results);
    let failed = per_second(|cell| cell.failed);
    let title = format!("Results per second, every {}", every(model));
    let high = height_of(&results);
    let mut frame = Frame::new(&title, 300.0, extent(model), (0.0, high * 1.05));
    frame.y_axis(short);
    frame.begin_plot();
    frame.area(&results, PALE_BLUE);
    let line = frame.steps(&results);
    frame.picture.line(line, BLUE, 1.5);
    let mut legend = vec![("results", BLUE)];
    if most(&failed) > 0.0 {
        frame.area(&failed, RED);
        legend.push(("failed", RED));
    }
    // Time in which the master algorithm held its thread: a band at the foot.
    let floor = frame.height - BOTTOM;
    let stalled = values(model, |cell| cell.stalled_us as f64 / 1e6);
    for value in &stalled {
        if value.y * 1e6 > 0.2 * (value.to - value.from) {
            let (from, to) = (frame.to_x(value.from), frame.to_x(value.to));
            frame.picture.rect(from, floor - 6.0, to - from, 6.0, INK);
        }
    }
    if most(&stalled) > 0.0 {
        legend.push(("master algorithm held its thread", INK));
    }
    frame.marks(model);
    frame.end_plot();
    let cut: Vec<_> = results
        .iter()
        .filter(|value| value.y > high * 1.05)
        .map(|value| (frame.to_x(value.from), frame.to_y(high), value.y))
        .collect();
    say_cut(&mut frame, &cut, "a second");
    frame.time_axis(zone);
    frame.legend(&legend);
    let series = [
        ("results a second", ys(&results)),
        ("failed a second", ys(&failed)),
        ("results", ys(&values(model, |cell| cell.results as f64))),
        ("sent", ys(&values(model, |cell| cell.sent as f64))),
        ("recycled", ys(&values(model, |cell| cell.recycled as f64))),
        ("seconds held by the master algorithm", ys(&stalled)),
    ];
    let hover = hover(&frame, "time", zone, &starts(model), &series, model);
    frame.picture.hover = Some(hover.to_string());
    frame.picture
}

/// Of each interval what the last line of state by its end said; 0 before the first.
fn of_state(model: &Model, value: impl Fn(&State) -> u64) -> Vec<Value> {
    let mut values = values(model, |_| 0.0);
    for one in &mut values {
        one.y = model
            .states
            .at(one.to as i64)
            .map_or(0.0, |state| value(state) as f64);
    }
    values
}

fn queue(model: &Model, zone: &Zone) -> Picture {
    let queued = of_state(model, |state| state.queued);
    let high = most(&queued).max(1.0);
    let mut frame = Frame::new(
        "Tasks that wait in the master",
        300.0,
        extent(model),
        (0.0, high * 1.05),
    );
    frame.y_axis(short);
    frame.begin_plot();
    frame.area(&queued, PALE_BLUE);
    let line = frame.steps(&queued);
    frame.picture.line(line, BLUE, 1.5);
    frame.marks(model);
    frame.end_plot();
    frame.time_axis(zone);
    frame.legend(&[("queued", BLUE)]);
    let series = [
        ("queued", ys(&queued)),
        ("running", ys(&of_state(model, |state| state.running))),
        (
            "slaves present",
            ys(&of_state(model, |state| state.present)),
        ),
        (
            "slaves desired",
            ys(&of_state(model, |state| state.desired)),
        ),
    ];
    let hover = hover(&frame, "time", zone, &starts(model), &series, model);
    frame.picture.hover = Some(hover.to_string());
    frame.picture
}

fn survival(model: &Model, zone: &Zone) -> Picture {
    let curve = model.survival(SURVIVAL_POINTS);
    let end = curve.last().map_or(1.0, |point| point.0);
    let mut frame = Frame::new(
        "Share of slaves that live longer",
        300.0,
        (0.0, end),
        (0.0, 1.0),
    );
    frame.y_axis(|tick| format!("{:.0} %", tick * 100.0));
    frame.begin_plot();
    let mut points = Vec::new();
    let mut before = 1.0;
    for &(seconds, share) in &curve {
        points.push((frame.to_x(seconds), frame.to_y(before)));
        points.push((frame.to_x(seconds), frame.to_y(share)));
        before = share;
    }
    frame.picture.line(points, BLUE, 2.0);
    frame.end_plot();
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
    let starts: Vec<i64> = curve.iter().map(|point| (point.0 * 1e6) as i64).collect();
    let shares = curve.iter().map(|point| point.1 * 100.0).collect();
    let series = [("% live longer", shares)];
    let mut hover = hover(&frame, "age", zone, &starts, &series, model);
    hover["x"] = json!([0.0, end * 1e6]);
    frame.picture.hover = Some(hover.to_string());
    frame.picture
}
