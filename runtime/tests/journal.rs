//! Runs that go on in another life, in one process: what was recorded is not computed again, and the answer is the same.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ringmw::prelude::*;
use ringmw_codec::audit::{Event, Line};

/// Runs the application with these arguments; its exit code and its trail.
fn live(app: App, slaves: u32, dir: &Path, args: &[String]) -> (u8, Vec<Event>) {
    let trail = dir.join("trail");
    let _ = std::fs::remove_file(&trail);
    let trail_flag = ["--mw-audit-file".to_owned(), trail.display().to_string()];
    let args = args.iter().cloned().chain(trail_flag);
    let code = app.embedded(slaves).args(args).run();
    let text = std::fs::read_to_string(&trail).expect("there is a trail");
    let events = text
        .lines()
        .map(|line| Line::parse(line).expect("our own").event);
    (code, events.collect())
}

fn journal(dir: &Path) -> Vec<String> {
    let folder = dir.join("journal").display().to_string();
    vec!["--mw-journal".to_owned(), folder]
}

/// Tasks that ended with what an earlier life recorded, and tasks that slaves computed. One may be sent more often: a busy
/// slave gives back what it has not begun.
fn known_and_computed(events: &[Event]) -> (u64, u64) {
    let known = events.iter().map(|event| match event {
        Event::Known { results, .. } => *results,
        _ => 0,
    });
    let computed = events.iter().map(|event| match event {
        Event::ResultsReceived { results, .. } => *results,
        Event::Packets { results, .. } => *results,
        _ => 0,
    });
    (known.sum(), computed.sum())
}

fn lives(events: &[Event]) -> Vec<u32> {
    let lives = events.iter().filter_map(|event| match event {
        Event::Life { life, .. } => Some(*life),
        _ => None,
    });
    lives.collect()
}

#[algorithm]
fn draw(n: u64, cx: &mut Cx) -> u64 {
    n.wrapping_mul(cx.rng().random::<u64>() | 1)
}

#[algorithm]
fn shout(text: &str) -> Result<String, String> {
    match text.len() % 3 {
        0 => Err(format!("{text} is a multiple of three")),
        _ => Ok(text.to_uppercase()),
    }
}

thread_local! {
    /// What the last run on this thread came to: the master runs here.
    static ANSWER: Cell<u64> = const { Cell::new(0) };
}

/// Maps in order and not, calls, the queue with tags, failures: a number of all that came.
async fn everything(mw: Master, _args: Args) -> Result {
    let mut answer = 0u64;
    let mut add = |part: u64| answer = answer.rotate_left(7) ^ part;
    let mut ordered = mw.map((0..500).map(draw::task)).in_order();
    while let Some(part) = ordered.try_next().await? {
        add(part);
    }
    let mut sum = 0u64;
    let mut any = mw.map((0..100).map(|n| draw::task(n).stream(1_000 + n)));
    while let Some(part) = any.try_next().await? {
        sum = sum.wrapping_add(part);
    }
    add(sum);
    for n in 0..20 {
        add(mw.call(draw::task(n)).await?);
        if let Err(error) = mw.call(shout::task(&"x".repeat(n as usize))).await {
            let TaskErrorKind::Failed { message, .. } = error.into_kind() else {
                return Err("it fails, and is not unrunnable".into());
            };
            add(message.len() as u64);
        }
    }
    for n in 0..50u64 {
        mw.submit(draw::task(n).tag(&n));
    }
    let mut tagged = 0u64;
    let mut results = mw.results::<draw>();
    while let Some(result) = results.next().await {
        let result = result?;
        let tag: u64 = result.tag()?.ok_or("it was tagged")?;
        tagged = tagged.wrapping_add(result.output::<draw>()?.wrapping_mul(tag + 1));
    }
    add(tagged);
    ANSWER.set(answer);
    Ok(())
}

fn everything_app() -> App {
    App::new()
        .algorithm::<draw>()
        .algorithm::<shout>()
        .master(everything)
}

