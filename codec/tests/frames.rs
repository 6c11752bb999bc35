//! Frames: golden bytes, any chunking, any flipped bit, bounded memory.

use std::ops::ControlFlow;

use proptest::prelude::*;
use ringmw_codec::frame::{
    Block, FrameError, FrameReader, HEADER_BYTES, Payload, begin_frame, finish_frame, put_frame,
};
use ringmw_codec::kinds::{
    Direction, FromMaster, FromObserver, FromSlave, Kind, Limit, ReadError, ToObserver,
};

type Frames = Vec<(Kind, Vec<u8>)>;

const LIMIT: u32 = 1 << 16;

/// Feeds the chunks to a new reader; the frames it gave, and how that ended.
fn read<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Frames, Result<FrameReader, FrameError>) {
    let mut reader = FrameReader::new();
    let mut frames = Frames::new();
    for chunk in chunks {
        let flow = reader.feed(chunk, &|_| LIMIT, &mut |kind, payload| {
            frames.push((kind, payload.to_vec()));
            ControlFlow::<()>::Continue(())
        });
        match flow {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => unreachable!("the sink goes on"),
            Err(error) => return (frames, Err(error)),
        }
    }
    (frames, Ok(reader))
}

fn stream(frames: &Frames) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, payload) in frames {
        put_frame(&mut bytes, *kind, payload);
    }
    bytes
}

#[test]
fn golden_bytes() {
    let mut bytes = Vec::new();
    put_frame(&mut bytes, Kind::Heartbeat, b"");
    put_frame(&mut bytes, Kind::Tasks, b"123456789");
    // The checksums were computed by another program.
    let expected = [
        &b"RW\x01\x06\0\0\0\0\0\0\0\0"[..],
        &0x085a_a4fd_u32.to_le_bytes(),
        b"RW\x01\x04\0\0\0\0\x09\0\0\0",
        &0x3492_4512_u32.to_le_bytes(),
        b"123456789",
    ]
    .concat();
    assert_eq!(bytes, expected);
}

#[test]
fn a_frame_is_laid_in_place() {
    let mut in_place = b"before".to_vec();
    let mark = begin_frame(&mut in_place, Kind::Results);
    assert_eq!(mark.start(), 6);
    in_place.extend_from_slice(b"payload");
    finish_frame(&mut in_place, mark);
    let mut at_once = b"before".to_vec();
    put_frame(&mut at_once, Kind::Results, b"payload");
    assert_eq!(in_place, at_once);
}

#[test]
fn kinds_turn_round_and_have_limits() {
    for number in 0..=255 {
        let kind = Kind::from_u8(number);
        assert!(kind.is_none_or(|kind| kind as u8 == number && Kind::ALL.contains(&kind)));
    }
    assert!(Kind::ALL.is_sorted());
    assert_eq!(Kind::from_u8(0), None);
    let by_buffers: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| !matches!(kind.limit(), Limit::Bytes(_)))
        .collect();
    assert_eq!(
        by_buffers,
        [
            Kind::Tasks,
            Kind::Results,
            Kind::Offer,
            Kind::Bests,
            Kind::Said,
            Kind::Say,
            Kind::Checkpoint,
            Kind::Kept,
            Kind::CameOf,
            Kind::Resume
        ]
    );
    assert_eq!(Kind::Hello.limit(), Limit::Bytes(65_536));
    assert_eq!(Kind::Heartbeat.limit(), Limit::Bytes(0));
    let limits = [Kind::Hello, Kind::Bests, Kind::Offer].map(|kind| kind.limit().bytes(7, 8));
    assert_eq!(limits, [65_536, 7, 8]);
}

