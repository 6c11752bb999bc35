//! One example of every wire structure, as the encoders lay it. The wire format page shows them, the fuzzers begin
//! with them.

mod sample;

use ringmw_codec::batch::{
    MARKED, ResultBatchBuilder, ResultStatus, TaskBatchBuilder, TaskBody, TaskSeries,
    encode_task_body,
};
use ringmw_codec::control::{
    Begun, Bests, Goodbye, GoodbyeCode, Offer, Recall, Returned, Shutdown, Starting, Withdraw,
    Withdrawn,
};
use ringmw_codec::handshake::{
    About, AlgorithmSignature, Fingerprint, Hello, PROTOCOL_VERSION, Refusal, Welcome,
};
use ringmw_codec::kept::{Kept, KeptResult};
use ringmw_codec::kinds::Kind;
use ringmw_codec::log::{Log, LogLevel, LogLine};
use ringmw_codec::observe::{Answer, Ask};
use ringmw_codec::running::{AsksHungry, Checkpoint, CheckpointTaken, Hungry};
use ringmw_codec::secret::{First, Initiator, Key, Role, Secret};
use ringmw_codec::shared::{Blob, BlobName, Want};
use ringmw_codec::talk::{Heard, Message, Progress};

use sample::{SERIES, encoded};

fn algorithm(name: &str, arguments: &str, result: &str, types: u64) -> AlgorithmSignature {
    AlgorithmSignature {
        name: name.into(),
        arguments: arguments.into(),
        result: result.into(),
        types,
    }
}

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        member_id: b"id".to_vec(),
        host: "node7".into(),
        job: "123.4".into(),
        pid: 4711,
        about: About {
            is_watched: true,
            before: "SIGSEGV".into(),
            labels: vec!["gpu".into()],
            comes_back_to: 0x0102_0304_0506_0708,
        },
        fingerprint: Fingerprint {
            app_version: "1.2".into(),
            build: "b1".into(),
            format: ringmw_codec::batch::ARCHIVE_FORMAT,
            algorithms: vec![
                algorithm("hello", "(String)", "String", 7),
                algorithm("pi", "(u64)", "f64", 0x1122_3344_5566_7788),
            ],
        },
    }
}

fn welcome() -> Welcome {
    Welcome {
        slave: 17,
        client_timeout_ms: 60_000,
        task_packet_bytes_max: 131_072,
        result_packet_bytes_max: 131_072,
        result_group: 100,
        checkpoint_interval_ms: 10_000,
        crash_limit: 10,
        task_timeout_ms: 30_000,
        seed: 42,
        shared_cache_bytes: 1 << 30,
        run: 0x0102_0304_0506_0708,
        life: 2,
        reconnect_ms: 300_000,
        log: Some(LogLevel::Warn),
        args: vec!["--n".into(), "9".into()],
    }
}

fn message() -> Message<'static> {
    Message {
        task: 920,
        message: b"bye",
    }
}

fn heard() -> Heard {
    Heard {
        task: 920,
        bytes: 27,
    }
}

fn checkpoint() -> Checkpoint<'static> {
    Checkpoint {
        task: 920,
        draws: 6,
        state_type: 3,
        state: b"state",
    }
}

pub(crate) fn task_body() -> Vec<u8> {
    let body = TaskBody {
        domain: 1,
        stream: 2,
        tag_type: 3,
        timeout_ms: 0,
        tag: b"tag",
        args: b"args",
    };
    encoded(|out| encode_task_body(out, &body))
}

fn task_batch() -> Vec<u8> {
    let mut builder = TaskBatchBuilder::new();
    builder.push(920, 1, MARKED, &task_body());
    builder.push(921, 0, 0, b"");
    encoded(|out| builder.encode(out))
}

fn result_batch() -> Vec<u8> {
    let mut builder = ResultBatchBuilder::new();
    builder.push(920, 1, ResultStatus::Done, 5_000_000, b"pi");
    builder.push(921, 0, ResultStatus::Failed, 1, "né".as_bytes());
    encoded(|out| builder.encode(out))
}

fn task_series() -> Vec<u8> {
    let mut builder = TaskBatchBuilder::new();
    builder.push_series(920, 1, 0, &SERIES);
    encoded(|out| builder.encode(out))
}

fn task_varied() -> Vec<u8> {
    let series = TaskSeries {
        tag_type: Some(3),
        timeout_ms: 0,
        elements: b"\x01\0\0\0ta\x01\0\0\0ubb\x01\0\0\0v",
        ends: &[[6, 0, 0, 0], [13, 0, 0, 0], [18, 0, 0, 0]],
        ..SERIES
    };
    let mut builder = TaskBatchBuilder::new();
    builder.push_series(920, 1, 0, &series);
    encoded(|out| builder.encode(out))
}

fn result_series() -> Vec<u8> {
    let mut builder = ResultBatchBuilder::new();
    builder.push(920, 1, ResultStatus::Done, 5_000_000, b"pi");
    builder.push(921, 1, ResultStatus::Done, 1, b"ee");
    encoded(|out| builder.encode(out))
}

fn blob_name() -> BlobName {
    BlobName(std::array::from_fn(|at| at as u8))
}

fn result_varied() -> Vec<u8> {
    let mut builder = ResultBatchBuilder::new();
    builder.push(920, 1, ResultStatus::Done, 5_000_000, b"pi");
    builder.push(921, 1, ResultStatus::Done, 1, b"e");
    encoded(|out| builder.encode(out))
}

