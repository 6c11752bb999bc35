//! The handshake: golden bytes, strictness, bounds, and the first difference between two fingerprints.

use proptest::prelude::*;
use ringmw_codec::handshake::{
    About, AlgorithmSignature, Fingerprint, HELLO_BYTES_MAX, HandshakeError, Hello,
    PROTOCOL_VERSION, REFUSAL_BYTES_MAX, Refusal, WELCOME_BYTES_MAX, Welcome, first_difference,
    judge,
};
use ringmw_codec::log::LogLevel;
use ringmw_codec::wire::DecodeError;

fn algorithm(name: &str, arguments: &str, result: &str, types: u64) -> AlgorithmSignature {
    AlgorithmSignature {
        name: name.into(),
        arguments: arguments.into(),
        result: result.into(),
        types,
    }
}

fn fingerprint() -> Fingerprint {
    Fingerprint {
        app_version: "1.2".into(),
        build: "b1".into(),
        format: 1,
        algorithms: vec![
            algorithm("hello", "(String)", "String", 7),
            algorithm("pi", "(u64)", "f64", 8),
        ],
    }
}

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        member_id: b"id".to_vec(),
        host: "node7".into(),
        job: "123.4".into(),
        pid: 0x0102_0304,
        about: About {
            is_watched: true,
            before: "died".into(),
            labels: vec!["gpu".into(), "site=a".into()],
            comes_back_to: u128::MAX - 1,
        },
        fingerprint: fingerprint(),
    }
}

fn welcome() -> Welcome {
    Welcome {
        slave: 17,
        client_timeout_ms: 60_000,
        task_packet_bytes_max: 131_072,
        result_packet_bytes_max: 131_073,
        result_group: 100,
        checkpoint_interval_ms: 10_000,
        crash_limit: 10,
        task_timeout_ms: 30_000,
        seed: u64::MAX,
        shared_cache_bytes: 1 << 30,
        run: 7,
        life: 5,
        reconnect_ms: 9,
        log: Some(LogLevel::Info),
        args: vec!["--n".into(), String::new()],
    }
}

