//! The journal's formats: golden bytes, any cut, any flipped bit, foreign places.

#[path = "support/kept.rs"]
mod kept;

use kept::{failed, file, identity, payloads, run, segment, state};
use ringmw_codec::journal::{
    Difference, FailedFile, FileError, Found, Identity, Record, Records, RunFile, Segment,
    StateFile, hash_args, hash_name, key, seal,
};

fn found(file: &[u8]) -> Vec<Found<'_>> {
    let (segment, at) = Segment::decode(file).expect("the head is whole");
    Records::new(&segment, file, at).collect()
}

fn records(file: &[u8]) -> Vec<Record<'_>> {
    let found = found(file).into_iter();
    found
        .filter_map(|found| match found {
            Found::Record { record, .. } => Some(record),
            Found::Damaged { .. } => None,
        })
        .collect()
}

#[test]
fn records_come_back() {
    let (file, _) = file();
    assert_eq!(Segment::decode(&file).expect("it is one").0, segment());
    let records = records(&file);
    let [
        Record::Results(results),
        Record::Results(failure),
        Record::Offer(offer),
        Record::Begun(begun),
        Record::Begun(given_back),
    ] = &records[..]
    else {
        panic!("{records:?}");
    };
    let entries: Vec<_> = results.iter().collect();
    assert_eq!(
        (
            results.failed,
            results.algorithm,
            results.offers,
            results.domain
        ),
        (false, 1, 4, 1)
    );
    assert_eq!(
        entries
            .iter()
            .map(|e| (e.stream, e.args, e.compute_ns))
            .collect::<Vec<_>>(),
        [(10, hash_args(b"a"), 77), (11, hash_args(b"b"), 78)]
    );
    assert_eq!(results.output(&entries[0]), b"one");
    assert_eq!(results.output(&entries[1]), b"tw");
    assert!(failure.failed && failure.outputs == b"no");
    assert_eq!(
        (offer.best, offer.number, offer.witness),
        (1, 5, &b"wit"[..])
    );
    assert!(!begun.given_back && given_back.given_back);
    assert_eq!((begun.iter().len(), given_back.iter().len()), (1, 2));
    assert_eq!(given_back.iter().last().map(|task| task.args), Some(4));
}

/// These bytes lie in the files of users.
#[test]
fn golden_bytes() {
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let (file, head) = file();
    assert_eq!(hex(&file[..head]), SEGMENT);
    assert_eq!(hex(&file[head..]), RECORDS);
    assert_eq!(hex(&state().encode()), STATE);
    assert_eq!(hex(&run().encode()), RUN);
    assert_eq!(hex(&failed().encode()), FAILED);
}

