//! Where a slave finds its master: host, port and member id from flags and resource files, in the order given.

use std::io;
use std::path::{Path, PathBuf};

use ringmw_codec::flags::FLAG;
use ringmw_codec::resource::ResourceFile;
use ringmw_codec::secret::Secret;

use super::values::{Host, Number, Value};
use super::{HOST, PORT, RESOURCE_FILE};
use crate::io::secret_file;

type Port = Number<u16, 1>;

/// One flag that tells something about the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// `--mw-master-host`
    Host(String),
    /// `--mw-master-port`
    Port(u16),
    /// `--mw-member-id`
    Member(String),
    /// `--mw-resource-file`: tells all three.
    ResourceFile(PathBuf),
}

/// What the sources amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// `host:port`, an IPv6 host in brackets, to be tried in this order. None only if `finished`.
    pub addresses: Vec<String>,
    /// The membership token.
    pub member_id: String,
    /// The run's secret, where a resource file tells one.
    pub secret: Option<Secret>,
    /// The resource file says that the computation is finished: exit 0 at once.
    pub finished: bool,
    /// For the operator, one sentence each.
    pub warnings: Vec<String>,
}

/// Goes through the sources in their order; of two that tell the same, the later one wins.
///
/// A resource file that is not there is a warning if host and port are given as flags, wherever they stand, else an
/// error. One that is there but cannot be read or parsed is an error that names file and line. `read` reads a file.
///
/// A host or port behind a resource file replaces just that part: a port in every address of the file, a host all of
/// its hosts.
pub(crate) fn resolve_slave_target(
    sources: &[Source],
    mut read: impl FnMut(&Path) -> io::Result<Vec<u8>>,
) -> Result<Target, String> {
    let has_address = sources
        .iter()
        .any(|source| matches!(source, Source::Host(_)))
        && sources
            .iter()
            .any(|source| matches!(source, Source::Port(_)));
    let mut hosts: Vec<String> = Vec::new();
    let mut ports: Vec<u16> = Vec::new();
    let mut member_id = FLAG.member_id.default.unwrap_or_default().to_owned();
    let mut secret = None;
    let mut finished = false;
    let mut warnings = Vec::new();
    for source in sources {
        match source {
            Source::Host(host) => {
                hosts = vec![host.clone()];
                ports.truncate(1);
            }
            Source::Port(port) => ports = vec![*port],
            Source::Member(member) => member_id.clone_from(member),
            Source::ResourceFile(path) => {
                let named = |error: String| format!("{RESOURCE_FILE} {}: {error}", path.display());
                let text = match read(path) {
                    Ok(text) => text,
                    Err(error) if error.kind() == io::ErrorKind::NotFound && has_address => {
                        warnings.push(named(format!("{error}; going on with {HOST} and {PORT}")));
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Err(named(format!(
                            "{error}; the master writes it when it starts: is it running, is this its path here? Else give \
                             {HOST} and {PORT}"
                        )));
                    }
                    Err(error) => return Err(named(secret_file::unreadable(path, &error))),
                };
                let file = ResourceFile::parse(&text).map_err(|error| named(error.to_string()))?;
                finished = file.finished;
                member_id.clone_from(&file.member_id);
                secret = secret_file::of_resource_file(&file).map_err(named)?;
                if !finished {
                    (hosts, ports) = addresses_of(&file).map_err(named)?.into_iter().unzip();
                }
            }
        }
    }
    if finished {
        return Ok(Target {
            addresses: Vec::new(),
            member_id,
            secret,
            finished,
            warnings,
        });
    }
    if hosts.is_empty() || ports.is_empty() {
        let missing = if hosts.is_empty() { HOST } else { PORT };
        return Err(format!(
            "{missing} is not given, and no {RESOURCE_FILE} that tells it"
        ));
    }
    let only = ports[0];
    let port_of = |index: usize| ports.get(index).copied().unwrap_or(only);
    let addresses = hosts
        .iter()
        .enumerate()
        .map(|(index, host)| address(host, port_of(index)))
        .collect();
    Ok(Target {
        addresses,
        member_id,
        secret,
        finished,
        warnings,
    })
}

