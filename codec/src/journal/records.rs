//! Records of a segment: results, offers, and tasks that are begun at most once.
//!
//! ```text
//!   results  | 1 | status 1 | algorithm 2 | count 4 | offers 8 | family 8 | stream 8 |
//!            | args' hash 16, compute 8, length 4 |  .. count times | output | output | ..
//!   offer    | 2 | best 4 | number 8 | type 8 | image 8 | witness ..
//!   begun    | 3 | begun or given back 1 | count 4 | algorithm 2, family 8, stream 8, args' hash 16 | .. count times
//! ```
//!
//! Tasks of one series are one record. Who records lays payloads behind one another, each with its length before it;
//! [`seal`] makes records of them where they are written.

use super::{HEAD_BYTES_MAX, Segment};
use crate::Nanos;
use crate::crc;
use crate::wire::{DecodeError, Fields};

/// What a record begins with.
const MARK: [u8; 4] = *b"RWrc";
/// Bytes of a record before its payload.
pub const RECORD_HEAD_BYTES: usize = 12;
/// Most bytes of a record's payload: a packet of results, and as much again for keys.
const PAYLOAD_BYTES_MAX: u32 = 2 << 30;
/// Bytes of an offer before its witness.
pub const OFFER_HEAD_BYTES: usize = 1 + 4 + 8 + 8 + 8;

const RESULTS: u8 = 1;
const OFFER: u8 = 2;
const BEGUN: u8 = 3;

const RESULTS_HEAD_BYTES: usize = 1 + 1 + 2 + 4 + 8 + 8 + 8;
const RESULT_BYTES: usize = 16 + 8 + 4;
const BEGUN_BYTES: usize = 2 + 8 + 8 + 16;

const _: () = assert!(HEAD_BYTES_MAX < PAYLOAD_BYTES_MAX as u64);

/// A record, read in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// Results of tasks of one series.
    Results(ResultsRecord<'a>),
    /// An incumbent improved.
    Offer(Offered<'a>),
    /// Tasks that are begun at most once have been handed out, or came back without having been begun.
    Begun(Begun<'a>),
}

/// Results of tasks of one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultsRecord<'a> {
    /// The output is a failure's text.
    pub failed: bool,
    /// The algorithm's number in the segment's head.
    pub algorithm: u16,
    /// How many results there are, at least 1.
    pub count: u32,
    /// How many offers this life had recorded before: results may come of them.
    pub offers: u64,
    /// The family of the streams.
    pub domain: u64,
    /// The first task's stream; those of the others follow it.
    pub stream: u64,
    table: &'a [u8],
    /// All outputs, one behind the other.
    pub outputs: &'a [u8],
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultEntry {
    /// Its task's stream.
    pub stream: u64,
    /// The hash of its task's arguments.
    pub args: u128,
    /// Time in the algorithm.
    pub compute_ns: Nanos,
    /// Where its output begins among the outputs.
    pub at: u32,
    /// Bytes of its output.
    pub output_bytes: u32,
}

/// The checksum of an output: whoever reads it later by its place alone sees whether it is still what it was.
#[must_use]
pub fn output_sum(output: &[u8]) -> u32 {
    crc::of(output)
}

impl<'a> ResultsRecord<'a> {
    /// Each result.
    pub fn iter(&self) -> impl Iterator<Item = ResultEntry> + use<'a> {
        let (table, first) = (self.table, self.stream);
        let mut at = 0;
        (first..)
            .zip(table.as_chunks::<RESULT_BYTES>().0)
            .map(move |(stream, entry)| {
                let (args, rest) = entry.split_first_chunk().expect("28 bytes");
                let (compute, rest) = rest.split_first_chunk().expect("12 bytes");
                let output_bytes = u32::from_le_bytes(*rest.first_chunk().expect("4 bytes"));
                let entry = ResultEntry {
                    stream,
                    args: u128::from_le_bytes(*args),
                    compute_ns: u64::from_le_bytes(*compute),
                    at,
                    output_bytes,
                };
                at += output_bytes;
                entry
            })
    }

    /// The output of one of them.
    #[must_use]
    pub fn output(&self, entry: &ResultEntry) -> &'a [u8] {
        &self.outputs[entry.at as usize..][..entry.output_bytes as usize]
    }

    fn decode(mut fields: Fields<'a>) -> Result<Self, DecodeError> {
        let wrong = |field, got| Err(DecodeError::Value { field, got });
        let failed = fields.bool("status")?;
        let algorithm = fields.u16("algorithm")?;
        let count = fields.u32("count")?;
        let offers = fields.u64("offers")?;
        let domain = fields.u64("family")?;
        let stream = fields.u64("stream")?;
        if count == 0 || stream.checked_add(u64::from(count - 1)).is_none() {
            return wrong("count", count.into());
        }
        let table = fields.bytes("table", (count as usize).saturating_mul(RESULT_BYTES))?;
        let outputs = fields.rest();
        let record = ResultsRecord {
            failed,
            algorithm,
            count,
            offers,
            domain,
            stream,
            table,
            outputs,
        };
        let lengths = table.as_chunks::<RESULT_BYTES>().0.iter();
        let lengths = lengths.map(|entry| {
            let length: &[u8; 4] = entry.last_chunk().expect("28 bytes");
            u64::from(u32::from_le_bytes(*length))
        });
        let expected: u64 = lengths.sum();
        if expected != outputs.len() as u64 {
            return wrong("bytes of the outputs", outputs.len() as u64);
        }
        Ok(record)
    }
}

