//! Programs as users write them, each with an end: batches of particles with shared tables, a formula that is cut into
//! cubes, and code that travels.

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

mod cube {
    use std::cell::Cell;
    use std::path::Path;
    use std::rc::Rc;
    use std::time::Duration;

    use ringmw::prelude::*;
    use ringmw::testing::{Churn, World};

    /// Clauses of a file in DIMACS' form.
    fn clauses(text: &str) -> Vec<Vec<i32>> {
        let lines = text.lines().filter(|line| !line.starts_with(['c', 'p']));
        let literals = lines.map(|line| line.split(' ').map(|word| word.parse().unwrap()));
        literals
            .map(|line| line.take_while(|&literal| literal != 0).collect())
            .collect()
    }

    /// A model in which these literals hold, `None` if there is none.
    fn search(
        clauses: &[Vec<i32>],
        held: &mut Vec<i32>,
        cx: &mut Cx,
    ) -> Result<Option<Vec<i32>>, String> {
        let mut branch = None;
        for clause in clauses {
            if clause.iter().any(|literal| held.contains(literal)) {
                continue;
            }
            match clause.iter().find(|&&literal| !held.contains(&-literal)) {
                None => return Ok(None),
                Some(&literal) => branch = branch.or(Some(literal)),
            }
        }
        let Some(literal) = branch else {
            return Ok(Some(held.clone()));
        };
        if cx.cancelled() {
            return Err(String::from("not decided in time"));
        }
        for literal in [literal, -literal] {
            held.push(literal);
            let model = search(clauses, held, cx)?;
            held.pop();
            if model.is_some() {
                return Ok(model);
            }
        }
        Ok(None)
    }

    #[algorithm]
    fn solve(
        cube: Vec<i32>,
        formula: &Shared<[u8]>,
        cx: &mut Cx,
    ) -> Result<Option<Vec<i32>>, String> {
        let parsed = formula.derived(|bytes| clauses(std::str::from_utf8(bytes).unwrap()));
        search(parsed, &mut cube.clone(), cx)
    }

    /// What came of it: the model, if there is one, and how many cubes were cut.
    type Told = (Option<Vec<i32>>, u32);

    /// The cubes of the first three variables, each cut in two as often as it is not decided in time. The first model ends
    /// it.
    async fn master(mw: Master, args: Args) -> Result<Told> {
        let formula = mw
            .share_file(args.value("--cnf", String::from("f.cnf"))?)
            .await?;
        let limit = Duration::from_millis(args.value("--limit-ms", 60_000)?);
        let policy = Policy::new().timeout(limit).needs("mem=big").priority(2);
        let signed = |n: i32, bit: i32| {
            if n & (1 << bit) == 0 {
                bit + 1
            } else {
                -bit - 1
            }
        };
        let cubes = (0..8).map(|n| (0..3).map(|bit| signed(n, bit)).collect::<Vec<_>>());
        mw.submit_all(cubes.map(|cube| solve::task(cube, &formula).with(&policy)));
        let mut results = mw.results::<solve>();
        let mut cuts = 0;
        while let Some(end) = results.next().await {
            match end {
                Ok(done) => {
                    if let Some(model) = done.output::<solve>()? {
                        return Ok((Some(model), cuts));
                    }
                }
                Err(error) => {
                    let (cube,) = error.origin().args::<solve>().ok_or("another algorithm")?;
                    let policy = error.origin().policy();
                    let is_free = |v: &i32| !cube.contains(v) && !cube.contains(&-v);
                    let free = (1..).find(is_free).expect("there are more numbers");
                    cuts += 1;
                    for literal in [free, -free] {
                        let cube = [&cube[..], &[literal]].concat();
                        mw.submit(solve::task(cube, &formula).with(&policy));
                    }
                }
            }
        }
        Ok((None, cuts))
    }

    fn app(into: Rc<Cell<Option<Told>>>) -> App {
        let master = async move |mw: Master, args: Args| -> Result {
            into.set(Some(master(mw, args).await?));
            Ok(())
        };
        App::new().algorithm::<solve>().master(master)
    }

    /// Each pigeon sits in a hole, and no two in one.
    fn pigeons(pigeons: i32, holes: i32) -> String {
        let sits = |pigeon, hole| pigeon * holes + hole + 1;
        let mut text = String::from("c pigeons\n");
        for pigeon in 0..pigeons {
            let somewhere = (0..holes).map(|hole| format!("{} ", sits(pigeon, hole)));
            text += &(somewhere.collect::<String>() + "0\n");
            for (other, hole) in
                (0..pigeon).flat_map(|other| (0..holes).map(move |hole| (other, hole)))
            {
                text += &format!("-{} -{} 0\n", sits(pigeon, hole), sits(other, hole));
            }
        }
        text
    }

    /// The answer is right, whoever gave it and however often it was cut.
    fn check(formula: &str, is_satisfiable: bool, told: Option<Told>, how: &str) -> u32 {
        let (model, cuts) = told.unwrap_or_else(|| panic!("{how}: it has told"));
        assert_eq!(model.is_some(), is_satisfiable, "{how}");
        if let Some(model) = model {
            assert!(
                model.iter().all(|literal| !model.contains(&-literal)),
                "{how}: {model:?}"
            );
            let holds = |clause: &Vec<i32>| clause.iter().any(|literal| model.contains(literal));
            assert!(clauses(formula).iter().all(holds), "{how}: {model:?}");
        }
        cuts
    }

    fn args(file: &Path, limit_ms: &str) -> Vec<String> {
        let file = file.to_str().unwrap();
        ["--cnf", file, "--limit-ms", limit_ms]
            .map(str::to_owned)
            .to_vec()
    }

    #[test]
    fn what_is_not_decided_in_time_is_cut_by_the_arguments_of_its_failure() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f.cnf");
        for (pigeons_, is_satisfiable) in [(4, true), (5, false)] {
            let formula = pigeons(pigeons_, 4);
            std::fs::write(&file, &formula).unwrap();
            for engine in ["ring", "epoll"] {
                let told = Rc::new(Cell::new(None));
                let app = app(Rc::clone(&told)).embedded(2);
                let label = ["--mw-slave-label", "mem=big", "--mw-engine", engine];
                let code = app.args(label).args(args(&file, "2000")).run();
                assert_eq!(code, 0);
                check(&formula, is_satisfiable, told.take(), engine);
            }
            let mut cuts = 0;
            for seed in 0..10 {
                let told = Rc::new(Cell::new(None));
                // Who has the label and goes is followed by another one with it.
                let world = World::new(seed)
                    .slaves(4)
                    .labels([vec!["mem=big"], vec!["gpu"]]);
                let report = world
                    .churn(Churn::every(Duration::from_secs(1)))
                    .args(args(&file, "300"))
                    .args(["--mw-crash-limit", "0", "--mw-client-timeout", "3"])
                    .patience(Duration::from_secs(3_600))
                    .run(app(Rc::clone(&told)));
                let how = format!("seed {seed}: {report:?}");
                assert_eq!(report.code, 0, "{how}");
                cuts += check(&formula, is_satisfiable, told.take(), &how);
            }
            assert!(is_satisfiable || cuts > 0, "some take longer than they may");
        }
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
