use std::io::Write as _;

use super::*;

fn app() -> App {
    App {
        binary: "/home/u/bin/ping".into(),
        libraries: Vec::new(),
        dir: "/home/u/run 1".into(),
        resource_file: "ping.rsc".into(),
        tag: "ping".into(),
        request: Request {
            memory: 256,
            cpus: 1,
            lines: Vec::new(),
            labels: Vec::new(),
            flags: Vec::new(),
        },
    }
}

fn line<'a>(text: &'a Text, start: &str) -> &'a str {
    let found = text.text.lines().find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no {start} in\n{}", text.text))
}

#[test]
fn the_masters_arguments_are_quoted_for_condor() {
    let args = [
        "--tasks",
        "10",
        "two words",
        "it's",
        "say \"x\"",
        "$HOME",
        "",
    ]
    .map(str::to_owned);
    let text = condor::master(&app(), &args, &[]).expect("it can be written");
    assert_eq!(
        line(&text, "arguments"),
        "arguments    = \"--mw-master --mw-resource-file ping.rsc --mw-slave-executable /home/u/bin/ping --mw-audit-file \
         master.$(CLUSTER).$(PROCESS).audit --mw-member-id $(CLUSTER).$(PROCESS) --tasks 10 'two words' 'it''s' \
         'say \"\"x\"\"' $(DOLLAR)HOME ''\""
    );
    assert_eq!(
        line(&text, "on_exit_remove"),
        "on_exit_remove = (ExitBySignal == False) && (ExitCode != 129) && (ExitCode != 130) && (ExitCode != 143) && \
         (ExitCode != 253)"
    );
    assert_eq!(
        line(&text, "on_exit_hold "),
        "on_exit_hold         = (ExitBySignal == False) && (ExitCode == 253)"
    );
    assert_eq!(
        line(&text, "environment"),
        "environment  = \"RINGMW_STARTS=master.$(CLUSTER).$(PROCESS).starts\""
    );
    assert!(condor::master(&app(), &["a\nb".to_owned()], &[]).is_err());
}

/// The master took none of them twice: it ended at once, and `--run` waited for its resource file for two minutes.
#[test]
fn flags_that_a_submit_file_gives_itself_are_refused_by_name() {
    for text in [
        condor::master(&app(), &[], &[]).expect("it can be written"),
        slurm::master(&app(), &[], &[]).expect("it can be written"),
    ] {
        let words = text
            .text
            .split(|c: char| !c.is_ascii_lowercase() && c != '-');
        let flags = words.filter(|word| word.starts_with("--mw-") && *word != "--mw-dir");
        assert_eq!(flags.clone().count(), 5, "{}", text.text);
        flags.for_each(|flag| {
            for arg in [flag.to_owned(), format!("{flag}=x")] {
                let refused = app::refuse_given(&["--tasks".to_owned(), arg]).expect_err(flag);
                assert!(refused.starts_with(&format!("{flag} cannot")), "{refused}");
            }
        });
    }
    // Behind `--` they are the program's own; others may begin alike.
    for args in [
        &["--", "--mw-member-id", "x"][..],
        &["--mw-master-port", "7"],
    ] {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        assert_eq!(app::refuse_given(&args), Ok(()));
    }
}

/// The careful run is one flag among the master's arguments: on both systems its files lie in the run's folder, where those
/// that the submit file names stay; and the slaves know of the resource file alone.
#[test]
fn a_master_that_goes_on_says_so() {
    let careful = ["--mw-dir".to_owned(), ".".to_owned(), "--input".to_owned()];
    let plain = ["--input".to_owned(), "--".to_owned(), "--mw-dir".to_owned()];
    for (args, word) in [
        (&careful, "goes on where it was: its results"),
        (&plain, "begins\n# anew"),
    ] {
        let condor = condor::master(&app(), args, &[])
            .expect("it can be written")
            .text;
        let slurm = slurm::master(&app(), args, &[])
            .expect("it can be written")
            .text;
        for text in [&condor, &slurm] {
            assert!(text.contains(word), "{text}");
            let lines = text
                .lines()
                .filter(|line| line.contains("# anew") || line.contains("# are in"));
            assert_eq!(lines.count(), 1, "a comment stays one: {text}");
        }
        assert!(condor.contains("--mw-resource-file ping.rsc"), "{condor}");
    }
    let text = condor::master(&app(), &careful, &[]).expect("it can be written");
    assert!(line(&text, "arguments").ends_with("--mw-dir . --input\""));
}

