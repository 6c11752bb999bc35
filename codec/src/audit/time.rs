//! Times of the trail: `2026-11-20T08:03:03.123456Z`, by hand, since a line must cost well under 200 ns.

const DAY_US: i64 = 86_400_000_000;
/// 0000-01-01T00:00:00Z.
const TIME_US_MIN: i64 = -719_528 * DAY_US;
/// 9999-12-31T23:59:59.999999Z.
const TIME_US_MAX: i64 = 2_932_897 * DAY_US - 1;
const TIME_BYTES: usize = 27;

/// Days since 1970-01-01 of a day in the proleptic Gregorian calendar; years count from March, so that the leap day
/// comes last.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day since 1970-01-01; the inverse of [`days_from_civil`].
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + (month <= 2) as i64;
    (year, month, day)
}

pub(super) fn put_time(out: &mut Vec<u8>, time_us: i64) {
    let time_us = time_us.clamp(TIME_US_MIN, TIME_US_MAX);
    let (year, month, day) = civil_from_days(time_us.div_euclid(DAY_US));
    let us = time_us.rem_euclid(DAY_US);
    let (second, us) = ((us / 1_000_000) as u32, (us % 1_000_000) as u32);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    put_pair(&mut text, 0, year as u32 / 100);
    put_pair(&mut text, 2, year as u32 % 100);
    put_pair(&mut text, 5, month as u32);
    put_pair(&mut text, 8, day as u32);
    put_pair(&mut text, 11, second / 3600);
    put_pair(&mut text, 14, second / 60 % 60);
    put_pair(&mut text, 17, second % 60);
    put_pair(&mut text, 20, us / 10_000);
    put_pair(&mut text, 22, us / 100 % 100);
    put_pair(&mut text, 24, us % 100);
    out.extend_from_slice(&text);
}

fn put_pair(text: &mut [u8; TIME_BYTES], at: usize, number: u32) {
    text[at] = b'0' + (number / 10) as u8;
    text[at + 1] = b'0' + (number % 10) as u8;
}

pub(super) fn parse_time(text: &str) -> Option<i64> {
    parse_time_bytes(text.as_bytes())
}

pub(super) fn parse_time_bytes(text: &[u8]) -> Option<i64> {
    if text.len() != TIME_BYTES {
        return None;
    }
    let punctuation = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (26, b'Z'),
    ];
    if punctuation.iter().any(|&(at, byte)| text[at] != byte) {
        return None;
    }
    let (year, month, day) = (
        digits(&text[0..4])?,
        digits(&text[5..7])?,
        digits(&text[8..10])?,
    );
    let (hour, minute, second) = (
        digits(&text[11..13])?,
        digits(&text[14..16])?,
        digits(&text[17..19])?,
    );
    let us = digits(&text[20..26])?;
    Some(civil_us([year, month, day], [hour, minute, second])? + us)
}

/// Microseconds since the start of 1970 of a day and a time of day, if there are such.
pub(super) fn civil_us(
    [year, month, day]: [i64; 3],
    [hour, minute, second]: [i64; 3],
) -> Option<i64> {
    if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    // Up to the 28th every month has every day.
    if day == 0 || (day > 28 && civil_from_days(days) != (year, month, day)) {
        return None;
    }
    Some(days * DAY_US + ((hour * 60 + minute) * 60 + second) * 1_000_000)
}

pub(super) fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, &byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + i64::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_agrees_with_jiff_and_turns_round() {
        let days = (-719_528..2_932_897)
            .step_by(37)
            .chain([-1, 0, 1, 11_016, 2_932_896]);
        for day in days {
            let time_us = day * DAY_US + 12_345_678_901;
            let mut text = Vec::new();
            put_time(&mut text, time_us);
            let text = String::from_utf8(text).expect("ASCII");
            assert_eq!(parse_time(&text), Some(time_us), "{text}");
            // jiff refuses the last day of 9999, which another time zone could push over the edge.
            if let Ok(time) = jiff::Timestamp::from_microsecond(time_us) {
                assert_eq!(format!("{time:.6}"), text);
            }
        }
    }

    #[test]
    fn times_out_of_range_are_the_nearest_and_no_day_is_made_up() {
        let mut text = Vec::new();
        put_time(&mut text, i64::MIN);
        put_time(&mut text, i64::MAX);
        assert_eq!(
            text,
            b"0000-01-01T00:00:00.000000Z9999-12-31T23:59:59.999999Z"
        );
        for text in [
            "2026-02-29T00:00:00.000000Z",
            "2026-00-01T00:00:00.000000Z",
            "2026-01-01T24:00:00.000000Z",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
