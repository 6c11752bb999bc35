//! Sentences of no honest slave.

use rand::{Rng as _, RngExt};
use rand_chacha::ChaCha8Rng;
use ringmw_codec::batch::{ResultBatchBuilder, ResultStatus};
use ringmw_codec::control::{Offer, Returned, Starting, Withdrawn};
use ringmw_codec::frame::{self, Kind};

pub(in crate::testing) fn put(out: &mut Vec<u8>, kind: Kind, encode: impl FnOnce(&mut Vec<u8>)) {
    let mark = frame::begin_frame(out, kind);
    encode(out);
    frame::finish_frame(out, mark);
}

/// A packet of results that are all alike.
pub(super) fn put_results(
    out: &mut Vec<u8>,
    results: &[(u64, u16)],
    status: ResultStatus,
    body: &[u8],
) {
    let mut builder = ResultBatchBuilder::new();
    for &(task, algorithm) in results {
        builder.push(task, algorithm, status, 1_000, body);
    }
    put(out, Kind::Results, |out| builder.encode(out));
}

/// A sentence of no honest slave, given what it holds.
pub(super) fn lie(rng: &mut ChaCha8Rng, hands: &[(u64, u16)], announced: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let first = hands.first().copied();
    let last = hands.last().copied().filter(|_| hands.len() > 1);
    let result = put_results;
    let failed = ResultStatus::Failed;
    let drawn = match announced && rng.random_range(0..2) == 0 {
        true => [12, 14][rng.random_range(0..2)],
        false => rng.random_range(0..19),
    };
    match (drawn, first, last) {
        (0, ..) => result(&mut out, &[(1 << 40, 0)], failed, b"unknown"),
        // The first answer counts: a failed result is an honest-looking one. The second is the offence.
        (1, Some(first), _) => result(&mut out, &[first, first], failed, b"twice"),
        (2, _, Some(last)) => result(&mut out, &[last], failed, b"out of order"),
        (3, Some((task, algorithm)), _) => result(
            &mut out,
            &[(task, algorithm + 1)],
            failed,
            b"wrong algorithm",
        ),
        (4, Some(first), _) => result(
            &mut out,
            &[first],
            ResultStatus::Done,
            b"\xff\xff\xff\xff\xff",
        ),
        (5, ..) => {
            let tasks = vec![(first.map_or(7, |first| first.0), false)];
            put(&mut out, Kind::Withdrawn, |out| {
                Withdrawn { tasks }.encode(out)
            });
        }
        (17, ..) => {
            let tasks = hands.iter().map(|held| held.0).collect();
            put(&mut out, Kind::Returned, |out| {
                Returned { tasks }.encode(out)
            });
        }
        // A series that goes on beyond its hands, of the first algorithm, which counts: nobody compares its outputs.
        (18, Some((task, 0)), _) => {
            let run: Vec<_> = (task..task + 7).map(|task| (task, 0)).collect();
            result(&mut out, &run, ResultStatus::Done, &[0; 8]);
        }
        // Once more what may have been announced already: no offence.
        (14, Some((task, _)), _) => put(&mut out, Kind::Starting, |out| {
            Starting { task }.encode(out)
        }),
        (6, ..) => put(&mut out, Kind::Starting, |out| {
            Starting {
                task: last.map_or(1 << 41, |last| last.0),
            }
            .encode(out)
        }),
        (7, ..) => put(&mut out, Kind::Offer, |out| {
            Offer {
                best: 9_999,
                key: 1,
                witness: b"",
            }
            .encode(out)
        }),
        (8, ..) => put(&mut out, Kind::Offer, |out| {
            Offer {
                best: 0,
                key: 0,
                witness: b"\x01",
            }
            .encode(out)
        }),
        (9, ..) => frame::put_frame(&mut out, Kind::Shutdown, &[1]),
        (10, ..) => {
            // A header that announces more than may come.
            frame::put_frame(&mut out, Kind::Results, &[]);
            out[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        }
        (11, ..) => {
            frame::put_frame(&mut out, Kind::Heartbeat, &[]);
            let at = rng.random_range(0..out.len());
            out[at] ^= 1 << rng.random_range(0..8);
        }
        // A frame that is begun and never finished: heartbeats follow inside it.
        (12 | 15 | 16, ..) => {
            frame::put_frame(&mut out, Kind::Results, &[0; 1_000]);
            out.truncate(frame::HEADER_BYTES);
        }
        _ => {
            out.resize(rng.random_range(1..100), 0);
            rng.fill_bytes(&mut out);
        }
    }
    out
}
