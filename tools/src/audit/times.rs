//! Times: the zone they are shown in, the bounds of the window, durations.

use jiff::civil;
use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
/// Rules of zones change at whole quarters of an hour.
const QUARTER_US: i64 = 900 * SECOND_US;

/// The zone that times are shown in, and that CL-MW's times, which name none, are taken to be in.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    zone: TimeZone,
    is_utc: bool,
    /// A quarter of an hour on the wall and its distance to UTC, the last asked for.
    last: (i64, i64),
}

impl Zone {
    /// `UTC`, `local`, an offset like `+02:00` or a name like `Europe/Berlin`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let zone = match text {
            "UTC" | "utc" | "Z" => TimeZone::UTC,
            "local" => TimeZone::try_system().map_err(|error| format!("this system's time zone is unknown: {error}"))?,
            _ => match offset(text) {
                Some(offset) => TimeZone::fixed(offset),
                None => TimeZone::get(text).map_err(|_| {
                    format!("no time zone {text:?}: UTC, local, an offset like +02:00 or a name like Europe/Berlin")
                })?,
            },
        };
        Ok(Self {
            is_utc: zone == TimeZone::UTC,
            zone,
            last: (i64::MIN, 0),
        })
    }

    /// The time of a clock on the wall in this zone, given as if it were UTC.
    pub(crate) fn of_wall(&mut self, wall_us: i64) -> i64 {
        if self.is_utc {
            return wall_us;
        }
        let quarter = wall_us.div_euclid(QUARTER_US);
        if self.last.0 != quarter {
            let apart = Timestamp::from_microsecond(wall_us)
                .ok()
                .map(|wall| TimeZone::UTC.to_datetime(wall))
                .and_then(|wall| self.zone.to_timestamp(wall).ok())
                .map_or(0, |time| wall_us - time.as_microsecond());
            self.last = (quarter, apart);
        }
        wall_us - self.last.1
    }

    /// How far the zone's wall clock is ahead of UTC at a time.
    pub(crate) fn offset_us(&self, time_us: i64) -> i64 {
        if self.is_utc {
            return 0;
        }
        Timestamp::from_microsecond(time_us).map_or(0, |time| {
            i64::from(self.zone.to_offset(time).seconds()) * SECOND_US
        })
    }

    fn zoned(&self, time_us: i64) -> Option<Zoned> {
        let time = Timestamp::from_microsecond(time_us).ok()?;
        Some(time.to_zoned(self.zone.clone()))
    }

    /// RFC 3339.
    pub(crate) fn show(&self, time_us: i64) -> String {
        if self.is_utc {
            return Timestamp::from_microsecond(time_us)
                .map_or_else(|_| "out of range".to_owned(), |time| time.to_string());
        }
        self.format("%Y-%m-%dT%H:%M:%S%.f%:z", time_us)
    }

    /// By strftime's letters.
    pub(crate) fn format(&self, format: &str, time_us: i64) -> String {
        self.zoned(time_us)
            .and_then(|time| strtime::format(format, &time).ok())
            .unwrap_or_else(|| "out of range".to_owned())
    }
}

fn offset(text: &str) -> Option<Offset> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    Offset::from_seconds(sign * seconds).ok()
}

/// A bound of the window, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// At this time.
    At(i64),
    /// So long after the trail's first line.
    AfterStart(i64),
    /// The first such time of day at or after the trail's first line.
    OfDay(i64),
}

impl Bound {
    /// An RFC 3339 time, a date and time without a zone, a time of day, `-2h` or `2h ago` before now, `+10m` after the
    /// trail's first line.
    pub(crate) fn parse(text: &str, zone: &Zone, now_us: i64) -> Result<Self, String> {
        let text = text.trim();
        let wall = |time: civil::DateTime| {
            let time = zone
                .zone
                .to_timestamp(time)
                .map_err(|error| error.to_string())?;
            Ok(Bound::At(time.as_microsecond()))
        };
        if text == "now" {
            return Ok(Bound::At(now_us));
        }
        if let Some(days) = ["today", "yesterday"].iter().position(|&day| day == text)
            && let Some(now) = zone.zoned(now_us)
        {
            let day = now
                .date()
                .saturating_sub(SignedDuration::from_hours(24 * days as i64));
            return wall(day.at(0, 0, 0, 0));
        }
        if let Some(ago) = text.strip_suffix("ago").or(text.strip_prefix('-'))
            && let Some(us) = parse_duration(ago.trim())
        {
            return Ok(Bound::At(now_us - us));
        }
        if let Some(us) = text.strip_prefix('+').and_then(parse_duration) {
            return Ok(Bound::AfterStart(us));
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Bound::At(time.as_microsecond()));
        }
        if let Ok(time) = text.parse::<civil::DateTime>() {
            return wall(time);
        }
        if let Ok(date) = text.parse::<civil::Date>() {
            return wall(date.at(0, 0, 0, 0));
        }
        if let Ok(time) = text.parse::<civil::Time>() {
            let us = time.duration_since(civil::Time::midnight()).as_micros();
            return Ok(Bound::OfDay(us as i64));
        }
        Err(format!(
            "{text:?} is no time: give RFC 3339 (2026-11-20T14:00:00Z), a time of day (14:00), -2h or \"2h ago\" before \
             now, or +10m after the trail's first line"
        ))
    }

    /// The time it means for a trail that begins at `start_us`.
    pub(crate) fn resolve(self, start_us: i64, zone: &Zone) -> i64 {
        match self {
            Bound::At(us) => us,
            Bound::AfterStart(us) => start_us.saturating_add(us),
            Bound::OfDay(us) => {
                let Some(start) = zone.zoned(start_us) else {
                    return start_us;
                };
                // On the wall of the day, whatever the clocks do between midnight and then.
                let on = |date: civil::Date| {
                    let time =
                        civil::Time::midnight().wrapping_add(SignedDuration::from_micros(us));
                    zone.zone
                        .to_timestamp(date.to_datetime(time))
                        .map_or(start_us, |time| time.as_microsecond())
                };
                let today = on(start.date());
                if today < start_us {
                    on(start.date().tomorrow().unwrap_or(start.date()))
                } else {
                    today
                }
            }
        }
    }
}

