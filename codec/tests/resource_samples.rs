//! Resource files that CL-MW 0.4 wrote itself.

use ringmw_codec::resource::ResourceFile;

fn check(text: &str, finished: bool, slaves_needed: u64, executable: &str, port: &str) {
    let file = ResourceFile::parse(text.as_bytes()).expect("a file of CL-MW's own");
    assert_eq!(
        (file.finished, file.slaves_needed),
        (finished, slaves_needed)
    );
    assert_eq!(
        (file.member_id.as_str(), file.update_interval),
        ("default-member-id", 1)
    );
    assert_eq!(file.slave_executable.0, executable);
    let folder = executable.rsplit_once('/').expect("a full path").0;
    assert_eq!(
        file.slave_executable.1,
        [format!("{folder}/libfixposix.so")]
    );
    let arguments = [
        "--mw-slave",
        "--mw-master-host",
        "127.0.0.1",
        "--mw-master-port",
        port,
    ];
    assert_eq!(file.slave_arguments, arguments);
    assert_eq!(
        (
            file.slaves_desired,
            file.format,
            file.master_addresses.len()
        ),
        (None, None, 0)
    );
    // CL-MW's forms are written as CL-MW writes them, to the byte.
    assert_eq!(file.write(), text);
}

#[test]
fn files_of_cl_mw_are_read_and_written_alike() {
    let finished = include_str!("data/cl-mw-hello-world-finished.resource");
    check(
        finished,
        true,
        0,
        "/home/mw/bin/hello-world/hello-world",
        "40961",
    );
    let in_progress = include_str!("data/cl-mw-monte-carlo-pi-in-progress.resource");
    check(
        in_progress,
        false,
        996,
        "/home/mw/bin/monte-carlo-pi/monte-carlo-pi",
        "44367",
    );
    let killed = include_str!("data/cl-mw-ping-master-killed.resource");
    check(killed, false, 997, "/home/mw/bin/ping/ping", "37415");
}

/// The listing in CL-MW's manual, 5.2, with its line breaks and without libraries.
#[test]
fn the_listing_of_the_manual_is_read() {
    let text = include_bytes!("data/cl-mw-manual-listing-5.2.resource");
    let file = ResourceFile::parse(text).expect("the manual's own listing");
    assert!(!file.finished);
    assert!(!file.slave_arguments.is_empty());
}
