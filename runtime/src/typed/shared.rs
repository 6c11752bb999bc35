//! Shared data as a user has it: a handle that is passed to tasks, and that reads as the value itself.
//!
//! Owns the decoded value, what is derived of it, and how long they live on a slave. What the bytes are named, and how they
//! come to a slave, is [`crate::proto::blob`]'s matter and the cores'.

use std::any::{Any, TypeId};
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use ringmw_codec::shared::{BlobName, BlobRef};

use crate::proto::blob::{Blob, Named, Source};
use crate::typed::wire::{Archived, Wire, WireError, access, decode, encode, hash, type_text};

mod sealed {
    pub trait Sealed {}
}

/// What can be shared: every [`Wire`] type, and `[u8]`.
pub trait Share: sealed::Sealed + 'static {
    /// What the bytes are read as.
    #[doc(hidden)]
    type Owned: 'static;

    #[doc(hidden)]
    fn write(&self, out: &mut Vec<u8>) -> Result<(), WireError>;

    #[doc(hidden)]
    fn check(bytes: &[u8]) -> Result<(), WireError>;

    #[doc(hidden)]
    fn lend(held: &Held) -> &Self;

    #[doc(hidden)]
    const SHARED_HASH: u64;

    #[doc(hidden)]
    fn describe(out: &mut String);
}

impl<T: Wire + 'static> sealed::Sealed for T {}
impl<T: Wire + 'static> Share for T {
    type Owned = T;

    fn write(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        encode(self, out)
    }

    fn check(bytes: &[u8]) -> Result<(), WireError> {
        access::<T>(bytes).map(drop)
    }

    fn lend(held: &Held) -> &T {
        held.beside.get(|| match decode::<T>(held.bytes()) {
            Ok(value) => Decoded(value),
            Err(error) => panic!("shared data: {error}"),
        });
        let decoded: Option<&Decoded<T>> = held.beside.find();
        &decoded.expect("it was just made").0
    }

    const SHARED_HASH: u64 = <T as Wire>::TYPE_HASH;

    fn describe(out: &mut String) {
        out.push_str(&type_text::<T>());
    }
}

impl sealed::Sealed for [u8] {}
impl Share for [u8] {
    type Owned = Vec<u8>;

    fn write(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        out.extend_from_slice(self);
        Ok(())
    }

    fn check(_bytes: &[u8]) -> Result<(), WireError> {
        Ok(())
    }

    fn lend(held: &Held) -> &[u8] {
        held.bytes()
    }

    const SHARED_HASH: u64 = hash::text(hash::START, "[u8]");

    fn describe(out: &mut String) {
        out.push_str("[u8]");
    }
}

/// Kept beside the bytes, so that a derived value of the same type is another one.
struct Decoded<T>(T);

/// The bytes have been checked as an archive of `T`.
struct Checked<T>(PhantomData<T>);

/// Immutable data of any size, as an argument of tasks: sent to each slave once, however many tasks name it.
///
/// Made in the master by [`Master::share`](crate::Master::share) and
/// [`share_file`](crate::Master::share_file), a parameter `&Shared<T>` or `&[Shared<T>]` of an algorithm. It reads as a
/// `T`, decoded once per slave when it is first looked at; [`archived`](Shared::archived) and `Shared<[u8]>` are read in
/// place. It is named by its content: equal data is the same data.
///
/// A slave keeps what has come, past `--mw-shared-cache` by least recent use, never without what a task in its hands names.
/// The master forgets it with the last handle and task.
///
/// ```
/// use ringmw::prelude::*;
///
/// #[algorithm]
/// fn total(range: (usize, usize), prices: &Shared<Vec<u64>>) -> u64 {
///     prices[range.0..range.1].iter().sum()
/// }
///
/// async fn master(mw: Master, _args: Args) -> Result {
///     let prices = mw.share(&(0..1000).collect::<Vec<u64>>());
///     let ranges = (0..1000).step_by(100).map(|from| (from, from + 100));
///     let mut totals = mw.map(ranges.map(|range| total::task(range, &prices)));
///     let mut sum = 0;
///     while let Some(total) = totals.try_next().await? {
///         sum += total;
///     }
///     assert_eq!(sum, 499_500);
///     Ok(())
/// }
///
/// assert_eq!(total((0, 2), &Shared::for_test(vec![3, 4])), 7);
/// assert_eq!(App::new().algorithm::<total>().master(master).embedded(2).run(), 0);
/// ```
pub struct Shared<T: Share + ?Sized> {
    of: BlobRef,
    held: Rc<Held>,
    of_type: PhantomData<fn() -> Box<T>>,
}