#[test]
fn slaves_repeat_nothing_of_the_masters() {
    let text = condor::slaves(&app(), 1000).expect("it can be written");
    assert_eq!(
        line(&text, "arguments"),
        "arguments    = \"--mw-slave --mw-resource-file ping.rsc\""
    );
    assert_eq!(
        line(&text, "transfer_input_files"),
        "transfer_input_files    = ping.rsc"
    );
    assert_eq!(
        line(&text, "encrypt_input_files"),
        "encrypt_input_files     = ping.rsc"
    );
    assert_eq!(line(&text, "queue"), "queue 1000");
    let mut with_libraries = app();
    with_libraries.libraries = vec!["/opt/solver/libsolve.so.2".into()];
    let text = condor::slaves_avoiding(&with_libraries, 1, &["node3".to_owned()]).expect("it can");
    assert!(line(&text, "transfer_input_files").ends_with("ping.rsc,/opt/solver/libsolve.so.2"));
    assert_eq!(
        line(&text, "environment"),
        "environment  = \"LD_LIBRARY_PATH=.\""
    );
    assert_eq!(
        line(&text, "requirements"),
        "requirements = (Machine =!= \"node3\")"
    );
}

/// The overseer's line stood before the user's, which undid it: it avoided nothing.
#[test]
fn a_users_requirements_and_the_overseers_both_count() {
    let mut with = app();
    with.request.lines = vec![
        "Requirements = Memory > 100 || Cpus =?= 8".to_owned(),
        "rank = Memory".to_owned(),
    ];
    let text = condor::slaves_avoiding(&with, 1, &["node3".to_owned()]).expect("it can be written");
    assert_eq!(
        line(&text, "requirements"),
        "requirements = (Memory > 100 || Cpus =?= 8) && (Machine =!= \"node3\")"
    );
    assert!(!text.text.contains("Requirements"), "{}", text.text);
    assert_eq!(line(&text, "rank"), "rank = Memory");
    let text = condor::slaves(&with, 1).expect("it can be written");
    assert_eq!(line(&text, "Requirements"), with.request.lines[0]);
}

/// The shell that is to run them reads them.
#[test]
fn slurms_scripts_are_scripts() {
    let mut odd = app();
    odd.binary = "/home/u/it's here/ping".into();
    odd.libraries = vec!["/opt/so lver/libsolve.so.2".into()];
    let args = ["--name".to_owned(), "it's $HOME".to_owned()];
    for text in [
        slurm::master(&odd, &args, &[]).expect("it can be written"),
        slurm::slaves(&odd, 8).expect("it can be written"),
    ] {
        let mut bash = Command::new("bash")
            .arg("-n")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("bash is there");
        bash.stdin
            .take()
            .expect("piped")
            .write_all(text.text.as_bytes())
            .expect("written");
        assert!(bash.wait().expect("it ends").success(), "{}", text.text);
    }
}

#[test]
fn labels_are_told_to_slaves_of_either_system() {
    let mut labelled = app();
    labelled.request.labels = vec!["gpu".to_owned(), "site=fermi lab".to_owned()];
    let text = condor::slaves(&labelled, 1).expect("it can be written");
    let all = "--mw-slave-label gpu --mw-slave-label 'site=fermi lab'\"";
    assert!(line(&text, "arguments").ends_with(all), "{}", text.text);
    let text = slurm::slaves(&labelled, 1).expect("it can be written");
    let all = "--mw-slave-label gpu --mw-slave-label 'site=fermi lab'";
    assert!(text.text.contains(all), "{}", text.text);
}

/// As HTCondor 23.9 gave them to jobs of both universes.
#[test]
fn dollars_arrive_as_written() {
    let args = [
        "$$(x)",
        "$$$(x)",
        "$$$$(x)",
        "$(x)",
        "$$([1+1])",
        "$$$y",
        "$$",
        "$HOME",
    ]
    .map(str::to_owned);
    let text = condor::master(&app(), &args, &[]).expect("it can be written");
    let expected =
        "$$(x) $$$(DOLLAR)(x) $$$$(x) $(DOLLAR)(x) $$([1+1]) $$$(DOLLAR)y $$ $(DOLLAR)HOME\"";
    assert!(
        line(&text, "arguments").ends_with(expected),
        "{}",
        text.text
    );
    let mut flagged = app();
    flagged.request.flags = args.to_vec();
    let text = condor::slaves(&flagged, 1).expect("it can be written");
    let pair = "$$(DOLLARDOLLAR)";
    let expected = format!(
        "{pair}(x) {pair}$(DOLLAR)(x) {pair}{pair}(x) $(DOLLAR)(x) {pair}([1+1]) {pair}$(DOLLAR)y {pair} $(DOLLAR)HOME\""
    );
    assert!(
        line(&text, "arguments").ends_with(&expected),
        "{}",
        text.text
    );
    let mut odd = app();
    odd.dir = "/runs/$(x)".into();
    let text = condor::slaves(&odd, 1).expect("it can be written");
    assert_eq!(
        line(&text, "initialdir"),
        "initialdir   = /runs/$(DOLLAR)(x)"
    );
    odd.dir = "/runs/$$(x)".into();
    assert!(
        condor::slaves(&odd, 1).is_err(),
        "HTCondor has no word for it"
    );
}

