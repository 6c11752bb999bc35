//! Code that travels: ten functions that no slave was built with, as WebAssembly modules made of text, each applied on a
//! slave (CL-MW's higher-order, which sent s-expressions).
//!
//! ```text
//! cargo run --release --features wasm --example higher-order
//! ```
//!
//! Use it where the function itself is data: a user's formula, a generated program, a plug-in. What is known when the
//! binary is built is an algorithm of its own, and a hundred times as fast.

use ringmw::prelude::*;
use ringmw::wasm::{self, Limits, Module, Value};

/// The bodies of functions of `n`.
const FUNCTIONS: [&str; 10] = [
    "(i64.add (local.get $n) (i64.const 1))",
    "(i64.sub (local.get $n) (i64.const 1))",
    "(i64.mul (local.get $n) (i64.const 2))",
    "(i64.mul (local.get $n) (local.get $n))",
    "(i64.mul (local.get $n) (i64.mul (local.get $n) (local.get $n)))",
    "(i64.div_s (local.get $n) (i64.const 3))",
    "(i64.rem_s (local.get $n) (i64.const 7))",
    "(i64.shl (i64.const 1) (local.get $n))",
    "(i64.popcnt (local.get $n))",
    "(if (result i64) (i64.le_s (local.get $n) (i64.const 1)) (then (i64.const 1))
       (else (i64.mul (local.get $n) (call $f (i64.sub (local.get $n) (i64.const 1))))))",
];

async fn master(mw: Master, args: Args) -> Result {
    let n: i64 = args.value("--n", 10)?;
    let mut tasks = Vec::new();
    for body in FUNCTIONS {
        let text = format!("(module (func $f (export \"f\") (param $n i64) (result i64) {body}))");
        let module = mw.share(&Module::from_wat(&text)?);
        tasks.push(wasm::run::task(
            &module,
            "f",
            &[Value::I64(n)],
            &Limits::default(),
        ));
    }
    let mut answers = mw.map(tasks).in_order();
    let mut nth = 0;
    while let Some(answer) = answers.try_next().await? {
        let [Value::I64(answer)] = answer[..] else {
            return Err("one number each".into());
        };
        println!("function {nth} of {n}: {answer}");
        nth += 1;
    }
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<wasm::run>().master(master).run()
}
