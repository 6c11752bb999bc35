//! What to start: how many slaves, their program, arguments, cores and job strings.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;

use ringmw_codec::flags::FLAG;
use ringmw_codec::secret::Secret;

use crate::io::local::output::{Output, own_stdio};
use crate::io::secret_file;
use crate::io::terminal::own_name;

/// What to start.
pub(crate) struct Plan {
    /// How many slaves; at least one.
    pub slaves: u32,
    /// The program, by its path.
    pub program: PathBuf,
    /// What the program sees as its own name.
    pub arg0: Option<OsString>,
    /// The arguments of every slave.
    pub args: Vec<OsString>,
    /// The run's secret: every slave finds it in its standard input; see [`Plan::tell`].
    pub secret: Option<Secret>,
    /// Each slave is given `--mw-audit-file` with this path and `.slave-N` added, N its index.
    pub audit_file: Option<PathBuf>,
    /// Where its output goes, line by line, and what the supervisor says of its end.
    pub output: Output,
    /// Before what the supervisor says itself: this program's name.
    pub name: String,
    /// The batch job that these slaves are part of: their [`JOB_VARIABLE`](crate::io::local::JOB_VARIABLE) is this with `+<index>`. None is local mode.
    pub batch_job: Option<String>,
    /// The core of each slave, by its index and round again; none are pinned if it is empty.
    pub cores: Vec<usize>,
}

impl Plan {
    /// Slaves of this very binary for a master that listens on 127.0.0.1.
    ///
    /// `slaves`: one per core that this process may use, if `None`.
    pub(crate) fn of_this_binary(slaves: Option<u32>, master_port: u16, member_id: &str) -> Self {
        let args = [
            "--mw-slave",
            "--mw-master-host",
            "127.0.0.1",
            "--mw-master-port",
            &master_port.to_string(),
            "--mw-member-id",
            member_id,
        ];
        Self {
            slaves: slaves.unwrap_or_else(cores),
            // Not its path: the very file that runs, even if a build has replaced it meanwhile.
            program: PathBuf::from("/proc/self/exe"),
            arg0: std::env::args_os().next(),
            args: args.iter().map(OsString::from).collect(),
            secret: None,
            audit_file: None,
            output: own_stdio(),
            name: own_name(),
            batch_job: None,
            cores: Vec::new(),
        }
    }

    /// Every slave is told the secret, where nobody else can read it.
    pub(crate) fn tell(&mut self, secret: Option<Secret>) {
        if secret.is_some() {
            let told = [FLAG.secret_file.name, secret_file::STDIN];
            self.args.splice(0..0, told.map(OsString::from));
        }
        self.secret = secret;
    }

    pub(super) fn job_of(&self, index: usize, restarts: u32) -> String {
        match &self.batch_job {
            Some(batch_job) => format!("{batch_job}+{index}"),
            None => job(index, restarts),
        }
    }

    pub(super) fn core_of(&self, index: usize) -> Option<usize> {
        let at = index.checked_rem(self.cores.len())?;
        Some(self.cores[at])
    }

    pub(super) fn args_of(&self, index: usize) -> Vec<OsString> {
        let mut args = self.args.clone();
        if let Some(file) = &self.audit_file {
            args.extend([
                "--mw-audit-file".into(),
                audit_file_of(file, index).into_os_string(),
            ]);
        }
        args
    }
}

fn audit_file_of(file: &Path, index: usize) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".slave-{index}"));
    name.into()
}

/// How many slaves there are by default: the cores this process may use, affinity and cgroup limits considered.
pub(crate) fn cores() -> u32 {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
}

/// The job string of the slave with this index at this start.
pub(super) fn job(index: usize, restarts: u32) -> String {
    format!("local.{index}.{restarts}")
}

pub(super) fn child_number(index: usize) -> u32 {
    u32::try_from(index).expect("the plan counts slaves in a u32")
}