/// The whole run from the journal alone, without a slave; failed results are computed again unless they are recorded too.
#[test]
fn the_second_life_needs_no_slaves() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut args = journal(dir.path());
    args.push("--mw-journal-failures".into());
    let (code, events) = live(everything_app(), 3, dir.path(), &args);
    let first = ANSWER.get();
    assert_eq!(
        (code, lives(&events), known_and_computed(&events).0),
        (0, vec![1], 0)
    );
    let (code, events) = live(everything_app(), 0, dir.path(), &args);
    assert_eq!((code, lives(&events)), (0, vec![2]));
    assert_eq!(ANSWER.get(), first);
    assert_eq!(known_and_computed(&events), (500 + 100 + 20 + 20 + 50, 0));
    let (code, events) = live(everything_app(), 2, dir.path(), &journal(dir.path()));
    assert_eq!((code, lives(&events)), (0, vec![3]));
    assert_eq!(ANSWER.get(), first);
    assert_eq!(known_and_computed(&events), (690 - 7, 7));
}

/// What of a journal is damaged or cut off is computed again, and is the same.
#[test]
fn what_is_damaged_is_computed_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let args = journal(dir.path());
    live(everything_app(), 3, dir.path(), &args);
    let first = ANSWER.get();
    let segment = segments(dir.path()).remove(0);
    let mut bytes = std::fs::read(&segment).expect("there");
    let len = bytes.len();
    bytes[len / 2..len / 2 + 500].fill(0);
    bytes.truncate(len - 100);
    std::fs::write(&segment, bytes).expect("ours");
    let (code, events) = live(everything_app(), 3, dir.path(), &args);
    let (known, computed) = known_and_computed(&events);
    assert_eq!((code, ANSWER.get()), (0, first));
    assert!(
        known > 0 && computed > 0 && known + computed == 690,
        "{known} known, {computed} computed"
    );
    let read = events.iter().find_map(|event| match event {
        Event::JournalRead {
            damaged,
            torn,
            places,
            ..
        } => Some((*damaged, *torn, places.clone())),
        _ => None,
    });
    let (damaged, torn, places) = read.expect("it was read");
    assert_eq!((damaged, torn), (1, 1));
    // The record that the zeroed bytes are in begins before them.
    let [place] = &places.expect("it is told where")[..] else {
        panic!("one place")
    };
    let told = place
        .strip_prefix(&format!("{}: ", segment.display()))
        .and_then(|told| told.strip_suffix(" are damaged"));
    let told = told.and_then(|told| told.split_once(" bytes at "));
    let (bytes, at) = told.expect(place);
    let (bytes, at): (usize, usize) = (bytes.parse().expect(bytes), at.parse().expect(at));
    let zeroed = len / 2..len / 2 + 500;
    assert!(at < zeroed.end && zeroed.start < at + bytes, "{place}");
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("journal")).expect("a folder");
    let paths = entries.map(|entry| entry.expect("ours").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some()).collect();
    paths.sort();
    paths
}

/// Another seed, other arguments: refused by name, with what to do; arguments may be waived.
#[test]
fn another_runs_journal_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let with = |more: &[&str]| {
        let mut args = journal(dir.path());
        args.extend(more.iter().map(ToString::to_string));
        args
    };
    let (code, _) = live(everything_app(), 2, dir.path(), &with(&["--mw-seed", "7"]));
    assert_eq!(code, 0);
    for (more, words) in [
        (&["--mw-seed", "8"][..], "seed 7, this run has 8"),
        (&["other"], "--mw-journal-any-args"),
    ] {
        let app =
            std::panic::AssertUnwindSafe(|| live(everything_app(), 0, dir.path(), &with(more)));
        let panic = std::panic::catch_unwind(app).expect_err("it is another's");
        let text = panic.downcast_ref::<String>().expect("in words");
        assert!(text.contains(words), "{text}");
    }
    let (code, events) = live(
        everything_app(),
        1,
        dir.path(),
        &with(&["other", "--mw-journal-any-args"]),
    );
    assert_eq!((code, known_and_computed(&events).1), (0, 7));
}