fn encoded(encode: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

#[test]
fn golden_bytes() {
    let expected = [
        &b"\x08\x00\x02id\x05\x00node7\x05\x00123.4\x04\x03\x02\x01"[..],
        b"\x01\x04\x00died\x02\x03\x00gpu\x06\x00site=a",
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x03\x001.2\x02\x00b1\x01\x00\x00\x00\x02\x00",
        b"\x05\x00hello\x08\x00(String)\x06\x00String\x07\0\0\0\0\0\0\0",
        b"\x02\x00pi\x05\x00(u64)\x03\x00f64\x08\0\0\0\0\0\0\0",
    ]
    .concat();
    assert_eq!(encoded(|out| hello().encode(out)), expected);
    assert_eq!(Hello::decode(&expected), Ok(hello()));

    let expected = [
        &b"\x11\0\0\0\x60\xea\0\0\0\0\0\0\0\0\x02\0\x01\0\x02\0\x64\0\0\0"[..],
        b"\x10\x27\0\0\0\0\0\0",
        b"\x0a\0\0\0\x30\x75\0\0\0\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x40\0\0\0\0",
        b"\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0\x09\0\0\0\0\0\0\0\x03",
        b"\x02\0\0\0\x03\0\0\0--n\0\0\0\0",
    ]
    .concat();
    assert_eq!(encoded(|out| welcome().encode(out)), expected);
    assert_eq!(Welcome::decode(&expected), Ok(welcome()));

    let refusal = Refusal::Fingerprint("No.".into());
    let expected = b"\x03\0\x08\0\x08\0\x03\0No.";
    assert_eq!(encoded(|out| refusal.encode(out)), expected);
    assert_eq!(Refusal::decode(expected), Ok(refusal));
}

#[test]
fn every_cut_and_every_extra_byte_is_an_error() {
    let payload = encoded(|out| hello().encode(out));
    for cut in 0..payload.len() {
        assert!(Hello::decode(&payload[..cut]).is_err(), "{cut}");
    }
    let longer = [&payload[..], b"x"].concat();
    assert_eq!(
        Hello::decode(&longer),
        Err(HandshakeError::Field(DecodeError::Trailing { got: 1 }))
    );
    let payload = encoded(|out| welcome().encode(out));
    for cut in 0..payload.len() {
        assert!(Welcome::decode(&payload[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn another_protocol_is_told_before_anything_else() {
    let error = Hello::decode(&[9, 0, 0xff, 0xff]).expect_err("another version");
    assert_eq!(error, HandshakeError::Protocol { got: 9 });
    assert_eq!(
        Refusal::from(error),
        Refusal::Protocol {
            master: 8,
            slave: 9
        }
    );
}

#[test]
fn refusals_turn_round_as_sentences() {
    let rows = [
        Refusal::member_id(b"ours", b"th\"eirs\n"),
        Refusal::SecretNeeded,
        Refusal::SecretUnknown,
        Refusal::SecretDiffers,
        Refusal::Protocol {
            master: 7,
            slave: 2,
        },
        Refusal::Fingerprint("It differs.".into()),
        Refusal::Busy,
        Refusal::Leaving,
        Refusal::Malformed("host: not UTF-8".into()),
        Refusal::Timeout("Too slow.".into()),
        Refusal::Other {
            code: 99,
            text: "Something new.".into(),
        },
    ];
    for refusal in rows {
        assert!(refusal.to_string().ends_with('.'), "{refusal}");
        assert_eq!(
            Refusal::decode(&encoded(|out| refusal.encode(out))),
            Ok(refusal)
        );
    }
    let long = Refusal::Fingerprint("é".repeat(10_000));
    let payload = encoded(|out| long.encode(out));
    assert!(payload.len() <= REFUSAL_BYTES_MAX && Refusal::decode(&payload).is_ok());
}

#[test]
fn very_many_algorithms_lose_descriptions_and_no_hash() {
    let long = "(".to_owned() + &"Vec<".repeat(100);
    let algorithms = (0..1200)
        .map(|n| algorithm(&format!("algorithm_{n:04}"), &long, &long, n))
        .collect();
    let hello = Hello {
        fingerprint: Fingerprint {
            algorithms,
            ..fingerprint()
        },
        ..hello()
    };
    let payload = encoded(|out| hello.encode(out));
    assert!(payload.len() <= HELLO_BYTES_MAX);
    let read = Hello::decode(&payload).expect("our own").fingerprint;
    assert_ne!(read, hello.fingerprint);
    assert_eq!(first_difference(&hello.fingerprint, &read, false), None);

    let mut other = read;
    other.algorithms[7].types = 0;
    let difference = first_difference(&hello.fingerprint, &other, false).expect("a hash differs");
    assert!(
        difference.contains("algorithm_0007") && difference.contains("other definitions"),
        "{difference}"
    );
}

/// With a short host and token a hello had room for a fingerprint that no slave can send: it decoded, and encoding it
/// again cut its descriptions, or panicked where the names alone were too long.
#[test]
fn a_fingerprint_that_no_slave_can_send_is_none() {
    let described = |bytes: usize| Hello {
        fingerprint: Fingerprint {
            algorithms: vec![algorithm("a", &"x".repeat(bytes), "", 0)],
            ..fingerprint()
        },
        ..hello()
    };
    let fixed = encoded(|out| described(0).encode(out)).len();
    let largest = HELLO_BYTES_MAX - 4096 - (fixed - encoded_around());
    let payload = encoded(|out| described(largest).encode(out));
    assert_eq!(Hello::decode(&payload), Ok(described(largest)));

    // One more byte of the description; its length stands behind the name.
    let at = fixed - (2 + 2 + 8);
    let mut longer = payload;
    longer.splice(
        at..at + 2,
        u16::try_from(largest + 1).unwrap().to_le_bytes(),
    );
    longer.insert(at + 2, b'x');
    assert!(longer.len() <= HELLO_BYTES_MAX);
    let expected = HandshakeError::TooLong {
        field: "the fingerprint",
        bytes: HELLO_BYTES_MAX - 4095,
        bytes_max: HELLO_BYTES_MAX - 4096,
    };
    assert_eq!(Hello::decode(&longer), Err(expected));
}

/// Bytes of our hello before its fingerprint.
fn encoded_around() -> usize {
    2 + 1
        + b"id".len()
        + 2
        + "node7".len()
        + 2
        + "123.4".len()
        + 4
        + 1
        + 2
        + "died".len()
        + 16
        + 1
        + 2
        + "gpu".len()
        + 2
        + "site=a".len()
}

#[test]
fn what_cannot_be_carried_is_refused_at_the_start() {
    let too_many = (0..5000)
        .map(|n| algorithm(&format!("a{n:05}"), "", "", n))
        .collect();
    let unsorted = vec![algorithm("b", "", "", 0), algorithm("a", "", "", 0)];
    let long_name = vec![algorithm(&"a".repeat(256), "", "", 0)];
    for algorithms in [too_many, unsorted, long_name] {
        assert!(
            Fingerprint {
                algorithms,
                ..fingerprint()
            }
            .validate()
            .is_err()
        );
    }
    let fits = vec!["x".repeat(WELCOME_BYTES_MAX - 97)];
    assert_eq!(Welcome::validate_args(&fits), Ok(()));
    let payload = encoded(|out| {
        Welcome {
            args: fits.clone(),
            ..welcome()
        }
        .encode(out)
    });
    assert_eq!(payload.len(), WELCOME_BYTES_MAX);
    assert!(Welcome::validate_args(&["x".repeat(WELCOME_BYTES_MAX - 96)]).is_err());
}

#[test]
fn the_first_difference_is_named() {
    let master = fingerprint();
    let check = |change: &dyn Fn(&mut Fingerprint), expected: Option<&str>| {
        let mut slave = fingerprint();
        change(&mut slave);
        let difference = first_difference(&master, &slave, false);
        match expected {
            None => assert_eq!(difference, None),
            Some(words) => assert!(
                difference.as_ref().is_some_and(|text| text.contains(words)),
                "{difference:?}"
            ),
        }
    };
    check(&|_| {}, None);
    check(
        &|slave| slave.build = "b2".into(),
        Some("The build differs: the master has \"b1\", the slave \"b2\""),
    );
    check(
        &|slave| slave.algorithms[1].types = 9,
        Some("algorithm \"pi\" ((u64) to f64) have the same names"),
    );
    check(
        &|slave| slave.algorithms[1] = algorithm("pi", "(u64)", "f32", 9),
        Some("result of algorithm \"pi\" differs: the master has f64, the slave f32"),
    );
    check(
        &|slave| slave.algorithms[1] = algorithm("pi", "(u32)", "f32", 9),
        Some("arguments of algorithm \"pi\" differ: the master has (u64), the slave (u32)"),
    );
    check(
        &|slave| slave.algorithms.push(algorithm("zeta", "", "", 1)),
        Some("The slave has an algorithm \"zeta\""),
    );
    check(
        &|slave| slave.algorithms[0].name = "a".into(),
        Some("The slave has no algorithm \"hello\""),
    );
    check(
        &|slave| {
            slave.app_version = "1.3".into();
            slave.algorithms.clear();
        },
        Some("version differs: the master has \"1.2\", the slave \"1.3\""),
    );
    check(
        &|slave| {
            slave.app_version = "1.3".into();
            slave.format = 2;
        },
        Some("format differs: the master has 1, the slave 2"),
    );
    let other_build = Fingerprint {
        build: "b2".into(),
        ..fingerprint()
    };
    assert_eq!(first_difference(&master, &other_build, true), None);

    let stranger = Hello {
        member_id: b"other".to_vec(),
        fingerprint: other_build,
        ..hello()
    };
    assert_eq!(
        judge(&stranger, b"id", &master, false),
        Err(Refusal::member_id(b"id", &stranger.member_id))
    );
    assert_eq!(judge(&hello(), b"id", &master, false), Ok(()));
}

fn any_fingerprint() -> impl Strategy<Value = Fingerprint> {
    let algorithms =
        prop::collection::btree_map("(?s).{0,20}", (".{0,30}", ".{0,30}", any::<u64>()), 0..6);
    (".{0,40}", ".{0,40}", any::<u32>(), algorithms).prop_map(
        |(app_version, build, format, algorithms)| Fingerprint {
            app_version,
            build,
            format,
            algorithms: algorithms
                .into_iter()
                .map(|(name, (arguments, result, types))| AlgorithmSignature {
                    name,
                    arguments,
                    result,
                    types,
                })
                .collect(),
        },
    )
}

proptest! {
    #[test]
    fn hellos_turn_round(
        member_id in prop::collection::vec(any::<u8>(), 0..=255),
        (host, job, pid) in (".{0,60}", ".{0,60}", any::<u32>()),
        (is_watched, before, labels, comes_back_to) in
            (any::<bool>(), ".{0,60}", prop::collection::vec("[a-z=]{1,64}", 0..=16), any::<u128>()),
        fingerprint in any_fingerprint(),
    ) {
        let about = About { is_watched, before, labels, comes_back_to };
        let hello = Hello { protocol: PROTOCOL_VERSION, member_id, host, job, pid, about, fingerprint };
        prop_assert_eq!(Hello::decode(&encoded(|out| hello.encode(out))), Ok(hello));
    }

    #[test]
    fn difference_is_symmetric_in_whether_there_is_one(a in any_fingerprint(), b in any_fingerprint()) {
        prop_assert_eq!(first_difference(&a, &b, false).is_some(), first_difference(&b, &a, false).is_some());
        prop_assert_eq!(first_difference(&a, &a, false), None);
    }

    #[test]
    fn noise_never_panics(noise in any::<Vec<u8>>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let _ = Hello::decode(&[&[1, 0], &noise[..]].concat());
        let _ = Welcome::decode(&noise);
        let _ = Refusal::decode(&noise);
        let mut payload = encoded(|out| hello().encode(out));
        let at = at.index(payload.len());
        payload[at] = byte;
        let _ = Hello::decode(&payload);
    }
}
