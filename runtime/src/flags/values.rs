//! What the values of flags may be: the types that the rows of `ringmw_codec::flags!` name.
//!
//! A [`Value`] is what stands behind one flag; its error is the end of a message that begins with the flag. A [`Take`] is
//! what is made of all that was given of a flag: the [`Value`] or else its default, [`Maybe`] one, [`Each`] of them, or
//! for a [`Switch`] whether it is there.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use clap::builder::ValueParser;
use clap::parser::ValueSource;
use ringmw_codec::handshake::{LABEL_BYTES_MAX, MEMBER_ID_BYTES_MAX};

use crate::io::engine::Choice;
use crate::io::files::audit;
use crate::proto::config::{self, SECONDS_MAX, Wanted};

/// What stands behind a flag.
pub(super) trait Value: 'static {
    /// What it is read as.
    type Out: Clone + Send + Sync + 'static;

    /// It may be any bytes, as paths may; else it is text.
    const IS_PATH: bool = false;
    /// It may be empty.
    const MAY_BE_EMPTY: bool = false;

    fn read(text: &str) -> Result<Self::Out, String>;

    /// What reads it for clap.
    fn parser() -> ValueParser {
        ValueParser::new(Self::read)
    }
}

/// What is made of all that was given of a flag.
pub(super) trait Take {
    /// What is made of it.
    type Out;

    /// A value stands behind the flag.
    const HAS_VALUE: bool = true;
    /// There is nothing to take where it is not given and has no default.
    const NEEDS_DEFAULT: bool = false;
    /// It tells where a slave's master is. The later one wins, so a slave may be given it again.
    const IS_SOURCE: bool = false;
    /// It may be given several times in any role: each counts.
    const MAY_REPEAT: bool = false;
    /// As [`Value::IS_PATH`].
    const IS_PATH: bool = false;
    /// As [`Value::MAY_BE_EMPTY`].
    const MAY_BE_EMPTY: bool = false;

    /// What reads a value; none for a switch.
    fn parser() -> Option<ValueParser>;

    /// Takes what was given, else the default.
    fn take(matches: &mut ArgMatches, name: &str) -> Self::Out;
}

/// The last value.
impl<V: Value> Take for V {
    type Out = V::Out;

    const NEEDS_DEFAULT: bool = true;
    const IS_PATH: bool = V::IS_PATH;
    const MAY_BE_EMPTY: bool = V::MAY_BE_EMPTY;

    fn parser() -> Option<ValueParser> {
        Some(V::parser())
    }

    fn take(matches: &mut ArgMatches, name: &str) -> V::Out {
        Maybe::<V>::take(matches, name).expect("its row has a default")
    }
}

/// The last value, if there is one.
pub(super) struct Maybe<V>(PhantomData<V>);

impl<V: Value> Take for Maybe<V> {
    type Out = Option<V::Out>;

    const IS_PATH: bool = V::IS_PATH;
    const MAY_BE_EMPTY: bool = V::MAY_BE_EMPTY;

    fn parser() -> Option<ValueParser> {
        Some(V::parser())
    }

    fn take(matches: &mut ArgMatches, name: &str) -> Option<V::Out> {
        matches.remove_many(name)?.next_back()
    }
}

/// Each value that was given, with its place on the command line; a default is only told.
pub(super) struct Each<V>(PhantomData<V>);

impl<V: Value> Take for Each<V> {
    type Out = Vec<(usize, V::Out)>;

    const IS_SOURCE: bool = true;
    const IS_PATH: bool = V::IS_PATH;
    const MAY_BE_EMPTY: bool = V::MAY_BE_EMPTY;

    fn parser() -> Option<ValueParser> {
        Some(V::parser())
    }

    fn take(matches: &mut ArgMatches, name: &str) -> Vec<(usize, V::Out)> {
        if matches.value_source(name) != Some(ValueSource::CommandLine) {
            return Vec::new();
        }
        let places: Vec<usize> = matches.indices_of(name).into_iter().flatten().collect();
        let values = matches.remove_many(name).into_iter().flatten();
        places.into_iter().zip(values).collect()
    }
}