/// Shared data in this process, with all that is made of it here.
#[doc(hidden)]
pub struct Held {
    bytes: Bytes,
    beside: Beside,
}

enum Bytes {
    /// On a slave.
    Here(Arc<Vec<u8>>),
    /// In the master; of a file they are read when they are looked at.
    Blob(Arc<Blob>, OnceCell<Vec<u8>>),
}

impl Held {
    fn bytes(&self) -> &[u8] {
        let (blob, read) = match &self.bytes {
            Bytes::Here(bytes) => return bytes,
            Bytes::Blob(blob, read) => (blob, read),
        };
        match &blob.source {
            Source::Memory(bytes) => bytes,
            Source::File(file) => read.get_or_init(|| {
                let bytes = usize::try_from(blob.of.bytes).expect("a file that fits the memory");
                file.read(0, bytes)
                    .unwrap_or_else(|error| panic!("shared data: {error}"))
            }),
        }
    }
}

/// Values by type, which are added and never taken away.
#[derive(Default)]
struct Beside(OnceCell<Box<Node>>);

struct Node {
    value: Box<dyn Any>,
    next: Beside,
}

impl Beside {
    fn find<V: 'static>(&self) -> Option<&V> {
        let mut place = self;
        while let Some(node) = place.0.get() {
            if (*node.value).type_id() == TypeId::of::<V>() {
                return node.value.downcast_ref();
            }
            place = &node.next;
        }
        None
    }

    /// The value of this type, made if there is none; `make` may add others.
    fn get<V: 'static>(&self, make: impl FnOnce() -> V) -> &V {
        if let Some(known) = self.find() {
            return known;
        }
        let mut value: Box<dyn Any> = Box::new(make());
        let mut place = self;
        loop {
            while let Some(node) = place.0.get() {
                place = &node.next;
            }
            match place.0.set(Box::new(Node {
                value,
                next: Beside::default(),
            })) {
                Ok(()) => break,
                Err(node) => value = node.value,
            }
        }
        self.find().expect("it was just added")
    }
}

impl<T: Share + ?Sized> Shared<T> {
    pub(crate) fn in_master(blob: Arc<Blob>) -> Self {
        Shared {
            of: blob.of,
            held: Rc::new(Held {
                bytes: Bytes::Blob(blob, OnceCell::new()),
                beside: Beside::default(),
            }),
            of_type: PhantomData,
        }
    }

    /// What of a value travels.
    ///
    /// # Panics
    /// If the value's own serialization fails.
    pub(crate) fn blob_of(value: &T) -> Blob {
        let mut bytes = Vec::new();
        if let Err(error) = value.write(&mut bytes) {
            panic!("shared data cannot be archived: {error}");
        }
        bytes.shrink_to_fit();
        Blob::in_memory(bytes)
    }

    /// A value made of the data, once per slave (in the master, once per handle and its clones), and kept as long as the data
    /// is: an index, a tree, a compiled program. There is one of each type; another one wants a type of its own.
    ///
    /// ```
    /// use std::collections::HashSet;
    ///
    /// use ringmw::prelude::*;
    ///
    /// #[algorithm]
    /// fn is_word(text: &str, words: &Shared<Vec<String>>) -> bool {
    ///     words.derived(|words| words.iter().cloned().collect::<HashSet<_>>()).contains(text)
    /// }
    ///
    /// assert!(is_word("a", &Shared::for_test(vec!["a".to_owned()])));
    /// ```
    pub fn derived<D: 'static>(&self, make: impl FnOnce(&T) -> D) -> &D {
        self.held.beside.get(|| make(self))
    }

    /// The data's name: the blake3 hash of its bytes.
    pub fn hash(&self) -> [u8; 32] {
        self.of.name.0
    }

    /// How long it is, in bytes.
    pub fn bytes(&self) -> u64 {
        self.of.bytes
    }

    /// As a task's arguments have it.
    pub(crate) fn mention(&self) -> [u8; BlobRef::BYTES] {
        self.of.encode()
    }

    /// Keeps it alive by what the task names.
    pub(crate) fn name_in(&self, named: &mut Named) {
        if let Bytes::Blob(blob, _) = &self.held.bytes {
            named.push(blob);
        }
    }
}

