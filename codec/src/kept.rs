//! What a slave kept for its run while it had no master: results of tasks that a former life of the master, or a former
//! connection, had handed it. Hand-laid, little-endian, read strictly ([`crate::wire`]).
//!
//! | frame | payload |
//! |---|---|
//! | kept | count u32, per result: algorithm u16, failed u8, family u64, stream u64, arguments' hash 16 bytes, compute ns u64, length u32, output |
//!
//! A task's number means nothing to another life. So each result names its task as a journal does: algorithm, stream, and
//! the hash of the arguments ([`hash_args`](crate::journal::hash_args)).

use crate::Nanos;
use crate::wire::{DecodeError, Fields};

/// One result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptResult<'a> {
    /// The algorithm's number in the handshake's fingerprint.
    pub algorithm: u16,
    /// The output is a failure's text.
    pub failed: bool,
    /// The family of its task's stream.
    pub domain: u64,
    /// Its task's stream.
    pub stream: u64,
    /// The hash of its task's arguments.
    pub args: u128,
    /// Time in the algorithm.
    pub compute_ns: Nanos,
    /// Its output's archive.
    pub output: &'a [u8],
}

impl<'a> KeptResult<'a> {
    /// Bytes beside the output.
    pub const HEADER_BYTES: usize = 2 + 1 + 8 + 8 + 16 + 8 + 4;

    fn encode(&self, out: &mut Vec<u8>) {
        let bytes = u32::try_from(self.output.len()).expect("a result is bounded by the packets");
        out.extend_from_slice(&self.algorithm.to_le_bytes());
        out.push(self.failed.into());
        out.extend_from_slice(&self.domain.to_le_bytes());
        out.extend_from_slice(&self.stream.to_le_bytes());
        out.extend_from_slice(&self.args.to_le_bytes());
        out.extend_from_slice(&self.compute_ns.to_le_bytes());
        out.extend_from_slice(&bytes.to_le_bytes());
        out.extend_from_slice(self.output);
    }

    fn decode(fields: &mut Fields<'a>) -> Result<Self, DecodeError> {
        let algorithm = fields.u16("algorithm")?;
        let failed = fields.bool("status")?;
        let domain = fields.u64("family")?;
        let stream = fields.u64("stream")?;
        let args = fields.u128("arguments' hash")?;
        let compute_ns = fields.u64("compute time")?;
        let bytes = fields.u32("output's length")?;
        Ok(KeptResult {
            algorithm,
            failed,
            domain,
            stream,
            args,
            compute_ns,
            output: fields.bytes("output", bytes as usize)?,
        })
    }
}

/// Slave to master: results that were kept. Lent from the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<'a> {
    /// Each of them, in the order in which they were made.
    pub results: Vec<KeptResult<'a>>,
}

impl<'a> Kept<'a> {
    /// Bytes beside the results.
    pub const HEADER_BYTES: usize = 4;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let count = u32::try_from(self.results.len()).expect("a packet's results");
        out.extend_from_slice(&count.to_le_bytes());
        for result in &self.results {
            result.encode(out);
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly such results.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let count = fields.count("results", KeptResult::HEADER_BYTES)?;
        let results = (0..count)
            .map(|_| KeptResult::decode(&mut fields))
            .collect::<Result<_, _>>()?;
        fields.end()?;
        Ok(Kept { results })
    }
}
