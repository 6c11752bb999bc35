//! Whoever does not know the secret, or changes what those say who do, gets nowhere.

use super::*;

fn secret(byte: u8) -> Secret {
    Secret::new([byte; 32])
}

fn key(byte: u8) -> Key {
    Key::new([byte; 32])
}

fn first() -> (Initiator, [u8; FIRST_BYTES]) {
    Initiator::new(&secret(7), Role::Slave, b"member", key(1))
}

fn judge(first: &[u8; FIRST_BYTES]) -> Result<Half, FirstError> {
    First::read(first)?.prove(&secret(7), b"member", key(2))
}

/// The slave's end and the master's.
fn pair() -> (Channel, Channel) {
    let (initiator, first) = first();
    let half = judge(&first).expect("it knows the secret");
    let (at_master, answer) = half.answer();
    let at_slave = initiator.finish(&answer).expect("so does the master");
    (at_slave, at_master)
}

fn seal(channel: &mut Channel, plain: &[u8]) -> Vec<u8> {
    let (mut text, mut records) = (plain.to_vec(), Vec::new());
    channel.seal(&mut text, &mut records);
    assert_eq!(text, plain, "it is as before");
    assert_eq!(records.len(), sealed_bytes(plain.len()));
    records
}

fn open(channel: &mut Channel, records: &[u8]) -> (Vec<u8>, Result<(), RecordError>) {
    let mut plain = Vec::new();
    let result = channel.open(records, &mut plain);
    (plain, result)
}

#[test]
fn what_is_others_too_is_sealed_like_the_rest() {
    let (mut at_slave, mut at_master) = pair();
    for bytes in [
        1,
        1_000,
        RECORD_PLAIN_BYTES_MAX,
        3 * RECORD_PLAIN_BYTES_MAX + 7,
    ] {
        let plain: Vec<u8> = (0..bytes).map(|nth| nth as u8).collect();
        let mut records = seal(&mut at_slave, b"before");
        at_slave.seal_shared(&plain, &mut records);
        records.extend(seal(&mut at_slave, b"after"));
        let whole = [b"before", &plain[..], b"after"].concat();
        assert_eq!(open(&mut at_master, &records), (whole, Ok(())));
    }
}

#[test]
fn the_text_form_is_64_digits_and_nothing_else() {
    let text = secret(0xa5).to_text();
    assert_eq!(*text, "a5".repeat(32));
    let padded = format!(" {}\n", text.to_uppercase());
    assert_eq!(Secret::parse(&padded), Ok(secret(0xa5)));
    assert_ne!(secret(0xa5), secret(0xa4));
    assert_eq!(format!("{:?}", secret(0xa5)), "Secret(..)");
    for wrong in [
        "",
        "a5",
        &"a5".repeat(33),
        &"a5 ".repeat(32),
        &"+5".repeat(32),
        &"é".repeat(32),
    ] {
        let digits = wrong.trim_ascii().chars().count();
        assert_eq!(
            Secret::parse(wrong).err(),
            Some(SecretError { digits }),
            "{wrong}"
        );
    }
}

#[test]
fn what_it_gives_for_one_purpose_says_nothing_of_another() {
    let tokens = ["status page", "another"].map(|purpose| secret(7).token(purpose));
    assert_ne!(tokens[0], tokens[1]);
    assert_ne!(tokens[0], secret(8).token("status page"));
    assert_ne!(*tokens[0], *secret(7).to_text());
    let golden = "555a1f2b1f8da3d5e0532164faa05c814540d01aca6dbbe397195f271cf8ce06";
    assert_eq!(*tokens[0], golden, "it outlasts the program that made it");
}

#[test]
fn who_does_not_know_all_of_it_is_refused() {
    let (_, first) = first();
    let prove = |secret: &Secret, token: &[u8]| {
        let first = First::read(&first).expect("sound");
        first.prove(secret, token, key(2)).err()
    };
    assert_eq!(prove(&secret(7), b"member"), None);
    assert_eq!(prove(&secret(8), b"member"), Some(FirstError::Secret));
    let got = b"member".to_vec();
    assert_eq!(prove(&secret(7), b"other"), Some(FirstError::Token { got }));
}

