//! What is fuzzed: one function per format, each of which panics where a law of the format is broken.
//!
//! | target | law |
//! |---|---|
//! | [`frames`] | any chunking of a stream gives the frames, the error and the rest of the whole; frames encode to their bytes |
//! | [`handshake`] | a hello or a welcome that decodes encodes to its bytes; a refusal keeps its code and its sentence |
//! | [`task_batch`] | bodies tile the payload, and so the tasks of a series its body; a batch that is read and built again is as long and says the same |
//! | [`result_batch`] | bodies tile the payload; a batch whose results are read one by one and built again says the same, and is longer by no more than a table |
//! | [`control`] | a payload that decodes encodes to its bytes, so does a task's body |
//! | [`journal`] | what is found in a segment tiles it behind its head; its records are those of the same segment cut at any of them |
//! | [`saved`] | a state file, a file `run`, or a task that is kept, that decodes encodes to its bytes |
//! | [`secret_proof`] | any chunking of a first message gives the whole; none proves itself but the one that was made with the secret; what is no answer is refused |
//! | [`secret_records`] | any chunking opens to the same; what opens is a prefix of what was sealed |
//! | [`audit_line`], [`resource_file`] | what is read, written and read again is the same, and its text is then fixed |
//!
//! The targets of libFuzzer in `fuzz_targets/` are these functions and nothing else; `codec/tests/fuzz.rs` runs the same
//! functions on the stable toolchain, over the corpus and over mutations of it. It has this file as a module, so
//! there is nothing here but the standard library and `ringmw_codec`.

use std::ops::ControlFlow;

use ringmw_codec::Nanos;
use ringmw_codec::audit::Line;
use ringmw_codec::batch::{
    Elements, ResultBatchBuilder, ResultBatchView, ResultStatus, TaskBatchBuilder, TaskBatchView,
    TaskBody, TaskSeries, encode_task_body,
};
use ringmw_codec::frame::{FrameError, FrameReader, HEADER_BYTES, put_frame};
use ringmw_codec::handshake::{REFUSAL_BYTES_MAX, Refusal};
use ringmw_codec::journal::{FailedFile, Found, Record, Records, RunFile, Segment, StateFile};
use ringmw_codec::kinds::{Direction, FromMaster, FromObserver, FromSlave, Kind, ToObserver};
use ringmw_codec::resource::{RESOURCE_FILE_BYTES_MAX, ResourceFile};
use ringmw_codec::secret::{
    ANSWER_BYTES, Channel, FIRST_BYTES, First, Fixed, Initiator, Key, Role, Secret,
};

/// A fuzz target: it panics where a law is broken.
pub type Target = fn(&[u8]);

/// Every target by its name, which is its corpus' folder too.
pub const TARGETS: [(&str, Target); 11] = [
    ("frames", frames),
    ("handshake", handshake),
    ("task_batch", task_batch),
    ("result_batch", result_batch),
    ("control", control),
    ("journal", journal),
    ("saved", saved),
    ("secret_proof", secret_proof),
    ("secret_records", secret_records),
    ("audit_line", audit_line),
    ("resource_file", resource_file),
];

// ---- frames

/// The largest payload of a kind that has no limit of its own; small, so that the fuzzer meets it.
const PAYLOAD_BYTES_MAX: u32 = 300;

fn limit(kind: Kind) -> u32 {
    kind.limit().bytes(PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX)
}

/// What a reader made of a stream.
#[derive(Debug, PartialEq)]
struct Reading {
    frames: Vec<(Kind, Vec<u8>)>,
    error: Option<FrameError>,
    /// Bytes kept of a frame that has been begun; of no meaning after an error.
    kept: Option<usize>,
}

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Reading {
    let mut reader = FrameReader::new();
    let mut frames = Vec::new();
    for chunk in chunks {
        let flow = reader.feed(chunk, &limit, &mut |kind, payload| {
            assert!(
                payload.len() <= limit(kind) as usize,
                "a payload past its limit"
            );
            frames.push((kind, payload.to_vec()));
            ControlFlow::<()>::Continue(())
        });
        if let Err(error) = flow {
            let kept = None;
            return Reading {
                frames,
                error: Some(error),
                kept,
            };
        }
        assert_eq!(reader.is_mid_frame(), reader.buffered_bytes() > 0);
    }
    let kept = Some(reader.buffered_bytes());
    Reading {
        frames,
        error: None,
        kept,
    }
}