/// An accepted offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered<'a> {
    /// The incumbent's place of creation.
    pub best: u32,
    /// Its number among the offers of this life, from 1.
    pub number: u64,
    /// A hash of direction, key's and witness's type.
    pub types: u64,
    /// The image of the key: smaller is better.
    pub image: u64,
    /// The witness's archive.
    pub witness: &'a [u8],
}

/// Tasks that are begun at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun<'a> {
    /// They came back with the slave's word that it had not begun them.
    pub given_back: bool,
    table: &'a [u8],
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BegunEntry {
    /// The algorithm's number in the segment's head.
    pub algorithm: u16,
    /// The family of its stream.
    pub domain: u64,
    /// Its stream.
    pub stream: u64,
    /// The hash of its arguments.
    pub args: u128,
}

impl Begun<'_> {
    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = BegunEntry> + '_ {
        let table = self.table.as_chunks::<BEGUN_BYTES>().0;
        table.iter().map(|entry| BegunEntry {
            algorithm: u16::from_le_bytes(*entry.first_chunk().expect("34 bytes")),
            domain: u64::from_le_bytes(entry[2..10].try_into().expect("8 bytes")),
            stream: u64::from_le_bytes(entry[10..18].try_into().expect("8 bytes")),
            args: u128::from_le_bytes(*entry.last_chunk().expect("34 bytes")),
        })
    }
}

impl<'a> Record<'a> {
    fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        match fields.u8("kind")? {
            RESULTS => ResultsRecord::decode(fields).map(Record::Results),
            OFFER => Ok(Record::Offer(Offered {
                best: fields.u32("incumbent")?,
                number: fields.u64("number")?,
                types: fields.u64("type")?,
                image: fields.u64("key")?,
                witness: fields.rest(),
            })),
            BEGUN => {
                let given_back = fields.bool("given back")?;
                let count = fields.count("tasks", BEGUN_BYTES)?;
                let table = fields.bytes("table", count * BEGUN_BYTES)?;
                fields.end()?;
                Ok(Record::Begun(Begun { given_back, table }))
            }
            got => Err(DecodeError::Value {
                field: "kind",
                got: got.into(),
            }),
        }
    }
}

/// How many results a payload has that is to be written; 0 of one that holds something else.
#[must_use]
pub fn results_of(payload: &[u8]) -> u32 {
    match (payload.first(), payload.get(4..8)) {
        (Some(&RESULTS), Some(count)) => u32::from_le_bytes(count.try_into().expect("4 bytes")),
        _ => 0,
    }
}

// ---- what is to be written

