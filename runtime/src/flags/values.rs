//! What the values of flags may be. Each parser's error is the end of a message that begins with the flag.

use std::time::Duration;

use ringmw_sched::AUTO;

use super::SlaveCount;
use crate::io::engine::Choice;
use crate::proto::master::{Level, Wanted};

/// No buffer is smaller: a packet must hold more than its headers.
pub(crate) const BUFFER_BYTES_MIN: u64 = 4096;
/// No buffer is larger: 1 GiB.
pub(crate) const BUFFER_BYTES_MAX: u64 = 1 << 30;
/// No time is longer: a year.
pub(crate) const SECONDS_MAX: u64 = 365 * 86_400;
/// No membership token is longer.
pub(crate) const MEMBER_ID_BYTES_MAX: usize = 255;
/// Local mode starts no more slaves.
pub(crate) const LOCAL_SLAVES_MAX: u64 = 4096;

pub(super) fn level(value: &str) -> Result<Level, String> {
    match value {
        "default" => Ok(Level::Default),
        "packets" => Ok(Level::Packets),
        "tasks" => Ok(Level::Tasks),
        _ => Err("is none of default, packets and tasks".to_owned()),
    }
}

pub(super) fn engine(value: &str) -> Result<Choice, String> {
    value
        .parse()
        .map_err(|_| "is none of auto, ring and epoll".to_owned())
}

fn number(value: &str, least: u64, most: u64) -> Result<u64, String> {
    let is_digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse() {
        Ok(number) if is_digits && (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("is no whole number from {least} to {most}")),
    }
}

fn number_u32(value: &str, least: u64) -> Result<u32, String> {
    number(value, least, u32::MAX.into()).map(|number| u32::try_from(number).expect("bounded"))
}

pub(super) fn local_slaves(value: &str) -> Result<u32, String> {
    number(value, 1, LOCAL_SLAVES_MAX).map(|number| u32::try_from(number).expect("bounded"))
}

/// `--mw-slaves-wanted auto` desires no more.
pub(crate) const SLAVES_WANTED_MAX: u32 = 1_000;

pub(super) fn slaves_wanted(value: &str) -> Result<Wanted, String> {
    match value.strip_prefix("auto") {
        Some("") => Ok(Wanted::Auto(SLAVES_WANTED_MAX)),
        Some(most) => match most.strip_prefix(':') {
            Some(most) => number_u32(most, 1).map(Wanted::Auto),
            None => Err("is none of N, auto and auto:MAX".to_owned()),
        },
        None => number_u32(value, 0)
            .map(Wanted::Fixed)
            .map_err(|_| "is none of N, auto and auto:MAX".to_owned()),
    }
}

pub(super) fn slave_count(value: &str) -> Result<SlaveCount, String> {
    match value {
        "auto" => Ok(SlaveCount::Auto),
        _ => local_slaves(value)
            .map(SlaveCount::Slaves)
            .map_err(|error| format!("{error}, and not auto")),
    }
}

pub(super) fn group(value: &str) -> Result<u32, String> {
    if value == "auto" {
        return Ok(AUTO);
    }
    number_u32(value, 1).map_err(|error| format!("{error}, and not auto"))
}

pub(super) fn on_off(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("is neither on nor off".to_owned()),
    }
}

pub(super) fn crash_limit(value: &str) -> Result<u32, String> {
    number_u32(value, 0)
}

pub(super) fn seed(value: &str) -> Result<u64, String> {
    number(value, 0, u64::MAX)
}

pub(super) fn port(value: &str) -> Result<u16, String> {
    number(value, 1, u16::MAX.into()).map(|number| u16::try_from(number).expect("bounded"))
}

pub(super) fn seconds(value: &str) -> Result<Duration, String> {
    let number = number(value, 1, SECONDS_MAX).map_err(|error| format!("{error}, in seconds"))?;
    Ok(Duration::from_secs(number))
}

pub(super) fn bytes(value: &str) -> Result<u64, String> {
    bytes_within(value, 1, u64::MAX)
}

pub(super) fn buffer_bytes(value: &str) -> Result<u32, String> {
    bytes_within(value, BUFFER_BYTES_MIN, BUFFER_BYTES_MAX)
        .map(|bytes| u32::try_from(bytes).expect("bounded"))
}

fn bytes_within(value: &str, least: u64, most: u64) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let (digits, shift) = units
        .iter()
        .find_map(|(unit, shift)| Some((value.strip_suffix(unit)?, *shift)))
        .unwrap_or((value, 0));
    let bytes = number(digits, 0, u64::MAX >> shift).map(|number| number << shift);
    match bytes {
        Ok(bytes) if (least..=most).contains(&bytes) => Ok(bytes),
        Ok(_) => Err(format!("is not from {least} to {most} bytes")),
        Err(_) => Err("is no number of bytes, like 131072, 128KiB, 64MiB or 1GiB".to_owned()),
    }
}

pub(super) fn member_id(value: &str) -> Result<String, String> {
    match value.len() {
        0..=MEMBER_ID_BYTES_MAX => Ok(value.to_owned()),
        length => Err(format!(
            "is {length} bytes long, at most {MEMBER_ID_BYTES_MAX} are taken"
        )),
    }
}

/// A name or address without a port. An IPv6 address may stand in brackets; they are taken off.
pub(super) fn host(value: &str) -> Result<String, String> {
    let bare = value
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(value);
    if bare.is_empty()
        || bare.contains(|letter: char| letter.is_whitespace() || letter.is_control())
    {
        return Err("is no host name or address".to_owned());
    }
    // A scope, as in fe80::1%eth0, is the resolver's business.
    let address = bare.split('%').next().unwrap_or(bare);
    if bare.contains(':') && address.parse::<std::net::Ipv6Addr>().is_err() {
        return Err("is no host alone; a port goes to --mw-master-port".to_owned());
    }
    Ok(bare.to_owned())
}