/// Cuts `stream` at lengths that go round; a length of 0 feeds an empty chunk, then goes on by a byte.
fn chunks<'a>(stream: &'a [u8], lengths: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = stream;
    let mut lengths = lengths.iter().copied().cycle();
    let mut was_empty = false;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let drawn = lengths.next().map_or(1, usize::from);
        let bytes = drawn.max(usize::from(was_empty)).min(rest.len());
        was_empty = bytes == 0;
        let (chunk, after) = rest.split_at(bytes);
        rest = after;
        Some(chunk)
    })
}

/// Puts the right checksums into what looks like frames: no fuzzer guesses a CRC.
fn mend_checksums(stream: &mut [u8]) {
    let mut rest = stream;
    while let Some(length) = rest.get(8..12) {
        let payload_bytes = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        let (Some(kind), Some(payload)) = (
            Kind::from_u8(rest[3]),
            rest.get(HEADER_BYTES..HEADER_BYTES.saturating_add(payload_bytes)),
        ) else {
            return;
        };
        let mut frame = Vec::new();
        put_frame(&mut frame, kind, payload);
        rest[12..HEADER_BYTES].copy_from_slice(&frame[12..HEADER_BYTES]);
        rest = &mut rest[frame.len()..];
    }
}

/// The input: a byte whose highest bit asks for mended checksums and whose low five are a number n, n lengths of
/// chunks, the stream.
pub fn frames(input: &[u8]) {
    let Some((&head, rest)) = input.split_first() else {
        return;
    };
    let (lengths, stream) = rest.split_at(usize::from(head & 31).min(rest.len()));
    let mut stream = stream.to_vec();
    if head & 128 != 0 {
        mend_checksums(&mut stream);
    }
    let whole = read(std::iter::once(&stream[..]));
    assert_eq!(
        read(chunks(&stream, lengths)),
        whole,
        "chunks of {lengths:?}"
    );
    assert_eq!(read(stream.chunks(1)), whole, "byte by byte");

    let mut encoded = Vec::new();
    for (kind, payload) in &whole.frames {
        put_frame(&mut encoded, *kind, payload);
    }
    assert!(stream.starts_with(&encoded), "frames encode to their bytes");
    if let Some(kept) = whole.kept {
        assert_eq!(encoded.len() + kept, stream.len(), "no byte is lost");
    }
}

// ---- hand-laid payloads

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

/// Whether payloads of this kind are those of [`handshake`].
pub fn is_handshake(kind: Kind) -> bool {
    matches!(kind, Kind::Hello | Kind::Welcome | Kind::Refuse)
}

/// Whether payloads of this kind are those of [`control`].
pub fn is_control(kind: Kind) -> bool {
    !is_handshake(kind) && !matches!(kind, Kind::Tasks | Kind::Results)
}