/// Appends the length that stands before a payload, and returns where.
fn begin(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.len()
}

fn end(out: &mut [u8], begin: usize) {
    let bytes = u32::try_from(out.len() - begin).expect("a record is bounded by the packets");
    out[begin - 4..begin].copy_from_slice(&bytes.to_le_bytes());
}

/// Begins a record of `count` results with consecutive streams; [`put_result`] puts each, in their order. What must be
/// given to it is returned.
#[must_use]
#[inline]
pub fn begin_results(
    out: &mut Vec<u8>,
    algorithm: u16,
    count: u32,
    offers: u64,
    (domain, stream): (u64, u64),
    outputs_bytes: usize,
) -> usize {
    begin_some(
        out,
        0,
        algorithm,
        count,
        offers,
        (domain, stream),
        outputs_bytes,
    )
}

#[inline]
fn begin_some(
    out: &mut Vec<u8>,
    status: u8,
    algorithm: u16,
    count: u32,
    offers: u64,
    (domain, stream): (u64, u64),
    outputs_bytes: usize,
) -> usize {
    let table_bytes = count as usize * RESULT_BYTES;
    let bytes = RESULTS_HEAD_BYTES + table_bytes + outputs_bytes;
    out.reserve(4 + bytes);
    let length = u32::try_from(bytes).expect("a record is bounded by the packets");
    out.extend_from_slice(&length.to_le_bytes());
    let mut head = [0; RESULTS_HEAD_BYTES];
    (head[0], head[1]) = (RESULTS, status);
    head[2..4].copy_from_slice(&algorithm.to_le_bytes());
    head[4..8].copy_from_slice(&count.to_le_bytes());
    head[8..16].copy_from_slice(&offers.to_le_bytes());
    head[16..24].copy_from_slice(&domain.to_le_bytes());
    head[24..].copy_from_slice(&stream.to_le_bytes());
    out.extend_from_slice(&head);
    let table = out.len();
    out.resize(table + table_bytes, 0);
    table
}

/// Puts the result at `index` of the record that `table` is of.
#[inline]
pub fn put_result(
    out: &mut Vec<u8>,
    table: usize,
    index: u32,
    args: u128,
    compute_ns: Nanos,
    output: &[u8],
) {
    let entry: &mut [u8; RESULT_BYTES] = out[table + index as usize * RESULT_BYTES..]
        .first_chunk_mut()
        .expect("begin_results() made room");
    entry[..16].copy_from_slice(&args.to_le_bytes());
    entry[16..24].copy_from_slice(&compute_ns.to_le_bytes());
    let bytes = u32::try_from(output.len()).expect("a result is bounded by the packets");
    entry[24..].copy_from_slice(&bytes.to_le_bytes());
    out.extend_from_slice(output);
}

/// Appends the payload of a failed result.
pub fn put_failure(
    out: &mut Vec<u8>,
    algorithm: u16,
    offers: u64,
    stream: (u64, u64),
    args: u128,
    compute_ns: Nanos,
    message: &str,
) {
    let table = begin_some(out, 1, algorithm, 1, offers, stream, message.len());
    put_result(out, table, 0, args, compute_ns, message.as_bytes());
}

/// Appends the payload of an offer.
pub fn put_offer(out: &mut Vec<u8>, offer: &Offered<'_>) {
    let begin = begin(out);
    out.push(OFFER);
    out.extend_from_slice(&offer.best.to_le_bytes());
    out.extend_from_slice(&offer.number.to_le_bytes());
    out.extend_from_slice(&offer.types.to_le_bytes());
    out.extend_from_slice(&offer.image.to_le_bytes());
    out.extend_from_slice(offer.witness);
    end(out, begin);
}

/// Appends the payload of tasks that are begun at most once.
pub fn put_begun(out: &mut Vec<u8>, given_back: bool, tasks: &[BegunEntry]) {
    let begin = begin(out);
    out.extend_from_slice(&[BEGUN, u8::from(given_back)]);
    let count = u32::try_from(tasks.len()).expect("a packet has fewer than 2^32 tasks");
    out.extend_from_slice(&count.to_le_bytes());
    for task in tasks {
        out.extend_from_slice(&task.algorithm.to_le_bytes());
        out.extend_from_slice(&task.domain.to_le_bytes());
        out.extend_from_slice(&task.stream.to_le_bytes());
        out.extend_from_slice(&task.args.to_le_bytes());
    }
    end(out, begin);
}

