//! `ringmw farm`: machines that slaves may be started on by ssh, registered and validated (PHILIP-JOSE's farm).
//!
//! The registry is a plain file, a line for each machine, its fields apart by tabs. Only a machine that has passed
//! [`validate`] serves. `ringmw overseer --batch ssh` starts slaves there.

mod check;
pub(crate) mod machines;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};

use crate::say;

use machines::{Access, Listen, Machine, Standing, read, registry_path, write};

const NO_MACHINE: &str = "no machine is registered: ringmw farm add HOST";

/// What `ringmw farm` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The registry; by default ringmw/farm in $XDG_CONFIG_HOME or ~/.config
    #[arg(long, global = true, value_name = "FILE")]
    farm: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Register machines, or change what is known of them
    Add {
        /// Names or addresses, as ssh takes them
        #[arg(required = true)]
        hosts: Vec<String>,
        /// Slaves at a time; by default one per core, found out by validate
        #[arg(long)]
        slots: Option<u32>,
        /// Behind a firewall that lets nobody dial out: the slaves listen, the first at this port and each next slot's at
        /// the next, and the master dials them (see `farm addresses`). Ports below 32768 are best: those above may be taken
        /// by connections that go out. HOST: where the master dials, if not by the name for ssh
        #[arg(long, value_name = "[HOST:]PORT")]
        listen: Option<Listen>,
        #[command(flatten)]
        access: Access,
    },
    /// Unregister machines; slaves that run there are left to finish
    Remove {
        #[arg(required = true)]
        hosts: Vec<String>,
    },
    /// Show the registry
    List,
    /// Print where slaves that listen are dialled, a line each: for the master's --mw-slave-at @FILE
    #[command(
        after_help = "Examples:\n  ringmw farm addresses > slaves\n  ./app --mw-master --mw-resource-file app.rsc --mw-slave-at @slaves"
    )]
    Addresses,
    /// Check machines; only those that pass may serve
    ///
    /// Is it reachable without a password, has it the binary's architecture and a C library that runs it, can it reach
    /// the master, does your own check pass? Of one whose slaves listen: can they be reached from here?
    #[command(after_help = "Exit status: 0 if all of them may serve, else 1.")]
    Validate {
        /// The machines; by default all
        hosts: Vec<String>,
        /// The application, which is copied there and asked for its version
        #[arg(long)]
        binary: PathBuf,
        /// The master's resource file: its addresses are tried from there
        #[arg(long, value_name = "FILE")]
        resource_file: Option<PathBuf>,
        /// A command that must exit 0 there
        #[arg(long, value_name = "COMMAND")]
        check: Option<String>,
    },
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let done =
        registry_path(options.farm.as_deref()).and_then(|path| perform(&path, &options.verb));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say::complain("ringmw farm", &error);
            ExitCode::FAILURE
        }
    }
}

fn perform(path: &Path, verb: &Verb) -> Result<bool, String> {
    let mut machines = read(path)?;
    match verb {
        Verb::Add {
            hosts,
            slots,
            listen,
            access,
        } => {
            if hosts.len() > 1 && listen.as_ref().is_some_and(|listen| listen.host.is_some()) {
                return Err("--listen HOST:PORT is of one machine alone".to_owned());
            }
            for host in hosts {
                add(&mut machines, host, *slots, listen.as_ref(), access)?;
            }
            write(path, &machines)?;
            print("added; now: ringmw farm validate --binary ./app\n")?;
            Ok(true)
        }
        Verb::Remove { hosts } => {
            for host in hosts {
                let before = machines.len();
                machines.retain(|machine| machine.host != *host);
                if machines.len() == before {
                    return Err(format!("{host} is not registered"));
                }
            }
            write(path, &machines)?;
            Ok(true)
        }
        Verb::List => {
            if machines.is_empty() {
                print(&format!("{NO_MACHINE}\n"))?;
            }
            for machine in &machines {
                print(&format!("{}\n", show(machine)))?;
            }
            Ok(true)
        }
        Verb::Addresses => {
            let serves = |machine: &&Machine| {
                machine.listen.is_some() && matches!(machine.standing, Standing::Valid(_))
            };
            let mut lines = String::new();
            for machine in machines.iter().filter(serves) {
                for port in machine.ports(machine.slots.unwrap_or(1))? {
                    lines.push_str(&machine.address(port));
                    lines.push('\n');
                }
            }
            if lines.is_empty() {
                return Err(
                    "no machine serves whose slaves listen: ringmw farm add HOST --listen PORT, then ringmw farm validate"
                        .to_owned(),
                );
            }
            print(&lines)?;
            Ok(true)
        }
        Verb::Validate {
            hosts,
            binary,
            resource_file,
            check,
        } => {
            let question = check::Question::new(binary, resource_file.as_deref(), check.clone())?;
            let passed = validate(&mut machines, hosts, &question)?;
            write(path, &machines)?;
            Ok(passed)
        }
    }
}

fn add(
    machines: &mut Vec<Machine>,
    host: &str,
    slots: Option<u32>,
    listen: Option<&Listen>,
    access: &Access,
) -> Result<(), String> {
    let identity = access
        .identity
        .as_ref()
        .map(std::path::absolute)
        .transpose();
    let access = Access {
        identity: identity.map_err(|error| format!("--identity: {error}"))?,
        ..access.clone()
    };
    let machine = Machine {
        host: host.to_owned(),
        slots,
        access,
        listen: listen.cloned(),
        standing: Standing::New,
    };
    machine.ports(slots.unwrap_or(1))?;
    let line = machine.line();
    if host.is_empty() || host.starts_with(['-', '#']) || host.contains('/') {
        return Err(format!("{host:?} is no host"));
    }
    // What cannot be read back must not be written.
    if Machine::parse(&line).as_ref() != Ok(&machine) || line.contains('\n') {
        return Err(format!("{host}: a tab or a line feed cannot be registered"));
    }
    machines.retain(|other| other.host != host);
    machines.push(machine);
    Ok(())
}

