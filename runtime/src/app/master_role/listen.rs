//! Where the master listens, which is at all addresses of a host name, and where its slaves reach it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use crate::app::master_role::Setting;
use crate::io::engine;
use crate::io::terminal::{complain, own_name};

/// How long the port of the life before is waited for, and the pause between two tries.
const PORT_WAIT: Duration = Duration::from_secs(10);
const PORT_PAUSE: Duration = Duration::from_millis(20);

/// The sockets that a master listens at: one port, at several addresses if its host name has several.
pub(super) struct Listening {
    /// The engine's.
    pub(super) first: TcpListener,
    /// Those of a host name's further addresses.
    pub(super) beside: Vec<TcpListener>,
}

impl Setting {
    /// Local mode and embedded masters are for this machine alone; else all interfaces, unless told.
    pub(super) fn listen(&self) -> Result<Listening, String> {
        let ports = self.settings.port.unwrap_or((0, 0));
        let shown = match ports {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        let host = match (&self.settings.host, self.is_local()) {
            (None, true) => Some("127.0.0.1".to_owned()),
            (host, _) => host.clone(),
        };
        let Some(host) = host else {
            // An IPv6 socket serves both, where the system has IPv6.
            return listen_within([0u16; 8].into(), ports)
                .or_else(|_| listen_within([0u8; 4].into(), ports))
                .map(|first| Listening {
                    first,
                    beside: Vec::new(),
                })
                .map_err(|error| {
                    format!("--mw-master-port {shown}: cannot listen on it: {error}")
                });
        };
        let resolved = (host.as_str(), ports.0)
            .to_socket_addrs()
            .map_err(|error| format!("--mw-master-host {host}: no such host: {error}"))?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in resolved {
            if !addresses.contains(&address.ip()) {
                addresses.push(address.ip());
            }
        }
        let (listening, foreign) = listen_at_all(&addresses, ports).map_err(|(ip, error)| match ip {
            None => format!("--mw-master-host {host}: it has no address"),
            Some(ip) => format!("--mw-master-host {host}: cannot listen on {ip}, port {shown}: {error}; is it an address of this machine, and is the port free?"),
        })?;
        if !foreign.is_empty() {
            let foreign: Vec<_> = foreign.iter().map(ToString::to_string).collect();
            complain(
                &own_name(),
                &format!(
                    "--mw-master-host {host}: {} is no address of this machine, and nobody will reach the master there; the \
                     name has others that are",
                    foreign.join(", ")
                ),
            );
        }
        Ok(listening)
    }

    /// At the port that the life before had, where none is given and that one is free: its slaves try it.
    ///
    /// The kernel takes a killed process's io_uring apart only after its end, and the socket that listens with it: so
    /// the port is waited for.
    pub(super) fn listen_again(&mut self, port: u16) -> Result<Listening, String> {
        if self.settings.port.is_some() || port == 0 {
            return self.listen();
        }
        let begun = Instant::now();
        loop {
            self.settings.port = Some((port, port));
            let listener = self.listen();
            self.settings.port = None;
            if listener.is_ok() {
                return listener;
            }
            if begun.elapsed() >= PORT_WAIT {
                return self.listen();
            }
            thread::sleep(PORT_PAUSE);
        }
    }

    /// Where slaves reach this master, best first.
    pub(super) fn addresses(
        &self,
        Listening { first, beside }: &Listening,
        port: u16,
    ) -> Result<Vec<String>, String> {
        if let Some(host) = &self.settings.advertise_host {
            return Ok(vec![with_port(host, port)]);
        }
        let fault = |error: io::Error| format!("the listening socket: {error}");
        let local = first.local_addr().map_err(fault)?;
        if !local.ip().is_unspecified() {
            let further = beside.iter().map(TcpListener::local_addr);
            let further: Vec<SocketAddr> = further.collect::<io::Result<_>>().map_err(fault)?;
            let mut all = std::iter::once(&local).chain(&further);
            if all.all(|address| address.ip().is_loopback())
                && self.settings.resource_file.is_some()
            {
                let host = self.settings.host.as_deref().unwrap_or_default();
                complain(
                    &own_name(),
                    &format!(
                        "--mw-master-host {host}: this is this machine's own address, so slaves of other machines that read \
                         --mw-resource-file will not reach it; without the flag all addresses are told"
                    ),
                );
            }
            let all = std::iter::once(&local).chain(&further);
            return Ok(all.map(SocketAddr::to_string).collect());
        }
        let all = if_addrs::get_if_addrs()
            .map_err(|error| format!("cannot list this machine's addresses: {error}"))?;
        let usable: Vec<String> = all
            .iter()
            .filter(|interface| !interface.is_loopback() && !is_link_local(interface.ip()))
            // What is bound to 0.0.0.0 does not hear IPv6; an IPv6 socket hears both.
            .filter(|interface| local.is_ipv6() || interface.ip().is_ipv4())
            .map(|interface| SocketAddr::new(interface.ip(), port).to_string())
            .collect();
        if usable.is_empty() {
            return Err("this machine has no address but loopback: say with --mw-master-host 127.0.0.1 that all slaves run here, or with --mw-advertise-host where they reach it".to_owned());
        }
        Ok(usable)
    }
}

/// The first free port of a range.
pub(super) fn listen_within(ip: IpAddr, (first, last): (u16, u16)) -> io::Result<TcpListener> {
    let mut ports = first..=last;
    loop {
        let port = ports.next().expect("the last one returns");
        match engine::listen(SocketAddr::new(ip, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && port < last => {}
            listening => return listening,
        }
    }
}

/// How often a drawn port that is taken at another address is drawn anew.
const DRAWS: usize = 100;

/// The first port of a range, or a drawn one, that is free at all of these addresses; and those that are not this machine's.
///
/// # Errors
/// What failed, and where; no address is none of this machine.
fn listen_at_all(
    addresses: &[IpAddr],
    (first, last): (u16, u16),
) -> Result<(Listening, Vec<IpAddr>), (Option<IpAddr>, io::Error)> {
    let (mut port, mut draws) = (first, DRAWS);
    loop {
        match listen_at_each(addresses, port) {
            Err((_, error)) if error.kind() == io::ErrorKind::AddrInUse && port < last => port += 1,
            Err((_, error))
                if error.kind() == io::ErrorKind::AddrInUse && port == 0 && draws > 0 =>
            {
                draws -= 1;
            }
            listening => return listening,
        }
    }
}

fn listen_at_each(
    addresses: &[IpAddr],
    mut port: u16,
) -> Result<(Listening, Vec<IpAddr>), (Option<IpAddr>, io::Error)> {
    let (mut listeners, mut foreign) = (Vec::new(), Vec::new());
    let mut why = (None, io::ErrorKind::NotFound.into());
    for &ip in addresses {
        match engine::listen(SocketAddr::new(ip, port)) {
            Ok(listener) => {
                // A drawn port is the same everywhere.
                port = listener
                    .local_addr()
                    .map_err(|error| (Some(ip), error))?
                    .port();
                listeners.push(listener);
            }
            Err(error) if is_foreign(&error) => {
                foreign.push(ip);
                why = (Some(ip), error);
            }
            Err(error) => return Err((Some(ip), error)),
        }
    }
    let mut listeners = listeners.into_iter();
    match listeners.next() {
        None => Err(why),
        Some(first) => {
            let beside = listeners.collect();
            Ok((Listening { first, beside }, foreign))
        }
    }
}

/// The address is none of this machine's, or of a family that it does not have.
fn is_foreign(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

fn with_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(addresses: &[&str], ports: (u16, u16)) -> Result<(Vec<SocketAddr>, usize), String> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        let (listening, foreign) =
            listen_at_all(&addresses, ports).map_err(|(ip, error)| format!("{ip:?}: {error}"))?;
        let all = std::iter::once(&listening.first).chain(&listening.beside);
        let all = all.map(|listener| listener.local_addr().unwrap());
        Ok((all.collect(), foreign.len()))
    }

    #[test]
    fn a_name_is_bound_at_all_its_addresses_with_one_port() {
        // The last two are kept for documents: no machine has them.
        let names = [
            "127.0.0.1",
            "127.0.0.2",
            "127.77.0.3",
            "192.0.2.1",
            "2001:db8::1",
        ];
        let (bound, foreign) = at(&names, (0, 0)).unwrap();
        let port = bound[0].port();
        let expected = names[..3]
            .iter()
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
        assert_eq!((bound, foreign), (expected.collect(), 2));
        let error = at(&names[3..4], (0, 0)).unwrap_err();
        assert!(error.starts_with("Some(192.0.2.1): "), "{error}");
        assert!(at(&[], (0, 0)).unwrap_err().starts_with("None: "));
    }

    #[test]
    fn a_port_that_is_taken_at_one_address_is_none_of_a_range() {
        let taken = engine::listen("127.0.0.2:0".parse().unwrap()).unwrap();
        let port = taken.local_addr().unwrap().port();
        let names = ["127.0.0.1", "127.0.0.2"];
        let error = at(&names, (port, port)).unwrap_err();
        assert!(error.starts_with("Some(127.0.0.2): "), "{error}");
        // Others may have the ones behind it; that it is not the one that is taken is enough.
        if let Ok((bound, _)) = at(&names, (port, port.saturating_add(20))) {
            assert!(
                bound[0].port() > port && bound[0].port() == bound[1].port(),
                "{bound:?}"
            );
        }
    }
}