/// These numbers name the results in the files of users.
#[test]
fn golden_keys() {
    assert_eq!(hash_args(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    assert_eq!(hash_args(b"abc"), ABC);
    assert_eq!(hash_name("hello"), HELLO);
    assert_eq!(key(1, 2, 3, 4), KEY);
}

const ABC: u128 = 0x06b0_5ab6_733a_6185_78af_5f94_892f_3950;
const HELLO: u64 = 0x9555_e855_5c62_dcfd;
const KEY: u128 = 0x7980_fd54_2c9f_f0f6_6422_42d4_f91b_1ba6;
const SEGMENT: &str = concat!(
    "52576a6f75726e6c01000000334fa1375400000000000000020000000300000000401e18240a06007766554433221100",
    "efcdab89674523012a0000000000000002007069020062310300312e3202000000030000002d2d6e0100000039020000",
    "00050068656c6c6f02007069",
);
const RECORDS: &str = concat!(
    "525772635d000000892fe4340100010002000000040000000000000001000000000000000a000000000000001f4e961e",
    "b632c6e63468f15a70af6fa94d00000000000000030000003f84d8441c0b5a57d47fc91ae312224b4e00000000000000",
    "020000006f6e657477525772633e00000047d9bc8e010100000100000004000000000000000000000000000000030000",
    "00000000001bf8b9469a21408c85de747fd1bdd8120500000000000000020000006e6f52577263200000000fc0430c02",
    "0100000005000000000000000600000000000000070000000000000077697452577263280000006f3e476d0300010000",
    "0001000200000000000000030000000000000004000000000000000000000000000000525772634a000000834f1e8103",
    "010200000001000200000000000000030000000000000004000000000000000000000000000000010002000000000000",
    "00030000000000000004000000000000000000000000000000",
);
const STATE: &str = concat!(
    "5257737461746500010000000f13a3b785000000000000007766554433221100efcdab89674523012a00000000000000",
    "02007069020062310300312e3202000000030000002d2d6e010000003907000000000000000a000000287536342c2075",
    "363429010000000200706903000000000000000400000000000000010000000100000005000000000000000600000000",
    "000000010000007776616c7565",
);
const RUN: &str = concat!(
    "525772756e000000010000001ce80db56f000000000000007766554433221100efcdab89674523012a00000000000000",
    "02007069020062310300312e3202000000030000002d2d6e010000003902000000671200401e18240a06000c00000005",
    "006e6f646537010909090909090909090909090909090909090909090909090909090909090909",
);
const FAILED: &str = concat!(
    "52576661696c656401000000a03af69eab000000000000007766554433221100efcdab89674523012a00000000000000",
    "02007069020062310300312e3202000000030000002d2d6e0100000039980300000000000001040077616c6b1000534c",
    "4156452d33206f6e206e6f64653708006e6f2072657472791300000074696d6564206f75742061667465722032207301",
    "00000000000000020000000000000001000000000000004d000000000000000103000000000000000300000074616761",
    "726773",
);

#[test]
fn a_cut_leaves_all_records_before_it() {
    let (file, head) = file();
    let whole = found(&file);
    for cut in 0..file.len() {
        let part = &file[..cut];
        if cut < head {
            assert!(
                matches!(Segment::decode(part), Err(FileError::Short { .. })),
                "cut at {cut}"
            );
            continue;
        }
        let found = found(part);
        let records = found
            .iter()
            .filter(|found| matches!(found, Found::Record { .. }));
        assert!(
            records.clone().eq(&whole[..records.count()]),
            "cut at {cut}"
        );
        let bytes: u64 = found
            .iter()
            .map(|found| match found {
                Found::Damaged { bytes, torn, .. } => {
                    assert!(torn, "cut at {cut}");
                    *bytes
                }
                Found::Record { .. } => 0,
            })
            .sum();
        let ends = whole.iter().filter_map(|found| match found {
            Found::Record { at, .. } => Some(*at - 12),
            Found::Damaged { .. } => None,
        });
        let last = ends.filter(|at| *at <= cut as u64).max().unwrap_or(0);
        assert!(
            bytes == 0 || bytes == cut as u64 - last,
            "cut at {cut}: {bytes}"
        );
    }
}

#[test]
fn a_flipped_bit_costs_one_record() {
    let (file, head) = file();
    let whole = records(&file);
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if bit / 8 < head {
            let error = Segment::decode(&flipped).expect_err("its head is damaged");
            assert!(!error.to_string().is_empty());
            continue;
        }
        let left = records(&flipped);
        assert_eq!(left.len(), whole.len() - 1, "bit {bit}");
        assert!(
            left.iter().all(|record| whole.contains(record)),
            "bit {bit}"
        );
    }
}

#[test]
fn a_zeroed_block_costs_what_is_in_it() {
    let (file, head) = file();
    let whole = records(&file).len();
    for from in (head..file.len()).step_by(7) {
        let mut zeroed = file.clone();
        let until = (from + 40).min(file.len());
        zeroed[from..until].fill(0);
        if zeroed == file {
            continue;
        }
        assert!(records(&zeroed).len() >= whole - 3);
        assert!(
            found(&zeroed)
                .iter()
                .any(|found| matches!(found, Found::Damaged { .. }))
        );
    }
}

/// What a file system puts there of another file, or of another place of the same one.
#[test]
fn a_record_of_another_place_is_none() {
    let mut other = segment().encode();
    let at = other.len() as u64;
    seal(&mut other, (2, 4), at, &payloads());
    assert!(records(&other).is_empty());
    let mut moved = segment().encode();
    let at = moved.len() as u64;
    seal(&mut moved, (2, 3), at + 1, &payloads());
    assert!(records(&moved).is_empty());
}

/// Any file as any other, and each with any bit flipped or cut anywhere: the same, or a reason.
#[test]
fn other_files_are_refused_by_name() {
    let (segment_file, _) = file();
    assert_eq!(StateFile::decode(&state().encode()), Ok(state()));
    assert_eq!(RunFile::decode(&run().encode()), Ok(run()));
    assert_eq!(FailedFile::decode(&failed().encode()), Ok(failed()));
    let error = StateFile::decode(&segment_file).expect_err("it is none");
    assert_eq!(
        error.to_string(),
        "it is no state file: its first bytes are not \"RWstate\\0\""
    );
    for file in [state().encode(), run().encode(), failed().encode()] {
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(StateFile::decode(&flipped).is_err() && RunFile::decode(&flipped).is_err());
        }
        for cut in 0..file.len() {
            assert!(StateFile::decode(&file[..cut]).is_err());
            assert!(RunFile::decode(&file[..cut]).is_err());
        }
        let longer = [&file[..], b"x"].concat();
        assert!(StateFile::decode(&longer).is_err() && RunFile::decode(&longer).is_err());
    }
    let mut version = run().encode();
    version[8] = 2;
    assert_eq!(
        RunFile::decode(&version)
            .expect_err("of another version")
            .to_string(),
        "its format is version 2, this ringmw reads version 1"
    );
}