/// Each kind is refused by the side that sends it, before its payload is looked at.
#[test]
fn a_frame_is_read_by_the_side_it_goes_to() {
    for kind in Kind::ALL {
        let refused = ReadError::Direction(kind);
        let payload = [0xff; 3];
        let read = [
            (Direction::ToMaster, FromSlave::read(kind, &payload).err()),
            (Direction::ToSlave, FromMaster::read(kind, &payload).err()),
            (
                Direction::OfObserver,
                FromObserver::read(kind, &payload).err(),
            ),
            (
                Direction::ToObserver,
                ToObserver::read(kind, &payload).err(),
            ),
        ];
        let never = match kind.direction() {
            Direction::ToMaster => "a master never sends",
            Direction::ToSlave => "a slave never sends",
            Direction::OfObserver => "only an observer sends",
            Direction::ToObserver => "only to observers is sent",
        };
        assert_eq!(refused.to_string(), format!("{never} {kind:?}"));
        for (side, error) in read {
            let is_its = side == kind.direction();
            assert_eq!(error == Some(refused.clone()), !is_its, "{kind:?} {side:?}");
            assert!(error.is_some(), "{kind:?} {side:?}");
        }
    }
}

#[test]
fn every_flipped_bit_is_an_error_or_waits_for_more() {
    let mut frame = Vec::new();
    put_frame(&mut frame, Kind::Starting, &920u64.to_le_bytes());
    for bit in 0..8 * frame.len() {
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let (frames, end) = read([&damaged[..]]);
        assert_eq!(frames, [], "bit {bit}");
        if let Ok(reader) = end {
            // Only a longer length can do that; then the next frames complete it, to no avail.
            assert!(
                reader.is_mid_frame() && (8..12).contains(&(bit / 8)),
                "bit {bit}"
            );
            let (frames, end) = read([&damaged[..], &vec![0; LIMIT as usize]]);
            assert_eq!((frames, end.is_err()), (Vec::new(), true), "bit {bit}");
        }
    }
}

#[test]
fn a_header_is_judged_as_its_bytes_come() {
    let oversized = FrameError::Oversized {
        kind: Kind::Tasks,
        payload_bytes: LIMIT + 1,
        payload_bytes_max: LIMIT,
    };
    let rows: [(&[u8], FrameError); 7] = [
        (b"G", FrameError::Magic),
        (b"RX", FrameError::Magic),
        (b"RW\x02", FrameError::Version { got: 2 }),
        (b"RW\x01\x00", FrameError::Kind { got: 0 }),
        (b"RW\x01\x04\x01", FrameError::Flags),
        (b"RW\x01\x04\0\0\0\x80", FrameError::Flags),
        (b"RW\x01\x04\0\0\0\0\x01\0\x01\0", oversized),
    ];
    for (bytes, expected) in rows {
        let one_by_one = read(bytes.chunks(1)).1.err();
        assert_eq!(one_by_one, Some(expected), "{bytes:?}");
        assert_eq!(read([bytes]).1.err(), Some(expected), "{bytes:?}");
        let before = read([&bytes[..bytes.len() - 1]]).1;
        assert!(before.is_ok(), "{bytes:?}: not before its last byte");
    }
}

#[test]
fn a_break_drops_the_rest_of_the_chunk() {
    let bytes = stream(&vec![
        (Kind::Starting, b"1".to_vec()),
        (Kind::Starting, b"2".to_vec()),
    ]);
    for cut in [0, 5, 17] {
        let mut reader = FrameReader::new();
        let mut stop = |_: Kind, payload: &[u8]| ControlFlow::Break(payload.to_vec());
        let first = reader.feed(&bytes[..cut], &|_| 64, &mut stop);
        let flow = if first.as_ref().is_ok_and(ControlFlow::is_break) {
            first
        } else {
            reader.feed(&bytes[cut..], &|_| 64, &mut stop)
        };
        assert_eq!(flow, Ok(ControlFlow::Break(b"1".to_vec())));
        assert!(!reader.is_mid_frame());
    }
}