#[test]
fn condor_shows_master_and_slaves_as_one_batch() {
    for text in [
        condor::master(&app(), &[], &[]).expect("it can be written"),
        condor::slaves(&app(), 1).expect("it can be written"),
    ] {
        assert_eq!(line(&text, "batch_name"), "batch_name   = ping");
    }
}

/// What sbatch makes of the value of an option in a script: `_get_argument` in its sources.
fn as_sbatch_reads(value: &str) -> String {
    let (mut read, mut quote, mut escaped) = (String::new(), None, false);
    for c in value.chars() {
        match (c, quote) {
            _ if escaped => {
                escaped = false;
                read.push(c);
            }
            ('\\', _) => escaped = true,
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (' ' | '\t' | '#', None) => break,
            _ => read.push(c),
        }
    }
    assert!(quote.is_none() && !escaped, "{value} is not closed");
    read
}

#[test]
fn sbatch_reads_the_folder_as_it_is() {
    for dir in [
        "/home/u/run1",
        "/home/u/run 1",
        "/home/u/#1",
        "/home/u/it's \"x\"",
        r"/home/u/back\slash \",
        "/home/u/$HOME ~ `x`",
        "/home/ü/100 %j",
    ] {
        let mut odd = app();
        odd.dir = dir.into();
        odd.tag = format!("{} x", dir.rsplit('/').next().expect("a name"));
        for text in [
            slurm::master(&odd, &[], &[]).expect("it can be written"),
            slurm::slaves(&odd, 8).expect("it can be written"),
        ] {
            let value = |option| {
                line(&text, option)
                    .split_once('=')
                    .expect("it has a value")
                    .1
            };
            assert_eq!(as_sbatch_reads(value("#SBATCH --chdir")), dir);
            let name = as_sbatch_reads(value("#SBATCH --job-name"));
            assert!(name.starts_with(&odd.tag), "{name}");
            // In the folder's name, too, sbatch would expand a percent sign.
            let is_expanded = dir.contains(['%', '\\']);
            assert_eq!(
                value("#SBATCH --output") == "/dev/null",
                is_expanded,
                "{dir}"
            );
            assert_eq!(text.text.contains("exec >>"), is_expanded, "{dir}");
        }
    }
    let mut odd = app();
    odd.dir = "/home/u/a\nb".into();
    assert!(slurm::slaves(&odd, 8).is_err());
}

#[test]
fn lines_are_added_to_the_masters_or_the_slaves_file() {
    let mut with = app();
    with.request.lines = vec!["slaves-line".to_owned()];
    let own = ["masters-line".to_owned()];
    for (master, slaves) in [
        (condor::master(&with, &[], &own), condor::slaves(&with, 1)),
        (slurm::master(&with, &[], &own), slurm::slaves(&with, 1)),
    ] {
        let (master, slaves) = (
            master.expect("it can be written").text,
            slaves.expect("it can be written").text,
        );
        let has = |text: &str, line| text.lines().any(|found| found == line);
        assert!(
            has(&master, "masters-line") && !has(&master, "slaves-line"),
            "{master}"
        );
        assert!(
            has(&slaves, "slaves-line") && !has(&slaves, "masters-line"),
            "{slaves}"
        );
    }
}

#[test]
fn the_masters_job_is_found_in_what_sbatch_says() {
    assert_eq!(job_of("Submitted batch job 17\n"), Some("17"));
    assert_eq!(job_of("Submitted batch job 17 on cluster c\n"), Some("17"));
    assert_eq!(job_of("sbatch: Submitted batch job \n"), None);
    assert_eq!(job_of("queued"), None);
}

