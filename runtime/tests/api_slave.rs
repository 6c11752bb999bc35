//! A program that users want to write: a slave algorithm with time-outs and arguments of its own, a state that is read from
//! a file, and a task that failed, submitted again by what is told of it. Real processes; this program itself is the
//! application.

use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use ringmw::prelude::*;

/// In the environment of a process that is the application.
const AS_APPLICATION: &str = "RINGMW_API_SLAVE_APP";

struct Db {
    text: String,
    asked: u32,
}

impl SlaveState for Db {
    fn init(cx: &mut Cx) -> Result<Self> {
        let file = cx.own_args().first().ok_or("give the data base")?;
        let text = std::fs::read_to_string(file)?;
        Ok(Db { text, asked: 0 })
    }
}

#[algorithm]
fn ask(q: &str, db: &mut Db) -> std::result::Result<usize, String> {
    db.asked += 1;
    match db.asked {
        1 => Err("the data base is warming up".to_owned()),
        _ => Ok(db.text.matches(q).count()),
    }
}

fn slave(slave: &mut Slave, _args: Args) -> u8 {
    let scratch = slave.own_args().first().cloned();
    loop {
        let report = slave.one_group_timeout(Duration::from_secs(5));
        if report.is_over() {
            return u8::from(!report.explicit_shutdown) * 255;
        }
        if scratch
            .as_ref()
            .is_some_and(|s| std::fs::metadata(s).is_err())
        {
            return 255;
        }
    }
}

async fn master(mw: Master, _args: Args) -> Result {
    let error = mw.call(ask::task("x")).await.unwrap_err();
    for view in mw.slaves() {
        println!("{} {}", view.id, view.host);
    }
    let origin = error.origin();
    let (q,) = origin.args::<ask>().unwrap();
    let again = mw
        .call(origin.task::<ask>().unwrap().stream(origin.stream()))
        .await?;
    let other = mw.call(ask::task(&q).stream(5)).await?;
    let k: u64 = 7;
    let third = mw.call(ask::task(&q).stream(k + 1)).await?;
    println!("{again} {other} {third}");
    Ok(())
}

fn start(args: &[&str]) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let command = command.args(args).env(AS_APPLICATION, "1");
    command.stdout(Stdio::piped()).spawn().expect("it starts")
}

fn main() -> ExitCode {
    if std::env::var_os(AS_APPLICATION).is_some() {
        let app = App::new().algorithm::<ask>().master(master).slave(slave);
        return app.run();
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (db, resource) = (dir.path().join("db"), dir.path().join("app.rsc"));
    std::fs::write(&db, "an axe, a box, an ox").expect("ours");
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let (db, resource) = (text(&db), text(&resource));
    let trail = text(&dir.path().join("trail"));
    let master = start(&[
        "--mw-master",
        "--mw-master-host",
        "127.0.0.1",
        "--mw-resource-file",
        &resource,
        "--mw-audit-file",
        &trail,
    ]);
    while !Path::new(&resource).exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let slave = start(&["--mw-slave", "--mw-resource-file", &resource, &db]);
    let master = master.wait_with_output().expect("it runs");
    let said = String::from_utf8_lossy(&master.stdout).into_owned();
    assert!(master.status.success(), "{said}");
    assert!(
        said.starts_with("SLAVE-0 ") && said.ends_with("\n3 3 3\n"),
        "{said}"
    );
    let slave = slave.wait_with_output().expect("it runs");
    assert!(slave.status.success(), "it was told to go");
    ExitCode::SUCCESS
}