/// A program that gives the same stream twice: to different tasks, which are told apart, and to the same, which are one
/// entry, and that is said once.
#[test]
fn the_same_stream_twice() {
    async fn master(mw: Master, _args: Args) -> Result {
        let of = |n: u64| draw::task(n).stream(5);
        let [a, again, b] = [of(1), of(1), of(2)].map(|task| mw.call(task));
        let [a, again, b] = [a.await?, again.await?, b.await?];
        assert_eq!(a, again);
        assert_ne!(a, b);
        ANSWER.set(a ^ b.rotate_left(9));
        Ok(())
    }
    let app = || App::new().algorithm::<draw>().master(master);
    let dir = tempfile::tempdir().expect("a folder");
    live(app(), 2, dir.path(), &journal(dir.path()));
    let first = ANSWER.get();
    let (code, events) = live(app(), 0, dir.path(), &journal(dir.path()));
    assert_eq!((code, known_and_computed(&events)), (0, (3, 0)));
    assert_eq!(ANSWER.get(), first);
    let notes = events.iter().filter(|event| match event {
        Event::Note { text } => text.contains("the same stream and the same arguments"),
        _ => false,
    });
    assert_eq!(notes.count(), 1);
}

#[algorithm]
fn search(from: u64, best: &Best<u64, Vec<u64>>) -> u64 {
    let key = (from * 7_919) % 1_009;
    if key < best.get() {
        best.offer(key, &vec![from, key]);
    }
    from
}

/// The incumbent, with its witness, is there from the start of the next life, and its key is in no task's key.
#[test]
fn an_incumbent_outlasts_its_life() {
    async fn master(mw: Master, args: Args) -> Result {
        let best = mw.minimum::<u64, Vec<u64>>(u64::MAX);
        let at_first = best.witness();
        assert_eq!(at_first.is_some(), args.value("--again", 0u8)? == 1);
        let mut map = mw.map((1..300).map(|from| search::task(from, &best)));
        while map.try_next().await?.is_some() {}
        assert_eq!(best.get(), 1);
        let witness = best.witness().expect("it was offered with one");
        assert_eq!((witness[0] * 7_919) % 1_009, 1);
        assert!(at_first.is_none_or(|first| first == witness));
        Ok(())
    }
    let app = || App::new().algorithm::<search>().master(master);
    let dir = tempfile::tempdir().expect("a folder");
    let (code, _) = live(app(), 3, dir.path(), &journal(dir.path()));
    assert_eq!(code, 0);
    for _ in 0..2 {
        let mut args = journal(dir.path());
        args.extend(["--again", "1", "--mw-journal-any-args"].map(String::from));
        let (code, events) = live(app(), 0, dir.path(), &args);
        assert_eq!((code, known_and_computed(&events)), (0, (299, 0)));
    }
}

/// A task that is begun at most once has its result in the next life, or was begun before.
#[test]
fn what_is_begun_once_is_not_begun_again() {
    async fn master(mw: Master, args: Args) -> Result {
        let give_up: u64 = args.value("--give-up", u64::MAX)?;
        let mut map = mw
            .map((0..40).map(|n| draw::task(n).retry(false)))
            .in_order()
            .window(8);
        let (mut done, mut before) = (0, 0);
        while let Some(end) = map.next().await {
            match end {
                Ok(_) => done += 1,
                Err(error) => {
                    let kind = error.into_kind();
                    let TaskErrorKind::Unrunnable { reason, .. } = kind else {
                        return Err("it is unrunnable".into());
                    };
                    assert_eq!(reason, ringmw::Reason::BegunBefore);
                    before += 1;
                }
            }
            if done == give_up {
                break;
            }
        }
        ANSWER.set(done * 1_000 + before);
        Ok(())
    }
    let app = || App::new().algorithm::<draw>().master(master);
    let dir = tempfile::tempdir().expect("a folder");
    let mut args = journal(dir.path());
    args.push("--mw-journal-any-args".into());
    let given_up = [&args[..], &["--give-up".into(), "10".into()]].concat();
    let (code, _) = live(app(), 2, dir.path(), &given_up);
    assert_eq!(code, 0);
    let (code, events) = live(app(), 2, dir.path(), &args);
    let (known, computed) = known_and_computed(&events);
    let answer = ANSWER.get();
    let (done, before) = (answer / 1_000, answer % 1_000);
    assert_eq!(
        (code, done + before, known + computed + before),
        (0, 40, 40)
    );
    assert!(
        known >= 10 && before <= 16,
        "{known} known, {before} begun before"
    );
}

