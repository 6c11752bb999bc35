//! The fingerprint of an application, and the first difference between two of them.

use super::HandshakeError;
use crate::wire::{Fields, prefix, put_text16};

/// The most bytes of an application's version, of its build and of an algorithm's name.
pub const FINGERPRINT_TEXT_BYTES_MAX: usize = 255;

/// The most bytes of a fingerprint, so that the hello around it fits its frame.
const FINGERPRINT_BYTES_MAX: usize = super::HELLO_BYTES_MAX - 4096;

// Protocol, member id, host, job and pid, and what a slave says of itself, with their lengths.
const _: () = {
    let place = 2 + 1 + super::MEMBER_ID_BYTES_MAX + 2 * (2 + super::HOST_BYTES_MAX) + 4;
    let labels = super::LABELS_MAX * (2 + super::LABEL_BYTES_MAX);
    assert!(place + 1 + 2 + super::BEFORE_BYTES_MAX + 1 + labels <= 4096);
};

/// The most bytes of a description in a message.
const SHOWN_BYTES_MAX: usize = 200;

/// Ends a description that was cut.
const CUT: char = '…';

/// A task algorithm as both sides must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlgorithmSignature {
    /// The name that both sides register it under.
    pub name: String,
    /// A description of the argument types, for people.
    pub arguments: String,
    /// A description of the result type, for people.
    pub result: String,
    /// Hash of all its types, definitions included; what is compared.
    pub types: u64,
}

/// An application as both sides must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// `App::version`.
    pub app_version: String,
    /// Identity of the binary.
    pub build: String,
    /// Version of the archive format.
    pub format: u32,
    /// The task algorithms in ascending order of their names; an index into it is an algorithm's number in packets.
    pub algorithms: Vec<AlgorithmSignature>,
}

impl Fingerprint {
    /// Whether a hello can carry it; asked once, when the application starts.
    ///
    /// # Errors
    /// When a name, the version or the build is too long, the names are not in ascending order or are too many
    /// (about 1,500 of 25 bytes fit).
    pub fn validate(&self) -> Result<(), HandshakeError> {
        let bounded = |field, text: &str| match text.len() > FINGERPRINT_TEXT_BYTES_MAX {
            true => Err(HandshakeError::TooLong {
                field,
                bytes: text.len(),
                bytes_max: FINGERPRINT_TEXT_BYTES_MAX,
            }),
            false => Ok(()),
        };
        bounded("app version", &self.app_version)?;
        bounded("build", &self.build)?;
        for algorithm in &self.algorithms {
            bounded("algorithm name", &algorithm.name)?;
        }
        check_order(&self.algorithms)?;
        let bytes = self.fixed_bytes();
        match bytes > FINGERPRINT_BYTES_MAX {
            true => Err(HandshakeError::TooLong {
                field: "the algorithms' names",
                bytes,
                bytes_max: FINGERPRINT_BYTES_MAX,
            }),
            false => Ok(()),
        }
    }

    /// Bytes without the descriptions of types.
    fn fixed_bytes(&self) -> usize {
        let algorithms: usize = self
            .algorithms
            .iter()
            .map(|algorithm| 2 + algorithm.name.len() + 2 + 2 + 8)
            .sum();
        2 + self.app_version.len() + 2 + self.build.len() + 4 + 2 + algorithms
    }

    /// Bytes of the descriptions alone.
    fn description_bytes(&self) -> usize {
        self.algorithms
            .iter()
            .map(|algorithm| algorithm.arguments.len() + algorithm.result.len())
            .sum()
    }

