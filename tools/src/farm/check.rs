//! What a machine must show before it may serve.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ringmw_codec::resource::ResourceFile;
use ringmw_codec::secret::SECRET_MAGIC;

use super::machines::Machine;
use crate::bundle::elf::Elf;
use crate::overseer::batch::output;
use crate::overseer::shell::Upload;
use crate::resource;
use crate::submit::slurm::quoted;

/// Slaves that listen for the question have begun to by then.
const LISTENING_WITHIN: Duration = Duration::from_secs(60);
/// One that has been dialled has spoken by then: it speaks first.
const SPEAKS_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Question {
    binary: PathBuf,
    upload: Upload,
    /// As the binary tells it here.
    version: String,
    /// `uname -m` of the machines that the binary is for; none if that is not known here.
    machine: Option<&'static str>,
    addresses: Vec<String>,
    check: Option<String>,
}

impl Question {
    pub(super) fn new(
        binary: &Path,
        resource_file: Option<&Path>,
        check: Option<String>,
    ) -> Result<Self, String> {
        let binary = crate::bundle::binary(binary)?;
        let version = output(
            std::process::Command::new(&binary).arg("--mw-version-string"),
            b"",
        )
        .map_err(|error| format!("it does not even run here: {error}"))?;
        let addresses = match resource_file {
            None => Vec::new(),
            Some(path) => {
                let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
                let text = resource::read(path).map_err(|error| fault(&error))?;
                let file = ResourceFile::parse(&text).map_err(|error| fault(&error))?;
                file.master_addresses
            }
        };
        Ok(Self {
            upload: Upload::new(&binary, &crate::bundle::libraries(&binary)?)?,
            machine: Elf::read(&binary)?.and_then(|elf| elf.machine),
            binary,
            version,
            addresses,
            check,
        })
    }

    /// Its cores, if it may serve.
    pub(super) fn ask(&self, machine: &Machine) -> Result<u32, String> {
        let run = |script: &str| output(machine.ssh().arg("sh -s"), script.as_bytes());
        let told = run("uname -m; nproc 2>/dev/null || getconf _NPROCESSORS_ONLN")
            .map_err(|error| format!("not reachable: {error}"))?;
        let mut told = told.lines();
        let architecture = told.next().unwrap_or_default();
        if let Some(own) = self.machine
            && architecture != own
        {
            return Err(format!(
                "its architecture is {architecture}, {} is for {own}",
                self.binary.display()
            ));
        }
        let cores: Option<u32> = told.next().and_then(|cores| cores.trim().parse().ok());
        let binary = self.upload.to(machine)?;
        let version = run(&format!("{binary} --mw-version-string"))
            .map_err(|error| format!("the binary does not run there: {error}"))?;
        if version != self.version {
            return Err(format!(
                "the binary says {:?} there and {:?} here",
                version.trim(),
                self.version.trim()
            ));
        }
        let cores = cores.unwrap_or(1);
        match machine.listen {
            Some(_) => reach_slaves(
                machine,
                &binary,
                machine.ports(machine.slots.unwrap_or(cores))?,
            )?,
            None => self.reach_master(&run)?,
        }
        if let Some(check) = &self.check {
            run(&format!("sh -c {}", quoted(check)))
                .map_err(|error| format!("your check {check:?} failed: {error}"))?;
        }
        Ok(cores)
    }

    fn reach_master(&self, run: &dyn Fn(&str) -> Result<String, String>) -> Result<(), String> {
        let mut last = None;
        for address in &self.addresses {
            let Some((host, port)) = address.rsplit_once(':') else {
                continue;
            };
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let script = format!(
                "command -v bash >/dev/null || exit 0\ntimeout 5 bash -c {}",
                quoted(&format!("exec 3<>/dev/tcp/{host}/{port}"))
            );
            match run(&script) {
                Ok(_) => return Ok(()),
                Err(error) => {
                    last = Some(format!("it cannot reach the master at {address}: {error}"))
                }
            }
        }
        last.map_or(Ok(()), Err)
    }
}

/// Whether slaves that listen there are reached from here, at each of these ports.
fn reach_slaves(machine: &Machine, program: &str, ports: Vec<u16>) -> Result<(), String> {
    let (_listening, told) = listening(machine, program, &ports)?;
    let until = Instant::now() + LISTENING_WITHIN;
    let mut ready = 0;
    let mut last = String::new();
    while ready < ports.len() {
        let left = until.saturating_duration_since(Instant::now());
        match told.recv_timeout(left) {
            Ok(line) if line.contains(" ready addresses=") => ready += 1,
            Ok(line) if line.contains("cannot listen") => return Err(line),
            Ok(line) => last = line,
            Err(_) => return Err(format!("its slaves do not listen there: {last}")),
        }
    }
    for port in ports {
        let address = machine.address(port);
        speaks(&address).map_err(|error| {
            format!(
                "its slave at {address} cannot be reached from here: {error}; its firewall must let this port in, and the name be \
                 that machine's (--listen HOST:PORT)"
            )
        })?;
    }
    Ok(())
}

/// Slaves there that wait for masters, with a secret that nobody knows; they end with what is given. And what they print.
fn listening(
    machine: &Machine,
    program: &str,
    ports: &[u16],
) -> Result<(Ended, Receiver<String>), String> {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    // They end with the connection: its end is the end of what the shell reads.
    let script = format!(
        "secret=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n')\n\
         slaves=\n\
         for port in {}; do\n\
         {program} --mw-slave --mw-secret-file - --mw-slave-listen $port 2>&1 <<END &\n$secret\nEND\n\
         slaves=\"$slaves $!\"\n\
         done\n\
         cat >/dev/null; kill $slaves",
        ports.join(" ")
    );
    let fault = |error: std::io::Error| format!("ssh: {error}");
    let mut ssh = machine
        .ssh()
        .arg(format!("sh -c {}", quoted(&script)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(fault)?;
    let output = BufReader::new(ssh.stdout.take().expect("piped"));
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    Ok((Ended(ssh), told))
}

/// A process whose input is closed, and that is waited for.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let until = Instant::now() + SPEAKS_WITHIN;
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() > until {
                let _ = self.0.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether a slave speaks at this address; somebody else may listen there.
fn speaks(address: &str) -> Result<(), String> {
    let resolved = address.to_socket_addrs();
    let mut last = "it has no address".to_owned();
    for address in resolved.map_err(|error| error.to_string())? {
        let mut word = [0; SECRET_MAGIC.len()];
        let heard = TcpStream::connect_timeout(&address, SPEAKS_WITHIN).and_then(|mut stream| {
            stream.set_read_timeout(Some(SPEAKS_WITHIN))?;
            stream.read_exact(&mut word)
        });
        match heard {
            Ok(()) if word == SECRET_MAGIC => return Ok(()),
            Ok(()) => last = "who listens there is no slave".to_owned(),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}
