//! The attributes of ringmw: `#[algorithm]` on a function, `#[wire]` on a type.
//!
//! Use them through `ringmw::prelude`. This crate reads syntax and writes calls of `ringmw::__private`; what those
//! calls do, and what the types mean, is decided there. It sees no types, only how they are spelled: `Cx`, `Best`,
//! `Shared` and `Archived` are recognised by the last segment of their path.

use proc_macro::TokenStream;

mod algorithm;
mod wire;

/// Makes a task algorithm of a plain function, which stays an ordinary function.
///
/// Beside `fn hello` it puts a type `hello` that implements `ringmw::Algorithm` and has `hello::task(..)`, which makes
/// a task. A parameter's type says where it comes from:
///
/// | parameter | is | in `task(..)` |
/// |---|---|---|
/// | `T`, `&T`, `&[T]` | decoded: owned or lent | `T`, `&T`, `&[T]` |
/// | `&str`, `&[u8]`, `&Archived<T>` | read in place in the receive buffer | `&str`, `&[u8]`, `&T` |
/// | `&Best<K, W>` | the incumbent of a search | the handle |
/// | `&Shared<T>`, `&[Shared<T>]` | data that a slave is sent once | the handle |
/// | `&mut S` where `S: SlaveState` | this slave's memory | absent |
/// | `&mut Cx` | slave, task, tag, random stream, arguments, cancelled | absent |
///
/// `#[algorithm(timeout = "30s")]` bounds how long a task of it may run, in `ms`, `s`, `min` or `h`: then it sees
/// `cx.cancelled()`, and what it returns within a second is its end; after that it fails, and its slave's process ends.
///
/// It returns `T` or `Result<T, E>` with `E: Display`; an `Err` is a failed result. Every `T` has `#[wire]` or is a
/// plain type or collection of the standard library.
#[proc_macro_attribute]
pub fn algorithm(arguments: TokenStream, item: TokenStream) -> TokenStream {
    algorithm::expand(arguments.into(), item.into()).into()
}

/// Lets a struct or enum travel between master and slave.
///
/// The item stays as it is; what ringmw needs is derived beside it, and its archived form is `Archived<Point>`, called
/// `ArchivedPoint`. Its fields must travel too. Type parameters are fine; lifetimes, unions and types that contain
/// themselves are not.
///
/// Put it above the derives: a type that derives `Hash` or `Ord` below it may be the key of a map or set.
#[proc_macro_attribute]
pub fn wire(arguments: TokenStream, item: TokenStream) -> TokenStream {
    wire::expand(arguments.into(), item.into()).into()
}
