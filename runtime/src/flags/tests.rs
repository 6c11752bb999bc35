use super::*;
use crate::proto::SECOND;
use crate::proto::config::{Level, Wanted};
use ringmw_codec::batch::BATCH_OVERHEAD_BYTES;
use ringmw_codec::log::LogLevel;

fn args(line: &str) -> Vec<OsString> {
    line.split(' ')
        .filter(|word| !word.is_empty())
        .map(OsString::from)
        .collect()
}

fn check_split(line: &str, mw: &[&str], user: &[&str]) {
    let split = split(args(line)).expect(line);
    assert_eq!(
        split.mw,
        mw.iter().map(OsString::from).collect::<Vec<_>>(),
        "{line}"
    );
    assert_eq!(split.user, user, "{line}");
}

fn parsed(line: &str) -> Settings {
    parse(args(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// The whole message.
fn check_error(line: &str, message: &str) {
    let error = parse(args(line)).expect_err(line).to_string();
    assert_eq!(error, message, "{line}");
}

#[test]
fn the_librarys_flags_are_taken_out_and_the_rest_stays_in_order() {
    check_split("", &[], &[]);
    check_split("a -b --c=d", &[], &["a", "-b", "--c=d"]);
    check_split(
        "a --mw-slave b --mw-master-host black c",
        &["--mw-slave", "--mw-master-host=black"],
        &["a", "b", "c"],
    );
    check_split("--mw-master-host=black", &["--mw-master-host=black"], &[]);
    check_split("--mw-member-id=a=b", &["--mw-member-id=a=b"], &[]);
    check_split("--mw-member-id -x y", &["--mw-member-id=-x"], &["y"]);
    check_split("--mw-member-id --x", &["--mw-member-id=--x"], &[]);
    check_split(
        "--mw-master -- --mw-slave -- a",
        &["--mw-master"],
        &["--mw-slave", "--", "a"],
    );
    check_split(
        "--mw --mwx -mw-master",
        &[],
        &["--mw", "--mwx", "-mw-master"],
    );
}

#[test]
fn what_is_not_utf8_is_named_by_its_position_or_taken_as_a_path() {
    let odd = || OsString::from_vec(b"caf\xe9".to_vec());
    let error = split([OsString::from("--mw-master"), "a".into(), odd()]).expect_err("not UTF-8");
    assert_eq!(
        error.to_string(),
        "argument 3 is not UTF-8: \"caf\u{fffd}\"; give it in another encoding"
    );
    let settings = parse([
        OsString::from("--mw-master"),
        "--mw-audit-file".into(),
        odd(),
    ])
    .expect("a path");
    assert_eq!(settings.audit_file, Some(odd().into()));
    let error = parse([
        OsString::from("--mw-master"),
        "--mw-member-id".into(),
        odd(),
    ])
    .expect_err("not UTF-8");
    assert_eq!(
        error.to_string(),
        "--mw-member-id \"caf\u{fffd}\": is not UTF-8"
    );
}

#[test]
fn defaults_are_the_tables() {
    let settings = parsed("");
    let expected = Settings {
        role: Role::Local { slaves: None },
        host: None,
        port: None,
        advertise_host: None,
        rules: Rules {
            sched: ringmw_sched::Config {
                task_group: ringmw_sched::AUTO,
                crash_limit: 10,
                task_packet_bytes_max: 131_072,
                task_packet_overhead_bytes: BATCH_OVERHEAD_BYTES as u32,
                queued_bytes_max: 8 << 30,
                prefetch: true,
                take_back: true,
                duplicate_stragglers: false,
                priority_aging: 60 * SECOND,
                quarantine: true,
            },
            result_packet_bytes_max: 131_072,
            result_group: ringmw_sched::AUTO,
            client_timeout: 60 * SECOND,
            shared_cache_bytes: 1 << 30,
            checkpoint_interval: 10 * SECOND,
            is_crash_limit_given: false,
            task_timeout: None,
            any_build: false,
            level: Level::Default,
            log: None,
            wanted: Wanted::Fixed(0),
        },
        audit_file: None,
        audit_rotate: None,
        resource_file: None,
        resource_interval: Duration::from_secs(300),
        member_id: None,
        slave_executable: None,
        secret_file: None,
        no_secret: false,
        slaves_at: Vec::new(),
        slave_listen: None,
        ready_bytes_max: 256 << 20,
        outlasting: Outlasting::default(),
        status_at: None,
        seed: None,
        engine: Choice::Auto,
        slave_count: None,
        slave_bounds: Bounds::default(),
        sources: Vec::new(),
        slave_memory: None,
        slave_reconnect: None,
        dir: None,
        progress: None,
        keep_failed: None,
        replay: None,
        labels: Vec::new(),
        passed_on: Vec::new(),
        without_effect: Vec::new(),
        user: Vec::new(),
    };
    assert_eq!(settings, expected);
}

#[test]
fn everything_can_be_given() {
    let settings = parsed(
        "x --mw-master --mw-master-host [::1] --mw-master-port 4711 --mw-advertise-host node7 \
         --mw-max-write-buffer-size 1MiB --mw-max-read-buffer-size 4096 --mw-client-timeout 5 --mw-audit-file trail --mw-audit-rotate 64MiB,3 \
         --mw-audit-level tasks --mw-resource-file res --mw-resource-file-update-interval 1 --mw-slave-task-group 100 \
         --mw-slave-result-group 7 --mw-member-id=12.0 --mw-slave-executable ./app --mw-crash-limit 0 --mw-task-timeout 1500ms \
         --mw-max-ready-bytes 64KiB --mw-max-queued-bytes 2GiB --mw-seed 18446744073709551615 --mw-engine epoll --mw-status-port n7:8080 \
         --mw-shared-cache 3MiB --mw-slave-prefetch off --mw-duplicate-stragglers --mw-priority-aging 0 --mw-quarantine off --mw-slaves-wanted auto:77 --mw-any-build \
         --mw-journal j --mw-journal-any-build --mw-journal-any-args --mw-journal-failures --mw-state s \
         --mw-secret-file key --mw-slave-at [::1]:7 --mw-slave-at @farm --mw-checkpoint-interval 7 --mw-progress off --mw-forward-log warn y",
    );
    let expected = Settings {
        role: Role::Master,
        host: Some("::1".into()),
        port: Some((4711, 4711)),
        advertise_host: Some("node7".into()),
        rules: Rules {
            sched: ringmw_sched::Config {
                task_group: 100,
                crash_limit: 0,
                task_packet_bytes_max: 1 << 20,
                task_packet_overhead_bytes: BATCH_OVERHEAD_BYTES as u32,
                queued_bytes_max: 2 << 30,
                prefetch: false,
                take_back: true,
                duplicate_stragglers: true,
                priority_aging: 0,
                quarantine: false,
            },
            result_packet_bytes_max: 4096,
            result_group: 7,
            client_timeout: 5 * SECOND,
            shared_cache_bytes: 3 << 20,
            checkpoint_interval: 7 * SECOND,
            is_crash_limit_given: true,
            task_timeout: Some(3 * SECOND / 2),
            any_build: true,
            level: Level::Tasks,
            log: Some(LogLevel::Warn),
            wanted: Wanted::Auto(77),
        },
        audit_file: Some("trail".into()),
        audit_rotate: Some(Rotate {
            bytes: 64 << 20,
            keep: 3,
        }),
        resource_file: Some("res".into()),
        resource_interval: Duration::from_secs(1),
        member_id: Some("12.0".into()),
        slave_executable: Some("./app".into()),
        secret_file: Some("key".into()),
        no_secret: false,
        slaves_at: vec![
            SlavesAt::One("[::1]:7".into()),
            SlavesAt::File("farm".into()),
        ],
        slave_listen: None,
        ready_bytes_max: 64 << 10,
        outlasting: Outlasting {
            journal: Some("j".into()),
            any_build: true,
            any_args: true,
            failures: true,
            state: Some("s".into()),
        },
        status_at: Some((Some("n7".into()), 8080)),
        seed: Some(u64::MAX),
        engine: Choice::Epoll,
        slave_count: None,
        slave_bounds: Bounds::default(),
        sources: vec![
            Source::Host("::1".into()),
            Source::Port(4711),
            Source::ResourceFile("res".into()),
            Source::Member("12.0".into()),
        ],
        slave_memory: None,
        slave_reconnect: None,
        dir: None,
        progress: Some(false),
        keep_failed: None,
        replay: None,
        labels: Vec::new(),
        passed_on: Vec::new(),
        without_effect: Vec::new(),
        user: vec!["x".into(), "y".into()],
    };
    assert_eq!(settings, expected);
}

#[test]
fn labels_are_a_slaves_and_local_modes_slaves_have_them() {
    let slave =
        parsed("--mw-slave --mw-resource-file f --mw-slave-label gpu --mw-slave-label site=a=b");
    assert_eq!(slave.labels, ["gpu", "site=a=b"]);
    let local = parsed("--mw-local 3 --mw-slave-label gpu x --mw-slave-label=mem=big");
    assert_eq!(
        local.passed_on,
        ["--mw-slave-label=gpu", "--mw-slave-label=mem=big"]
    );
    assert!(local.without_effect.is_empty());
    let bounded = parsed("--mw-slave --mw-resource-file f --mw-slave-memory 2GiB");
    assert_eq!(bounded.slave_memory, Some(2 << 30));
    let wrong = |flags: &str| parse(args(flags)).expect_err(flags).to_string();
    assert!(wrong("--mw-slave-label =x").contains("has no key"));
    assert!(wrong(&format!("--mw-slave-label {}", "x".repeat(65))).contains("65 bytes"));
    let many = "--mw-slave-label x ".repeat(17);
    assert!(wrong(&format!("--mw-slave --mw-resource-file f {many}")).contains("17 times"));
    assert!(wrong("--mw-slave-idle-timeout 5").contains("needs --mw-slave beside it"));
}

#[test]
fn slaves_of_a_batch_system() {
    let slave = |flags: &str| parsed(&format!("--mw-slave --mw-resource-file f {flags}"));
    assert_eq!(slave("--mw-slave-count 1").slave_count, None);
    assert_eq!(
        slave("--mw-slave-count auto").slave_count,
        Some(SlaveCount::Auto)
    );
    assert_eq!(
        slave("--mw-slave-count 64").slave_count,
        Some(SlaveCount::Slaves(64))
    );
    let bounds = slave("--mw-slave-time-limit 3600 --mw-slave-idle-timeout 60").slave_bounds;
    assert_eq!(bounds.time_limit, Some(3_600_000_000_000));
    assert_eq!(bounds.idle_timeout, Some(60_000_000_000));
    let wanted = |value: &str| {
        parsed(&format!("--mw-master --mw-slaves-wanted {value}"))
            .rules
            .wanted
    };
    assert_eq!(wanted("auto"), Wanted::Auto(1_000));
    assert_eq!(wanted("8"), Wanted::Fixed(8));
    check_error(
        "--mw-master --mw-slaves-wanted autos",
        "--mw-slaves-wanted autos: is none of N, auto and auto:MAX",
    );
    check_error(
        "--mw-slave --mw-resource-file f --mw-slave-count none",
        "--mw-slave-count none: is no whole number from 1 to 4096, and not auto",
    );
}

#[test]
fn roles() {
    assert_eq!(parsed("--mw-master").role, Role::Master);
    assert_eq!(
        parsed("--mw-slave --mw-master-host a --mw-master-port 1").role,
        Role::Slave
    );
    assert_eq!(parsed("--mw-slave --mw-resource-file f").role, Role::Slave);
    assert_eq!(
        parsed("--mw-local 3 a").role,
        Role::Local { slaves: Some(3) }
    );
    assert_eq!(parsed("--mw-version-string").role, Role::Version);
    assert_eq!(
        parsed("--mw-member-id run7").member_id.as_deref(),
        Some("run7")
    );
    // Help helps, whatever else is wrong with the line.
    assert_eq!(
        parsed("--mw-slave --mw-master --mw-master-port x --mw-version-string --mw-help a").role,
        Role::Help { all: false }
    );
    let all = parsed("x --mw-help all y");
    assert_eq!(all.role, Role::Help { all: true });
    assert_eq!(all.user, ["x", "y"]);
}

#[test]
fn a_slaves_sources_keep_their_order_and_may_be_repeated() {
    let line = "--mw-slave --mw-master-host a --mw-resource-file f --mw-master-port 1 --mw-member-id m --mw-master-host b \
                --mw-resource-file g";
    let settings = parsed(line);
    let expected = [
        Source::Host("a".into()),
        Source::ResourceFile("f".into()),
        Source::Port(1),
        Source::Member("m".into()),
        Source::Host("b".into()),
        Source::ResourceFile("g".into()),
    ];
    assert_eq!(settings.sources, expected);
    assert_eq!(settings.host.as_deref(), Some("b"));
}

#[test]
fn flags_of_the_other_role_are_taken_and_named() {
    let settings = parsed(
        "--mw-slave --mw-resource-file f --mw-client-timeout 9 --mw-audit-file t --mw-any-build",
    );
    assert_eq!(
        settings.without_effect,
        ["--mw-client-timeout", "--mw-any-build"]
    );
}

#[test]
fn contradictions_name_their_flags() {
    let rows = [
        (
            "--mw-master --mw-slave",
            "--mw-master and --mw-slave contradict each other: a process is one of them",
        ),
        (
            "--mw-local 2 --mw-master",
            "--mw-local contradicts --mw-master: local mode is what runs with neither role flag",
        ),
        (
            "--mw-slave --mw-local 2",
            "--mw-local contradicts --mw-slave: local mode is what runs with neither role flag",
        ),
        (
            "--mw-slave",
            "--mw-slave needs to know its master: give --mw-master-host and --mw-master-port, or the master's \
             --mw-resource-file, or wait for it with --mw-slave-listen",
        ),
        (
            "--mw-slave --mw-master-port 1",
            "--mw-master-port needs --mw-master-host beside it: a slave must know its master's host",
        ),
        (
            "--mw-slave --mw-master-host a",
            "--mw-master-host needs --mw-master-port beside it: a slave must know its master's port",
        ),
        (
            "--mw-resource-file f",
            "--mw-resource-file needs --mw-master or --mw-slave beside it; with neither, master and slaves all run on this \
             machine",
        ),
        (
            "--mw-master --mw-seed 1 --mw-seed 1",
            "--mw-seed is given twice; leave one of them out",
        ),
        (
            "--mw-master --mw-master",
            "--mw-master is given twice; leave one of them out",
        ),
        (
            "--mw-master --mw-master-host a --mw-master-host b",
            "--mw-master-host is given twice; leave one of them out",
        ),
    ];
    for (line, message) in rows {
        check_error(line, message);
    }
}

#[test]
fn unknown_flags_get_a_suggestion_where_one_is_near() {
    let rows = [
        (
            "--mw-slvae",
            "--mw-slvae is no flag of this program; is --mw-slave meant? --mw-help all lists them",
        ),
        (
            "--mw-masterhost=x",
            "--mw-masterhost is no flag of this program; is --mw-master-host meant? --mw-help all lists them",
        ),
        (
            "--mw-max-write-buffer 1",
            "--mw-max-write-buffer is no flag of this program; is --mw-max-write-buffer-size meant? --mw-help all lists them",
        ),
        (
            "--mw-frobnicate-all-day",
            "--mw-frobnicate-all-day is no flag of this program; --mw-help all lists them",
        ),
        (
            "--mw-",
            "--mw- is no flag of this program; --mw-help all lists them",
        ),
    ];
    for (line, message) in rows {
        check_error(line, message);
    }
}

#[test]
fn bad_values_name_flag_value_and_what_is_expected() {
    let bytes = "is no number of bytes, like 131072, 128KiB, 64MiB or 1GiB";
    let rows = [
        (
            "--mw-master-port",
            "--mw-master-port needs a value: --mw-master-port PORT".to_owned(),
        ),
        (
            "--mw-master-port --mw-master",
            "--mw-master-port needs a value: --mw-master-port PORT".to_owned(),
        ),
        (
            "--mw-master-port -- 1",
            "--mw-master-port needs a value: --mw-master-port PORT".to_owned(),
        ),
        ("--mw-slave=yes", "--mw-slave takes no value".to_owned()),
        (
            "--mw-master-port 0",
            "--mw-master-port 0: is no whole number from 1 to 65535".to_owned(),
        ),
        (
            "--mw-master-port 65536",
            "--mw-master-port 65536: is no whole number from 1 to 65535".to_owned(),
        ),
        (
            "--mw-master-port +1",
            "--mw-master-port +1: is no whole number from 1 to 65535".to_owned(),
        ),
        (
            "--mw-master-port -1",
            "--mw-master-port -1: is no whole number from 1 to 65535".to_owned(),
        ),
        (
            "--mw-client-timeout 0",
            "--mw-client-timeout 0: is no time from 1 to 31536000 seconds, like 30, 1500ms, 10min or 2h".to_owned(),
        ),
        (
            "--mw-client-timeout 1.5",
            "--mw-client-timeout 1.5: is no time from 1 to 31536000 seconds, like 30, 1500ms, 10min or 2h".to_owned(),
        ),
        (
            "--mw-slave-task-group 0",
            "--mw-slave-task-group 0: is no whole number from 1 to 4294967295, and not auto"
                .to_owned(),
        ),
        (
            "--mw-local 0",
            "--mw-local 0: is no whole number from 1 to 4096".to_owned(),
        ),
        (
            "--mw-crash-limit x",
            "--mw-crash-limit x: is no whole number from 0 to 4294967295".to_owned(),
        ),
        (
            "--mw-max-read-buffer-size 4095",
            "--mw-max-read-buffer-size 4095: is not from 4096 to 1073741824 bytes".to_owned(),
        ),
        (
            "--mw-max-read-buffer-size 2GiB",
            "--mw-max-read-buffer-size 2GiB: is not from 4096 to 1073741824 bytes".to_owned(),
        ),
        (
            "--mw-max-ready-bytes 0",
            "--mw-max-ready-bytes 0: is not from 1 to 18446744073709551615 bytes".to_owned(),
        ),
        (
            "--mw-max-ready-bytes 1TB",
            format!("--mw-max-ready-bytes 1TB: {bytes}"),
        ),
        (
            "--mw-max-ready-bytes 99999999999GiB",
            format!("--mw-max-ready-bytes 99999999999GiB: {bytes}"),
        ),
        (
            "--mw-max-ready-bytes GiB",
            format!("--mw-max-ready-bytes GiB: {bytes}"),
        ),
        (
            "--mw-audit-level all",
            "--mw-audit-level all: is none of default, packets and tasks".to_owned(),
        ),
        (
            "--mw-engine uring",
            "--mw-engine uring: is none of auto, ring and epoll".to_owned(),
        ),
        (
            "--mw-master-host a:1",
            "--mw-master-host a:1: is no host alone; a port goes to --mw-master-port".to_owned(),
        ),
        (
            "--mw-master-host=",
            "--mw-master-host is given an empty value".to_owned(),
        ),
        (
            "--mw-audit-file=",
            "--mw-audit-file is given an empty value".to_owned(),
        ),
        (
            "--mw-seed 18446744073709551616",
            "--mw-seed 18446744073709551616: is no whole number from 0 to 18446744073709551615"
                .to_owned(),
        ),
    ];
    for (line, message) in rows {
        check_error(line, &message);
    }
    let long = "x".repeat(256);
    check_error(
        &format!("--mw-member-id {long}"),
        &format!("--mw-member-id {long}: is 256 bytes long, at most 255 are taken"),
    );
    assert_eq!(
        parsed(&format!("--mw-member-id {}", &long[1..]))
            .member_id
            .map(|id| id.len()),
        Some(255)
    );
}

#[test]
fn hosts_are_names_or_addresses() {
    for (given, taken) in [
        ("node7.example", "node7.example"),
        ("10.0.0.1", "10.0.0.1"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
        ("::", "::"),
    ] {
        assert_eq!(
            parsed(&format!("--mw-master --mw-master-host {given}"))
                .host
                .as_deref(),
            Some(taken)
        );
    }
}

#[test]
fn edits_are_counted() {
    for (from, to, count) in [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("slvae", "slave", 2),
        ("kitten", "sitting", 3),
    ] {
        assert_eq!(edits(from, to), count, "{from} {to}");
    }
}

#[test]
fn a_folder_stands_for_all_files_of_a_run() {
    let name = crate::io::terminal::own_name();
    let at = |file: &str| Some(std::path::PathBuf::from(format!("run1/{file}")));
    let resources = at(&format!("{name}.rsc"));
    let master = parsed("--mw-master --mw-dir run1 --mw-state elsewhere");
    assert_eq!(master.resource_file, resources);
    assert_eq!(master.audit_file, at(&format!("{name}.audit")));
    assert_eq!(master.outlasting.journal, at("journal"));
    assert_eq!(master.outlasting.state, Some("elsewhere".into()));
    assert_eq!(master.keep_failed, at("failed"));
    let slave = parsed("--mw-slave --mw-master-port 7 --mw-dir run1");
    assert_eq!(
        slave.sources,
        [
            Source::ResourceFile(resources.clone().expect("a path")),
            Source::Port(7)
        ],
        "a single flag counts for more"
    );
    assert_eq!((slave.audit_file, slave.outlasting.journal), (None, None));
    let local = parsed("--mw-dir run1");
    assert_eq!(local.resource_file, None, "its slaves need none");
    assert_eq!(local.outlasting.journal, at("journal"));
}
