//! The benchmark of churn in a small size: the master does not grow while slaves come and go.

use std::process::Command;

#[test]
fn a_master_under_churn_keeps_its_size() {
    for engine in ["auto", "epoll"] {
        let output = Command::new(env!("CARGO_BIN_EXE_churn"))
            .args(["--tasks", "3000000"])
            .args(["--engine", engine, "--json"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let line = String::from_utf8(output.stdout).unwrap();
        assert!(line.contains("\"growth\":"), "{line}");
    }
}
