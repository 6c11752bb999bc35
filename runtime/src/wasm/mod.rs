//! Code as data: an algorithm that is given its function as a WebAssembly module. With the feature `wasm`.
//!
//! What the master algorithm makes at run time, reads from a file or gets from a user runs on slaves without a new binary.
//! A module gets its arguments and gives numbers back; it has no files, no network, no clock and no randomness, so the
//! same call has the same answer, or the same end of its fuel, on every slave. Traps, endless loops and hogs are failed
//! results.
//!
//! A module is shared data: sent to each slave once, and compiled there once. Each call has a fresh instance, so nothing of
//! one call is seen by the next.
//!
//! ```
//! use ringmw::prelude::*;
//! use ringmw::wasm::{self, Limits, Module, Value};
//!
//! async fn master(mw: Master, _args: Args) -> Result {
//!     let square = Module::from_wat(
//!         r#"(module (func (export "square") (param i64) (result i64)
//!              (i64.mul (local.get 0) (local.get 0))))"#,
//!     )?;
//!     let square = mw.share(&square);
//!     let tasks = (0..10).map(|n| wasm::run::task(&square, "square", &[Value::I64(n)], &Limits::default()));
//!     let mut squares = mw.map(tasks).in_order();
//!     let mut n = 0;
//!     while let Some(square) = squares.try_next().await? {
//!         assert_eq!(square, [Value::I64(n * n)]);
//!         n += 1;
//!     }
//!     Ok(())
//! }
//!
//! assert_eq!(App::new().algorithm::<wasm::run>().master(master).embedded(2).run(), 0);
//! ```

mod machine;

use machine::Machine;

use crate::typed::shared::Shared;

/// The most bytes of a module.
const MODULE_BYTES_MAX: usize = 64 << 20;

/// A number that a function takes or gives.
#[ringmw_macros::wire]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// An `i32`; WebAssembly's are signed or not by what is done with them.
    I32(i32),
    /// An `i64`.
    I64(i64),
    /// An `f32`. A NaN has one form.
    F32(f32),
    /// An `f64`. A NaN has one form.
    F64(f64),
}

/// What a call may use.
#[ringmw_macros::wire]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Operations, roughly; memory that is copied, filled or grown costs by its length. The same call uses the same fuel
    /// everywhere.
    pub fuel: u64,
    /// Bytes of the module's memory; its tables may take as much again. The call's stack has 4 MiB beside them.
    pub memory_bytes: u64,
}

impl Default for Limits {
    /// A thousand million operations, some seconds; 64 MiB.
    fn default() -> Self {
        Limits {
            fuel: 1_000_000_000,
            memory_bytes: 64 << 20,
        }
    }
}

/// A WebAssembly module that imports nothing.
#[ringmw_macros::wire]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    bytes: Vec<u8>,
}

/// Why bytes or a text are no module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ModuleError(String);

impl Module {
    /// A module from its binary form. It is compiled here once, to see that it can be.
    ///
    /// # Errors
    /// When it is none, imports anything, or has more than 64 MiB.
    pub fn new(bytes: &[u8]) -> Result<Module, ModuleError> {
        compile(bytes).map_err(ModuleError)?;
        Ok(Module {
            bytes: bytes.to_vec(),
        })
    }

    /// A module from its text form.
    ///
    /// # Errors
    /// As for [`new`](Module::new), and when the text is none; then the error shows the place.
    pub fn from_wat(text: &str) -> Result<Module, ModuleError> {
        let bytes = wat::parse_str(text).map_err(|error| ModuleError(error.to_string()))?;
        Module::new(&bytes)
    }
}

fn compile(bytes: &[u8]) -> Result<Machine, String> {
    #[cfg(test)]
    tests::note_compilation(bytes);
    match bytes.len() {
        0..=MODULE_BYTES_MAX => Machine::new(bytes),
        bytes => Err(format!(
            "a module of {bytes} bytes: at most {MODULE_BYTES_MAX}"
        )),
    }
}

/// Calls an exported function of a module.
///
/// # Errors
/// When there is no such function, the arguments are of other types, or the call traps or passes its limits.
#[ringmw_macros::algorithm]
pub fn wasm_run(
    module: &Shared<Module>,
    function: &str,
    args: &[Value],
    limits: &Limits,
) -> Result<Vec<Value>, String> {
    // On a slave it is checked anew: what came is not known to be what `Module::new` has seen.
    let machine = module.derived(|module| compile(&module.bytes));
    machine.as_ref()?.call(function, args, limits)
}

