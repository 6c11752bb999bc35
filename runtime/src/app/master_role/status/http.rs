//! HTTP: where it listens, what its token is, and the link that is told.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use ringmw_codec::audit::{Event, Who};
use ringmw_codec::secret::Secret;

use super::Told;
use crate::app::master_role::Setting;
use crate::io::status::{self, Access};
use crate::io::terminal::{complain, own_name};
use crate::io::{engine, secret_file};

/// What the token of HTTP is derived for.
const TOKEN_PURPOSE: &str = "ringmw 2026 the token of a run's status page";

impl Setting {
    /// # Errors
    /// When the address cannot be bound.
    pub(super) fn http(
        &self,
        (host, port): &(Option<String>, u16),
        secret: Option<&Secret>,
        told: &mut Told,
    ) -> Result<status::Http, String> {
        let flag = || match host {
            Some(host) => format!("--mw-status-port {host}:{port}"),
            None => format!("--mw-status-port {port}"),
        };
        let failed = |error: io::Error| {
            format!(
                "{}: cannot listen there: {error}; is it an address of this machine, and is the port free?",
                flag()
            )
        };
        let address = match host {
            None => SocketAddr::from((Ipv4Addr::LOCALHOST, *port)),
            Some(host) => {
                let mut all = (host.as_str(), *port).to_socket_addrs().map_err(failed)?;
                all.next()
                    .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?
            }
        };
        let listener = engine::listen(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        // One-way: who has the token may look, and learns nothing of the secret.
        let token = match secret {
            Some(secret) => secret.token(TOKEN_PURPOSE).to_string(),
            None => secret_file::draw().token(TOKEN_PURPOSE).to_string(),
        };
        let shown = match host {
            Some(host) if !bound.ip().is_unspecified() => with_port(host, bound.port()),
            Some(_) => {
                let advertised = self.settings.advertise_host.clone();
                with_port(
                    &advertised.unwrap_or_else(crate::app::slave_role::host),
                    bound.port(),
                )
            }
            None => bound.to_string(),
        };
        let page = format!("http://{shown}/");
        let name = own_name();
        complain(&name, &format!("status at {page}?token={token}"));
        if !bound.ip().is_loopback() {
            complain(
                &name,
                &"the status is told in clear text: who can read the network between browser and master can read it, and \
                  the token",
            );
        }
        let further = [host.clone(), self.settings.advertise_host.clone()];
        let access = Access {
            token: token.clone(),
            hosts: status::own_names(bound, further.into_iter().flatten()),
        };
        self.audit.say(
            Who::Master,
            Event::Note {
                text: format!("status at {page}"),
            },
        );
        (told.page, told.token) = (Some(page), Some(token));
        Ok((listener, access))
    }
}

fn with_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}
