//! A picture's axes, ticks, legend and colours.

use super::super::model::Model;
use super::super::output::figure;
use super::super::picture::{Anchor, FAINT, GRID, Group, INK, Picture, Rgb};
use super::super::times::Zone;

pub(super) const WIDTH: f32 = 1000.0;
pub(super) const LEFT: f32 = 78.0;
pub(super) const RIGHT: f32 = 18.0;
pub(super) const TOP: f32 = 58.0;
pub(super) const BOTTOM: f32 = 34.0;

/// Colours that those who do not tell red from green can tell.
pub(super) const BLUE: Rgb = [0x1f, 0x5f, 0xa8];
pub(super) const PALE_BLUE: Rgb = [0xb9, 0xd3, 0xec];
pub(super) const AMBER: Rgb = [0xf0, 0xb4, 0x5f];
pub(super) const RED: Rgb = [0xc0, 0x3a, 0x2b];
pub(super) const GREY: Rgb = [0x9a, 0xa3, 0xae];
pub(super) const ABSENT: Rgb = [0xf4, 0xf5, 0xf7];

/// A picture with its axes.
pub(super) struct Frame {
    pub(super) picture: Picture,
    pub(super) height: f32,
    pub(super) x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    pub(super) fn new(title: &str, height: f32, x: (f64, f64), y: (f64, f64)) -> Self {
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

    pub(super) fn to_x(&self, x: f64) -> f32 {
        LEFT + ((x - self.x.0) / (self.x.1 - self.x.0)) as f32 * (WIDTH - LEFT - RIGHT)
    }

    pub(super) fn to_y(&self, y: f64) -> f32 {
        let floor = self.height - BOTTOM;
        floor - ((y - self.y.0) / (self.y.1 - self.y.0)) as f32 * (floor - TOP)
    }

    /// Lines across, with what they stand for.
    pub(super) fn y_axis(&mut self, label: impl Fn(f64) -> String) {
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

    pub(super) fn x_axis(&mut self, ticks: Vec<(f64, String)>) {
        let floor = self.height - BOTTOM;
        self.picture.open(Group::Ticks);
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
        self.picture.close();
        self.picture
            .line(vec![(LEFT, floor), (WIDTH - RIGHT, floor)], FAINT, 1.0);
    }

    pub(super) fn time_axis(&mut self, zone: &Zone) {
        let ticks = time_ticks(self.x, zone);
        self.x_axis(ticks);
    }

    /// What the colours mean, below the title.
    pub(super) fn legend(&mut self, entries: &[(&str, Rgb)]) {
        let mut x = LEFT;
        for &(text, colour) in entries {
            self.picture.rect(x, 37.0, 12.0, 12.0, colour);
            self.picture.text(x + 18.0, 48.0, text, Anchor::Start, INK);
            x += 44.0 + 8.4 * text.chars().count() as f32;
        }
    }

    /// What is drawn until [`Frame::end_plot`] is what a reader of the page can zoom into.
    pub(super) fn begin_plot(&mut self) {
        let (top, floor) = (TOP - 4.0, self.height - BOTTOM);
        self.picture.open(Group::Plot {
            x: LEFT,
            y: top,
            width: WIDTH - LEFT - RIGHT,
            height: floor - top,
        });
    }

    pub(super) fn end_plot(&mut self) {
        self.picture.close();
    }

    /// Steps that hold their height from a time to a time; what is higher than the picture is cut.
    pub(super) fn steps(&self, values: &[Value]) -> Vec<(f32, f32)> {
        values
            .iter()
            .flat_map(|value| {
                let y = self.to_y(value.y.min(self.y.1));
                [(self.to_x(value.from), y), (self.to_x(value.to), y)]
            })
            .collect()
    }

    pub(super) fn area(&mut self, values: &[Value], fill: Rgb) {
        let mut points = self.steps(values);
        let floor = self.to_y(0.0);
        if let (Some(&first), Some(&last)) = (points.first(), points.last()) {
            points.push((last.0, floor));
            points.push((first.0, floor));
            self.picture.area(points, fill);
        }
    }

    /// What happened to the whole run, as lines across; their words are seen where the mouse is.
    pub(super) fn marks(&mut self, model: &Model) {
        let (top, floor) = (TOP, self.height - BOTTOM);
        for mark in &model.marks {
            let us = mark.us as f64;
            if self.x.0 <= us && us <= self.x.1 {
                let x = self.to_x(us);
                self.picture.mark(x, top, floor, mark.text.clone());
            }
        }
    }
}

/// A figure from a time to a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) y: f64,
}

pub(super) fn most(values: &[Value]) -> f64 {
    values.iter().map(|value| value.y).fold(0.0, f64::max)
}

/// The height that a picture needs: the first and last intervals, in which everybody comes or goes at once or only a
/// moment was observed, may not flatten the rest. What is higher is cut, and says how high it is.
pub(super) fn height_of(values: &[Value]) -> f64 {
    const EDGE: usize = 2;
    let whole = most(values);
    let inner = values
        .len()
        .checked_sub(EDGE)
        .and_then(|end| values.get(EDGE..end))
        .map_or(0.0, most);
    if inner > 0.0 && whole > 2.0 * inner {
        1.3 * inner
    } else {
        whole
    }
}

/// The next of 1, 2, 5, 10, …
pub(super) fn nice_step(least: f64) -> f64 {
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

pub(super) fn short(number: f64) -> String {
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

pub(super) fn blend(from: Rgb, to: Rgb, share: f32) -> Rgb {
    let mix = |index: usize| {
        (f32::from(from[index])
            + (f32::from(to[index]) - f32::from(from[index])) * share.clamp(0.0, 1.0)) as u8
    };
    [mix(0), mix(1), mix(2)]
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

    #[test]
    fn edges_do_not_flatten_the_rest() {
        let values = |ys: &[f64]| -> Vec<Value> {
            let value = |(index, &y): (usize, &f64)| Value {
                from: index as f64,
                to: index as f64 + 1.0,
                y,
            };
            ys.iter().enumerate().map(value).collect()
        };
        let cut = height_of(&values(&[500.0, 1.0, 2.0, 3.0, 1.0, 900.0]));
        assert!((cut - 3.9).abs() < 1e-9, "{cut}");
        assert_eq!(height_of(&values(&[5.0, 1.0, 2.0, 3.0, 1.0, 4.0])), 5.0);
        assert_eq!(height_of(&values(&[5.0, 9.0])), 9.0);
        assert_eq!(height_of(&values(&[])), 0.0);
    }
}
