//! What a machine must show before it may serve.

use std::path::{Path, PathBuf};

use ringmw_codec::resource::ResourceFile;

use super::machines::Machine;
use crate::bundle::elf::Elf;
use crate::overseer::batch::output;
use crate::overseer::shell::Upload;
use crate::resource;
use crate::submit::slurm::quoted;

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
        let cores = told.next().and_then(|cores| cores.trim().parse().ok());
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
        self.reach_master(&run)?;
        if let Some(check) = &self.check {
            run(&format!("sh -c {}", quoted(check)))
                .map_err(|error| format!("your check {check:?} failed: {error}"))?;
        }
        Ok(cores.unwrap_or(1))
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