/// As `a_precision` of the programs against this interface: saved and continued, bit for bit.
mod precision {
    use super::*;

    #[algorithm]
    fn throws(n: u64, cx: &mut Cx) -> u64 {
        (0..n).filter(|_| cx.rng().random::<f64>() < 0.5).count() as u64
    }

    static STOP_AT: AtomicU64 = AtomicU64::new(u64::MAX);
    static HITS: AtomicU64 = AtomicU64::new(0);

    async fn master(mw: Master, _args: Args) -> Result {
        let ((mut hits, mut n), at) = mw
            .restore::<((u64, u64), Position)>()
            .await?
            .unwrap_or_default();
        let mut map = mw
            .map((at.index()..).map(|_| throws::task(1000)))
            .in_order()
            .resume_at(at);
        while let Some(h) = map.try_next().await? {
            hits += h;
            n += 1000;
            if n % 50_000 == 0 {
                mw.save(&((hits, n), map.position())).await?;
            }
            if n == STOP_AT.load(Ordering::Relaxed) {
                return Ok(());
            }
            if (n as f64).sqrt().recip() < 2e-3 {
                break;
            }
        }
        // A map that follows has the number that it has in an undisturbed run.
        let mut after = mw.map((0..10).map(|_| throws::task(100))).in_order();
        while let Some(h) = after.try_next().await? {
            hits = hits.wrapping_mul(31) + h;
        }
        HITS.store(hits, Ordering::Relaxed);
        Ok(())
    }

    #[test]
    fn a_saved_state_goes_on_where_it_was() {
        let app = || App::new().algorithm::<throws>().master(master);
        let undisturbed = tempfile::tempdir().expect("a folder");
        let seed = ["--mw-seed".to_owned(), "42".to_owned()];
        assert_eq!(live(app(), 2, undisturbed.path(), &seed).0, 0);
        let expected = HITS.swap(0, Ordering::Relaxed);
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join("state").display().to_string();
        let args = [&seed[..], &["--mw-state".into(), state]].concat();
        for stop in [70_000, 120_000, 200_000, u64::MAX] {
            STOP_AT.store(stop, Ordering::Relaxed);
            let (code, events) = live(app(), 2, dir.path(), &args);
            assert_eq!((code, lives(&events).len()), (0, 1));
        }
        assert_eq!(HITS.load(Ordering::Relaxed), expected);
    }

    #[test]
    fn a_state_is_restored_as_its_type_alone() {
        async fn master(mw: Master, args: Args) -> Result {
            if args.value("--as-text", 0u8)? == 1 {
                let error = mw.restore::<String>().await.expect_err("of another type");
                assert_eq!(
                    error.to_string(),
                    "the state was saved as u64, and is restored as String"
                );
            }
            mw.save(&7u64).await?;
            assert_eq!(mw.restore::<u64>().await?, Some(7));
            Ok(())
        }
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join("state").display().to_string();
        let args = ["--mw-state", &state, "--mw-journal-any-args"].map(String::from);
        assert_eq!(live(App::new().master(master), 0, dir.path(), &args).0, 0);
        let again = [&args[..], &["--as-text".into(), "1".into()]].concat();
        assert_eq!(live(App::new().master(master), 0, dir.path(), &again).0, 0);
    }
}