/// Reads a payload as one of this kind, within its limit as before every decoder, and writes it again.
fn turns_round(kind: Kind, payload: &[u8]) {
    if payload.len() > kind.limit().bytes(u32::MAX, u32::MAX) as usize {
        return;
    }
    let again = match kind.direction() {
        Direction::ToMaster => match FromSlave::read(kind, payload) {
            Ok(FromSlave::Hello(hello)) => encoded(|out| hello.encode(out)),
            Ok(FromSlave::Results(view)) => return result_batch_again(payload, &view),
            Ok(FromSlave::Heartbeat(_)) => Vec::new(),
            Ok(FromSlave::Goodbye(goodbye)) => encoded(|out| goodbye.encode(out)),
            Ok(FromSlave::Withdrawn(withdrawn)) => encoded(|out| withdrawn.encode(out)),
            Ok(FromSlave::Starting(starting)) => encoded(|out| starting.encode(out)),
            Ok(FromSlave::Offer(offer)) => encoded(|out| offer.encode(out)),
            Ok(FromSlave::Want(want)) => encoded(|out| want.encode(out)),
            Ok(FromSlave::CameOf(keys)) => encoded(|out| keys.encode(out)),
            Ok(FromSlave::Kept(kept)) => encoded(|out| kept.encode(out)),
            Ok(FromSlave::Returned(returned)) => encoded(|out| returned.encode(out)),
            Ok(FromSlave::Said(message)) => encoded(|out| message.encode(out)),
            Ok(FromSlave::Heard(heard)) => encoded(|out| heard.encode(out)),
            Ok(FromSlave::Progress(progress)) => encoded(|out| progress.encode(out)),
            Ok(FromSlave::Checkpoint(checkpoint)) => encoded(|out| checkpoint.encode(out)),
            Ok(FromSlave::Log(log)) => encoded(|out| log.encode(out)),
            Ok(FromSlave::AsksHungry(asks)) => encoded(|out| asks.encode(out)),
            Err(_) => return,
        },
        Direction::ToSlave => match FromMaster::read(kind, payload) {
            Ok(FromMaster::Welcome(welcome)) => encoded(|out| welcome.encode(out)),
            Ok(FromMaster::Refuse(refusal)) => return refusal_again(payload, &refusal),
            Ok(FromMaster::Tasks(view)) => return task_batch_again(payload, &view),
            Ok(FromMaster::Shutdown(shutdown)) => encoded(|out| shutdown.encode(out)),
            Ok(FromMaster::Withdraw(withdraw)) => encoded(|out| withdraw.encode(out)),
            Ok(FromMaster::Bests(bests)) => encoded(|out| bests.encode(out)),
            Ok(FromMaster::Blob(piece)) => encoded(|out| piece.encode(out)),
            Ok(FromMaster::Say(message)) => encoded(|out| message.encode(out)),
            Ok(FromMaster::SaidHeard(heard)) => encoded(|out| heard.encode(out)),
            Ok(FromMaster::Recall(recall)) => encoded(|out| recall.encode(out)),
            Ok(FromMaster::CheckpointTaken(taken)) => encoded(|out| taken.encode(out)),
            Ok(FromMaster::Hungry(hungry)) => encoded(|out| hungry.encode(out)),
            Ok(FromMaster::Resume(checkpoint)) => encoded(|out| checkpoint.encode(out)),
            Err(_) => return,
        },
        Direction::OfObserver => match FromObserver::read(kind, payload) {
            Ok(FromObserver::Ask(ask)) => encoded(|out| ask.encode(out)),
            Err(_) => return,
        },
        Direction::ToObserver => match ToObserver::read(kind, payload) {
            Ok(ToObserver::Answer(answer)) => encoded(|out| answer.encode(out)),
            Err(_) => return,
        },
    };
    assert_eq!(again, payload, "{kind:?}");
}

/// A sentence that this version knows better is not kept, nor versions that say nothing.
fn refusal_again(payload: &[u8], refusal: &Refusal) {
    let again = encoded(|out| refusal.encode(out));
    assert!(again.len() <= REFUSAL_BYTES_MAX);
    assert_eq!(again[..2], payload[..2], "the code is kept: {refusal:?}");
    assert_eq!(Refusal::decode(&again).as_ref(), Ok(refusal));
}

/// The input: a payload, tried as each of the three.
pub fn handshake(payload: &[u8]) {
    let kinds = Kind::ALL.into_iter().filter(|kind| is_handshake(*kind));
    kinds.for_each(|kind| turns_round(kind, payload));
}

/// The input: a payload, tried as each control payload and as a task's body.
pub fn control(payload: &[u8]) {
    let kinds = Kind::ALL.into_iter().filter(|kind| is_control(*kind));
    kinds.for_each(|kind| turns_round(kind, payload));
    if let Ok(body) = TaskBody::parse(payload) {
        assert_eq!(
            encoded(|out| encode_task_body(out, &body)),
            payload,
            "{body:?}"
        );
    }
}

// ---- batches

/// The bodies lie one behind the other, so that none counts twice.
fn assert_tiled<'a>(
    payload: &[u8],
    bodies: impl Iterator<Item = (std::ops::Range<usize>, &'a [u8])>,
) {
    let mut end = None;
    for (range, body) in bodies {
        assert_eq!(&payload[range.clone()], body);
        assert!(
            end.is_none_or(|end| end == range.start),
            "bodies tile the blob"
        );
        end = Some(range.end);
    }
}

/// The input: the payload of a tasks frame.
pub fn task_batch(payload: &[u8]) {
    turns_round(Kind::Tasks, payload);
}

