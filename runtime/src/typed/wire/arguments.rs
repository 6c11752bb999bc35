//! How the arguments of a task lie side by side.
//!
//! A task's arguments, one segment per parameter that travels:
//!
//! ```text
//! // | length of 0 | .. | length of n-2 | segment 0 | segment 1 | .. | segment n-1 |
//! //   u32 LE            u32 LE                                       ^ the rest
//! ```
//!
//! A segment is raw UTF-8 for `&str`, raw bytes for `&[u8]`, a [`Best`](crate::Best)'s 21 bytes, 40 bytes
//! for each [`Shared`](crate::Shared), else an archive.

use std::cell::Cell;
use std::mem::ManuallyDrop;

use bytes::{Bytes, BytesMut};

use crate::proto::blob::Named;
use crate::proto::bytes::SmallBytes;
use crate::proto::pieces::LONG_BYTES_MIN;
use crate::typed::shared::{Share, Shared};
use crate::typed::wire::archive::{AsVec, append, flat_bytes};
use crate::typed::wire::{Wire, WireError, assert_unaligned, encode, type_text};

/// Cuts a task's arguments into `N` segments.
pub(crate) fn split<const N: usize>(args: &[u8]) -> Result<[&[u8]; N], WireError> {
    let misfit = || WireError::Segments {
        parameters: N,
        bytes: args.len(),
    };
    let mut segments = [&[][..]; N];
    let Some((last, others)) = segments.split_last_mut() else {
        return if args.is_empty() {
            Ok(segments)
        } else {
            Err(misfit())
        };
    };
    let (lengths, mut rest) = args.split_at_checked(4 * (N - 1)).ok_or_else(misfit)?;
    for (segment, length) in others.iter_mut().zip(lengths.chunks_exact(4)) {
        let length = u32::from_le_bytes(length.try_into().expect("chunks_exact gives four bytes"));
        (*segment, rest) = rest.split_at_checked(length as usize).ok_or_else(misfit)?;
    }
    *last = rest;
    Ok(segments)
}

/// A vector that is kept per thread between uses, so that what is written costs no more than the copy that is kept.
pub(crate) struct Scratch(pub(crate) Vec<u8>);

const SCRATCH_BYTES_MAX: usize = 1 << 20;

/// Room for what follows a long argument in most tasks, in bytes: its archive's root, and a number or two.
const ROOM_BEHIND_BYTES: usize = 64;

/// Arguments that do not stand in place are cut from a chunk of this size, unless they are as long as a quarter of it: a
/// task allocates nothing then, and once those that were cut from it are gone the chunk is used again.
const CHUNK_BYTES: usize = 16 << 10;

/// A copy of these, cut from the thread's chunk.
fn cut(bytes: &[u8]) -> Bytes {
    let mut chunk = CHUNK.take();
    if chunk.capacity() < bytes.len() {
        chunk.reserve(CHUNK_BYTES);
    }
    chunk.extend_from_slice(bytes);
    let cut = chunk.split().freeze();
    CHUNK.set(chunk);
    cut
}