/// What a slave that listens is told: its member id and secret, no address. A resource file must be there.
///
/// # Errors
/// As those of [`resolve_slave_target`].
pub(crate) fn resolve_listener(
    sources: &[Source],
    mut read: impl FnMut(&Path) -> io::Result<Vec<u8>>,
) -> Result<Target, String> {
    let mut target = Target {
        addresses: Vec::new(),
        member_id: FLAG.member_id.default.unwrap_or_default().to_owned(),
        secret: None,
        finished: false,
        warnings: Vec::new(),
    };
    for source in sources {
        match source {
            Source::Member(member) => target.member_id.clone_from(member),
            Source::ResourceFile(path) => {
                let named = |error: String| format!("{RESOURCE_FILE} {}: {error}", path.display());
                let text =
                    read(path).map_err(|error| named(secret_file::unreadable(path, &error)))?;
                let file = ResourceFile::parse(&text).map_err(|error| named(error.to_string()))?;
                target.finished = file.finished;
                target.member_id.clone_from(&file.member_id);
                target.secret = secret_file::of_resource_file(&file).map_err(named)?;
            }
            Source::Host(_) | Source::Port(_) => {}
        }
    }
    Ok(target)
}

/// As many hosts as ports: those of `:master-addresses`, else the one within `:slave-arguments`, as CL-MW has it.
fn addresses_of(file: &ResourceFile) -> Result<Vec<(String, u16)>, String> {
    if !file.master_addresses.is_empty() {
        return file
            .master_addresses
            .iter()
            .map(|address| {
                parse_address(address)
                    .ok_or_else(|| format!("{address:?} in :master-addresses is no host:port"))
            })
            .collect();
    }
    let value = |name| {
        value_of(&file.slave_arguments, name)
            .ok_or_else(|| format!("no {name} in :slave-arguments"))
    };
    let (host, port) = (value(HOST)?, value(PORT)?);
    let host =
        Host::read(host).map_err(|error| format!("{HOST} {host} in :slave-arguments {error}"))?;
    let port =
        Port::read(port).map_err(|error| format!("{PORT} {port} in :slave-arguments {error}"))?;
    Ok(vec![(host, port)])
}

/// The value of the last `name value` or `name=value`.
fn value_of<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let mut found = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == name {
            found = arguments.next().map(String::as_str);
        } else if let Some(value) = argument
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('='))
        {
            found = Some(value);
        }
    }
    found
}

