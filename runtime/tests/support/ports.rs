//! Ports that stay what they are: free until they are listened at, or nobody's for the whole test.
#![allow(dead_code, reason = "each test uses its part")]

use std::net::{TcpListener, TcpStream};

/// The first port that needs no privilege.
const FIRST: u16 = 1024;

/// The first of so many ports in a row that are free, of those that the kernel gives to nobody: from the others each
/// connection that goes out takes one, and who is to listen there later may find it taken. Where the kernel gives away
/// all, any.
///
/// Where they are looked for first depends on the process, so that two tests at a time do not choose the same.
pub(crate) fn free_ports(many: u16) -> u16 {
    let range = "/proc/sys/net/ipv4/ip_local_port_range";
    let range = std::fs::read_to_string(range).expect("the kernel tells it");
    let given = range.split_whitespace().next().expect("two numbers");
    let given: u16 = given.parse().expect("a port");
    let end = if given >= FIRST + many {
        given
    } else {
        u16::MAX
    };
    let rows: Vec<u16> = (FIRST..=end - many).step_by(usize::from(many)).collect();
    let is_free = |port: u16| TcpListener::bind(("0.0.0.0", port)).is_ok();
    let begin = std::process::id() as usize % rows.len();
    let (earlier, later) = rows.split_at(begin);
    let mut free = later
        .iter()
        .chain(earlier)
        .filter(|first| (**first..**first + many).all(is_free));
    *free.next().expect("ports that nobody has")
}

/// A port of loopback at which nobody listens, and nobody will while the connection is kept.
pub(crate) fn refusing() -> ([TcpStream; 2], u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("it is bound");
    let holder = TcpStream::connect(to).expect("it listens");
    let port = holder.local_addr().expect("it is connected").port();
    let (other, _) = listener.accept().expect("it is dialled");
    ([holder, other], port)
}