thread_local! {
    static CHUNK: Cell<BytesMut> = Cell::default();
    /// Bytes of the last arguments that were long, until the next that may be so.
    static LONG_BYTES: Cell<usize> = const { Cell::new(0) };
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Scratch {
    /// Empty. Taken, not borrowed: a user's own serialization could make a task.
    pub(crate) fn take() -> Self {
        let mut scratch = SCRATCH.take();
        scratch.clear();
        Scratch(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.0.capacity() <= SCRATCH_BYTES_MAX {
            SCRATCH.set(std::mem::take(&mut self.0));
        }
    }
}

/// Lays a task's arguments out, in the order of the parameters: in place while they are few and flat.
pub struct ArgumentWriter {
    short: [u8; SmallBytes::INLINE_MAX],
    len: usize,
    /// All of them, where they are too many for that.
    long: ManuallyDrop<Option<Scratch>>,
    parameters: usize,
    written: usize,
    segment_start: usize,
    named: ManuallyDrop<Named>,
}

/// Most own nothing but what stands in place, and are dropped for the price of seeing that.
impl Drop for ArgumentWriter {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.is_short() {
            self.drop_long();
        }
    }
}

impl ArgumentWriter {
    #[inline(never)]
    fn drop_long(&mut self) {
        drop((self.long.take(), self.take_named()));
    }

    /// For the arguments of so many parameters that travel.
    #[inline(always)]
    pub fn new(parameters: usize) -> Self {
        let lengths_bytes = 4 * parameters.saturating_sub(1);
        let mut writer = Self {
            short: [0; SmallBytes::INLINE_MAX],
            len: lengths_bytes,
            long: ManuallyDrop::new(None),
            parameters,
            written: 0,
            segment_start: lengths_bytes,
            named: ManuallyDrop::default(),
        };
        if lengths_bytes > SmallBytes::INLINE_MAX {
            writer.len = 0;
            writer.long().resize(lengths_bytes, 0);
        }
        writer
    }

    /// A parameter `&str`.
    #[inline(always)]
    pub fn text(&mut self, text: &str) -> Result<(), WireError> {
        self.bytes(text.as_bytes())
    }

    /// A parameter `&[u8]`.
    #[inline(always)]
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.put(bytes);
        self.end_segment()
    }

    /// A parameter `T`, `&T` or `&Archived<T>`.
    #[inline(always)]
    pub fn value<T: Wire>(&mut self, value: &T) -> Result<(), WireError> {
        const { assert_unaligned::<T>() };
        match flat_bytes(value) {
            Some(bytes) => self.put(bytes),
            None => encode(value, self.long_enough())?,
        }
        self.end_segment()
    }

    /// A parameter `&[T]`: the archive of a `Vec<T>`.
    pub fn slice<T: Wire>(&mut self, slice: &[T]) -> Result<(), WireError> {
        const { assert_unaligned::<Vec<T>>() };
        append(&AsVec(slice), self.long_enough(), type_text::<Vec<T>>)?;
        self.end_segment()
    }

    /// A parameter `&Shared<T>` or `&[Shared<T>]`: mentions, side by side.
    pub(crate) fn shared<'s, T: Share + ?Sized>(
        &mut self,
        handles: impl IntoIterator<Item = &'s Shared<T>>,
    ) -> Result<(), WireError> {
        for handle in handles {
            self.put(&handle.mention());
            handle.name_in(&mut self.named);
        }
        self.end_segment()
    }

    /// The shared data that the arguments mention.
    pub(crate) fn take_named(&mut self) -> Named {
        std::mem::take(&mut *self.named)
    }

    /// Whether the arguments stand in place and name no shared data, as those of most tasks.
    #[inline(always)]
    pub(crate) fn is_short(&self) -> bool {
        self.long.is_none() && self.named.is_empty()
    }

    /// The arguments, once all are written: long ones in the memory that they were written to.
    pub(crate) fn take_bytes(&mut self) -> SmallBytes {
        match self.written() {
            bytes if bytes.len() <= SmallBytes::INLINE_MAX => SmallBytes::copy_from_slice(bytes),
            bytes if bytes.len() <= CHUNK_BYTES / 4 => cut(bytes).into(),
            bytes if bytes.len() < LONG_BYTES_MIN => SmallBytes::copy_from_slice(bytes),
            _ => self.take_block(),
        }
    }

    #[cold]
    #[inline(never)]
    fn take_block(&mut self) -> SmallBytes {
        let mut long = self.long.take().expect("they are long");
        let mut bytes = std::mem::take(&mut long.0);
        LONG_BYTES.set(bytes.len());
        if bytes.capacity() > bytes.len() + bytes.len() / 8 {
            bytes.shrink_to_fit();
        }
        Bytes::from(bytes).into()
    }

    /// The arguments, once all are written.
    #[inline(always)]
    pub(crate) fn written(&self) -> &[u8] {
        match &*self.long {
            None => &self.short[..self.len],
            Some(long) => &long.0,
        }
    }

    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        let free = &mut self.short[self.len..];
        if self.long.is_none() && bytes.len() <= free.len() {
            free[..bytes.len()].copy_from_slice(bytes);
            self.len += bytes.len();
        } else {
            self.put_long(bytes);
        }
    }

    #[inline(never)]
    fn put_long(&mut self, bytes: &[u8]) {
        let long = self.long();
        if bytes.len() >= LONG_BYTES_MIN {
            // They are the longest: no more than they need.
            long.reserve_exact(bytes.len() + ROOM_BEHIND_BYTES);
        }
        long.extend_from_slice(bytes);
    }

    /// All of them in a vector from now on.
    #[cold]
    #[inline(never)]
    fn long(&mut self) -> &mut Vec<u8> {
        let short = &self.short[..self.len];
        let long = self.long.get_or_insert_with(|| {
            let mut long = Scratch::take();
            long.0.extend_from_slice(short);
            long
        });
        &mut long.0
    }

    /// The same, with room for as much as the last long arguments had: who makes one large task makes several.
    fn long_enough(&mut self) -> &mut Vec<u8> {
        let long = self.long();
        let last = LONG_BYTES.take();
        if last > 0 {
            long.reserve_exact(last + ROOM_BEHIND_BYTES);
        }
        long
    }

    #[inline(always)]
    fn end_segment(&mut self) -> Result<(), WireError> {
        let end = self.written().len();
        let length = end - self.segment_start;
        assert!(
            self.written < self.parameters,
            "more arguments than parameters"
        );
        if self.written + 1 < self.parameters {
            let field =
                u32::try_from(length).map_err(|_| WireError::Oversized { bytes: length })?;
            let bytes = match &mut *self.long {
                None => &mut self.short[..],
                Some(long) => &mut long.0,
            };
            bytes[4 * self.written..][..4].copy_from_slice(&field.to_le_bytes());
        }
        self.written += 1;
        self.segment_start = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::typed::wire::decode;

    #[test]
    fn arguments_are_cut_where_they_were_joined() {
        let mut writer = ArgumentWriter::new(4);
        writer.text("Grüße").unwrap();
        writer.bytes(&[]).unwrap();
        writer.slice(&[1.5f64, 2.5]).unwrap();
        writer.value(&9u8).unwrap();
        let [text, empty, numbers, byte] = split::<4>(writer.written()).unwrap();
        assert_eq!((text, empty, byte), ("Grüße".as_bytes(), &[][..], &[9][..]));
        assert_eq!(decode::<Vec<f64>>(numbers).unwrap(), [1.5, 2.5]);

        let mut as_vec = Vec::new();
        encode(&vec![1.5f64, 2.5], &mut as_vec).unwrap();
        assert_eq!(as_vec, numbers);
    }

    fn join<const N: usize>() {
        for length in 0..40 {
            let parts: [Vec<u8>; N] =
                std::array::from_fn(|nth| vec![nth as u8; (length + 7 * nth) % 40]);
            let mut writer = ArgumentWriter::new(N);
            for part in &parts {
                match part.as_slice() {
                    [a, b, c, d, 0, 0, 0, 0] => {
                        let numbers = [*a, *b, *c, *d, 0, 0, 0, 0];
                        writer.value(&u64::from_le_bytes(numbers)).unwrap();
                    }
                    part => writer.bytes(part).unwrap(),
                }
            }
            assert_eq!(
                split::<N>(writer.written()).unwrap(),
                parts.each_ref().map(Vec::as_slice)
            );
        }
    }

    /// In place, beyond it, and from the one to the other.
    #[test]
    fn arguments_of_any_length_are_joined() {
        join::<1>();
        join::<2>();
        join::<3>();
        join::<9>();
        join::<10>();
        join::<12>();
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused() {
        assert_eq!(split::<0>(&[]), Ok([]));
        assert_eq!(split::<1>(&[]), Ok([&[][..]]));
        let rows: [(Result<(), WireError>, usize); 3] = [
            (split::<0>(&[1]).map(drop), 0),
            (split::<2>(&[0, 0, 0]).map(drop), 2),
            (split::<2>(&[2, 0, 0, 0, 1]).map(drop), 2),
        ];
        for (result, expected) in rows {
            assert!(
                matches!(result, Err(WireError::Segments { parameters, .. }) if parameters == expected)
            );
        }
        assert!(split::<3>(&[0xFF; 11]).is_err());
    }
}