/// `90s`, `1h30m`, `250ms`, `2d`; a bare number is seconds. In microseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut sum = 0i64;
    while !rest.is_empty() {
        let digits = rest
            .find(|char: char| !char.is_ascii_digit() && char != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest
            .find(|char: char| !char.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let unit_us = match &rest[..letters] {
            "us" => 1,
            "ms" => 1_000,
            "" | "s" | "sec" | "second" | "seconds" => SECOND_US,
            "m" | "min" | "minute" | "minutes" => 60 * SECOND_US,
            "h" | "hour" | "hours" => 3600 * SECOND_US,
            "d" | "day" | "days" => DAY_US,
            "w" | "week" | "weeks" => 7 * DAY_US,
            _ => return None,
        };
        rest = rest[letters..].trim_start();
        sum = sum.checked_add((number * unit_us as f64).round() as i64)?;
    }
    Some(sum)
}

/// `1 h 02 min`, `3.4 s`: for people.
pub(crate) fn show_duration(us: i64) -> String {
    let seconds = us as f64 / SECOND_US as f64;
    let whole = us / SECOND_US;
    match whole {
        _ if seconds < 0.001 => format!("{us} µs"),
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {:02} h", whole / 86_400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_in_every_form() {
        let zone = Zone::parse("+02:00").expect("a zone");
        let now = 1_795_161_783_000_000;
        for (text, expected) in [
            ("2026-11-20T08:03:03Z", Bound::At(now)),
            ("2026-11-20T10:03:03", Bound::At(now)),
            ("2026-11-20 10:03:03", Bound::At(now)),
            ("now", Bound::At(now)),
            ("-2h", Bound::At(now - 7_200_000_000)),
            ("1h30m ago", Bound::At(now - 5_400_000_000)),
            ("+10m", Bound::AfterStart(600_000_000)),
            ("14:00", Bound::OfDay(14 * 3_600_000_000)),
        ] {
            assert_eq!(Bound::parse(text, &zone, now), Ok(expected), "{text}");
        }
        assert_eq!(
            Bound::OfDay(14 * 3_600_000_000).resolve(now, &zone),
            now + 3600 * 4 * SECOND_US - 183 * SECOND_US
        );
        assert_eq!(
            Bound::OfDay(3_600_000_000).resolve(now, &zone) / DAY_US,
            now / DAY_US
        );
        assert!(Bound::parse("soon", &zone, now).is_err());
        // On the days when the clocks change, 14:00 is 13 and 15 hours behind midnight.
        let berlin = Zone::parse("Europe/Berlin").expect("zone files are here");
        for (first, at) in [
            ("2026-03-29T00:30:00+01:00", "2026-03-29T14:00:00+02:00"),
            ("2026-10-25T00:30:00+02:00", "2026-10-25T14:00:00+01:00"),
            ("2026-03-28T15:00:00+01:00", "2026-03-29T14:00:00+02:00"),
            ("2026-10-24T15:00:00+02:00", "2026-10-25T14:00:00+01:00"),
        ] {
            let us = |text: &str| text.parse::<Timestamp>().expect("a time").as_microsecond();
            let found = Bound::OfDay(14 * 3_600_000_000).resolve(us(first), &berlin);
            assert_eq!(found, us(at), "{first}");
        }
    }

    #[test]
    fn walls_in_a_zone_with_summer_time() {
        let Ok(mut zone) = Zone::parse("Europe/Berlin") else {
            return; // No zone files here.
        };
        let winter = 1_795_161_783_000_000;
        assert_eq!(zone.of_wall(winter), winter - 3600 * SECOND_US);
        assert_eq!(zone.show(winter), "2026-11-20T09:03:03+01:00");
        let summer = winter - 130 * DAY_US;
        assert_eq!(zone.of_wall(summer), summer - 7200 * SECOND_US);
    }

    #[test]
    fn durations() {
        for (text, us) in [
            ("90s", 90_000_000),
            ("1h30m", 5_400_000_000),
            ("250ms", 250_000),
            ("1.5", 1_500_000),
            ("2 h", 7_200_000_000),
        ] {
            assert_eq!(parse_duration(text), Some(us), "{text}");
        }
        assert_eq!(parse_duration("5x"), None);
        assert_eq!(parse_duration(""), None);
        assert_eq!(show_duration(75_000_000), "75 s");
        assert_eq!(show_duration(3_725_000_000), "1 h 02 min");
    }
}