/// One life of a job whose program ends with these codes, one after the other: what it asked of `scontrol`.
struct Played {
    folder: tempfile::TempDir,
    script: String,
}

impl Played {
    fn new(text: &Text, folder: tempfile::TempDir) -> Self {
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).expect("a folder");
        for (name, text) in [
            ("scontrol", "echo \"$*\" >>asked"),
            // No pause is waited for.
            ("sleep", ":"),
        ] {
            let path = bin.join(name);
            std::fs::write(&path, format!("#!/bin/bash\n{text}\n")).expect("written");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, mode).expect("it is ours");
        }
        let script = text.text.clone();
        Played { folder, script }
    }

    fn life(&self, code: u8) -> (Option<i32>, Vec<String>) {
        let here = self.folder.path();
        let program = here.join("program");
        std::fs::write(&program, format!("#!/bin/bash\nexit {code}\n")).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).expect("it is ours");
        std::fs::write(here.join("job.sh"), &self.script).expect("written");
        let _ = std::fs::remove_file(here.join("asked"));
        let path = format!(
            "{}/bin:{}",
            here.display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let output = Command::new("bash")
            .arg("job.sh")
            .current_dir(here)
            .env("PATH", path)
            .envs([
                ("SLURM_JOB_ID", "18"),
                ("SLURM_ARRAY_JOB_ID", "18"),
                ("SLURM_ARRAY_TASK_ID", "3"),
            ])
            .output()
            .expect("bash is there");
        let asked = std::fs::read_to_string(here.join("asked")).unwrap_or_default();
        (
            output.status.code(),
            asked.lines().map(str::to_owned).collect(),
        )
    }
}

/// Slurm's script counts what HTCondor's policy reads from the exit code.
#[test]
fn slurm_holds_a_slave_that_fails_at_once_the_tenth_time_in_a_row() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ping.rsc"), "").expect("written");
    let mut here = app();
    here.binary = folder.path().join("program");
    let played = Played::new(&slurm::slaves(&here, 4).expect("it can be written"), folder);
    let later = |asked: &[String]| {
        let start = asked
            .iter()
            .find_map(|line| line.split_once("StartTime=now+"));
        start.map(|(_, seconds)| seconds.to_owned())
    };
    let requeued = |asked: &[String]| asked.iter().any(|line| line == "requeue 18_3");
    let in_vain = || {
        let (code, asked) = played.life(241);
        assert_eq!(code, Some(241));
        assert!(requeued(&asked), "{asked:?}");
        later(&asked)
    };
    let pauses: Vec<Option<String>> = (0..9).map(|_| in_vain()).collect();
    assert_eq!(pauses, vec![None; 9]);
    // A life that ended otherwise is a new beginning, an eviction's code too.
    let (_, asked) = played.life(255);
    assert!(requeued(&asked) && later(&asked).is_none(), "{asked:?}");
    let held: Vec<Option<String>> = (0..16).map(|_| in_vain()).collect();
    assert_eq!(held[..9], vec![None; 9]);
    let held: Vec<&str> = held[9..].iter().flatten().map(String::as_str).collect();
    assert_eq!(held, ["60", "120", "240", "480", "960", "1800", "1800"]);
    // It cannot be started: as bad.
    let (_, asked) = played.life(127);
    assert_eq!(later(&asked).as_deref(), Some("1800"));
    assert!(
        asked
            .iter()
            .any(|line| line.contains("Comment=held for 1800 s")),
        "{asked:?}"
    );
    // It was told to go.
    assert_eq!(played.life(0), (Some(0), Vec::new()));
    assert_eq!(in_vain(), None, "what it counted is gone");
}

#[test]
fn slurm_holds_a_master_that_says_so_and_runs_a_killed_one_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut here = app();
    here.binary = folder.path().join("program");
    let master = slurm::master(&here, &[], &[]).expect("it can be written");
    let played = Played::new(&master, folder);
    let (code, asked) = played.life(253);
    assert_eq!(code, Some(253));
    assert!(
        asked.iter().any(|line| line == "requeuehold 18"),
        "{asked:?}"
    );
    assert!(
        asked
            .iter()
            .any(|line| line.contains("Comment=held: the master aborted 5 times")),
        "{asked:?}"
    );
    for (code, again) in [(143, true), (0, false), (255, false), (7, false)] {
        let (_, asked) = played.life(code);
        assert_eq!(
            asked.iter().any(|line| line == "requeue 18"),
            again,
            "{code}: {asked:?}"
        );
    }
}