/// All at once: one that hangs delays no other.
fn validate(
    machines: &mut [Machine],
    hosts: &[String],
    question: &check::Question,
) -> Result<bool, String> {
    if let Some(unknown) = hosts
        .iter()
        .find(|host| machines.iter().all(|machine| machine.host != **host))
    {
        return Err(format!("{unknown} is not registered"));
    }
    let asked: Vec<&mut Machine> = machines
        .iter_mut()
        .filter(|machine| hosts.is_empty() || hosts.contains(&machine.host))
        .collect();
    if asked.is_empty() {
        return Err(NO_MACHINE.to_owned());
    }
    let passed = std::thread::scope(|scope| {
        let threads: Vec<_> = asked
            .into_iter()
            .map(|machine| {
                scope.spawn(move || {
                    match question.ask(machine) {
                        Ok(cores) => {
                            machine.slots.get_or_insert(cores);
                            let now = SystemTime::now().duration_since(UNIX_EPOCH);
                            machine.standing =
                                Standing::Valid(now.map_or(0, |since| since.as_secs()));
                        }
                        Err(why) => machine.standing = Standing::Failed(why),
                    }
                    // The registry has it too.
                    let _ = say::print(&format!("{}\n", show(machine)));
                    matches!(machine.standing, Standing::Valid(_))
                })
            })
            .collect();
        let passed: Vec<bool> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(false))
            .collect();
        passed.iter().all(|passed| *passed)
    });
    Ok(passed)
}

fn show(machine: &Machine) -> String {
    let slots = machine
        .slots
        .map_or("? slots".to_owned(), |slots| format!("{slots} slots"));
    let standing = match &machine.standing {
        Standing::New => "not validated yet".to_owned(),
        Standing::Valid(_) => "ok".to_owned(),
        Standing::Failed(why) => format!("does not serve: {why}"),
    };
    let way = match &machine.listen {
        Some(listen) => format!(
            "; its slaves listen at {} and on",
            machine.address(listen.port)
        ),
        None => String::new(),
    };
    format!("{:<24} {slots:>9}  {standing}{way}", machine.host)
}

fn print(text: &str) -> Result<(), String> {
    say::print(text).map_err(|error| format!("standard output: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("deep/farm");
        assert_eq!(read(&path), Ok(Vec::new()));
        let mut machines = Vec::new();
        let access = Access {
            user: Some("u".into()),
            port: Some(2222),
            identity: Some("/keys/a b".into()),
            dir: Some("/scratch/x=y".into()),
            options: vec!["StrictHostKeyChecking=no".into(), "LogLevel=ERROR".into()],
        };
        let listen = Listen {
            host: Some("login1".into()),
            port: 9000,
        };
        add(&mut machines, "node1", Some(4), Some(&listen), &access).expect("it can be registered");
        add(&mut machines, "10.0.0.2", None, None, &Access::default())
            .expect("it can be registered");
        machines[0].standing = Standing::Valid(1_700_000_000);
        machines[1].standing = Standing::Failed("no route\tto host".into());
        write(&path, &machines).expect("written");
        let mut read = read(&path).expect("read");
        assert_eq!(
            read[1].standing,
            Standing::Failed("no route to host".into())
        );
        read[1].standing = machines[1].standing.clone();
        assert_eq!(read, machines);
        // Registered again it has to be validated again.
        add(&mut machines, "node1", Some(8), None, &Access::default())
            .expect("it can be registered");
        assert_eq!((machines.len(), &machines[1].standing), (2, &Standing::New));
        for host in ["-oProxyCommand=x", "", "a\tb", "a/b"] {
            assert!(
                add(&mut machines, host, None, None, &Access::default()).is_err(),
                "{host:?}"
            );
        }
    }

    #[test]
    fn each_slot_that_listens_has_a_port_and_an_address() {
        let access = Access::default();
        let mut machines = Vec::new();
        let rows = [
            ("node1", "9000", ["node1:9000", "node1:9001"]),
            ("node2", "gate:7000", ["gate:7000", "gate:7001"]),
            ("fe80::1", "5", ["[fe80::1]:5", "[fe80::1]:6"]),
            ("node3", "[::1]:5", ["[::1]:5", "[::1]:6"]),
        ];
        for (host, listen, addresses) in rows {
            let listen = listen.parse::<Listen>().expect(listen);
            add(&mut machines, host, Some(2), Some(&listen), &access).expect(host);
            let machine = machines.last().expect("added");
            let ports = machine.ports(2).expect("there are so many");
            let told = ports.iter().map(|port| machine.address(*port));
            assert_eq!(told.collect::<Vec<_>>(), addresses);
        }
        for wrong in ["", "0", "70000", "x", ":5", "::1:5", "a b:5", "[]:5"] {
            assert!(wrong.parse::<Listen>().is_err(), "{wrong:?}");
        }
        let last = "65535".parse::<Listen>().expect("the last port");
        assert!(add(&mut machines, "node4", Some(1), Some(&last), &access).is_ok());
        let refused = add(&mut machines, "node4", Some(2), Some(&last), &access);
        assert!(refused.is_err_and(|error| error.contains("65535")));
    }
}
