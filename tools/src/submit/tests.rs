use super::app::Text;
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
    let text = condor::master(&app(), &args).expect("it can be written");
    assert_eq!(
        line(&text, "arguments"),
        "arguments    = \"--mw-master --mw-resource-file ping.rsc --mw-slave-executable /home/u/bin/ping --mw-audit-file \
         master.$(CLUSTER).$(PROCESS).audit --mw-member-id $(CLUSTER).$(PROCESS) --tasks 10 'two words' 'it''s' \
         'say \"\"x\"\"' $(DOLLAR)HOME ''\""
    );
    assert_eq!(
        line(&text, "on_exit_remove"),
        "on_exit_remove = (ExitBySignal == False) && (ExitCode != 130) && (ExitCode != 143)"
    );
    assert!(condor::master(&app(), &["a\nb".to_owned()]).is_err());
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

/// The shell that is to run them reads them.
#[test]
fn slurms_scripts_are_scripts() {
    let mut odd = app();
    odd.binary = "/home/u/it's here/ping".into();
    odd.libraries = vec!["/opt/so lver/libsolve.so.2".into()];
    let args = ["--name".to_owned(), "it's $HOME".to_owned()];
    for text in [
        slurm::master(&odd, &args).expect("it can be written"),
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