#[test]
fn each_bit_of_the_first_message_counts() {
    for at in 0..FIRST_BYTES {
        for bit in 0..8 {
            let (_, mut first) = first();
            first[at] ^= 1 << bit;
            // The highest bit of a public key means nothing, and is proved like all others.
            assert!(judge(&first).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn each_bit_of_the_answer_counts() {
    let (_, sent) = first();
    for at in 0..ANSWER_BYTES {
        let (initiator, _) = first();
        let (_, mut answer) = judge(&sent).expect("right").answer();
        answer[at] ^= 1 << (at % 8);
        assert!(initiator.finish(&answer).is_err(), "byte {at}");
    }
}

#[test]
fn a_master_with_another_secret_proves_nothing() {
    let (initiator, _) = first();
    let (_, theirs) = Initiator::new(&secret(9), Role::Slave, b"member", key(1));
    let half = First::read(&theirs)
        .expect("sound")
        .prove(&secret(9), b"member", key(2));
    let (_, answer) = half.expect("theirs").answer();
    assert_eq!(initiator.finish(&answer).err(), Some(AnswerError::Secret));
}

#[test]
fn what_comes_back_is_no_proof() {
    let (initiator, first) = first();
    let mut echo = [0; ANSWER_BYTES];
    echo.copy_from_slice(&first[..ANSWER_BYTES]);
    assert_eq!(initiator.finish(&echo).err(), Some(AnswerError::Head));
    let (_, answer) = judge(&first).expect("right").answer();
    let mut echo = [0; FIRST_BYTES];
    echo[..ANSWER_BYTES].copy_from_slice(&answer);
    assert_eq!(judge(&echo).err(), Some(FirstError::Role { got: 128 }));
}

#[test]
fn a_recorded_first_message_gives_other_keys() {
    let (mut at_slave, _) = pair();
    let records = seal(&mut at_slave, b"hello");
    let (_, first) = first();
    let again = First::read(&first)
        .expect("sound")
        .prove(&secret(7), b"member", key(3));
    let (mut at_master, _) = again.expect("a recording is right so far").answer();
    assert_eq!(
        open(&mut at_master, &records),
        (vec![], Err(RecordError::Sealed))
    );
}

#[test]
fn a_role_is_proved() {
    let (_, first) = Initiator::new(&secret(7), Role::Observer, b"member", key(1));
    assert_eq!(judge(&first).expect("right").role(), Role::Observer);
    let mut forged = first;
    forged[3] = Role::Slave as u8;
    assert_eq!(judge(&forged).err(), Some(FirstError::Secret));
}

#[test]
fn a_message_is_the_same_however_it_is_cut() {
    let (_, first) = first();
    for cut in 1..FIRST_BYTES + 10 {
        let stream = [&first[..], b"behind it"].concat();
        let mut fixed = Fixed::<FIRST_BYTES>::default();
        let mut whole = None;
        for chunk in stream.chunks(cut) {
            let mut rest = chunk;
            if whole.is_none() {
                whole = fixed.feed(&mut rest).expect("it begins so");
                assert!(whole.is_some() || rest.is_empty());
            }
        }
        assert_eq!(whole, Some(first), "in pieces of {cut}");
    }
}

#[test]
fn who_speaks_in_plain_is_known_by_two_bytes() {
    for (begin, opening) in [
        ("RW", Opening::Plain),
        ("RT", Opening::Strange),
        ("G", Opening::Strange),
    ] {
        let mut fixed = Fixed::<FIRST_BYTES>::default();
        let mut last = Ok(None);
        for byte in begin.as_bytes().chunks(1) {
            assert_eq!(last, Ok(None));
            last = fixed.feed(&mut &byte[..]);
        }
        assert_eq!((last, fixed.bytes()), (Err(opening), begin.as_bytes()));
    }
}

#[test]
fn a_stream_is_the_same_however_it_is_cut() {
    let (mut at_slave, mut at_master) = pair();
    let lengths = [
        1,
        100,
        RECORD_PLAIN_BYTES_MAX,
        RECORD_PLAIN_BYTES_MAX + 1,
        200_000,
        7,
    ];
    for (nth, cut) in [1, 2, 3, 19, 65_536, 65_537, 65_538, 1 << 20]
        .into_iter()
        .enumerate()
    {
        let (mut plain, mut records) = (Vec::new(), Vec::new());
        for bytes in lengths {
            let text = vec![nth as u8; bytes];
            records.extend(seal(&mut at_slave, &text));
            plain.extend(text);
        }
        let mut opened = Vec::new();
        for chunk in records.chunks(cut) {
            assert_eq!(
                at_master.open(chunk, &mut opened),
                Ok(()),
                "pieces of {cut}"
            );
        }
        assert_eq!(at_master.buffered_bytes(), 0);
        assert!(opened == plain, "pieces of {cut}");
    }
}

#[test]
fn how_much_opens_is_known_by_counting() {
    let bytes = 2 * RECORD_PLAIN_BYTES_MAX + 10;
    let (mut at_slave, mut at_master) = pair();
    let records = seal(&mut at_slave, &vec![1; bytes]);
    let whole = RECORD_PLAIN_BYTES_MAX + RECORD_OVERHEAD_BYTES;
    let (mut opened, mut before) = (Vec::new(), 0);
    for cut in [
        whole - 1,
        whole,
        whole + 1,
        2 * whole - 1,
        2 * whole,
        records.len() - 1,
        records.len(),
    ] {
        assert_eq!(at_master.open(&records[before..cut], &mut opened), Ok(()));
        assert_eq!(
            opened.len(),
            opened_bytes(bytes, cut),
            "{cut} of {}",
            records.len()
        );
        before = cut;
    }
}

#[test]
fn each_byte_of_a_record_counts() {
    let text = b"a frame or two";
    for at in 0..sealed_bytes(text.len()) {
        let (mut at_slave, mut at_master) = pair();
        let mut stream = seal(&mut at_slave, b"before");
        let begin = stream.len();
        stream.extend(seal(&mut at_slave, text));
        stream[begin + at] ^= 1 << (at % 8);
        // A length that grew swallows what comes; what comes ends it.
        stream.extend(vec![0; 1 << 16]);
        let (plain, result) = open(&mut at_master, &stream);
        assert_eq!(plain, b"before", "byte {at}");
        assert!(result.is_err(), "byte {at}");
    }
}

#[test]
fn a_record_opens_once_in_its_turn_and_at_its_end_of_the_line() {
    let records = |slave: &mut Channel| [seal(slave, b"one"), seal(slave, b"two")];
    let rows: [(&str, &[usize], &[u8]); 4] = [
        ("repeated", &[0, 0], b"one"),
        ("out of order", &[1, 0], b""),
        ("the first left out", &[1], b""),
        ("as they were sealed", &[0, 1], b"onetwo"),
    ];
    for (what, order, expected) in rows {
        let (mut at_slave, mut at_master) = pair();
        let records = records(&mut at_slave);
        let stream: Vec<u8> = order.iter().flat_map(|nth| records[*nth].clone()).collect();
        let (plain, result) = open(&mut at_master, &stream);
        let is_honest = expected == b"onetwo";
        assert_eq!(
            (&plain[..], result.is_ok()),
            (expected, is_honest),
            "{what}"
        );
    }
    let (mut at_slave, _) = pair();
    let [one, _] = records(&mut at_slave);
    assert_eq!(
        open(&mut at_slave, &one),
        (vec![], Err(RecordError::Sealed)),
        "sent back"
    );
    let cut = &one[..one.len() - 1];
    let (mut at_slave, mut at_master) = pair();
    seal(&mut at_slave, b"one");
    assert_eq!(open(&mut at_master, cut), (vec![], Ok(())), "cut: it waits");
    assert_eq!(at_master.buffered_bytes(), cut.len());
    assert_eq!(open(&mut at_master, b"").0, b"");
}

#[test]
fn a_record_that_can_hold_nothing_is_refused_by_its_length() {
    let (_, mut at_master) = pair();
    let (plain, result) = open(&mut at_master, &20u16.to_le_bytes());
    assert_eq!(
        (plain, result),
        (vec![], Err(RecordError::Short { got: 20 }))
    );
}

#[test]
fn another_lane_than_the_only_one_is_refused() {
    let (mut at_slave, mut at_master) = pair();
    let mut sealed = Vec::new();
    at_slave.seal_one(b"x\x01\x00\x00\x00", &mut sealed);
    assert_eq!(
        open(&mut at_master, &sealed),
        (vec![], Err(RecordError::Lane { got: 1 }))
    );
}

#[test]
fn what_is_sealed_holds_nothing_in_plain() {
    let (mut at_slave, _) = pair();
    let marker = b"MARKER-MARKER";
    let records = seal(&mut at_slave, &marker.repeat(10));
    assert!(!records.windows(marker.len()).any(|window| window == marker));
}
