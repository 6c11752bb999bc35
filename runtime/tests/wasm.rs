//! Modules on slaves: compiled once on each, ended at the same point on each, bounded in what they take.
#![cfg(feature = "wasm")]

use std::collections::BTreeSet;

use ringmw::prelude::*;
use ringmw::wasm::{self, Limits, Module, Value};

/// Sums `n`, `n` - 1 .. 1.
const SUM: &str = r#"(module (func (export "f") (param $n i64) (result i64) (local $sum i64)
    (loop $next
        (local.set $sum (i64.add (local.get $sum) (local.get $n)))
        (local.set $n (i64.sub (local.get $n) (i64.const 1)))
        (br_if $next (i64.ne (local.get $n) (i64.const 0))))
    (local.get $sum)))"#;

/// Grows by a page and writes into it, for ever.
const HOG: &str = r#"(module (memory 1) (func (export "f") (local $page i32)
    (loop $on
        (local.set $page (memory.grow (i32.const 1)))
        (memory.fill (i32.mul (local.get $page) (i32.const 65536)) (i32.const 7) (i32.const 65536))
        (br $on))))"#;

fn run<F, Fut>(slaves: u32, args: &[&str], master: F)
where
    F: FnOnce(Master, Args) -> Fut + 'static,
    Fut: Future<Output = Result> + 'static,
{
    let app = App::new().algorithm::<wasm::run>().master(master);
    let code = app.embedded(slaves).args(args.iter().copied()).run();
    assert_eq!(code, 0);
}

/// Peak of this process's resident memory in bytes.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number of KiB")
        * 1024
}

/// A call with exactly its fuel comes through, and one with a unit less ends, whichever slave has it.
#[test]
fn every_slave_ends_a_call_at_the_same_point() {
    run(4, &["--mw-slave-task-group", "1"], |mw, _| async move {
        let sum = mw.share(&Module::from_wat(SUM)?);
        let task = |fuel| {
            let limits = Limits {
                fuel,
                memory_bytes: 1 << 20,
            };
            wasm::run::task(&sum, "f", &[Value::I64(3_000)], &limits)
        };
        let (mut least, mut enough) = (0, 1 << 22);
        while least + 1 < enough {
            let middle = (least + enough) / 2;
            match mw.call(task(middle)).await {
                Ok(_) => enough = middle,
                Err(_) => least = middle,
            }
        }
        mw.submit_all((0..400u64).map(|n| task(enough - n % 2).tag(&n)));
        let (mut slaves, mut told) = (BTreeSet::new(), BTreeSet::new());
        let mut ends = mw.results::<wasm::run>();
        while let Some(end) = ends.next().await {
            match end {
                Ok(done) => {
                    assert_eq!(done.tag::<u64>()?.map(|n| n % 2), Some(0));
                    assert_eq!(done.output, [Value::I64(4_501_500)]);
                    slaves.insert(done.slave());
                }
                Err(error) => {
                    let TaskErrorKind::Failed {
                        origin, message, ..
                    } = error.kind()
                    else {
                        panic!("{error}")
                    };
                    assert_eq!(origin.tag::<u64>()?.map(|n| n % 2), Some(1));
                    told.insert(message.clone());
                }
            }
        }
        assert!(slaves.len() > 1, "several slaves took part");
        assert_eq!(told.len(), 1, "{told:?}");
        Ok(())
    });
}

/// Its limit is what it gets, and the process goes on.
#[test]
fn a_hog_is_stopped_at_its_limit() {
    let before = peak_bytes();
    run(2, &[], |mw, _| async move {
        let hog = mw.share(&Module::from_wat(HOG)?);
        let limits = Limits {
            fuel: 1 << 40,
            memory_bytes: 48 << 20,
        };
        let tasks = (0..20).map(|_| wasm::run::task(&hog, "f", &[], &limits));
        let mut ends = mw.map(tasks);
        while let Some(end) = ends.next().await {
            let error = end.expect_err("it never ends by itself").to_string();
            assert!(
                error.contains("wants more memory than its 50331648 bytes"),
                "{error}"
            );
        }
        Ok(())
    });
    let more = peak_bytes() - before;
    assert!(
        more < 2 * (48 << 20) + (64 << 20),
        "two slaves of 48 MiB each took {more} bytes"
    );
}