fn task_batch_again(payload: &[u8], view: &TaskBatchView<'_>) {
    assert_tiled(
        payload,
        view.iter()
            .enumerate()
            .map(|(index, (_, body))| (view.body_range(index), body)),
    );
    let mut builder = TaskBatchBuilder::new();
    for (entry, body) in view.iter() {
        let (task, count, algorithm, flags) =
            (entry.task, entry.count, entry.algorithm, entry.flags);
        match TaskSeries::parse(body, count) {
            Ok(series) => {
                // A count is 4 billion where there are no arguments.
                for index in [0, count / 2, count - 1] {
                    let Ok(one) = series.nth(index) else { continue };
                    assert_eq!(one.stream - series.stream, u64::from(index));
                    assert_eq!(one.tag_type(), series.tag_type);
                    assert_eq!(
                        &encoded(|out| one.put_element(out)),
                        element(&series, index)
                    );
                }
                builder.push_series(task, algorithm, flags, &series);
            }
            Err(_) if count == 1 => builder.push(task, algorithm, flags, body),
            // Each of its tasks is a failed one: nobody builds such a series.
            Err(_) => return,
        }
    }
    assert_eq!(builder.tasks() as u64, view.tasks());
    let again = encoded(|out| builder.encode(out));
    assert_eq!(
        (again.len(), builder.bytes()),
        (payload.len(), payload.len())
    );
    let read = TaskBatchView::decode(&again).expect("our own");
    assert!(read.iter().eq(view.iter()), "it says the same");
}

/// The bytes of a task of a series.
fn element<'a>(series: &TaskSeries<'a>, index: u32) -> &'a [u8] {
    let bytes = series.elements.len() / series.count as usize;
    let end = |index: u32| match series.ends.get(index as usize) {
        Some(end) => u32::from_le_bytes(*end) as usize,
        None => (index as usize + 1) * bytes,
    };
    &series.elements[index.checked_sub(1).map_or(0, end)..end(index)]
}

/// The input: the payload of a results frame.
pub fn result_batch(payload: &[u8]) {
    turns_round(Kind::Results, payload);
}

fn result_batch_again(payload: &[u8], view: &ResultBatchView<'_>) {
    assert_tiled(
        payload,
        view.iter()
            .enumerate()
            .map(|(index, (_, body))| (view.body_range(index), body)),
    );
    let mut builder = ResultBatchBuilder::new();
    for (task, algorithm, status, compute_ns, output) in results(view) {
        let bytes = builder.bytes_with(task, algorithm, status, compute_ns, output.len());
        builder.push(task, algorithm, status, compute_ns, output);
        assert_eq!(builder.bytes(), bytes);
    }
    assert_eq!(builder.tasks() as u64, view.tasks());
    let again = encoded(|out| builder.encode(out));
    assert_eq!(again.len(), builder.bytes());
    assert!(
        again.len() <= payload.len() + Elements::END_BYTES * builder.tasks(),
        "series are no longer than what they merge, their table aside"
    );
    let read = ResultBatchView::decode(&again).expect("our own");
    assert!(results(&read).eq(results(view)), "it says the same");
}

