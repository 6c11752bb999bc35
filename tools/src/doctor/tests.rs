use super::*;

fn facts() -> Facts {
    Facts {
        host: "node7".into(),
        kernel: "6.1.0".into(),
        ring: Ring::Works {
            entries: ENTRIES_MAX,
        },
        ring_disabled: Some(0),
        ring_group: Some(-1),
        seccomp_mode: Some(0),
        proc_mounted: true,
        memlock: Limit {
            soft: Some(8 << 20),
            hard: Some(8 << 20),
        },
        open_files: Limit {
            soft: Some(1024),
            hard: Some(524_288),
        },
        processes: Limit {
            soft: Some(31_000),
            hard: Some(31_000),
        },
        file_bytes: Limit {
            soft: None,
            hard: None,
        },
        somaxconn: Some(4096),
        neighbours: Some(16_384),
        aes: Some(true),
        cores_online: Some(8),
        cores_affinity: Some(8),
        cores_usable: 8,
        network: Ok(()),
    }
}

/// The row's state, and words that its value or its remedies must hold.
fn check(facts: &Facts, name: &str, state: State, words: &[&str]) {
    let rows = examine(facts);
    let row = rows
        .iter()
        .find(|row| row.name == name)
        .expect("the row is there");
    let told = format!("{} | {}", row.value, row.remedies.join(" | "));
    assert_eq!(row.state, state, "{told}");
    for word in words {
        assert!(told.contains(word), "{word:?} is not in: {told}");
    }
    assert_eq!(can_run(&rows), state != State::Problem);
}

#[test]
fn a_good_host_has_nothing_wanting() {
    let facts = facts();
    assert!(examine(&facts).iter().all(|row| row.state == State::Ok));
    let report = text(&facts, &examine(&facts));
    assert!(
        report.ends_with("ringmw can run here, and nothing is wanting.\n"),
        "{report}"
    );
}

#[test]
fn each_cause_of_a_refused_ring_is_told_from_the_others() {
    let refused = |error| Facts {
        ring: Ring::Refused(error),
        ..facts()
    };
    let rows: &[(Facts, &[&str])] = &[
        (
            Facts {
                ring_disabled: Some(2),
                ..refused(Errno::PERM)
            },
            &[
                "io_uring_disabled is 2",
                "sysctl -w kernel.io_uring_disabled=0",
            ],
        ),
        (
            Facts {
                ring_disabled: Some(1),
                ring_group: Some(990),
                ..refused(Errno::PERM)
            },
            &["all but root and group 990", "io_uring_group=GID"],
        ),
        (
            Facts {
                ring_disabled: Some(1),
                ..refused(Errno::PERM)
            },
            &["all but root and no group"],
        ),
        (
            Facts {
                seccomp_mode: Some(2),
                ..refused(Errno::PERM)
            },
            &["EPERM", "seccomp filter", "--security-opt"],
        ),
        (
            Facts {
                seccomp_mode: Some(2),
                ring_disabled: Some(2),
                ..refused(Errno::PERM)
            },
            &["io_uring_disabled is 2", "seccomp filter"],
        ),
        (refused(Errno::PERM), &["SELinux", "ausearch"]),
        (
            Facts {
                seccomp_mode: Some(2),
                ..refused(Errno::NOSYS)
            },
            &["hidden by a seccomp filter (ENOSYS", "--security-opt"],
        ),
        (
            Facts {
                seccomp_mode: Some(2),
                ring_disabled: None,
                ..refused(Errno::NOSYS)
            },
            &["or the kernel has none"],
        ),
        (
            Facts {
                ring_disabled: None,
                ..refused(Errno::NOSYS)
            },
            &["not in this kernel", "CONFIG_IO_URING"],
        ),
        (
            refused(Errno::NOMEM),
            &["RLIMIT_MEMLOCK is 8 MiB", "locked memory"],
        ),
        (refused(Errno::MFILE), &["EMFILE", "open files"]),
        (
            Facts {
                ring: Ring::WithoutBuffers(Errno::INVAL),
                ..facts()
            },
            &["older than 5.19", "6.0"],
        ),
        (
            Facts {
                ring: Ring::WithoutMultishot(Errno::INVAL),
                ..facts()
            },
            &["older than 6.0"],
        ),
    ];
    for (facts, words) in rows {
        check(facts, "io_uring", State::Note, words);
        check(facts, "io_uring", State::Note, &["The master takes epoll."]);
    }
}

