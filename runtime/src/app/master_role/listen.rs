//! Where the master listens, and where its slaves reach it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use crate::app::master_role::Setting;
use crate::io::engine;
use crate::io::terminal::{complain, own_name};

/// How long the port of the life before is waited for, and the pause between two tries.
const PORT_WAIT: Duration = Duration::from_secs(3);
const PORT_PAUSE: Duration = Duration::from_millis(20);

impl Setting {
    /// Local mode and embedded masters are for this machine alone; else all interfaces, unless told.
    pub(super) fn listen(&self) -> Result<TcpListener, String> {
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
                .map_err(|error| {
                    format!("--mw-master-port {shown}: cannot listen on it: {error}")
                });
        };
        let mut candidates = (host.as_str(), ports.0)
            .to_socket_addrs()
            .map_err(|error| format!("--mw-master-host {host}: no such host: {error}"))?;
        let address = candidates
            .next()
            .ok_or_else(|| format!("--mw-master-host {host}: it has no address"))?;
        let ip = address.ip();
        listen_within(ip, ports).map_err(|error| {
            format!("--mw-master-host {host}: cannot listen on {ip}, port {shown}: {error}; is it an address of this machine, and is the port free?")
        })
    }

    /// At the port that the life before had, where none is given and that one is free: its slaves try it.
    ///
    /// The kernel takes a killed process's io_uring apart only after its end, and the socket that listens with it: so
    /// the port is waited for.
    pub(super) fn listen_again(&mut self, port: u16) -> Result<TcpListener, String> {
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
        listener: &TcpListener,
        port: u16,
    ) -> Result<Vec<String>, String> {
        if let Some(host) = &self.settings.advertise_host {
            return Ok(vec![with_port(host, port)]);
        }
        let local = listener
            .local_addr()
            .map_err(|error| format!("the listening socket: {error}"))?;
        if !local.ip().is_unspecified() {
            if local.ip().is_loopback() && self.settings.resource_file.is_some() {
                let host = self.settings.host.as_deref().unwrap_or_default();
                complain(
                    &own_name(),
                    &format!(
                        "--mw-master-host {host}: this is this machine's own address, so slaves of other machines that read \
                         --mw-resource-file will not reach it; without the flag all addresses are told"
                    ),
                );
            }
            return Ok(vec![local.to_string()]);
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