/// A peer that announces much and sends little costs what it sent.
#[test]
fn an_announcement_takes_no_memory() {
    let mut frame = Vec::new();
    put_frame(&mut frame, Kind::Tasks, &vec![7; 60_000]);
    let mut reader = FrameReader::new();
    let mut sink = |_: Kind, _: &[u8]| ControlFlow::<()>::Continue(());
    for (sent, byte) in frame.chunks(1).enumerate() {
        let flow = reader.feed(byte, &|_| LIMIT, &mut sink);
        assert_eq!(flow, Ok(ControlFlow::Continue(())));
        let whole = sent + 1 == frame.len();
        assert_eq!(reader.buffered_bytes(), if whole { 0 } else { sent + 1 });
        assert_eq!(reader.is_mid_frame(), !whole);
    }
}

/// The rest of a long frame is received into the frame's own memory, in whatever pieces; a damaged one is found all the same.
#[test]
fn a_long_frame_is_lent_and_taken_back() {
    let payload: Vec<u8> = (0..5_000_000u32).map(|nth| (nth >> 7) as u8).collect();
    let mut stream = Vec::new();
    put_frame(&mut stream, Kind::Heartbeat, b"");
    put_frame(&mut stream, Kind::Results, &payload);
    for (head, piece) in [
        (32, 1 << 20),
        (40, 65_537),
        (8_192, usize::MAX),
        (4_900_000, 1),
    ] {
        for damaged in [None, Some(60), Some(4_999_999)] {
            let mut stream = stream.clone();
            if let Some(at) = damaged {
                stream[at] ^= 4;
            }
            let (first, mut rest) = stream.split_at(head);
            let mut reader = FrameReader::new();
            let mut got = Vec::new();
            let mut sink = |kind, payload: Payload<'_>| {
                got.push((kind, payload.bytes().len()));
                ControlFlow::<()>::Continue(())
            };
            let mut flow = reader.take(first, &|_| u32::MAX, &mut sink);
            while let Some(Block { mut bytes, until }) = reader.lend() {
                assert!(until > bytes.len() && bytes.capacity() >= until);
                assert_eq!(reader.lend().map(|_| ()), None, "it is lent already");
                let (came, after) = rest.split_at(piece.min(until - bytes.len()).min(rest.len()));
                assert_eq!(reader.buffered_bytes(), bytes.len());
                bytes.extend_from_slice(came);
                rest = after;
                flow = reader.take_back(bytes, &mut sink);
            }
            if flow.is_ok() && !rest.is_empty() {
                flow = reader.take(rest, &|_| u32::MAX, &mut sink);
            }
            assert!(!reader.is_mid_frame());
            let whole = [(Kind::Heartbeat, 0), (Kind::Results, payload.len())];
            match damaged {
                None => assert_eq!(
                    (flow, &got[..]),
                    (Ok(ControlFlow::Continue(())), &whole[..])
                ),
                Some(_) => {
                    assert!(matches!(flow, Err(FrameError::Checksum { .. })), "{flow:?}");
                    assert_eq!(got, whole[..1]);
                }
            }
        }
    }
}

fn any_frames() -> impl Strategy<Value = Frames> {
    let kind = prop::sample::select(&Kind::ALL[..]);
    let payload = prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 0..40)];
    prop::collection::vec((kind, payload), 0..8)
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_frames(frames in any_frames(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let bytes = stream(&frames);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let (got, end) = read(cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]));
        prop_assert_eq!(got, frames);
        prop_assert!(!end.expect("a sound stream").is_mid_frame());
    }

    #[test]
    fn a_cut_stream_gives_the_frames_before_the_cut(frames in any_frames(), cut in any::<prop::sample::Index>()) {
        let bytes = stream(&frames);
        let cut = cut.index(bytes.len() + 1);
        let (got, end) = read([&bytes[..cut]]);
        prop_assert_eq!(&got[..], &frames[..got.len()]);
        let whole: usize = got.iter().map(|(_, payload)| HEADER_BYTES + payload.len()).sum();
        prop_assert_eq!(end.expect("a sound stream").buffered_bytes(), cut - whole);
    }

    #[test]
    fn noise_never_panics(noise in any::<Vec<u8>>()) {
        let _ = read([&noise[..]]);
        let bytes = [b"RW\x01\x04\0\0\0\0", &noise[..]].concat();
        let _ = read(bytes.chunks(3));
    }
}