/// Each value that was given, in their order.
pub(super) struct Every<V>(PhantomData<V>);

impl<V: Value> Take for Every<V> {
    type Out = Vec<V::Out>;

    const MAY_REPEAT: bool = true;
    const IS_PATH: bool = V::IS_PATH;
    const MAY_BE_EMPTY: bool = V::MAY_BE_EMPTY;

    fn parser() -> Option<ValueParser> {
        Some(V::parser())
    }

    fn take(matches: &mut ArgMatches, name: &str) -> Vec<V::Out> {
        matches.remove_many(name).into_iter().flatten().collect()
    }
}

/// Whether the flag was given; it has no value.
pub(super) struct Switch;

impl Take for Switch {
    type Out = bool;

    const HAS_VALUE: bool = false;

    fn parser() -> Option<ValueParser> {
        None
    }

    fn take(matches: &mut ArgMatches, name: &str) -> bool {
        matches.get_count(name) > 0
    }
}

/// A whole number of a type, from `LEAST` to `MOST` or the type's most.
pub(super) struct Number<T, const LEAST: u64 = 0, const MOST: u64 = { u64::MAX }>(PhantomData<T>);

/// A type that whole numbers are read as.
pub(super) trait Whole: TryFrom<u64> + Clone + Send + Sync + 'static {
    const MAX: u64;
}

impl Whole for u16 {
    const MAX: u64 = u16::MAX as u64;
}

impl Whole for u32 {
    const MAX: u64 = u32::MAX as u64;
}

impl Whole for u64 {
    const MAX: u64 = u64::MAX;
}

fn number<T: Whole>(value: &str, least: u64, most: u64) -> Result<T, String> {
    let most = most.min(T::MAX);
    let is_digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|_| is_digits);
    number
        .filter(|number| (least..=most).contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("is no whole number from {least} to {most}"))
}

impl<T: Whole, const LEAST: u64, const MOST: u64> Value for Number<T, LEAST, MOST> {
    type Out = T;

    fn read(value: &str) -> Result<T, String> {
        number(value, LEAST, MOST)
    }
}

/// A value, or `auto`, which is none.
pub(super) struct OrAuto<V>(PhantomData<V>);

impl<V: Value> Value for OrAuto<V> {
    type Out = Option<V::Out>;

    fn read(value: &str) -> Result<Option<V::Out>, String> {
        if value == "auto" {
            return Ok(None);
        }
        V::read(value)
            .map(Some)
            .map_err(|error| format!("{error}, and not auto"))
    }
}

/// A number of bytes, from `LEAST` to `MOST` or the type's most, also in `KiB`, `MiB` or `GiB`.
pub(super) struct Bytes<T, const LEAST: u64, const MOST: u64 = { u64::MAX }>(PhantomData<T>);

impl<T: Whole, const LEAST: u64, const MOST: u64> Value for Bytes<T, LEAST, MOST> {
    type Out = T;

    fn read(value: &str) -> Result<T, String> {
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
        let (digits, shift) = units
            .iter()
            .find_map(|(unit, shift)| Some((value.strip_suffix(unit)?, *shift)))
            .unwrap_or((value, 0));
        let bytes: u64 = number(digits, 0, u64::MAX >> shift)
            .map(|number: u64| number << shift)
            .map_err(|_| "is no number of bytes, like 131072, 128KiB, 64MiB or 1GiB")?;
        let most = MOST.min(T::MAX);
        Some(bytes)
            .filter(|bytes| (LEAST..=most).contains(bytes))
            .and_then(|bytes| T::try_from(bytes).ok())
            .ok_or_else(|| format!("is not from {LEAST} to {most} bytes"))
    }
}

/// A time of at least `LEAST_MS` milliseconds and at most [`SECONDS_MAX`]: a bare number is seconds, else `ms`, `s`, `min`
/// or `h` stands behind it.
pub(super) struct Time<const LEAST_MS: u64>;

/// A time of a second at least.
pub(super) type Seconds = Time<1_000>;

impl<const LEAST_MS: u64> Value for Time<LEAST_MS> {
    type Out = Duration;

