//! What is wrong with a command line, a file or an address is one line, and an exit code.

use std::net::TcpListener;

use ringmw_codec::audit::Event;

use crate::app::{assert_exit_line, count, dir};
use crate::ports::refusing;
use crate::process::Process;

pub(crate) fn what_is_wrong_is_one_line() {
    let dir = dir();
    let (_held, free) = refusing();
    let free = free.to_string();
    let missing = dir.path().join("no such file");
    let torn = dir.path().join("torn");
    std::fs::write(
        &torn,
        "(:computation-status :in-progress)\n(:timestamp 39\n",
    )
    .unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_port = taken.local_addr().unwrap().port().to_string();
    let rows: &[(&str, &[&str], i32, &[&str])] = &[
        (
            "refused",
            &[
                "--mw-slave",
                "--mw-master-host",
                "127.0.0.1",
                "--mw-master-port",
                &free,
            ],
            255,
            &[
                "cannot reach the master",
                "Connection refused",
                "--mw-master-host",
            ],
        ),
        (
            "missing",
            &[
                "--mw-slave",
                "--mw-resource-file",
                missing.to_str().unwrap(),
            ],
            255,
            &["--mw-resource-file", "no such file"],
        ),
        (
            "torn",
            &["--mw-slave", "--mw-resource-file", torn.to_str().unwrap()],
            255,
            &["torn", "line 2"],
        ),
        (
            "taken",
            &[
                "--mw-master",
                "--mw-master-host",
                "127.0.0.1",
                "--mw-master-port",
                &taken_port,
            ],
            255,
            &["--mw-master-host 127.0.0.1", "is the port free?"],
        ),
        ("nowhere", &["--mw-slave"], 2, &["--mw-master-host"]),
        (
            "unknown",
            &["--mw-master", "--mw-frobnicate"],
            2,
            &["--mw-frobnicate"],
        ),
        (
            "bad",
            &["--mw-master", "--mw-client-timeout", "soon"],
            2,
            &["--mw-client-timeout", "soon"],
        ),
        (
            "both",
            &["--mw-master", "--mw-slave"],
            2,
            &["--mw-master", "--mw-slave"],
        ),
        (
            "no port",
            &["--mw-master", "--mw-master-port", "99999"],
            2,
            &["--mw-master-port", "99999"],
        ),
        (
            "no host",
            &["--mw-master", "--mw-master-host", "192.0.2.1"],
            255,
            &["--mw-master-host", "192.0.2.1"],
        ),
    ];
    for (name, args, code, words) in rows {
        let mut process = Process::start(dir.path(), name, args);
        let (got, _) = process.exit();
        let complaint = process.complaint();
        assert_eq!(got, *code, "{name}: {complaint}");
        for word in *words {
            assert!(complaint.contains(word), "{name}: {complaint}");
        }
    }
}

pub(crate) fn a_refused_slave_says_why() {
    let dir = dir();
    let master = Process::master(dir.path(), &["--mw-member-id", "ours"]);
    let mut slave = Process::slave(dir.path(), "slave", &master.address());
    slave.expect_exit(255);
    assert!(slave.complaint().contains("--mw-member-id"));
    let refused = |event: &Event| matches!(event, Event::RefusedByMaster { reason } if reason.contains("--mw-member-id"));
    assert_eq!(count(&slave.events(), refused), 1);
    assert_exit_line(&slave, 255);
    let told = |event: &Event| matches!(event, Event::Refused { reason, .. } if reason.contains("--mw-member-id"));
    master.await_count("the refusal", 1, told);
}
