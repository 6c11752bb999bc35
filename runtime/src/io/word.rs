//! What a slave leaves behind for whoever started it: a page of memory that both have, and that outlives the slave.
//!
//! Local mode and the parent of a node start slaves and want to know, however one ended: was it told to go, did it do any
//! work, which task ran at its end, what was its reason? A process that is killed writes nothing any more, so each word
//! stands in the page before it is needed. The page is a memfd that the slave inherits; its number is in [`VARIABLE`].
//! Closing the slave's descriptors, as some tasks do, takes nothing away: it stays mapped.
//!
//! ```text
//! word   0      1    2     3      4         5         6        7            8     9            10 …
//!        magic  pid  told  ended  running+1 announced slave+1  unforgiving  life  reason bytes reason
//! ```
//! One writes, the slave; nothing that it writes is trusted with more than a line on the terminal and a pause.

use std::ffi::c_void;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::proto::task_name::TaskName;

/// The environment variable with the number of the descriptor that the page is inherited by.
pub(crate) const VARIABLE: &str = "RINGMW_WORD";

/// Bytes of the page.
const BYTES: usize = 4096;
const WORDS: usize = BYTES / size_of::<u64>();
/// `ringword`.
const MAGIC: u64 = u64::from_le_bytes(*b"ringword");
/// The most bytes that are kept of a reason.
const REASON_BYTES_MAX: usize = 1024;

const AT_MAGIC: usize = 0;
const AT_PID: usize = 1;
const AT_TOLD: usize = 2;
const AT_ENDED: usize = 3;
const AT_RUNNING: usize = 4;
const AT_ANNOUNCED: usize = 5;
const AT_SLAVE: usize = 6;
const AT_UNFORGIVING: usize = 7;
const AT_LIFE: usize = 8;
const AT_REASON_BYTES: usize = 9;
const AT_REASON: usize = 10;
const _: () = assert!(AT_REASON + REASON_BYTES_MAX / size_of::<u64>() <= WORDS);

/// One side's mapping of the page.
#[derive(Debug)]
pub(crate) struct Word {
    page: NonNull<[AtomicU64; WORDS]>,
}

// SAFETY: the page is read and written through atomics alone, and unmapped only with the last owner.
unsafe impl Send for Word {}
// SAFETY: as above.
unsafe impl Sync for Word {}

/// What is known of a life from the page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LastWord {
    /// It left because it was told to, was idle, or read that the computation is finished: its 0 is meant.
    pub(crate) was_told: bool,
    /// It has ended a task: with a result, a failed one, or by a time-out.
    pub(crate) has_ended_task: bool,
    /// The task that ran.
    pub(crate) running: Option<TaskName>,
    /// The master knew that this task was beginning: it is charged.
    pub(crate) was_announced: bool,
    /// The run has no crash limit: a task that ends slaves does so for ever.
    pub(crate) is_unforgiving: bool,
    /// Its number, once it has joined.
    pub(crate) slave: Option<u32>,
    /// What it said when it left.
    pub(crate) reason: Option<String>,
}

impl Word {
    /// A fresh page, and what the slave is to inherit: closed on exec, so that only the one that is meant keeps it.
    pub(crate) fn new() -> io::Result<(Word, OwnedFd)> {
        let fd = memfd_create("ringmw-word", MemfdFlags::CLOEXEC)?;
        ftruncate(&fd, BYTES as u64)?;
        let word = Word::map(&fd)?;
        word.at(AT_MAGIC).store(MAGIC, Ordering::Relaxed);
        Ok((word, fd))
    }

    /// The page that this process was started with, if it was: once, as its first.
    ///
    /// A process that a slave has started finds the number and no such page behind it, or one that is another's.
    pub(crate) fn inherited() -> Option<Word> {
        let number: RawFd = std::env::var(VARIABLE).ok()?.parse().ok()?;
        if number <= 2 {
            return None;
        }
        // SAFETY: it is borrowed for two calls that fail on a number that is no open file.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        let stat = fstat(borrowed).ok()?;
        if usize::try_from(stat.st_size) != Ok(BYTES) {
            return None;
        }
        let word = Word::map(borrowed).ok()?;
        let is_free = word.at(AT_MAGIC).load(Ordering::Relaxed) == MAGIC
            && word
                .at(AT_PID)
                .compare_exchange(
                    0,
                    std::process::id().into(),
                    Ordering::SeqCst,
                    Ordering::SeqCst,
                )
                .is_ok();
        if !is_free {
            return None;
        }
        // SAFETY: this descriptor was made for this process, which has just said so in the page; nobody else closes it.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
        Some(word)
    }

    fn map(fd: impl std::os::fd::AsFd) -> io::Result<Word> {
        // SAFETY: a new mapping at an address of the kernel's choice; a shared one of a file that is never shortened.
        let page = unsafe {
            mmap(
                std::ptr::null_mut(),
                BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )?
        };
        let page = NonNull::new(page.cast()).expect("a mapping is nowhere at 0");
        Ok(Word { page })
    }

