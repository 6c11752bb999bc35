//! What the attributes accept and refuse.
//!
//! The refusals are compared by the line: an error that people cannot read is a bug.

use std::path::Path;
use std::process::Command;

use ringmw::internals::wire::type_text;
use ringmw::prelude::*;
use ringmw::{RunError, WireError, rkyv};

#[wire]
#[derive(Debug, Clone, Default, PartialEq)]
struct Options {
    depth: u32,
    name: Option<String>,
}

#[wire]
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Shape {
    Empty,
    Circle(u64),
    Rect { r#type: String, sides: (u32, u32) },
}

/// With `missing_docs` denied: what is generated beside a documented item is documented too. (Not so the fields of a
/// public enum's variants, in rkyv 0.8.18: its derive leaves their resolvers without.)
#[deny(missing_docs)]
pub mod documented {
    use ringmw::prelude::*;

    /// A point.
    #[wire]
    #[derive(Debug, Clone, PartialEq)]
    pub struct Point {
        /// To the right.
        pub x: f64,
    }

    /// A choice.
    #[wire]
    pub enum Choice {
        /// This one.
        This(Point),
        /// That one.
        That(u8),
    }

    /// Chooses.
    #[algorithm]
    pub fn choose(choice: &Choice) -> Option<Point> {
        match choice {
            Choice::This(point) => Some(point.clone()),
            Choice::That(_) => None,
        }
    }
}

#[wire]
#[derive(Debug, PartialEq)]
struct Pair<A, B = A, const N: usize = 2>(Vec<A>, [B; N])
where
    B: Clone;

#[wire]
struct Unit;

#[wire]
struct Empty {}

struct Cache(u64);

impl SlaveState for Cache {
    fn init(_: &mut Cx) -> Result<Self, Box<dyn std::error::Error>> {
        Ok(Cache(0))
    }
}

struct Log(Vec<String>);

impl SlaveState for Log {
    fn init(cx: &mut Cx) -> Result<Self, Box<dyn std::error::Error>> {
        Ok(Log(vec![format!("log of {}", cx.slave())]))
    }
}

/// Greets.
#[algorithm]
fn hello(name: String) -> String {
    format!("Hello World: {name}")
}

#[algorithm]
#[allow(clippy::too_many_arguments)]
fn all(
    a: &str,
    b: &[u8],
    c: &Archived<Vec<u64>>,
    d: &Options,
    e: Option<u32>,
    best: &Best<u32, Vec<u8>>,
    cache: &mut Cache,
    cx: &mut Cx,
) -> Result<u64, String> {
    cache.0 += 1;
    let sum: u64 = c.iter().map(|n| n.to_native()).sum();
    if a.is_empty() {
        return Err(format!("no text, but {} bytes", b.len()));
    }
    best.offer(d.depth, &b.to_vec());
    let _: f64 = cx.rng().random();
    Ok(sum + cache.0 + u64::from(e.unwrap_or_default()))
}

type Fallible<T> = std::result::Result<T, std::num::ParseIntError>;

#[algorithm]
pub(crate) fn parse(
    cx: &mut Cx,
    mut text: String,
    _: bool,
    log: &mut Log,
    numbers: &[f64],
    cache: &mut Cache,
) -> Fallible<i32> {
    text.push_str(cx.args().first().map_or("", |s| s.as_str()));
    log.0.push(text.clone());
    cache.0 += numbers.len() as u64;
    text.parse()
}

#[algorithm]
fn nothing() {}

// Whatever the generated code calls its own variables, users may call theirs.
#[algorithm]
fn cx(writer: u8, args: u8, out: u8, hash: u8, arguments: u8, p0: u8) -> u8 {
    writer + args + out + hash + arguments + p0
}

#[algorithm]
fn r#match(shapes: std::collections::HashMap<Shape, u32>, r#in: Shape) -> Option<u32> {
    shapes.get(&r#in).copied()
}

mod elsewhere {
    #[ringmw::algorithm]
    pub(crate) fn deep(bytes: &[Option<char>; 2]) -> std::io::Result<Vec<std::time::Duration>> {
        Ok(bytes
            .iter()
            .flatten()
            .map(|c| std::time::Duration::from_secs(u64::from(*c)))
            .collect())
    }
}

/// Runs it as a slave does: checks the arguments, runs, and checks the output.
fn run<A: Algorithm>(task: &TaskBytes<A>, cx: &mut Cx) -> Result<A::Output, RunError> {
    A::check_args(&task.0)?;
    let mut out = vec![0xEE];
    A::run(&task.0, cx, &mut out)?;
    Ok(ringmw::internals::wire::decode(&out[1..])?)
}

/// The bytes of a task's arguments, which this test lays out on its own.
struct TaskBytes<A>(Vec<u8>, std::marker::PhantomData<A>);

fn bytes<A: Algorithm>(segments: &[&[u8]]) -> TaskBytes<A> {
    let lengths = segments[..segments.len().saturating_sub(1)].iter();
    let mut bytes: Vec<u8> = lengths
        .flat_map(|segment| (segment.len() as u32).to_le_bytes())
        .collect();
    bytes.extend(segments.concat());
    TaskBytes(bytes, std::marker::PhantomData)
}

fn archive<T: Wire>(value: T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ringmw::internals::wire::encode(&value, &mut bytes).unwrap();
    bytes
}

#[test]
fn the_function_stays_a_function() {
    assert_eq!(hello("x".into()), "Hello World: x");
    let best = Best::maximum_for_test(0);
    let archived = archive(vec![1u64, 2]);
    let c = ringmw::internals::wire::access::<Vec<u64>>(&archived).unwrap();
    let mut cx = Cx::for_test(1);
    let options = Options {
        depth: 9,
        ..Options::default()
    };
    assert_eq!(
        all("a", &[7], c, &options, None, &best, &mut Cache(10), &mut cx),
        Ok(14)
    );
    assert_eq!((best.get(), best.witness()), (9, Some(vec![7])));
}

#[test]
fn a_run_decodes_calls_and_encodes() {
    let mut cx = Cx::for_test(1).with_args(["2"]);
    let name = archive(String::from("Task 0"));
    assert_eq!(
        run(&bytes::<hello>(&[&name]), &mut cx).unwrap(),
        "Hello World: Task 0"
    );
    assert_eq!(run(&bytes::<nothing>(&[]), &mut cx), Ok(()));

    let (one, no, numbers) = (
        archive(String::from("1")),
        archive(false),
        archive(vec![0.5f64]),
    );
    assert_eq!(
        run(&bytes::<parse>(&[&one, &no, &numbers]), &mut cx),
        Ok(12)
    );
    let word = archive(String::from("word"));
    assert_eq!(
        run(&bytes::<parse>(&[&word, &no, &numbers]), &mut cx),
        Err(RunError::Failed("invalid digit found in string".into()))
    );

    let six = [1u8, 2, 3, 4, 5, 6].map(|n| vec![n]);
    assert_eq!(
        run(
            &bytes::<cx>(&six.each_ref().map(Vec::as_slice)),
            &mut Cx::for_test(1)
        ),
        Ok(21)
    );
    let shapes = archive(std::collections::HashMap::from([
        (Shape::Circle(1), 5u32),
        (Shape::Empty, 6),
    ]));
    assert_eq!(
        run(
            &bytes::<r#match>(&[&shapes, &archive(Shape::Circle(1))]),
            &mut cx
        ),
        Ok(Some(5))
    );
    let chars = archive([Some('\u{1}'), None]);
    let seconds = run(&bytes::<elsewhere::deep>(&[&chars]), &mut cx).unwrap();
    assert_eq!(seconds, [std::time::Duration::from_secs(1)]);
}

#[test]
fn wrong_arguments_are_told_by_name() {
    let check = |segments: &[&[u8]]| parse::check_args(&bytes::<parse>(segments).0).unwrap_err();
    let (text, flag) = (archive(String::new()), archive(true));
    assert_eq!(
        check(&[&text, &[2], &archive(vec![0.0])])
            .to_string()
            .split(": ")
            .next(),
        Some("argument `argument_2`")
    );
    assert!(matches!(
        check(&[&text, &flag, &[]]),
        WireError::Argument {
            name: "numbers",
            ..
        }
    ));
    assert_eq!(
        check(&[]).to_string(),
        "0 bytes are no arguments for 3 parameters"
    );
    assert!(nothing::check_args(&[0]).is_err());
    let error = all::check_args(&bytes::<all>(&[&[0xFF], b"", b"", b"", b"", b""]).0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "argument `a`: text of 1 bytes is no UTF-8 from byte 0 on"
    );
    assert!(matches!(
        hello::run(&[1], &mut Cx::for_test(1), &mut vec![]),
        Err(RunError::Args(_))
    ));
}

#[test]
fn a_state_stays_between_tasks() {
    let (text, flag, numbers) = (
        archive(String::from("1")),
        archive(true),
        archive(vec![0.0, 1.0]),
    );
    let task = bytes::<parse>(&[&text, &flag, &numbers]);
    let mut cx = Cx::for_test(1);
    for _ in 0..3 {
        assert_eq!(run(&task, &mut cx), Ok(1));
    }
}

#[test]
fn signatures_are_read_by_people_and_compared_by_machines() {
    assert_eq!(nothing::signature().to_string(), "nothing() -> ()");
    assert_eq!(
        all::signature().to_string(),
        "all(a: &str, b: &[u8], c: Vec<u64>, d: Options{depth:u32,name:Option<String>}, e: Option<u32>, \
         best: Best<u32,Vec<u8>>) -> u64"
    );
    assert_eq!(
        parse::signature().to_string(),
        "parse(text: String, argument_2: bool, numbers: Vec<f64>) -> i32"
    );
    assert_eq!(
        r#match::signature().to_string(),
        "match(shapes: HashMap<Shape{Empty|Circle(u64)|Rect{type:String,sides:(u32,u32)}},u32>, \
         in: Shape{Empty|Circle(u64)|Rect{type:String,sides:(u32,u32)}}) -> Option<u32>"
    );
    let types = [
        hello::signature().types,
        all::signature().types,
        parse::signature().types,
        nothing::signature().types,
    ];
    assert_eq!(std::collections::BTreeSet::from(types).len(), types.len());
}

#[test]
fn users_types_travel() {
    let pair = Pair(vec![1u8, 2], ["a".to_string(), "b".to_string()]);
    assert_eq!(
        type_text::<Pair<u8, String>>(),
        "Pair<u8,String>(Vec<u8>,[String;2])"
    );
    assert_ne!(Pair::<u8, u8>::TYPE_HASH, Pair::<u8, u8, 3>::TYPE_HASH);
    assert_eq!(
        ringmw::internals::wire::decode::<Pair<u8, String>>(&archive(Pair(
            pair.0.clone(),
            pair.1.clone()
        ))),
        Ok(pair)
    );
    assert_eq!(
        (type_text::<Unit>(), type_text::<Empty>()),
        ("Unit".into(), "Empty{}".into())
    );
    assert_ne!(Unit::TYPE_HASH, Empty::TYPE_HASH);
    let shape = Shape::Rect {
        r#type: "square".into(),
        sides: (1, 1),
    };
    let bytes = archive(shape.clone());
    assert!(
        matches!(ringmw::internals::wire::access::<Shape>(&bytes), Ok(ArchivedShape::Rect { r#type, .. }) if r#type == "square")
    );
    assert_eq!(ringmw::internals::wire::decode(&bytes), Ok(shape));
    assert_eq!(align_of::<rkyv::Archived<Options>>(), 1);
}

#[test]
fn tasks_are_made_from_what_the_parameters_lend() {
    let best = Best::minimum_for_test(u32::MAX);
    let options = Options::default();
    let _ = all::task("a", &[1], &vec![1, 2], &options, None, &best)
        .retry(false)
        .with(&Policy::new().stream(4));
    let _ = parse::task("1".into(), true, &[0.5, 1.5]);
    let _ = (
        nothing::task(),
        cx::task(1, 2, 3, 4, 5, 6),
        hello::task("x".into()),
    );
    let debug = format!("{:?}", hello::task("x".into()).tag(&1u8));
    assert!(
        debug.starts_with("Task { algorithm: \"hello\", argument_bytes: "),
        "{debug}"
    );
}

/// Compiles every file of `tests/ui` in a crate of its own and compares the errors, a line each, with the file's
/// `.expected`. Only those lines: how a compiler draws around them changes with every version.
#[test]
fn refusals_can_be_read() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let mut manifest = format!(
        "[package]\nname = \"refusals\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\nringmw = {{ path = {here:?} }}\n"
    );
    let mut files: Vec<_> = std::fs::read_dir(here.join("tests/ui"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    for file in &files {
        let name = file.file_stem().unwrap();
        manifest += &format!("\n[[bin]]\nname = {name:?}\npath = {file:?}\n");
    }
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    // The versions that the workspace was built with: they are here already.
    std::fs::copy(here.join("../Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    let checked = Command::new(env!("CARGO"))
        .args([
            "check",
            "--offline",
            "--keep-going",
            "--message-format=short",
        ])
        .current_dir(folder.path())
        .env(
            "CARGO_TARGET_DIR",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/ui"),
        )
        .output()
        .unwrap();
    let text = String::from_utf8(checked.stderr).unwrap();
    for file in &files {
        let marker = format!("tests/ui/{}:", file.file_name().unwrap().to_str().unwrap());
        let told: Vec<&str> = text
            .lines()
            .filter_map(|line| Some(line.split_once(&marker)?.1))
            .filter(|line| line.contains(": error"))
            .collect();
        let expected = std::fs::read_to_string(file.with_extension("expected")).unwrap();
        assert!(!expected.is_empty());
        for line in expected.lines() {
            assert!(
                told.contains(&line),
                "{}: expected {line:?} among {told:#?}\n{text}",
                file.display()
            );
        }
    }
}