#[test]
fn limits_are_weighed_by_what_they_allow() {
    let files = |hard| Facts {
        open_files: Limit {
            soft: Some(1024),
            hard,
        },
        ..facts()
    };
    check(
        &files(None),
        "open files",
        State::Ok,
        &["room for unlimited slaves"],
    );
    check(
        &files(Some(10_050)),
        "open files",
        State::Ok,
        &["room for 10,000 slaves"],
    );
    check(
        &files(Some(4096)),
        "open files",
        State::Note,
        &["room for 4,046 slaves", "LimitNOFILE=", "nofile"],
    );
    check(
        &files(Some(50)),
        "open files",
        State::Problem,
        &["room for 0 slaves"],
    );
    check(
        &Facts {
            somaxconn: Some(128),
            ..facts()
        },
        "backlog",
        State::Note,
        &["sysctl -w net.core.somaxconn=4096"],
    );
    check(
        &Facts {
            somaxconn: None,
            ..facts()
        },
        "backlog",
        State::Ok,
        &["unknown"],
    );
    let small = Facts {
        ring: Ring::Works { entries: 256 },
        ..facts()
    };
    check(
        &small,
        "locked memory",
        State::Note,
        &[
            "a ring of 256 entries, not of 1024",
            "LimitMEMLOCK=infinity",
        ],
    );
    let shared = Facts {
        cores_affinity: Some(4),
        cores_usable: 2,
        ..facts()
    };
    check(
        &shared,
        "cores",
        State::Note,
        &["2 of 8 usable: affinity allows 4, a cgroup's CPU quota allows 2"],
    );
    check(
        &Facts {
            network: Err("no epoll: x".into()),
            ..facts()
        },
        "network",
        State::Problem,
        &["no epoll"],
    );
}

/// Each says what it is and what is to be typed.
#[test]
fn what_is_scarce_is_told_with_its_remedy() {
    let scarce = |soft| Limit {
        soft: Some(soft),
        hard: None,
    };
    let rows: &[(Facts, &str, &[&str])] = &[
        (
            Facts {
                proc_mounted: false,
                ..facts()
            },
            "/proc",
            &["not mounted", "mount -t proc proc /proc"],
        ),
        (
            Facts {
                processes: scarce(512),
                ..facts()
            },
            "processes",
            &[
                "soft 512, hard unlimited",
                "ulimit -u 65536",
                "LimitNPROC=",
                "nproc",
            ],
        ),
        (
            Facts {
                file_bytes: scarce(2 << 30),
                ..facts()
            },
            "file size",
            &[
                "soft 2 GiB, hard unlimited",
                "ulimit -f unlimited",
                "LimitFSIZE=",
                "fsize",
            ],
        ),
        (
            Facts {
                neighbours: Some(1024),
                ..facts()
            },
            "neighbour table",
            &["1,024", "sysctl -w net.ipv4.neigh.default.gc_thresh3=16384"],
        ),
        (
            Facts {
                aes: Some(false),
                ..facts()
            },
            "encryption",
            &["no instructions for AES", "-cpu host", "--mw-no-secret"],
        ),
    ];
    for (facts, name, words) in rows {
        check(facts, name, State::Note, words);
    }
    let unknown = Facts {
        neighbours: None,
        aes: None,
        ..facts()
    };
    check(&unknown, "neighbour table", State::Ok, &["unknown"]);
    check(&unknown, "encryption", State::Ok, &["unknown"]);
}

#[test]
fn the_list_fits_a_terminal_and_says_what_to_type() {
    let facts = Facts {
        ring: Ring::Refused(Errno::PERM),
        ring_disabled: Some(2),
        seccomp_mode: Some(2),
        open_files: Limit {
            soft: Some(1024),
            hard: Some(4096),
        },
        somaxconn: Some(128),
        cores_usable: 2,
        ..facts()
    };
    let report = text(&facts, &examine(&facts));
    assert!(
        report.lines().all(|line| line.chars().count() <= WIDTH),
        "{report}"
    );
    assert!(
        report.lines().all(|line| line.trim_end() == line),
        "{report}"
    );
    assert!(
        report.contains("\n                          - sysctl -w kernel.io_uring_disabled=0"),
        "{report}"
    );
    assert!(report.ends_with("ringmw can run here; the notes tell what would serve it better.\n"));
}

#[test]
fn json_escapes_what_the_host_says() {
    let facts = Facts {
        host: "a\"b\\c\n".into(),
        ..facts()
    };
    let report = json(&facts, &examine(&facts));
    assert!(report.starts_with(concat!(r#"{"version":""#, env!("CARGO_PKG_VERSION"), r#"","host":"a\"b\\c\u000a","can_run":true,"io_uring":true,"slaves_max":524238,"rows":[{"name":"kernel","state":"ok","value":"Linux 6.1.0","remedies":[]},"#)), "{report}");
    assert!(report.ends_with("]}\n"));
}

#[test]
fn numbers_are_readable() {
    assert_eq!(
        [0, 999, 1000, 1_048_576].map(count),
        ["0", "999", "1,000", "1,048,576"]
    );
    assert_eq!(
        [512, 65_536, 8 << 20, 3 << 30].map(bytes),
        ["512 B", "64 KiB", "8 MiB", "3 GiB"]
    );
}
