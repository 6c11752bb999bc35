use proptest::prelude::*;

use super::*;

fn sample() -> ResourceFile {
    ResourceFile {
        finished: false,
        timestamp: 4_004_150_583,
        member_id: "say \"hi\" \\".into(),
        update_interval: 300,
        slaves_needed: 998,
        slave_executable: (
            "/home/mw/bin/ping".into(),
            vec!["/home/mw/lib/libx.so".into()],
        ),
        slave_arguments: vec!["--mw-slave".into()],
        slaves_desired: Some(1000),
        slaves_connected: Some(2),
        slaves_busy: Some(1),
        tasks_queued: None,
        master_addresses: vec!["10.1.0.2:4432".into(), "[::1]:4432".into()],
        format: Some(RESOURCE_FORMAT_VERSION),
        secret: None,
        run_id: None,
        status_address: None,
        status_page: None,
        status_token: None,
    }
}

const GOLDEN: &str = r#";; Status of the computation
(:computation-status :in-progress)
;; Time Stamp of Resource File
(:timestamp 4004150583)
;; Member ID
(:member-id "say \"hi\" \\")
;; Update Interval (sec) of Resource File
(:update-interval 300)
;; Slaves Needed
(:slaves-needed 998)
;; Slave Executable and Shared Libs
(:slave-executable ("/home/mw/bin/ping" ("/home/mw/lib/libx.so")))
;; Slave Arguments
(:slave-arguments ("--mw-slave"))
;; Slaves Desired
(:slaves-desired 1000)
;; Slaves Connected
(:slaves-connected 2)
;; Slaves Busy
(:slaves-busy 1)
;; Every address that slaves may try
(:master-addresses ("10.1.0.2:4432" "[::1]:4432"))
;; Version of our own forms, and their end
(:format-version 1)
"#;

#[test]
fn golden_text() {
    assert_eq!(sample().write(), GOLDEN);
    assert_eq!(ResourceFile::parse(GOLDEN.as_bytes()), Ok(sample()));
}

/// What is left of a cut file is an error, but for the cut that leaves just what CL-MW would have written.
#[test]
fn every_cut_is_an_error() {
    let cl_mw = GOLDEN.find(";; Slaves Desired").expect("it is there") - 1;
    let ours = GOLDEN.find("(:slaves-desired").expect("it is there");
    for cut in 0..GOLDEN.len() - 1 {
        let read = ResourceFile::parse(&GOLDEN.as_bytes()[..cut]);
        assert_eq!(
            read.is_ok(),
            (cl_mw..=ours).contains(&cut),
            "{cut}: {read:?}"
        );
    }
}

#[test]
fn unknown_forms_are_passed_over() {
    let unknown =
        "(:labels (a :b -3 1.5 \"c\" (NIL ())))\n(:huge 99999999999999999999)\n(:none) (:many 1 2)";
    assert_eq!(
        ResourceFile::parse(format!("{unknown}{GOLDEN}").as_bytes()),
        Ok(sample())
    );
    let shouted = GOLDEN
        .replace(":in-progress", ":IN-PROGRESS")
        .replace(":slaves-needed", ":SLAVES-NEEDED");
    assert_eq!(ResourceFile::parse(shouted.as_bytes()), Ok(sample()));
}

#[test]
fn errors_name_the_line() {
    let rows = [
        (
            ":timestamp 4004150583",
            ":timestamp \"now\"",
            4,
            "a whole number from 0 to 2^64-1 expected, a string found",
        ),
        (
            ":timestamp 4004150583",
            ":timestamp -1",
            4,
            "a whole number from 0 to 2^64-1 expected, \"-1\" found",
        ),
        (
            ":in-progress",
            ":paused",
            2,
            ":in-progress or :finished expected, :paused found",
        ),
        (
            "(:timestamp 4004150583)",
            "timestamp",
            4,
            "a form like (:slaves-needed 3) expected",
        ),
        (
            "(:timestamp 4004150583)",
            "(:timestamp 1 2)",
            4,
            "(:timestamp ..) has 2 values instead of one",
        ),
        ("(:timestamp 4004150583)", ")", 4, "a ) without its ("),
        (
            "(:timestamp 4004150583)",
            "",
            25,
            "the file ends without (:timestamp ..)",
        ),
        ("(\"--mw-slave\")", "(3)", 14, "a string expected, 3 found"),
        ("[::1]:4432\"", "[::1]:4432", 22, "a string without its end"),
        ("[::1]:4432\"))", "[::1]:4432\")", 22, "a ( without its )"),
    ];
    for (from, to, line, what) in rows {
        let error = ResourceFile::parse(GOLDEN.replacen(from, to, 1).as_bytes()).expect_err(to);
        assert_eq!(error.line, line, "{to}: {error}");
        assert!(error.what.starts_with(what), "{to}: {error}");
    }
    let error = ResourceFile::parse(b"(:timestamp 1)\n\xff").expect_err("not UTF-8");
    assert_eq!(error.line, 2);
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = "(".repeat(100_000);
    assert!(ResourceFile::parse(deep.as_bytes()).is_err());
    let long = vec![b' '; RESOURCE_FILE_BYTES_MAX + 1];
    assert!(ResourceFile::parse(&long).is_err());
}

