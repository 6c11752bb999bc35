//! What tests against real sockets share: slaves that are played by hand, and the trail that is read back.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use ringmw::Ready;
use ringmw_codec::audit::{Event, Line};
use ringmw_codec::batch::{
    ResultBatchBuilder, ResultStatus, TaskBatchView, TaskBody, TaskSeries, encode_task_body,
};
use ringmw_codec::frame::{FrameReader, Kind, put_frame};
use ringmw_codec::handshake::{Hello, Refusal, Welcome};

/// How long anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(50);

/// Waits until `ready` gives something.
///
/// # Panics
/// When [`PATIENCE`] is over.
pub(crate) fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The trail in a file. The last line may still be on its way.
pub(crate) fn trail(path: &Path) -> Vec<Line> {
    trail_from(path, 0)
}

fn trail_from(path: &Path, begin: usize) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let text = text.get(begin..).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| Line::parse(line).unwrap_or_else(|error| panic!("{line}: {error:?}")))
        .collect()
}

pub(crate) fn events(path: &Path) -> Vec<Event> {
    events_from(path, 0)
}

/// What a trail says from a byte on.
pub(crate) fn events_from(path: &Path, begin: usize) -> Vec<Event> {
    let lines = trail_from(path, begin).into_iter();
    lines.map(|line| line.event).collect()
}

/// One task as it came to a played slave.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) task: u64,
    pub(crate) algorithm: u16,
    pub(crate) marked: bool,
    body: Vec<u8>,
}

impl Given {
    pub(crate) fn args(&self) -> &[u8] {
        TaskBody::parse(&self.body).unwrap().args
    }

    /// The only argument, a number.
    pub(crate) fn number(&self) -> u64 {
        ringmw::internals::wire::decode(self.args()).unwrap()
    }
}

pub(crate) fn archive(number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    ringmw::internals::wire::encode(&number, &mut out).unwrap();
    out
}

pub(crate) fn tasks_in(payload: &[u8]) -> Vec<Given> {
    let batch = TaskBatchView::decode(payload).unwrap();
    let given = batch.iter().flat_map(|(entry, body)| {
        let series = TaskSeries::parse(body, entry.count).unwrap();
        (0..entry.count).map(move |index| {
            let mut body = Vec::new();
            encode_task_body(&mut body, &series.nth(index).unwrap());
            Given {
                task: entry.task + u64::from(index),
                algorithm: entry.algorithm,
                marked: entry.is_marked(),
                body,
            }
        })
    });
    given.collect()
}

/// A packet of results, as a whole frame.
pub(crate) fn results(results: &[(u64, u16, ResultStatus, &[u8])]) -> Vec<u8> {
    let mut builder = ResultBatchBuilder::new();
    for (task, algorithm, status, body) in results {
        builder.push(*task, *algorithm, *status, 1_000, body);
    }
    let mut payload = Vec::new();
    builder.encode(&mut payload);
    frame(Kind::Results, &payload)
}

/// A result that is a number.
pub(crate) fn result(given: &Given, number: u64) -> Vec<u8> {
    results(&[(
        given.task,
        given.algorithm,
        ResultStatus::Done,
        &archive(number),
    )])
}

pub(crate) fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_frame(&mut out, kind, payload);
    out
}

pub(crate) fn hello_frame(hello: &Hello) -> Vec<u8> {
    let mut payload = Vec::new();
    hello.encode(&mut payload);
    frame(Kind::Hello, &payload)
}

/// All frames of a stream of bytes.
pub(crate) fn frames_of(reader: &mut FrameReader, bytes: &[u8]) -> Vec<(Kind, Vec<u8>)> {
    let mut frames = Vec::new();
    let flow = reader.feed(bytes, &|_| u32::MAX, &mut |kind, payload| {
        frames.push((kind, payload.to_vec()));
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(
        flow,
        Ok(ControlFlow::Continue(())),
        "the master speaks clean frames"
    );
    frames
}

/// A slave that a test plays.
pub(crate) struct Played {
    pub(crate) stream: TcpStream,
    pub(crate) from: String,
    reader: FrameReader,
    frames: VecDeque<(Kind, Vec<u8>)>,
    tasks: VecDeque<Given>,
}

impl Played {
    /// Connected, and silent.
    pub(crate) fn dial(ready: &Ready) -> Played {
        let stream = TcpStream::connect(&ready.address).unwrap();
        let from = stream.local_addr().unwrap().to_string();
        Played::new(stream, from)
    }

    /// The other side of a connection that was accepted: a master that a test plays.
    pub(crate) fn accept(listener: &TcpListener) -> Played {
        let (stream, from) = listener.accept().unwrap();
        Played::new(stream, from.to_string())
    }

    fn new(stream: TcpStream, from: String) -> Played {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Played {
            stream,
            from,
            reader: FrameReader::new(),
            frames: VecDeque::new(),
            tasks: VecDeque::new(),
        }
    }

    /// Has said this hello.
    pub(crate) fn greet(ready: &Ready, hello: &Hello) -> Played {
        let mut played = Played::dial(ready);
        played.say(&hello_frame(hello));
        played
    }

    /// Has been welcomed.
    pub(crate) fn join(ready: &Ready) -> (Played, Welcome) {
        let mut played = Played::greet(ready, &ready.hello);
        match played.hear() {
            Some((Kind::Welcome, payload)) => {
                let welcome = Welcome::decode(&payload).unwrap();
                (played, welcome)
            }
            other => panic!("no welcome but {other:?}"),
        }
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        // The master may have closed already: then what it said is what counts.
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn send(&mut self, kind: Kind, payload: &[u8]) {
        self.say(&frame(kind, payload));
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) fn hear(&mut self) -> Option<(Kind, Vec<u8>)> {
        let mut buffer = [0u8; 65536];
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(frame);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(read) => self
                    .frames
                    .extend(frames_of(&mut self.reader, &buffer[..read])),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{}: the peer says nothing: {error}", self.from),
            }
        }
    }

    /// The next task.
    pub(crate) fn task(&mut self) -> Given {
        loop {
            if let Some(given) = self.tasks.pop_front() {
                return given;
            }
            match self.hear() {
                Some((Kind::Tasks, payload)) => self.tasks.extend(tasks_in(&payload)),
                Some((Kind::Refuse, payload)) => {
                    panic!("refused: {}", Refusal::decode(&payload).unwrap())
                }
                Some(_) => {}
                None => panic!(
                    "{}: the connection ended where a task was expected",
                    self.from
                ),
            }
        }
    }

    /// The next frame of this kind; others are passed over.
    pub(crate) fn await_kind(&mut self, wanted: Kind) -> Vec<u8> {
        loop {
            match self.hear() {
                Some((kind, payload)) if kind == wanted => return payload,
                Some(_) => {}
                None => panic!(
                    "{}: the connection ended where {wanted:?} was expected",
                    self.from
                ),
            }
        }
    }

    /// The sentence with which the master ends the connection, and it does end.
    pub(crate) fn refusal(mut self) -> String {
        let mut sentence = None;
        while let Some((kind, payload)) = self.hear() {
            if kind == Kind::Refuse {
                sentence = Some(Refusal::decode(&payload).unwrap().to_string());
            }
        }
        sentence.unwrap_or_else(|| panic!("{}: closed without a word", self.from))
    }
}
