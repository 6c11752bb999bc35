//! One example of each file that outlasts a process.

use ringmw_codec::journal::{
    BegunEntry, FailedFile, How, Identity, Numbering, Offered, RunFile, SavedBest, Segment,
    StateFile, begin_results, hash_args, put_begun, put_failure, put_offer, put_result, seal,
};

pub(crate) fn identity() -> Identity {
    Identity {
        run: 0x0123_4567_89ab_cdef_0011_2233_4455_6677,
        program: "pi".into(),
        build: "b1".into(),
        app_version: "1.2".into(),
        seed: 42,
        args: vec!["--n".into(), "9".into()],
    }
}

pub(crate) fn segment() -> Segment {
    Segment {
        life: 2,
        number: 3,
        begun_us: 1_700_000_000_000_000,
        identity: identity(),
        algorithms: vec!["hello".into(), "pi".into()],
    }
}

pub(crate) fn state() -> StateFile {
    StateFile {
        identity: identity(),
        type_hash: 7,
        type_text: "(u64, u64)".into(),
        numbering: vec![Numbering {
            algorithm: "pi".into(),
            maps: 3,
            singles: 4,
        }],
        bests: vec![SavedBest {
            best: 1,
            types: 5,
            image: 6,
            witness: b"w".to_vec(),
        }],
        value: b"value".to_vec(),
    }
}

pub(crate) fn run() -> RunFile {
    RunFile {
        identity: identity(),
        life: 2,
        port: 4711,
        begun_us: 1_700_000_000_000_000,
        pid: 12,
        host: "node7".into(),
        secret: Some([9; 32]),
    }
}

pub(crate) fn failed() -> FailedFile {
    FailedFile {
        identity: identity(),
        task: 920,
        how: How::TimedOut,
        algorithm: "walk".into(),
        slave: "SLAVE-3 on node7".into(),
        policy: "no retry".into(),
        message: "timed out after 2 s".into(),
        domain: 1,
        stream: 2,
        bests: vec![(0, 77)],
        tag: Some((3, b"tag".to_vec())),
        args: b"args".to_vec(),
    }
}

pub(crate) fn payloads() -> Vec<u8> {
    let mut out = Vec::new();
    let table = begin_results(&mut out, 1, 2, 4, (1, 10), 5);
    put_result(&mut out, table, 0, hash_args(b"a"), 77, b"one");
    put_result(&mut out, table, 1, hash_args(b"b"), 78, b"tw");
    put_failure(&mut out, 0, 4, (0, 3), hash_args(b"c"), 5, "no");
    put_offer(
        &mut out,
        &Offered {
            best: 1,
            number: 5,
            types: 6,
            image: 7,
            witness: b"wit",
        },
    );
    let task = BegunEntry {
        algorithm: 1,
        domain: 2,
        stream: 3,
        args: 4,
    };
    put_begun(&mut out, false, &[task]);
    put_begun(&mut out, true, &[task, task]);
    out
}

/// A whole segment, and where its head ends.
pub(crate) fn file() -> (Vec<u8>, usize) {
    let mut file = segment().encode();
    let head = file.len();
    let at = head as u64;
    seal(&mut file, (2, 3), at, &payloads());
    (file, head)
}
