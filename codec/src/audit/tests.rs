use proptest::prelude::*;

use super::*;

const TIME_US: i64 = 1_795_161_783_123_456;

fn written(line: &Line) -> String {
    let mut out = Vec::new();
    line.write(&mut out);
    String::from_utf8(out).expect("a line is UTF-8")
}

fn check(who: Who, event: Event, expected: &str) {
    let line = Line {
        time_us: TIME_US,
        who,
        event,
    };
    let text = format!("2 2026-11-20T08:03:03.123456Z {expected}");
    assert_eq!(written(&line), format!("{text}\n"));
    assert_eq!(Line::parse(&text), Ok(line));
}

#[test]
fn golden_lines() {
    check(
        Who::Master,
        Event::Connected {
            slave: 17,
            from: "10.1.7.3:4432".into(),
            host: "node7".into(),
            job: "123.4".into(),
            group: GroupWord::Unordered,
        },
        "MASTER connected slave=SLAVE-17 from=10.1.7.3:4432 host=node7 job=123.4 group=unordered",
    );
    check(
        Who::Master,
        Event::Lost {
            slave: 3,
            from: "[::1]:9".into(),
            cause: LossCause::Timeout,
            detail: "no byte for 60 s".into(),
            recycled: 3,
            tasks: TaskRanges::from_sorted([4, 5, 6]),
            unrunnable: 0,
            cancelled: 1,
        },
        "MASTER lost slave=SLAVE-3 from=[::1]:9 cause=timeout detail=\"no byte for 60 s\" recycled=3 tasks=TASK-4..6 unrunnable=0 cancelled=1",
    );
    check(
        Who::Master,
        Event::TaskEnded {
            slave: None,
            task: 9,
            end: EndWord::Cancelled,
            compute_us: None,
            why: Some(String::new()),
        },
        "MASTER task-ended task=TASK-9 end=cancelled why=\"\"",
    );
    check(
        Who::Master,
        Event::Ready {
            security: None,
            addresses: vec!["10.0.0.1:99".into(), "a,b".into(), String::new()],
        },
        "MASTER ready addresses=\"10.0.0.1:99,a\\\\,b,\\\\e\"",
    );
    check(Who::Slave(None), Event::Evicted, "SLAVE evicted");
    check(
        Who::Slave(Some(0)),
        Event::Note {
            text: "a=\"b\"\\\n\r\t\u{1b}\u{2028}é x".into(),
        },
        r#"SLAVE-0 note text="a=\"b\"\\\n\r\t\u{1b}\u{2028}é x""#,
    );
    check(
        Who::Slave(Some(1)),
        Event::Note {
            text: "naïve".into(),
        },
        "SLAVE-1 note text=naïve",
    );
}

#[test]
fn ranges_are_bounded() {
    let listed = TaskRanges::from_sorted((0..200).map(|n| 2 * n));
    assert_eq!(
        (listed.ranges().len(), listed.more()),
        (TASK_RANGES_MAX, 136)
    );
    assert_eq!(
        TaskRanges::from_sorted([u64::MAX - 1, u64::MAX]).ranges(),
        [(u64::MAX - 1, u64::MAX)]
    );
    assert_eq!(
        TaskRanges::from_sorted([7, 7, 8, 10]).ranges(),
        [(7, 8), (10, 10)]
    );
}

#[test]
fn errors_name_the_column() {
    let rows = [
        ("", 1, "the version is missing"),
        (
            "3 2026-11-20T08:03:03.123456Z MASTER evicted",
            1,
            "version \"3\"",
        ),
        ("1 yesterday MASTER evicted", 3, "\"yesterday\" is no time"),
        (
            "1 2026-11-20T08:03:03.123456Z SLAVE-01 evicted",
            31,
            "\"SLAVE-01\" is not MASTER",
        ),
        (
            "1 2026-11-20T08:03:03.123456Z MASTER",
            37,
            "the line ends before the event",
        ),
        (
            "1 2026-11-20T08:03:03.123456Z MASTER late",
            42,
            "slave=.. expected",
        ),
        (
            "1 2026-11-20T08:03:03.123456Z MASTER quake",
            38,
            "\"quake\" is no event",
        ),
        (
            "1 2026-11-20T08:03:03.123456Z MASTER evicted x=1",
            46,
            "\"x=1\" is no fact",
        ),
        (
            "1 2026-11-20T08:03:03.123456Z MASTER stall ms=-1",
            47,
            "\"-1\" is no value of ms",
        ),
        (
            "1 2026-11-20T08:03:03.123456Z MASTER note text=\"é\\q\"",
            50,
            "an escape other than",
        ),
        (
            "1 2026-11-20T08:03:03.123456Z MASTER note text=\"abc",
            48,
            "a quote without its end",
        ),
        (
            "1 2026-11-20T08:03:03.123456Z MASTER note text=",
            48,
            "the value \"\" must stand in quotes",
        ),
    ];
    for (line, column, what) in rows {
        let error = Line::parse(line).expect_err(line);
        assert_eq!(error.column, column, "{line}: {error}");
        assert!(error.what.starts_with(what), "{line}: {error}");
    }
}