fn parse_address(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((Host::read(host).ok()?, Port::read(port).ok()?))
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(finished: bool, addresses: &[&str], arguments: &[&str]) -> Vec<u8> {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let file = ResourceFile {
            finished,
            timestamp: 4_004_150_587,
            member_id: "of-file".into(),
            update_interval: 300,
            slaves_needed: 1,
            slave_executable: ("/app".into(), Vec::new()),
            slave_arguments: texts(arguments),
            slaves_desired: None,
            slaves_connected: None,
            slaves_busy: None,
            tasks_queued: None,
            master_addresses: texts(addresses),
            format: Some(1),
            secret: None,
            run_id: None,
            status_address: None,
            status_page: None,
            status_token: None,
        };
        file.write().into_bytes()
    }

    fn read(path: &Path) -> io::Result<Vec<u8>> {
        match path.to_str().expect("UTF-8") {
            "two" => Ok(file(false, &["10.0.0.1:4711", "[fe80::1]:4712"], &[])),
            "cl-mw" => Ok(file(
                false,
                &[],
                &[
                    "--mw-slave",
                    "--mw-master-host",
                    "black",
                    "--mw-master-port",
                    "47416",
                ],
            )),
            "done" => Ok(file(true, &[], &[])),
            "bare" => Ok(file(false, &[], &["--mw-slave"])),
            "odd" => Ok(file(false, &["black"], &[])),
            "cut" => Ok(file(false, &[], &[])[..60].to_vec()),
            "locked" => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Err(rustix::io::Errno::NOENT.into()),
        }
    }

    /// The sources as words: `h:host`, `p:1`, `m:id`, `f:file`.
    fn resolve(words: &str) -> Result<Target, String> {
        let source = |word: &str| match word.split_once(':').expect("kind:value") {
            ("h", host) => Source::Host(host.into()),
            ("p", port) => Source::Port(port.parse().expect("a port")),
            ("m", member) => Source::Member(member.into()),
            (_, file) => Source::ResourceFile(file.into()),
        };
        resolve_slave_target(
            &words.split_whitespace().map(source).collect::<Vec<_>>(),
            read,
        )
    }

    fn check(words: &str, addresses: &[&str], member_id: &str) {
        let target = resolve(words).expect(words);
        assert_eq!(
            (&target.addresses[..], &target.member_id[..]),
            (
                &addresses.iter().map(|&a| a.into()).collect::<Vec<String>>()[..],
                member_id
            )
        );
        assert_eq!(
            (target.finished, target.warnings),
            (false, Vec::<String>::new()),
            "{words}"
        );
    }

    #[test]
    fn the_later_source_wins() {
        check("h:white p:1", &["white:1"], "default-member-id");
        check("p:1 m:mine h:::1 p:2", &["[::1]:2"], "mine");
        check("f:two", &["10.0.0.1:4711", "[fe80::1]:4712"], "of-file");
        check("f:cl-mw", &["black:47416"], "of-file");
        check("h:white p:1 m:mine f:cl-mw", &["black:47416"], "of-file");
        check("f:cl-mw h:white p:1 m:mine", &["white:1"], "mine");
        check("f:cl-mw h:white", &["white:47416"], "of-file");
        check("h:white f:cl-mw p:1", &["black:1"], "of-file");
        check("f:two p:9", &["10.0.0.1:9", "[fe80::1]:9"], "of-file");
        check("f:two h:white", &["white:4711"], "of-file");
        check("f:two f:cl-mw", &["black:47416"], "of-file");
        check("m:mine f:cl-mw m:other", &["black:47416"], "other");
    }

    #[test]
    fn a_finished_computation_is_said_whatever_else_is() {
        for words in [
            "f:done",
            "h:white p:1 f:done",
            "f:done h:white p:1",
            "f:cl-mw f:done",
        ] {
            assert!(resolve(words).expect(words).finished, "{words}");
        }
        check("f:done f:cl-mw", &["black:47416"], "of-file");
    }

    #[test]
    fn a_missing_file_is_a_warning_only_beside_an_address() {
        for words in [
            "f:none h:white p:1",
            "h:white p:1 f:none",
            "h:white f:none p:1",
        ] {
            let target = resolve(words).expect(words);
            assert_eq!(target.addresses, ["white:1"]);
            assert_eq!(
                target.warnings,
                [
                    "--mw-resource-file none: No such file or directory (os error 2); going on with --mw-master-host and \
                  --mw-master-port"
                ]
            );
        }
        for words in [
            "f:none",
            "f:none h:white",
            "p:1 f:none m:x",
            "f:none f:cl-mw",
        ] {
            let error = resolve(words).expect_err(words);
            assert!(
                error.starts_with("--mw-resource-file none: No such file or directory"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let rows = [
            (
                "f:locked h:white p:1",
                "--mw-resource-file locked: permission denied",
            ),
            ("f:cut", "--mw-resource-file cut: line "),
            (
                "f:bare",
                "--mw-resource-file bare: no --mw-master-host in :slave-arguments",
            ),
            (
                "f:odd",
                "--mw-resource-file odd: \"black\" in :master-addresses is no host:port",
            ),
            ("h:white", "--mw-master-port is not given"),
            ("p:1", "--mw-master-host is not given"),
            ("", "--mw-master-host is not given"),
        ];
        for (words, start) in rows {
            let error = resolve(words).expect_err(words);
            assert!(error.starts_with(start), "{words}: {error}");
        }
    }
}
