//! Where slaves are: subnets and hosts, from the addresses of a trail.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A /24 of IPv4, a /64 of IPv6, or what could not be read as an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subnet {
    V4([u8; 3]),
    V6([u16; 4]),
    Unknown,
}

impl Subnet {
    pub(crate) fn of(address: &str) -> Self {
        match ip_of(address) {
            Some(IpAddr::V4(ip)) => {
                let [a, b, c, _] = ip.octets();
                Subnet::V4([a, b, c])
            }
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, ..] = ip.segments();
                Subnet::V6([a, b, c, d])
            }
            None => Subnet::Unknown,
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Subnet::V4([a, b, c]) => write!(f, "{}/24", Ipv4Addr::new(a, b, c, 0)),
            Subnet::V6([a, b, c, d]) => write!(f, "{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)),
            Subnet::Unknown => f.write_str("unknown"),
        }
    }
}

/// `10.1.7.3:4432`, `[::1]:9`, and `::1:9` as CL-MW writes it.
fn ip_of(address: &str) -> Option<IpAddr> {
    let host = host_of(address);
    let ip: IpAddr = host.parse().ok()?;
    Some(ip.to_canonical())
}

/// The part of an address before its port.
pub(crate) fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_of_addresses() {
        for (address, subnet) in [
            ("10.1.7.3:4432", "10.1.7.0/24"),
            ("[fe80::1:2]:4432", "fe80::/64"),
            ("[2001:db8:1:2:3::4]:1", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:3::4:4432", "2001:db8:1:2::/64"),
            ("[::ffff:10.1.7.3]:1", "10.1.7.0/24"),
            ("node7:1", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(Subnet::of(address).to_string(), subnet, "{address}");
        }
    }
}