/// Payloads of this kind, each with its name.
pub(crate) fn payloads(kind: Kind) -> Vec<(&'static str, Vec<u8>)> {
    let one = |name, encode: &dyn Fn(&mut Vec<u8>)| vec![(name, encoded(encode))];
    match kind {
        Kind::Hello => one("hello", &|out| hello().encode(out)),
        Kind::Welcome => one("welcome", &|out| welcome().encode(out)),
        Kind::Refuse => one("refusal", &|out| {
            Refusal::Fingerprint("No.".into()).encode(out);
        }),
        Kind::Tasks => vec![
            ("task-batch", task_batch()),
            ("task-series", task_series()),
            ("task-varied", task_varied()),
        ],
        Kind::Results => vec![
            ("result-batch", result_batch()),
            ("result-series", result_series()),
            ("result-varied", result_varied()),
        ],
        Kind::Heartbeat => one("heartbeat", &|_| ()),
        Kind::Shutdown => one("shutdown", &|out| Shutdown { finished: true }.encode(out)),
        Kind::Goodbye => one("goodbye", &|out| {
            let goodbye = Goodbye {
                code: GoodbyeCode::StateInit,
                begun: Begun::None,
                reason: "no disk".into(),
            };
            goodbye.encode(out);
        }),
        Kind::Withdraw => one("withdraw", &|out| {
            let tasks = vec![920, 921];
            Withdraw { tasks }.encode(out);
        }),
        Kind::Withdrawn => one("withdrawn", &|out| {
            let tasks = vec![(920, true), (921, false)];
            Withdrawn { tasks }.encode(out);
        }),
        Kind::Starting => one("starting", &|out| Starting { task: 920 }.encode(out)),
        Kind::Offer => one("offer", &|out| {
            let offer = Offer {
                best: 1,
                key: 2,
                witness: b"tour",
            };
            offer.encode(out);
        }),
        Kind::Bests => one("bests", &|out| {
            let entries = vec![(0, 9), (1, 2)];
            Bests { entries }.encode(out);
        }),
        Kind::Recall => one("recall", &|out| Recall { tasks: 100 }.encode(out)),
        Kind::Want => one("want", &|out| {
            let name = blob_name();
            Want {
                name,
                from: 2,
                to: 9,
            }
            .encode(out);
        }),
        Kind::Blob => one("blob", &|out| {
            let (name, bytes) = (blob_name(), &b"pi"[..]);
            Blob {
                name,
                from: 2,
                bytes,
            }
            .encode(out);
        }),
        Kind::Said => one("said", &|out| message().encode(out)),
        Kind::Say => one("say", &|out| message().encode(out)),
        Kind::Heard => one("heard", &|out| heard().encode(out)),
        Kind::SaidHeard => one("said-heard", &|out| heard().encode(out)),
        Kind::Progress => one("progress", &|out| {
            Progress {
                task: 920,
                done: 3,
                total: 10,
            }
            .encode(out);
        }),
        Kind::Returned => one("returned", &|out| {
            Returned { tasks: vec![921] }.encode(out);
        }),
        Kind::Checkpoint => one("checkpoint", &|out| checkpoint().encode(out)),
        Kind::Kept => one("kept", &|out| {
            let result = |failed: bool, stream: u64, output: &'static [u8]| KeptResult {
                algorithm: 1,
                failed,
                domain: 1,
                stream,
                args: 3,
                compute_ns: 5_000_000,
                output,
            };
            let results = vec![result(false, 2, b"pi"), result(true, 3, b"no")];
            Kept { results }.encode(out);
        }),
        Kind::CameOf => one("came-of", &|out| {
            let entries = vec![(1, 2)];
            Bests { entries }.encode(out);
        }),
        Kind::CheckpointTaken => one("checkpoint-taken", &|out| {
            CheckpointTaken { task: 920 }.encode(out);
        }),
        Kind::Log => one("log", &|out| {
            Log {
                left_out: 3,
                left_out_bytes: 200,
                line: Some(LogLine {
                    level: LogLevel::Warn,
                    task: Some(920),
                    text: "slow",
                }),
            }
            .encode(out);
        }),
        Kind::AsksHungry => one("asks-hungry", &|out| {
            AsksHungry { algorithm: 1 }.encode(out);
        }),
        Kind::Hungry => one("hungry", &|out| {
            let (task, hungry) = (920, true);
            Hungry { task, hungry }.encode(out);
        }),
        Kind::Resume => one("resume", &|out| checkpoint().encode(out)),
        Kind::Ask => one("ask", &|out| {
            Ask::Why { about: "TASK-7" }.encode(out);
        }),
        Kind::Answer => one("answer", &|out| {
            let text = b"{}";
            Answer {
                is_last: true,
                text,
            }
            .encode(out);
        }),
    }
}

/// What is said before the first record, and a record of the slave's.
pub(crate) fn secret() -> Vec<(&'static str, Vec<u8>)> {
    let secret = Secret::new([7; 32]);
    let (initiator, first) = Initiator::new(&secret, Role::Slave, b"id", Key::new([1; 32]));
    let read = First::read(&first).expect("sound");
    let proved = read.prove(&secret, b"id", Key::new([2; 32]));
    let (_, answer) = proved.expect("it knows the secret").answer();
    let mut record = Vec::new();
    let mut at_slave = initiator.finish(&answer).expect("so does the master");
    at_slave.seal(&mut b"RW".to_vec(), &mut record);
    vec![
        ("secret-first", first.to_vec()),
        ("secret-answer", answer.to_vec()),
        ("secret-record", record),
    ]
}