    fn at(&self, word: usize) -> &AtomicU64 {
        // SAFETY: the mapping is as long as the array, aligned to a page, and lives as long as `self`.
        let page = unsafe { self.page.as_ref() };
        &page[word]
    }

    fn put(&self, word: usize, value: u64) {
        self.at(word).store(value, Ordering::Relaxed);
    }

    // ---- the slave's side

    /// It has joined.
    pub(crate) fn joined(&self, slave: u32, is_unforgiving: bool) {
        self.put(AT_SLAVE, u64::from(slave) + 1);
        self.put(AT_UNFORGIVING, is_unforgiving.into());
    }

    /// A task of this life of the run begins.
    #[inline]
    pub(crate) fn begins(&self, task: u64, life: u32, was_announced: bool) {
        self.put(AT_ANNOUNCED, was_announced.into());
        self.put(AT_LIFE, life.into());
        self.put(AT_RUNNING, task.wrapping_add(1));
    }

    /// The task that ran has ended.
    #[inline]
    pub(crate) fn ended(&self) {
        self.put(AT_RUNNING, 0);
        self.put(AT_ENDED, 1);
    }

    /// The task that runs has been answered for, and its slave goes: the task's end, not a life without one.
    pub(crate) fn answered_for(&self) {
        self.put(AT_ENDED, 1);
    }

    /// The task that ran has not ended, and is not to blame: its slave could not begin it.
    pub(crate) fn put_aside(&self) {
        self.put(AT_RUNNING, 0);
    }

    /// It leaves, for this reason; whether it was told to.
    pub(crate) fn leaves(&self, was_told: bool, reason: &str) {
        let kept = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
        for (word, chunk) in kept.as_bytes().chunks(size_of::<u64>()).enumerate() {
            let mut bytes = [0; size_of::<u64>()];
            bytes[..chunk.len()].copy_from_slice(chunk);
            self.put(AT_REASON + word, u64::from_le_bytes(bytes));
        }
        self.put(AT_REASON_BYTES, kept.len() as u64);
        self.put(AT_TOLD, was_told.into());
    }

    // ---- the side of who started it

    /// Its number, once it has joined.
    pub(crate) fn slave(&self) -> Option<u32> {
        let number = self.at(AT_SLAVE).load(Ordering::Relaxed).checked_sub(1)?;
        u32::try_from(number).ok()
    }

    /// What it left.
    pub(crate) fn read(&self) -> LastWord {
        let get = |word: usize| self.at(word).load(Ordering::Relaxed);
        let bytes = (get(AT_REASON_BYTES) as usize).min(REASON_BYTES_MAX);
        let words = bytes.div_ceil(size_of::<u64>());
        let mut reason: Vec<u8> = (0..words)
            .flat_map(|word| get(AT_REASON + word).to_le_bytes())
            .collect();
        reason.truncate(bytes);
        LastWord {
            was_told: get(AT_TOLD) == 1,
            has_ended_task: get(AT_ENDED) > 0,
            running: get(AT_RUNNING).checked_sub(1).map(|task| TaskName {
                task,
                life: u32::try_from(get(AT_LIFE)).unwrap_or(0),
            }),
            was_announced: get(AT_ANNOUNCED) == 1,
            is_unforgiving: get(AT_UNFORGIVING) == 1,
            slave: self.slave(),
            reason: (bytes > 0).then(|| String::from_utf8_lossy(&reason).into_owned()),
        }
    }
}

impl Drop for Word {
    fn drop(&mut self) {
        // SAFETY: this mapping was made by `map`, and nobody has a reference into it any more.
        let _ = unsafe { munmap(self.page.as_ptr().cast::<c_void>(), BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let (parent, fd) = Word::new().unwrap();
        let child = Word::map(&fd).unwrap();
        assert_eq!(parent.read(), LastWord::default());
        child.joined(0, true);
        child.begins(0, 2, true);
        let seen = parent.read();
        assert_eq!(
            (seen.slave, seen.running),
            (Some(0), Some(TaskName { task: 0, life: 2 }))
        );
        assert!(seen.was_announced && seen.is_unforgiving && !seen.has_ended_task);
        child.ended();
        child.leaves(false, "no licence on this nöde");
        drop(child);
        let seen = parent.read();
        assert_eq!(seen.running, None);
        assert_eq!(seen.reason.as_deref(), Some("no licence on this nöde"));
        assert!(seen.has_ended_task && !seen.was_told);
    }

    #[test]
    fn a_reason_is_cut_at_a_character() {
        let (word, _fd) = Word::new().unwrap();
        word.leaves(true, &"ö".repeat(2 * REASON_BYTES_MAX));
        assert_eq!(word.read().reason, Some("ö".repeat(REASON_BYTES_MAX / 2)));
        // Whatever a broken slave writes there.
        word.put(AT_REASON_BYTES, u64::MAX);
        assert!(word.read().reason.is_some());
    }
}