/// Counts what is read of it.
struct Counted<'a>(&'a [u8], usize);

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.read(buffer)?;
        self.1 += bytes;
        Ok(bytes)
    }
}

#[test]
fn a_file_that_is_too_long_is_refused_unread() {
    let long = vec![b' '; 2 * RESOURCE_FILE_BYTES_MAX];
    let whole = &long[..RESOURCE_FILE_BYTES_MAX];
    let text = ResourceFile::text(whole, whole.len() as u64).expect("as long as may be");
    assert_eq!(text.len(), whole.len());
    // (what it says that it has, what is read of it, what the message says)
    let rows = [
        (long.len(), 0, "2097152"),
        (whole.len() + 1, 0, "1048577"),
        (0, whole.len() + 1, "more than 1048576"),
    ];
    for (told, read_max, size) in rows {
        let mut file = Counted(&long, 0);
        let error = ResourceFile::text(&mut file, told as u64).expect_err(size);
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let expected = format!("it has {size} bytes, and a resource file has at most 1048576;");
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(file.1 <= read_max, "{} bytes were read", file.1);
    }
}

#[test]
fn the_secret_is_not_printed() {
    let file = ResourceFile {
        secret: Some("hunter2".into()),
        run_id: Some("00ff".into()),
        status_address: Some("10.1.0.2:4433".into()),
        status_page: Some("http://n7:8080/".into()),
        status_token: Some("hunter3".into()),
        ..sample()
    };
    let printed = format!("{file:?}");
    assert!(!printed.contains("hunter2") && !printed.contains("hunter3"));
    assert_eq!(ResourceFile::parse(file.write().as_bytes()), Ok(file));
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["(?s).*", "[\"\\\\ ();:\n]*"]
}

prop_compose! {
    fn any_file()(
        (finished, timestamp, member_id, update_interval) in (any::<bool>(), any::<u64>(), any_text(), any::<u64>()),
        slaves_needed in any::<u64>(),
        slave_executable in (any_text(), prop::collection::vec(any_text(), 0..3)),
        slave_arguments in prop::collection::vec(any_text(), 0..4),
        (slaves_desired, slaves_connected, slaves_busy, format) in any::<(Option<u64>, Option<u64>, Option<u64>, Option<u64>)>(),
        master_addresses in prop::collection::vec(any_text(), 0..4),
        tasks_queued in any::<Option<u64>>(),
        secret in prop::option::of(any_text()),
        status in prop::array::uniform4(prop::option::of(any_text())),
    ) -> ResourceFile {
        ResourceFile {
            finished, timestamp, member_id, update_interval, slaves_needed, slave_executable, slave_arguments,
            slaves_desired, slaves_connected, slaves_busy, tasks_queued, master_addresses, format, secret,
            run_id: status[3].clone(),
            status_address: status[0].clone(), status_page: status[1].clone(), status_token: status[2].clone(),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(mut file in any_file()) {
        if file.has_own_forms() {
            file.format.get_or_insert(RESOURCE_FORMAT_VERSION);
        }
        prop_assert_eq!(ResourceFile::parse(file.write().as_bytes()), Ok(file));
    }

    #[test]
    fn noise_never_panics(noise in any::<Vec<u8>>(), text in "[\"\\\\ ();:\na1é]*") {
        let _ = ResourceFile::parse(&noise);
        let _ = ResourceFile::parse(text.as_bytes());
    }
}