/// The algorithm: `wasm::run::task(&module, "function", &[..], &limits)`. Its name is `wasm_run`, so that an
/// application may have a `run` of its own.
pub use wasm_run as run;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::App;
    use crate::prelude::*;

    /// What was compiled in this process, once for each time.
    static COMPILED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

    pub(super) fn note_compilation(bytes: &[u8]) {
        let mut compiled = COMPILED.lock().expect("nobody panics while it is held");
        compiled.push(bytes.to_vec());
    }

    #[test]
    fn ten_thousand_calls_cost_a_compilation_a_slave() {
        const SLAVES: u32 = 3;
        let text = r#"(module (func (export "f") (param i64) (result i64)
            (i64.add (local.get 0) (i64.const 10000))))"#;
        let module = Module::from_wat(text).unwrap();
        let bytes = module.bytes.clone();
        let master = async move |mw: crate::Master, _: crate::Args| -> crate::Result {
            let module = mw.share(&module);
            let limits = Limits::default();
            let task = |n| wasm_run::task(&module, "f", &[Value::I64(n)], &limits);
            let mut answers = mw.map((0..10_000).map(task)).in_order();
            let mut n = 0;
            while let Some(answer) = answers.try_next().await? {
                assert_eq!(answer, [Value::I64(n + 10_000)]);
                n += 1;
            }
            assert_eq!(n, 10_000);
            Ok(())
        };
        let app = App::new().algorithm::<wasm_run>().master(master);
        assert_eq!(app.embedded(SLAVES).run(), 0);
        let compiled = COMPILED.lock().unwrap();
        let times = compiled.iter().filter(|other| **other == bytes).count();
        // Once to see that it can be.
        let slaves = times as u32 - 1;
        assert!((1..=SLAVES).contains(&slaves), "{times} compilations");
    }

    fn call(text: &str, args: &[Value], limits: &Limits) -> Result<Vec<Value>, String> {
        let module = Module::from_wat(text).map_err(|error| error.to_string())?;
        wasm_run(&Shared::for_test(module), "f", args, limits)
    }

    fn limits(fuel: u64, memory_bytes: u64) -> Limits {
        Limits { fuel, memory_bytes }
    }

    #[test]
    fn a_function_is_called_with_numbers_of_each_type() {
        let text = r#"(module (func (export "f") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
            (local.get 3) (local.get 2) (local.get 1) (local.get 0)))"#;
        use Value::{F32, F64, I32, I64};
        let args = [I32(-1), I64(i64::MIN), F32(0.5), F64(-0.0)];
        let mut back = call(text, &args, &Limits::default()).unwrap();
        back.reverse();
        assert_eq!(back, args);
        let error = call(text, &args[1..], &Limits::default()).unwrap_err();
        assert!(
            error.contains("takes the types [I32, I64, F32, F64]"),
            "{error}"
        );
    }

    /// Fuel is deterministic: the least that suffices is one number.
    #[test]
    fn fuel_ends_at_the_same_point_each_time() {
        let text = r#"(module (func (export "f") (param $n i64) (result i64) (local $sum i64)
            (loop $next
                (local.set $sum (i64.add (local.get $sum) (local.get $n)))
                (local.set $n (i64.sub (local.get $n) (i64.const 1)))
                (br_if $next (i64.ne (local.get $n) (i64.const 0))))
            (local.get $sum)))"#;
        let suffices = |fuel| call(text, &[Value::I64(1_000)], &limits(fuel, 1 << 20)).is_ok();
        let (mut least, mut most) = (0, 1 << 20);
        assert!(suffices(most));
        while least + 1 < most {
            let middle = (least + most) / 2;
            match suffices(middle) {
                true => most = middle,
                false => least = middle,
            }
        }
        for _ in 0..3 {
            assert!(suffices(most) && !suffices(most - 1));
        }
    }

    #[test]
    fn traps_and_hogs_are_failures_that_say_why() {
        let rows = [
            (
                r#"(func (export "f") (loop $on (br $on)))"#,
                "used up its fuel of 1000000",
            ),
            (r#"(func (export "f") unreachable)"#, "unreachable"),
            (
                r#"(func (export "f") (drop (i32.div_u (i32.const 1) (i32.const 0))))"#,
                "divide by zero",
            ),
            (r#"(func $f (export "f") (call $f))"#, "stack"),
            (
                r#"(memory 1) (func (export "f") (drop (memory.grow (i32.const 1000))))"#,
                "wants more memory than its 1048576 bytes",
            ),
            (
                r#"(memory 100) (func (export "f"))"#,
                "cannot be set up in 1048576 bytes",
            ),
            (
                r#"(table 10000000 funcref) (func (export "f"))"#,
                "cannot be set up",
            ),
            (
                r#"(table 1 funcref) (func (export "f") (drop (table.grow (ref.null func) (i32.const 100000000))))"#,
                "wants more memory",
            ),
            (
                r#"(func $s (loop $on (br $on))) (start $s) (func (export "f"))"#,
                "used up its fuel",
            ),
            (
                r#"(memory 1) (func $s (drop (memory.grow (i32.const 9999)))) (start $s) (func (export "f"))"#,
                "wants more memory",
            ),
            (r#"(func (export "g"))"#, "exports no function `f`"),
            (r#"(memory (export "f") 1)"#, "is no function"),
            (
                r#"(func (export "f") (result externref) (ref.null extern))"#,
                "no number",
            ),
            (
                r#"(import "a" "b" (func)) (func (export "f"))"#,
                "imports `b` of `a`",
            ),
            (
                r#"(func (export "f") (i32.const 1))"#,
                "no WebAssembly module",
            ),
        ];
        for (text, expected) in rows {
            let error = call(
                &format!("(module {text})"),
                &[],
                &limits(1_000_000, 1 << 20),
            )
            .unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(call("(module", &[], &Limits::default()).is_err());
        assert!(Module::new(b"\0asm").is_err());
        // An operator behind the end of its function: compiling it as it came was a panic.
        let behind = b"\0asm\x01\0\0\0\x01\x05\x01\x60\x01\x7f\0\x03\x02\x01\0\x07\x05\x01\x01f\0\0\x0a\x07\x01\x05\0\x0b\x20\0\x0b";
        assert!(Module::new(behind).is_err());
    }

    /// The way in: what is nearly a module does no harm. Mutations of a module that has a bit of everything.
    #[test]
    fn what_is_nearly_a_module_does_no_harm() {
        let text = r#"(module
            (type $t (func (param i32) (result i32)))
            (memory 1 2) (table 4 funcref) (global $g (mut i64) (i64.const 7))
            (data (i32.const 8) "some bytes") (elem (i32.const 0) $a $b)
            (func $a (type $t) (i32.add (local.get 0) (i32.load (i32.const 8))))
            (func $b (type $t) (if (result i32) (local.get 0) (then (call $a (i32.const 1))) (else (i32.const 2))))
            (func $s (global.set $g (i64.const 9))) (start $s)
            (func (export "f") (param i32) (result i32)
                (block $out (br_table $out $out (local.get 0)))
                (call_indirect (type $t) (local.get 0) (i32.const 1))))"#;
        let whole = wat::parse_str(text).unwrap();
        let limits = limits(100_000, 1 << 20);
        // A time in place of a number: from a fresh seed, for so long.
        let seconds = std::env::var("RINGMW_FUZZ_SECONDS").ok();
        let seconds = seconds.map(|text| text.parse().expect("a number of seconds"));
        let until = seconds
            .map(|seconds| std::time::Instant::now() + std::time::Duration::from_secs(seconds));
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let mut state = match until {
            None => 7u64,
            Some(_) => now().map_or(7, |since| since.as_nanos() as u64),
        };
        println!("seed {state}");
        let mut draw = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % below
        };
        let (mut good, mut bad) = (0, 0);
        let mut tries = 0;
        while match until {
            None => tries < 3_000,
            Some(until) => std::time::Instant::now() < until,
        } {
            tries += 1;
            let mut bytes = whole.clone();
            for _ in 0..1 + draw(3) {
                let at = draw(bytes.len());
                match draw(3) {
                    0 => bytes[at] ^= 1 << draw(8),
                    1 => bytes[at] = draw(256) as u8,
                    _ => bytes.truncate(at.max(1)),
                }
            }
            match Module::new(&bytes) {
                Ok(module) => {
                    good += 1;
                    let module = Shared::for_test(module);
                    let first = wasm_run(&module, "f", &[Value::I32(1)], &limits);
                    assert_eq!(first, wasm_run(&module, "f", &[Value::I32(1)], &limits));
                }
                Err(_) => bad += 1,
            }
        }
        println!("{tries} tries, {good} of them modules");
        assert!(good > 100 && bad > 100, "{good} {bad}");
    }
}