    /// The most bytes of each description, so that all fit.
    fn description_bytes_max(&self) -> usize {
        let wanted = self.description_bytes();
        let room = FINGERPRINT_BYTES_MAX - self.fixed_bytes();
        let longest = self
            .algorithms
            .iter()
            .map(|algorithm| algorithm.arguments.len().max(algorithm.result.len()))
            .max();
        match wanted <= room && longest.is_none_or(|longest| longest <= usize::from(u16::MAX)) {
            true => usize::from(u16::MAX),
            false => room / (2 * self.algorithms.len()),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        assert_eq!(
            self.validate(),
            Ok(()),
            "an application checks its fingerprint at its start"
        );
        let bytes_max = self.description_bytes_max();
        put_text16(out, &self.app_version);
        put_text16(out, &self.build);
        out.extend_from_slice(&self.format.to_le_bytes());
        out.extend_from_slice(&(self.algorithms.len() as u16).to_le_bytes());
        for algorithm in &self.algorithms {
            put_text16(out, &algorithm.name);
            put_text16(out, &cut(&algorithm.arguments, bytes_max));
            put_text16(out, &cut(&algorithm.result, bytes_max));
            out.extend_from_slice(&algorithm.types.to_le_bytes());
        }
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Fingerprint, HandshakeError> {
        let app_version = fields.text16_within("app version", FINGERPRINT_TEXT_BYTES_MAX)?;
        let build = fields.text16_within("build", FINGERPRINT_TEXT_BYTES_MAX)?;
        let format = fields.u32("format")?;
        let count = fields.u16("algorithms")?;
        let mut algorithms = Vec::new();
        for _ in 0..count {
            algorithms.push(AlgorithmSignature {
                name: fields.text16_within("algorithm name", FINGERPRINT_TEXT_BYTES_MAX)?,
                arguments: fields.text16("arguments")?,
                result: fields.text16("result")?,
                types: fields.u64("types")?,
            });
        }
        check_order(&algorithms)?;
        let fingerprint = Fingerprint {
            app_version,
            build,
            format,
            algorithms,
        };
        // A short host and token would leave room for one that no slave can send.
        match fingerprint.fixed_bytes() + fingerprint.description_bytes() {
            bytes if bytes > FINGERPRINT_BYTES_MAX => Err(HandshakeError::TooLong {
                field: "the fingerprint",
                bytes,
                bytes_max: FINGERPRINT_BYTES_MAX,
            }),
            _ => Ok(fingerprint),
        }
    }
}

fn check_order(algorithms: &[AlgorithmSignature]) -> Result<(), HandshakeError> {
    match algorithms
        .windows(2)
        .find(|pair| pair[0].name >= pair[1].name)
    {
        Some(pair) => Err(HandshakeError::Order {
            name: pair[1].name.clone(),
        }),
        None => Ok(()),
    }
}

fn cut(text: &str, bytes_max: usize) -> String {
    match text.len() <= bytes_max {
        true => text.to_owned(),
        false if bytes_max < CUT.len_utf8() => String::new(),
        false => format!("{}{CUT}", prefix(text, bytes_max - CUT.len_utf8())),
    }
}

/// Whether two descriptions agree as far as they were not cut.
fn descriptions_agree(a: &str, b: &str) -> bool {
    match (a.strip_suffix(CUT), b.strip_suffix(CUT)) {
        (None, None) => a == b,
        (Some(a), None) => b.starts_with(a),
        (None, Some(b)) => a.starts_with(b),
        (Some(a), Some(b)) => a.starts_with(b) || b.starts_with(a),
    }
}

/// Names the first difference between the master's and a slave's fingerprint, and what to do; `None` when they agree.
///
/// Judged in this order: format, app version, algorithms (missing at the slave, then extra there, then argument and
/// result types), build. `any_build` waives the build alone.
#[must_use]
pub fn first_difference(
    master: &Fingerprint,
    slave: &Fingerprint,
    any_build: bool,
) -> Option<String> {
    if master.format != slave.format {
        return Some(format!(
            "The archive format differs: the master has {}, the slave {}; build both against the same ringmw.",
            master.format, slave.format
        ));
    }
    if master.app_version != slave.app_version {
        return Some(format!(
            "The application's version differs: the master has {:?}, the slave {:?}; run the same version on both sides.",
            master.app_version, slave.app_version
        ));
    }
    if let Some(difference) = algorithm_difference(&master.algorithms, &slave.algorithms) {
        return Some(difference);
    }
    (!any_build && master.build != slave.build).then(|| {
        format!(
            "The build differs: the master has {:?}, the slave {:?}; run the same binary on both sides, or give the master --mw-any-build.",
            master.build, slave.build
        )
    })
}

fn algorithm_difference(
    master: &[AlgorithmSignature],
    slave: &[AlgorithmSignature],
) -> Option<String> {
    let find = |algorithms: &[AlgorithmSignature], name: &str| {
        algorithms
            .binary_search_by(|algorithm| algorithm.name.as_str().cmp(name))
            .ok()
    };
    if let Some(missing) = master
        .iter()
        .find(|algorithm| find(slave, &algorithm.name).is_none())
    {
        return Some(format!(
            "The slave has no algorithm {:?}, which the master has; register the same algorithms on both sides.",
            missing.name
        ));
    }
    if let Some(extra) = slave
        .iter()
        .find(|algorithm| find(master, &algorithm.name).is_none())
    {
        return Some(format!(
            "The slave has an algorithm {:?}, which the master lacks; register the same algorithms on both sides.",
            extra.name
        ));
    }
    master
        .iter()
        .zip(slave)
        .find_map(|(master, slave)| type_difference(master, slave))
}

fn type_difference(master: &AlgorithmSignature, slave: &AlgorithmSignature) -> Option<String> {
    if master.types == slave.types {
        return None;
    }
    let name = &master.name;
    let remedy = "rebuild both sides from the same source.";
    Some(
        if !descriptions_agree(&master.arguments, &slave.arguments) {
            let (master, slave) = (shown(&master.arguments), shown(&slave.arguments));
            format!(
                "The arguments of algorithm {name:?} differ: the master has {master}, the slave {slave}; {remedy}"
            )
        } else if !descriptions_agree(&master.result, &slave.result) {
            let (master, slave) = (shown(&master.result), shown(&slave.result));
            format!(
                "The result of algorithm {name:?} differs: the master has {master}, the slave {slave}; {remedy}"
            )
        } else {
            let (arguments, result) = (shown(&master.arguments), shown(&master.result));
            format!(
                "The types of algorithm {name:?} ({arguments} to {result}) have the same names but other definitions; {remedy}"
            )
        },
    )
}

/// A description for a message: what a slave sends neither floods nor steers a terminal.
fn shown(description: &str) -> String {
    cut(&description.escape_debug().to_string(), SHOWN_BYTES_MAX)
}