/// Appends to `out` as records what was put, the first of which begins at `at` in its segment; `payloads` is what the
/// functions above appended.
///
/// # Panics
/// When `payloads` are none.
pub fn seal(out: &mut Vec<u8>, segment: (u32, u32), at: u64, payloads: &[u8]) {
    let (start, mut rest) = (out.len(), payloads);
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (payload, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        rest = behind;
        let place = at + (out.len() - start) as u64;
        let checksum = checksum(segment, place, *length, payload);
        out.extend_from_slice(&MARK);
        out.extend_from_slice(length);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(payload);
    }
    assert!(rest.is_empty(), "payloads have their length before them");
}

fn checksum((life, number): (u32, u32), at: u64, length: [u8; 4], payload: &[u8]) -> u32 {
    let mut place = [0; 20];
    place[..4].copy_from_slice(&life.to_le_bytes());
    place[4..8].copy_from_slice(&number.to_le_bytes());
    place[8..16].copy_from_slice(&at.to_le_bytes());
    place[16..].copy_from_slice(&length);
    crc::append(crc::of(&place), payload)
}

// ---- what is read

/// What is found in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// A record; `at` is where its payload begins in the segment.
    Record {
        /// Where its payload begins in the segment.
        at: u64,
        /// The record.
        record: Record<'a>,
    },
    /// Bytes that are no record.
    Damaged {
        /// Where they begin in the segment.
        at: u64,
        /// How many.
        bytes: u64,
        /// They are the last of the segment: it was cut off there.
        torn: bool,
    },
}

/// Reads what is in a segment, record by record; what is damaged is passed over and told.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    file: &'a [u8],
    at: usize,
    segment: (u32, u32),
}

impl<'a> Records<'a> {
    /// Of a whole segment whose head ends at `at`.
    #[must_use]
    pub fn new(segment: &Segment, file: &'a [u8], at: usize) -> Self {
        Records {
            file,
            at,
            segment: (segment.life, segment.number),
        }
    }

    /// The record at a place, and where the next one may be.
    #[inline]
    fn record(&self, at: usize) -> Option<(Record<'a>, usize)> {
        let (head, rest) = self
            .file
            .get(at..)?
            .split_first_chunk::<RECORD_HEAD_BYTES>()?;
        if head[..4] != MARK {
            return None;
        }
        let length: [u8; 4] = head[4..8].try_into().expect("4 bytes");
        let bytes = u32::from_le_bytes(length);
        if bytes > PAYLOAD_BYTES_MAX {
            return None;
        }
        let payload = rest.get(..bytes as usize)?;
        let got = u32::from_le_bytes(head[8..].try_into().expect("4 bytes"));
        if checksum(self.segment, at as u64, length, payload) != got {
            return None;
        }
        let record = Record::decode(payload).ok()?;
        Some((record, at + RECORD_HEAD_BYTES + payload.len()))
    }

    /// Where the next record is behind damage at `at`, or the end.
    fn resume(&self, at: usize) -> usize {
        let mut from = at + 1;
        while let Some(rest) = self.file.get(from..)
            && let Some(found) = rest.windows(MARK.len()).position(|bytes| bytes == MARK)
        {
            from += found;
            if self.record(from).is_some() {
                return from;
            }
            from += 1;
        }
        self.file.len()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let at = self.at;
        if at >= self.file.len() {
            return None;
        }
        if let Some((record, next)) = self.record(at) {
            self.at = next;
            return Some(Found::Record {
                at: (at + RECORD_HEAD_BYTES) as u64,
                record,
            });
        }
        self.at = self.resume(at);
        Some(Found::Damaged {
            at: at as u64,
            bytes: (self.at - at) as u64,
            torn: self.at == self.file.len(),
        })
    }
}