/// All results of a batch, those of series one by one.
fn results<'a>(
    view: &ResultBatchView<'a>,
) -> impl Iterator<Item = (u64, u16, ResultStatus, Nanos, &'a [u8])> + use<'a> {
    view.iter().flat_map(|(entry, body)| {
        (0..entry.count).map(move |index| {
            let (compute_ns, output) = entry.element(body, index);
            let task = entry.task + u64::from(index);
            (task, entry.algorithm, entry.status, compute_ns, output)
        })
    })
}

// ---- what outlasts a process

/// The input: a segment.
pub fn journal(file: &[u8]) {
    let Ok((segment, head)) = Segment::decode(file) else {
        return;
    };
    assert_eq!(segment.encode(), &file[..head], "a head has one encoding");
    let mut at = head as u64;
    for found in Records::new(&segment, file, head) {
        match found {
            Found::Record {
                at: payload,
                record,
            } => {
                assert_eq!(payload, at + 12, "records follow one another");
                if let Record::Results(results) = record {
                    let outputs: usize = results
                        .iter()
                        .map(|entry| results.output(&entry).len())
                        .sum();
                    assert_eq!(outputs, results.outputs.len(), "outputs tile");
                    assert_eq!(results.iter().count(), results.count as usize);
                }
                let length = &file[at as usize + 4..][..4];
                at = payload + u64::from(u32::from_le_bytes(length.try_into().expect("4 bytes")));
            }
            Found::Damaged {
                at: begin,
                bytes,
                torn,
            } => {
                assert_eq!(begin, at, "damage follows a record");
                at += bytes;
                assert_eq!(torn, at == file.len() as u64);
            }
        }
    }
    assert_eq!(at, file.len() as u64, "no byte belongs to nobody");
}

/// The input: a state file, a file `run`, or a task that is kept.
pub fn saved(file: &[u8]) {
    if let Ok(state) = StateFile::decode(file) {
        assert_eq!(state.encode(), file);
    }
    if let Ok(run) = RunFile::decode(file) {
        assert_eq!(run.encode(), file);
    }
    if let Ok(failed) = FailedFile::decode(file) {
        assert_eq!(failed.encode(), file);
    }
}

// ---- the secret

/// The run's secret of the examples, its token, and the keys of slave and master.
fn proof_of_slave() -> (Initiator, [u8; FIRST_BYTES]) {
    Initiator::new(&secret(), Role::Slave, b"id", Key::new([1; 32]))
}

fn secret() -> Secret {
    Secret::new([7; 32])
}

/// What the examples say before the first record, and the ends of their connection: the slave's, the master's.
pub fn secret_example() -> ([u8; FIRST_BYTES], [u8; ANSWER_BYTES], Channel, Channel) {
    let (initiator, first) = proof_of_slave();
    let proved = First::read(&first)
        .and_then(|read| read.prove(&secret(), b"id", Key::new([2; 32])))
        .expect("it knows the secret");
    let (at_master, answer) = proved.answer();
    let at_slave = initiator.finish(&answer).expect("so does the master");
    (first, answer, at_slave, at_master)
}

/// What the slave of the examples says, a record each.
pub const SECRET_WORDS: [&[u8]; 3] = [b"one", b"two and more", b"3"];

/// The input: what a stranger says first, and what somebody answers.
pub fn secret_proof(input: &[u8]) {
    let whole = |pieces: usize| {
        let mut fixed = Fixed::<FIRST_BYTES>::default();
        let mut whole = Ok(None);
        for chunk in input.chunks(pieces) {
            let mut rest = chunk;
            if whole == Ok(None) {
                whole = fixed.feed(&mut rest);
            }
        }
        whole
    };
    let first = whole(input.len().max(1));
    assert_eq!(first, whole(1), "byte by byte");
    assert_eq!(first, whole(7), "in sevens");
    let (_, genuine) = proof_of_slave();
    if let Ok(Some(first)) = first
        && let Ok(read) = First::read(&first)
    {
        let proved = read.prove(&secret(), b"id", Key::new([2; 32])).is_ok();
        assert_eq!(proved, first == genuine, "none but the genuine one");
    }
    if let Some(answer) = input.first_chunk::<ANSWER_BYTES>() {
        let (_, genuine, ..) = secret_example();
        let accepted = proof_of_slave().0.finish(answer).is_ok();
        assert_eq!(accepted, *answer == genuine, "none but the genuine one");
    }
}

/// The input: a byte that is a length, a stream of records that is cut to it.
pub fn secret_records(input: &[u8]) {
    let Some((&pieces, stream)) = input.split_first() else {
        return;
    };
    let opened = |pieces: usize| {
        let (.., mut at_master) = secret_example();
        let mut plain = Vec::new();
        let result = stream
            .chunks(pieces.max(1))
            .try_for_each(|chunk| at_master.open(chunk, &mut plain));
        let kept = result.is_ok().then(|| at_master.buffered_bytes());
        (plain, result, kept)
    };
    let whole = opened(stream.len());
    assert_eq!(opened(pieces.into()), whole, "in pieces of {pieces}");
    let sealed = SECRET_WORDS.concat();
    assert!(sealed.starts_with(&whole.0), "what opens was sealed");
}

// ---- texts

/// The input: a line of the trail, its line feed taken off.
pub fn audit_line(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(line) = Line::parse(text) else {
        return;
    };
    let written = encoded(|out| line.write(out));
    let written = std::str::from_utf8(&written).expect("a line is UTF-8");
    let written = written.strip_suffix('\n').expect("a line has its end");
    assert!(
        !written.contains(|char: char| char.is_control()),
        "a line is one line: {written:?}"
    );
    let again = Line::parse(written);
    assert_eq!(again.as_ref(), Ok(&line), "{written:?}");
    let rewritten = encoded(|out| again.expect("just compared").write(out));
    assert_eq!(rewritten, format!("{written}\n").as_bytes());
}

/// The input: a resource file.
pub fn resource_file(text: &[u8]) {
    let Ok(file) = ResourceFile::parse(text) else {
        return;
    };
    let written = file.write();
    if written.len() > RESOURCE_FILE_BYTES_MAX {
        return;
    }
    let again = ResourceFile::parse(written.as_bytes());
    assert_eq!(again.as_ref(), Ok(&file), "{written}");
    assert_eq!(again.expect("just compared").write(), written);
}
