//! `ringmw bundle` and what `ringmw submit` makes of a program with a shared library of its own, built here by `cc`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A program that needs libsolve.so from beside it, which the loader finds by itself only where `link` says so.
fn program(link: &[&str]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let main = "#include <stdio.h>\nint solve(void);\nint main(void) { printf(\"solved %d\\n\", solve()); }\n";
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
    write("solve.c", "int solve(void) { return 42; }\n");
    write("main.c", main);
    let cc = |args: &[&str]| {
        let output = Command::new("cc")
            .args(args)
            .current_dir(dir.path())
            .output();
        let output = output.expect("the linker of Rust is there");
        assert!(output.status.success(), "{}", complaint(&output));
    };
    cc(&["-shared", "-fPIC", "-o", "libsolve.so", "solve.c"]);
    cc(&[&["-o", "app", "main.c", "-L.", "-lsolve"], link].concat());
    let app = dir.path().join("app");
    (dir, app)
}

fn ringmw(args: &[&Path], libraries: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmw"));
    command.args(args).env("LD_LIBRARY_PATH", libraries);
    command.output().expect("it starts")
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", complaint(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn bundle(app: &Path, libraries: &Path, output: &Path) -> Output {
    let [verb, flag] = ["bundle", "-o"].map(Path::new);
    ringmw(&[verb, app, flag, output], libraries)
}

#[test]
fn a_bundle_runs_where_its_library_is_not() {
    let (build, app) = program(&[]);
    let to = tempfile::tempdir().expect("a folder");
    let output = to.path().join("deploy");
    let text = told(&bundle(&app, build.path(), &output));
    assert!(text.contains("with 1 shared library of its own"), "{text}");
    assert!(
        text.contains(&format!("LD_LIBRARY_PATH={}", output.display())),
        "{text}"
    );
    assert_eq!(
        fs::read_to_string(output.join("libraries.txt")).expect("the list"),
        "libsolve.so\n"
    );
    drop(build);

    let run = |libraries: &Path| {
        let mut command = Command::new(output.join("app"));
        command
            .env("LD_LIBRARY_PATH", libraries)
            .output()
            .expect("it starts")
    };
    assert_eq!(told(&run(&output)), "solved 42\n");
    let alone = run(to.path());
    assert_eq!(alone.status.code(), Some(127), "{}", complaint(&alone));
}

#[test]
fn a_bundle_of_a_program_that_looks_beside_itself_runs_by_itself() {
    let (build, app) = program(&["-Wl,-rpath,$ORIGIN"]);
    let to = tempfile::tempdir().expect("a folder");
    let nowhere = to.path().join("nowhere");
    let text = told(&bundle(&app, &nowhere, to.path()));
    assert!(text.contains("libsolve.so"), "{text}");
    drop(build);
    let mut command = Command::new(to.path().join("app"));
    assert_eq!(told(&command.output().expect("it starts")), "solved 42\n");
}

#[test]
fn a_static_program_is_one_file_and_a_missing_library_is_told() {
    let (build, app) = program(&[]);
    let to = tempfile::tempdir().expect("a folder");
    let lacking = bundle(&app, to.path(), &to.path().join("none"));
    assert_eq!(lacking.status.code(), Some(1));
    assert!(
        complaint(&lacking).contains("libsolve.so, which is not found here either"),
        "{lacking:?}"
    );

    let source = build.path().join("static.c");
    fs::write(&source, "int main(void) { return 0; }\n").expect("written");
    let app = build.path().join("static");
    let args = [Path::new("-static"), Path::new("-o"), &app, &source];
    let cc = Command::new("cc").args(args).output().expect("cc is there");
    assert!(cc.status.success(), "{}", complaint(&cc));
    let text = told(&bundle(&app, to.path(), to.path()));
    assert!(text.contains("is static: one file"), "{text}");
    assert_eq!(
        fs::read_to_string(to.path().join("libraries.txt")).expect("the list"),
        ""
    );
}

/// HTCondor sends the library with each job; Slurm's nodes and the master find it where it is.
#[test]
fn a_submit_file_takes_the_library_along() {
    let (build, app) = program(&[]);
    let here = build.path().display().to_string();
    for (system, words) in [
        (
            "condor",
            [
                format!(",{here}/libsolve.so"),
                "LD_LIBRARY_PATH=.".to_owned(),
            ],
        ),
        (
            "slurm",
            [
                format!("export LD_LIBRARY_PATH={here}"),
                "slaves.sbatch".to_owned(),
            ],
        ),
    ] {
        let args = ["submit", system, "--slaves", "3", "--dry-run", "--binary"].map(Path::new);
        let text = told(&ringmw(&[&args[..], &[&app]].concat(), build.path()));
        for word in words {
            assert!(text.contains(&word), "no {word} in\n{text}");
        }
    }
}