impl<T: Wire + 'static> Shared<T> {
    /// A value that is shared with nobody, to unit-test algorithms with.
    ///
    /// # Panics
    /// If the value's own serialization fails.
    pub fn for_test(value: T) -> Self {
        Self::in_master(Arc::new(Self::blob_of(&value)))
    }

    /// The archive itself, in place: nothing is decoded. It is checked once per slave.
    ///
    /// # Panics
    /// If the bytes are no archive of a `T`, which only a damaged file can make so.
    pub fn archived(&self) -> &Archived<T> {
        let bytes = self.held.bytes();
        self.held.beside.get(|| match T::check(bytes) {
            Ok(()) => Checked::<T>(PhantomData),
            Err(error) => panic!("shared data: {error}"),
        });
        // SAFETY: the bytes were checked as an archive of a `T`, and never change.
        unsafe { rkyv::access_unchecked(bytes) }
    }
}

impl Shared<[u8]> {
    /// Bytes that are shared with nobody, to unit-test algorithms with.
    pub fn bytes_for_test(bytes: &[u8]) -> Self {
        Self::in_master(Arc::new(Self::blob_of(bytes)))
    }
}

impl<T: Share + ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared {
            of: self.of,
            held: Rc::clone(&self.held),
            of_type: PhantomData,
        }
    }
}

impl<T: Share + ?Sized> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        T::lend(&self.held)
    }
}

impl<T: Share + ?Sized> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({}, {} bytes)", self.of.name, self.of.bytes)
    }
}

// ---- arguments

/// What a segment mentions.
pub(crate) fn mentions<T: Share + ?Sized>(segment: &[u8]) -> Result<Vec<BlobRef>, WireError> {
    let misfit = || WireError::Shared {
        expected: type_name::<T>(),
        bytes: segment.len(),
    };
    if !segment.len().is_multiple_of(BlobRef::BYTES) {
        return Err(misfit());
    }
    let mentions = segment.chunks_exact(BlobRef::BYTES);
    mentions
        .map(|mention| BlobRef::decode(mention).map_err(|_| misfit()))
        .collect()
}

/// What the segment of a single handle mentions.
pub(crate) fn one_mention<T: Share + ?Sized>(segment: &[u8]) -> Result<BlobRef, WireError> {
    match mentions::<T>(segment)?.as_slice() {
        [mention] => Ok(*mention),
        _ => Err(WireError::Shared {
            expected: type_name::<T>(),
            bytes: segment.len(),
        }),
    }
}

/// As people read it: `Shared<Vec<u64>>`.
pub(crate) fn type_name<T: Share + ?Sized>() -> String {
    let mut text = String::from("Shared<");
    T::describe(&mut text);
    text.push('>');
    text
}

/// What has come to a slave and is in use there, with all that was made of it.
#[derive(Clone, Default)]
pub(crate) struct InUse(Rc<RefCell<Vec<Known>>>);

type Known = (BlobName, Rc<Held>);

impl InUse {
    /// A task begins that names these. What the core has dropped goes, with what was made of it.
    pub(crate) fn begin(&self, here: &[(BlobName, Arc<Vec<u8>>)]) {
        let mut kept = self.0.borrow_mut();
        if kept.is_empty() && here.is_empty() {
            return;
        }
        let mut fresh = Vec::new();
        for &(name, ref bytes) in here {
            let is_same = |held: &Held| matches!(&held.bytes, Bytes::Here(known) if Arc::ptr_eq(known, bytes));
            let known = kept
                .iter()
                .any(|(known, held)| *known == name && is_same(held));
            if !known {
                fresh.push((
                    name,
                    Rc::new(Held {
                        bytes: Bytes::Here(Arc::clone(bytes)),
                        beside: Beside::default(),
                    }),
                ));
            }
        }
        // The core's own share is the second one.
        let is_kept =
            |held: &Held| matches!(&held.bytes, Bytes::Here(bytes) if Arc::strong_count(bytes) > 1);
        kept.retain(|(_, held)| is_kept(held));
        kept.extend(fresh);
    }

    /// The handle of a mention.
    pub(crate) fn handle<T: Share + ?Sized>(&self, of: BlobRef) -> Result<Shared<T>, WireError> {
        let kept = self.0.borrow();
        let found = kept.iter().rev().find(|(name, _)| *name == of.name);
        let (_, held) = found.ok_or_else(|| WireError::SharedGone {
            name: of.name.to_string(),
        })?;
        T::check_once(held)?;
        Ok(Shared {
            of,
            held: Rc::clone(held),
            of_type: PhantomData,
        })
    }
}

trait CheckOnce: Share {
    /// Checks the bytes unless they have been.
    fn check_once(held: &Held) -> Result<(), WireError>;
}

impl<T: Share + ?Sized> CheckOnce for T {
    fn check_once(held: &Held) -> Result<(), WireError> {
        if held.beside.find::<Checked<T::Owned>>().is_none() {
            T::check(held.bytes())?;
            held.beside.get(|| Checked::<T::Owned>(PhantomData));
        }
        Ok(())
    }
}
