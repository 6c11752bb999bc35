//! Programs as users write them, each with an end: batches of particles with shared tables, and code that travels.

mod openmc {
    use std::cell::Cell;
    use std::rc::Rc;

    use ringmw::prelude::*;
    use ringmw::testing::{Churn, World};

    #[wire]
    #[derive(Clone)]
    struct Tables {
        xs: Vec<f64>,
    }

    #[wire]
    #[derive(Clone, Default)]
    struct Tally {
        counts: Vec<u64>,
        sum: f64,
    }

    const BINS: usize = 8;

    impl Tally {
        fn add(mut self, other: Tally) -> Tally {
            self.counts.resize(BINS, 0);
            for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
                *mine += theirs;
            }
            self.sum += other.sum;
            self
        }
    }

    #[algorithm(timeout = "30min")]
    fn transport(first: u64, particles: u64, tables: &Shared<Tables>, cx: &mut Cx) -> Tally {
        let mut tally = cx.resume::<(u64, Tally)>().unwrap_or_default();
        tally.1.counts.resize(BINS, 0);
        for particle in first + tally.0..first + particles {
            let mut rng = cx.rng_at(particle);
            let x: f64 = rng.random();
            tally.1.counts[(x * BINS as f64) as usize] += 1;
            tally.1.sum += tables.xs[(x * tables.xs.len() as f64) as usize];
            tally.0 += 1;
            cx.checkpoint(&tally);
        }
        tally.1
    }

    fn tables() -> Tables {
        Tables {
            xs: (1..=1_000).map(|n| 1.0 / f64::from(n)).collect(),
        }
    }

    /// The source after each batch, bit by bit, and particles by bin.
    type Told = (Vec<u64>, Vec<u64>);

    async fn master(mw: Master, args: Args) -> Result<Told> {
        let particles: u64 = args.value("--particles", 1_000_000)?;
        let batches: u64 = args.value("--batches", 100)?;
        let tables = mw.share(&tables());
        let mut source = 1.0;
        let (mut told, mut counts) = (Vec::new(), Tally::default());
        for batch in 0..batches {
            let firsts = (0..particles).step_by(50);
            let tasks = firsts.map(|first| transport::task(batch * particles + first, 50, &tables));
            let reduced = mw.map(tasks).reduce(Tally::add).await?;
            let tally = reduced.ok_or("there are tasks")?;
            source *= tally.sum / particles as f64;
            told.push(f64::to_bits(source));
            counts = counts.add(tally);
        }
        Ok((told, counts.counts))
    }

    const ARGS: [&str; 6] = ["--particles", "1000", "--batches", "4", "--mw-seed", "11"];

    fn app(into: Rc<Cell<Option<Told>>>) -> App {
        let master = async move |mw: Master, args: Args| -> Result {
            into.set(Some(master(mw, args).await?));
            Ok(())
        };
        App::new().algorithm::<transport>().master(master)
    }

    fn embedded(slaves: u32) -> Told {
        let told = Rc::new(Cell::new(None));
        let app = app(Rc::clone(&told)).embedded(slaves);
        assert_eq!(app.args(ARGS).run(), 0);
        told.take().expect("it has told")
    }

    #[test]
    fn batches_have_the_same_bits_on_any_slaves_and_under_churn() {
        let expected = embedded(1);
        assert_eq!(expected.1.iter().sum::<u64>(), 4_000);
        assert_eq!(embedded(4), expected);
        for seed in 0..10 {
            let told = Rc::new(Cell::new(None));
            let churn = Churn::every(std::time::Duration::from_secs(1));
            let world = World::new(seed).slaves(4).churn(churn).args(ARGS);
            let report = world
                .args(["--mw-crash-limit", "0", "--mw-client-timeout", "3"])
                .patience(std::time::Duration::from_secs(3_600))
                .run(app(Rc::clone(&told)));
            assert_eq!(report.code, 0, "seed {seed}: {report:?}");
            assert_eq!(told.take(), Some(expected.clone()), "seed {seed}");
        }
    }

    #[test]
    fn one_task_by_itself() {
        let tally = transport(0, 10, &Shared::for_test(tables()), &mut Cx::for_test(1));
        assert_eq!(tally.counts.iter().sum::<u64>(), 10);
    }
}

#[cfg(feature = "wasm")]
mod higher {
    use ringmw::prelude::*;
    use ringmw::wasm::{self, Limits, Module, Value};

    async fn master(mw: Master, _args: Args) -> Result {
        let square = mw.share(&Module::from_wat(
            r#"(module (func (export "f") (param i64) (result i64)
                 (i64.mul (local.get 0) (local.get 0))))"#,
        )?);
        let limits = Limits {
            fuel: 1_000_000,
            ..Limits::default()
        };
        let tasks = (0..10).map(|n| wasm::run::task(&square, "f", &[Value::I64(n)], &limits));
        let mut answers = mw.map(tasks).in_order();
        let mut n = 0;
        while let Some(answer) = answers.try_next().await? {
            assert_eq!(answer, [Value::I64(n * n)]);
            n += 1;
        }
        assert_eq!(n, 10);
        Ok(())
    }

    #[test]
    fn the_code_travels() {
        let app = App::new().algorithm::<wasm::run>().master(master);
        assert_eq!(app.embedded(2).run(), 0);
    }
}