#[test]
fn names_of_segments() {
    for (life, number) in [(1, 1), (2, 300), (1_000_000, 1_000_000)] {
        let name = Segment::file_name(life, number);
        assert_eq!(Segment::parse_file_name(&name), Some((life, number)));
    }
    for name in [
        "run",
        "1-1.journal",
        "000000-000001.journal",
        "000001-000001.journal.tmp",
        "+00001-000001.journal",
    ] {
        assert_eq!(Segment::parse_file_name(name), None, "{name}");
    }
}

#[test]
fn differences_are_named_and_waived() {
    let kept = identity();
    let now = |change: fn(&mut Identity)| {
        let mut now = identity();
        change(&mut now);
        now
    };
    assert_eq!(kept.difference(&now(|i| i.run = 1), false, false), None);
    let build = now(|i| i.build = "b2".into());
    assert!(matches!(
        kept.difference(&build, false, true),
        Some(Difference::Build(..))
    ));
    assert_eq!(kept.difference(&build, true, false), None);
    let program = now(|i| (i.build, i.program) = ("b2".into(), "another".into()));
    assert!(matches!(
        kept.difference(&program, false, true),
        Some(Difference::Program(..))
    ));
    assert_eq!(kept.difference(&program, true, false), None);
    let renamed = now(|i| i.program = "another".into());
    assert_eq!(kept.difference(&renamed, false, false), None);
    let args = now(|i| i.args.clear());
    assert!(matches!(
        kept.difference(&args, true, false),
        Some(Difference::Args(..))
    ));
    assert_eq!(kept.difference(&args, false, true), None);
    let seed = now(|i| i.seed = 1);
    assert!(matches!(
        kept.difference(&seed, true, true),
        Some(Difference::Seed(42, 1))
    ));
    let version = now(|i| i.app_version = "2".into());
    assert!(matches!(
        kept.difference(&version, true, true),
        Some(Difference::AppVersion(..))
    ));
}
