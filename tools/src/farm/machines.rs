//! The machines of a farm, and the plain file that they are registered in.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

/// A machine that does not answer within so many seconds is unreachable.
const CONNECT_SECONDS: u32 = 10;

/// How a machine is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Access {
    /// The user there
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// The port of its ssh daemon
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// The private key
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// The folder there, by default .ringmw in the user's home
    #[arg(long)]
    pub(crate) dir: Option<String>,
    /// An option for ssh, like --ssh-option StrictHostKeyChecking=accept-new
    #[arg(long = "ssh-option", value_name = "OPTION")]
    pub(crate) options: Vec<String>,
}

/// Where the slaves of a machine wait for masters that dial them: one whose firewall lets nobody dial out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    /// Where masters dial it; none: by the name that ssh takes.
    pub(crate) host: Option<String>,
    /// The first slot's port; each next one has the next.
    pub(crate) port: u16,
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (Some(host), port),
            None => (None, text),
        };
        let port = port.parse().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| format!("{text:?} is no PORT and no HOST:PORT"))?;
        let is_named = host.is_none_or(|host| {
            let inner = host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'))
                .unwrap_or(host);
            // A v6 address stands in brackets, so that it is told from its port.
            let is_bare = inner == host && host.contains(':');
            !inner.is_empty() && !is_bare && !inner.contains(char::is_whitespace)
        });
        match is_named {
            true => Ok(Listen {
                host: host.map(str::to_owned),
                port,
            }),
            false => Err(format!("{text:?} is no PORT and no HOST:PORT")),
        }
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{host}:{}", self.port),
            None => write!(f, "{}", self.port),
        }
    }
}

/// Whether a machine may serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    New,
    /// Unix seconds.
    Valid(u64),
    Failed(String),
}

/// A registered machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) host: String,
    pub(crate) slots: Option<u32>,
    pub(crate) access: Access,
    /// None: its slaves dial the master.
    pub(crate) listen: Option<Listen>,
    pub(crate) standing: Standing,
}

impl Machine {
    /// `ssh` to it; the remote command is to be added.
    pub(crate) fn ssh(&self) -> Command {
        let mut ssh = Command::new("ssh");
        // No terminal, no question: a machine that asks for a password is not reachable for a farmer.
        ssh.args(["-T", "-o", "BatchMode=yes"])
            .args(["-o", &format!("ConnectTimeout={CONNECT_SECONDS}")])
            .args(["-o", "ServerAliveInterval=10"]);
        if let Some(user) = &self.access.user {
            ssh.args(["-l", user]);
        }
        if let Some(port) = self.access.port {
            ssh.args(["-p", &port.to_string()]);
        }
        if let Some(identity) = &self.access.identity {
            ssh.arg("-i").arg(identity);
        }
        for option in &self.access.options {
            ssh.args(["-o", option]);
        }
        ssh.args(["--", &self.host]);
        ssh
    }

    /// The ports of so many slaves that listen, from the first on.
    ///
    /// # Errors
    /// When there are not so many.
    pub(crate) fn ports(&self, slots: u32) -> Result<Vec<u16>, String> {
        let Some(listen) = &self.listen else {
            return Ok(Vec::new());
        };
        let last = u32::from(listen.port) + slots.max(1) - 1;
        match u16::try_from(last) {
            Ok(last) => Ok((listen.port..=last).collect()),
            Err(_) => Err(format!(
                "{}: {slots} slots from port {} on would need ports above 65535",
                self.host, listen.port
            )),
        }
    }

    /// Where masters dial the slave that listens at this port.
    pub(crate) fn address(&self, port: u16) -> String {
        let named = self.listen.as_ref().and_then(|listen| listen.host.as_ref());
        match named.unwrap_or(&self.host) {
            host if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
            host => format!("{host}:{port}"),
        }
    }

    /// The folder for what ringmw has there.
    pub(crate) fn dir(&self) -> &str {
        self.access.dir.as_deref().unwrap_or(".ringmw")
    }

    /// As the registry has it.
    pub(super) fn line(&self) -> String {
        let mut line = self.host.clone();
        let mut put = |key: &str, value: &dyn std::fmt::Display| {
            let _ = write!(line, "\t{key}={value}");
        };
        let Access {
            user,
            port,
            identity,
            dir,
            options,
        } = &self.access;
        if let Some(slots) = self.slots {
            put("slots", &slots);
        }
        if let Some(user) = user {
            put("user", user);
        }
        if let Some(port) = port {
            put("port", port);
        }
        if let Some(identity) = identity {
            put("identity", &identity.display());
        }
        if let Some(dir) = dir {
            put("dir", dir);
        }
        for option in options {
            put("option", option);
        }
        if let Some(listen) = &self.listen {
            put("listen", listen);
        }
        match &self.standing {
            Standing::New => {}
            Standing::Valid(at) => put("valid", at),
            Standing::Failed(why) => put("failed", &why.replace(['\t', '\n'], " ")),
        }
        line
    }

    /// What [`Machine::line`] wrote.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let mut fields = line.split('\t');
        let mut machine = Machine {
            host: fields.next().unwrap_or_default().trim().to_owned(),
            slots: None,
            access: Access::default(),
            listen: None,
            standing: Standing::New,
        };
        for field in fields {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| format!("{field:?} is not key=value"))?;
            let wrong = |_| format!("{key}={value} is no number");
            let access = &mut machine.access;
            match key {
                "slots" => machine.slots = Some(value.parse().map_err(wrong)?),
                "user" => access.user = Some(value.to_owned()),
                "port" => access.port = Some(value.parse().map_err(wrong)?),
                "identity" => access.identity = Some(value.into()),
                "dir" => access.dir = Some(value.to_owned()),
                "option" => access.options.push(value.to_owned()),
                "listen" => machine.listen = Some(value.parse()?),
                "valid" => machine.standing = Standing::Valid(value.parse().map_err(wrong)?),
                "failed" => machine.standing = Standing::Failed(value.to_owned()),
                _ => return Err(format!("{key} is not known here")),
            }
        }
        Ok(machine)
    }
}

/// The registry's file.
///
/// # Errors
/// When neither the option nor the environment names a place.
pub(crate) fn registry_path(given: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let config = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")))
        .ok_or("there is no $HOME; say with --farm where the registry is")?;
    Ok(config.join("ringmw").join("farm"))
}

/// The registered machines; none if there is no file.
pub(crate) fn read(path: &Path) -> Result<Vec<Machine>, String> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let is_content = |(_, line): &(usize, &str)| !line.trim().is_empty() && !line.starts_with('#');
    text.lines()
        .enumerate()
        .filter(is_content)
        .map(|(index, line)| {
            Machine::parse(line)
                .map_err(|error| format!("{}: line {}: {error}", path.display(), index + 1))
        })
        .collect()
}

/// Replaces the registry as a whole.
pub(super) fn write(path: &Path, machines: &[Machine]) -> Result<(), String> {
    let mut text = String::from("# ringmw's farm: host, then key=value fields, apart by tabs\n");
    for machine in machines {
        text.push_str(&machine.line());
        text.push('\n');
    }
    let fault = |error: io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fault)?;
    }
    let aside = path.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&aside, text)
        .and_then(|()| fs::rename(&aside, path))
        .map_err(fault)
}