    fn read(value: &str) -> Result<Duration, String> {
        let units = [("ms", 1), ("min", 60_000), ("s", 1_000), ("h", 3_600_000)];
        let (digits, unit_ms) = units
            .iter()
            .find_map(|(unit, ms)| Some((value.strip_suffix(unit)?, *ms)))
            .unwrap_or((value, 1_000));
        let most = 1_000 * SECONDS_MAX;
        let time: Option<u64> = number(digits, 0, u64::MAX).ok();
        let time = time.and_then(|number: u64| number.checked_mul(unit_ms));
        time.filter(|ms| (LEAST_MS..=most).contains(ms))
            .map(Duration::from_millis)
            .ok_or_else(|| {
                let (least, short) = match LEAST_MS {
                    0 => ("0".to_owned(), "500ms"),
                    1..=500 => (format!("{LEAST_MS}ms"), "500ms"),
                    501..1_000 => (format!("{LEAST_MS}ms"), "1500ms"),
                    _ => ((LEAST_MS / 1_000).to_string(), "1500ms"),
                };
                format!(
                    "is no time from {least} to {SECONDS_MAX} seconds, like 30, {short}, 10min or 2h"
                )
            })
    }
}

/// A label of a slave: `key` or `key=value`.
pub(super) struct Label;

impl Value for Label {
    type Out = String;

    fn read(value: &str) -> Result<String, String> {
        let key = value.split('=').next().unwrap_or_default();
        match value.len() {
            _ if key.is_empty() => Err("has no key before its =".to_owned()),
            _ if value.chars().any(char::is_control) => Err("is not one line of text".to_owned()),
            0..=LABEL_BYTES_MAX => Ok(value.to_owned()),
            bytes => Err(format!(
                "is {bytes} bytes long, at most {LABEL_BYTES_MAX} are taken"
            )),
        }
    }
}

/// A port, or the first and the last of a range.
pub(super) struct Ports;

impl Value for Ports {
    type Out = (u16, u16);

    fn read(value: &str) -> Result<(u16, u16), String> {
        let port = |text| number(text, 1, u64::MAX);
        let range = value.split_once('-').filter(|(first, _)| !first.is_empty());
        let Some((first, last)) = range else {
            return port(value).map(|port| (port, port));
        };
        match (port(first), port(last)) {
            (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
            _ => Err("is no range of ports like 20000-20100".to_owned()),
        }
    }
}

/// When a file is begun anew, and how many of those before are kept.
pub(super) struct Rotate;

/// Smaller files would be begun anew all the time.
const ROTATE_BYTES_MIN: u64 = 64 << 10;
const ROTATE_KEEP: u32 = 8;

impl Value for Rotate {
    type Out = audit::Rotate;

    fn read(value: &str) -> Result<audit::Rotate, String> {
        let (size, keep) = match value.split_once(',') {
            None => (value, ROTATE_KEEP),
            Some((size, keep)) => {
                let keep = number(keep, 1, 1_000);
                (
                    size,
                    keep.map_err(|error| format!("keeps a number of files that {error}"))?,
                )
            }
        };
        let bytes = Bytes::<u64, ROTATE_BYTES_MIN>::read(size)?;
        Ok(audit::Rotate { bytes, keep })
    }
}

/// A port, and the host that it is bound at if one is given; port 0 is any free one.
pub(super) struct At;

impl Value for At {
    type Out = (Option<String>, u16);

    fn read(value: &str) -> Result<(Option<String>, u16), String> {
        let (host, port) = match value.rsplit_once(':') {
            Some((host, port)) => (Some(Host::read(host)?), port),
            None => (None, value),
        };
        let port =
            number(port, 0, u64::MAX).map_err(|_| "is no port, and no HOST:PORT".to_owned())?;
        Ok((host, port))
    }
}

/// How much the trail tells.
pub(super) struct Level;

impl Value for Level {
    type Out = config::Level;

    fn read(value: &str) -> Result<config::Level, String> {
        match value {
            "default" => Ok(config::Level::Default),
            "packets" => Ok(config::Level::Packets),
            "tasks" => Ok(config::Level::Tasks),
            _ => Err("is none of default, packets and tasks".to_owned()),
        }
    }
}

/// From which level on slaves' logs are wanted.
pub(super) struct LogLevel;

impl Value for LogLevel {
    type Out = Option<ringmw_codec::log::LogLevel>;