#[test]
fn words_and_keys_are_distinct() {
    for (index, event) in EVENTS.iter().enumerate() {
        assert!(
            EVENTS[..index].iter().all(|other| other.word != event.word),
            "{}",
            event.word
        );
        assert!(
            event
                .word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            "{}",
            event.word
        );
        for (index, key) in event.keys.iter().enumerate() {
            assert!(!event.keys[..index].contains(key), "{}: {key}", event.word);
        }
    }
}

fn any_line() -> impl Strategy<Value = Line> {
    let events = proptest::strategy::Union::new(Event::arbitrary());
    let who = prop_oneof![
        Just(Who::Master),
        proptest::option::of(any::<u32>()).prop_map(Who::Slave)
    ];
    // The years 0 to 9999.
    let time_us = -62_167_219_200_000_000i64..253_402_300_800_000_000;
    (time_us, who, events).prop_map(|(time_us, who, event)| Line {
        time_us,
        who,
        event,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn writer_and_parser_are_inverse(line in any_line()) {
        let text = written(&line);
        prop_assert_eq!(text.chars().filter(|char| char.is_control()).count(), 1, "one line feed, nothing else");
        prop_assert_eq!(Line::parse(&text[..text.len() - 1]), Ok(line));
    }

    #[test]
    fn damage_never_panics(line in any_line(), at in any::<prop::sample::Index>(), char in any::<char>()) {
        let text = written(&line);
        let mut chars: Vec<char> = text.trim_end_matches('\n').chars().collect();
        let at = at.index(chars.len());
        chars[at] = char;
        // A line that still reads must be the very line that its reading writes, quotes and escapes aside.
        if let Ok(line) = Line::parse(&chars.iter().collect::<String>()) {
            let text = written(&line);
            prop_assert_eq!(Line::parse(text.trim_end_matches('\n')), Ok(line));
        }
        let _ = Line::parse(&chars[..at].iter().collect::<String>());
    }

    #[test]
    fn noise_never_panics(noise in "(?s).*") {
        let _ = Line::parse(&noise);
        let _ = Line::parse(&format!("1 2026-11-20T08:03:03.123456Z MASTER note text={noise}"));
    }
}

#[test]
fn what_a_later_program_writes_is_passed_over() {
    let parse = |text: &str| Line::parse(text);
    let known = parse("2 2026-11-20T08:03:03.123456Z MASTER stall ms=7");
    let more = "2 2026-11-20T08:03:03.123456Z MASTER stall ms=7 why=\"a b\" x_2=";
    let more = format!("{more}\"\"");
    assert_eq!(parse(&more), known);
    assert!(known.is_ok());
    // (line, whether it is of a later program)
    let rows = [
        (
            "2 2026-11-20T08:03:03.123456Z MASTER quake slave=SLAVE-3 depth=\"1 km\"",
            true,
        ),
        ("2 2026-11-20T08:03:03.123456Z MASTER quake", true),
        (
            "1 2026-11-20T08:03:03.123456Z MASTER quake slave=SLAVE-3",
            false,
        ),
        ("2 2026-11-20T08:03:03.123456Z MASTER quake slave", false),
        (
            "2 2026-11-20T08:03:03.123456Z MASTER stall ms=7 why=\"a",
            false,
        ),
        (
            "1 2026-11-20T08:03:03.123456Z MASTER stall ms=7 why=a",
            false,
        ),
        ("2 2026-11-20T08:03:03.123456Z MASTER stall why=a", false),
    ];
    for (line, is_of_later) in rows {
        let error = Line::parse(line).expect_err(line);
        assert_eq!(error.is_of_later, is_of_later, "{line}: {error}");
    }
}