    fn read(value: &str) -> Result<Self::Out, String> {
        match value {
            "off" => Ok(None),
            word => (word.parse().map(Some))
                .map_err(|()| "is none of off, error, warn, info, debug and trace".to_owned()),
        }
    }
}

/// What moves the bytes.
pub(super) struct Engine;

impl Value for Engine {
    type Out = Choice;

    fn read(value: &str) -> Result<Choice, String> {
        value
            .parse()
            .map_err(|_| "is none of auto, ring and epoll".to_owned())
    }
}

/// How many slaves are desired: a number, or as many as the queue could use, at most `AUTO_MAX` if no other most is given.
pub(super) struct SlavesWanted<const AUTO_MAX: u32>;

impl<const AUTO_MAX: u32> Value for SlavesWanted<AUTO_MAX> {
    type Out = Wanted;

    fn read(value: &str) -> Result<Wanted, String> {
        let none = |_| "is none of N, auto and auto:MAX".to_owned();
        match value.strip_prefix("auto") {
            Some("") => Ok(Wanted::Auto(AUTO_MAX)),
            Some(most) => match most.strip_prefix(':') {
                Some(most) => number(most, 1, u64::MAX).map(Wanted::Auto),
                None => Err(none(String::new())),
            },
            None => number(value, 0, u64::MAX).map(Wanted::Fixed).map_err(none),
        }
    }
}

/// Whether something is done.
pub(super) struct OnOff;

impl Value for OnOff {
    type Out = bool;

    fn read(value: &str) -> Result<bool, String> {
        match value {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err("is neither on nor off".to_owned()),
        }
    }
}

/// A membership token.
pub(super) struct MemberId;

impl Value for MemberId {
    type Out = String;

    const MAY_BE_EMPTY: bool = true;

    fn read(value: &str) -> Result<String, String> {
        match value.len() {
            0..=MEMBER_ID_BYTES_MAX => Ok(value.to_owned()),
            length => Err(format!(
                "is {length} bytes long, at most {MEMBER_ID_BYTES_MAX} are taken"
            )),
        }
    }
}

/// A path.
pub(super) struct File;

impl Value for File {
    type Out = PathBuf;

    const IS_PATH: bool = true;

    fn read(value: &str) -> Result<PathBuf, String> {
        Ok(value.into())
    }

    fn parser() -> ValueParser {
        ValueParser::path_buf()
    }
}

/// A name or address without a port. An IPv6 address may stand in brackets; they are taken off.
pub(super) struct Host;

impl Value for Host {
    type Out = String;

    fn read(value: &str) -> Result<String, String> {
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
}

/// Reads `host:port`; an IPv6 host stands in brackets, and keeps them.
pub(super) fn peer(value: &str) -> Result<String, String> {
    let (host, port) = value
        .rsplit_once(':')
        .ok_or_else(|| "is no HOST:PORT".to_owned())?;
    let bare = Host::read(host).map_err(|_| format!("{host} is no host name or address"))?;
    if bare.contains(':') && bare.len() == host.len() {
        return Err("is no HOST:PORT; an IPv6 host stands in brackets".to_owned());
    }
    let port = Number::<u16, 1>::read(port).map_err(|error| format!("the port {port} {error}"))?;
    Ok(format!("{host}:{port}"))
}

/// Where slaves listen: one of them, or a file of such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SlavesAt {
    /// `HOST:PORT`
    One(String),
    /// `@FILE`
    File(PathBuf),
}

/// An address, or the name of a file of them behind an `@`.
pub(super) struct PeerOrFile;

impl Value for PeerOrFile {
    type Out = SlavesAt;

    fn read(value: &str) -> Result<SlavesAt, String> {
        match value.strip_prefix('@') {
            Some("") => Err("names no file behind its @".to_owned()),
            Some(file) => Ok(SlavesAt::File(file.into())),
            None => peer(value).map(SlavesAt::One),
        }
    }
}
