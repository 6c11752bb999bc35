//! A link that is slow on real processes: what a slave says is forwarded at a bounded pace, through a small buffer.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

/// What the relay's sockets keep, as far as the kernel lets it say so.
const BUFFER_BYTES: usize = 32 << 10;

/// Between a slave and its master; it ends when either of them does.
pub(crate) struct Relay {
    pub(crate) address: String,
    said: Arc<AtomicU64>,
}

impl Relay {
    /// Takes one connection, and forwards so many bytes a second of what is said on it to this master.
    pub(crate) fn to(master: String, bytes_per_second: u64) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Whoever is accepted inherits it.
        set_socket_recv_buffer_size(&listener, BUFFER_BYTES).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let said = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&said);
        thread::spawn(move || {
            let (slave, _) = listener.accept().unwrap();
            let master = TcpStream::connect(master).unwrap();
            set_socket_send_buffer_size(&master, BUFFER_BYTES).unwrap();
            let (heard, hears) = (master.try_clone().unwrap(), slave.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut &heard, &mut &hears);
                let _ = hears.shutdown(Shutdown::Write);
            });
            let _ = forward(&slave, &master, bytes_per_second, &counted);
            let _ = master.shutdown(Shutdown::Write);
        });
        Relay { address, said }
    }

    /// Bytes that the slave has said and the master's host has.
    pub(crate) fn said(&self) -> u64 {
        self.said.load(Ordering::Relaxed)
    }
}

fn forward(
    mut from: &TcpStream,
    mut to: &TcpStream,
    bytes_per_second: u64,
    said: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let begun = Instant::now();
    let mut pause = Duration::ZERO;
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read])?;
        let all = said.fetch_add(read as u64, Ordering::Relaxed) + read as u64;
        // What was not said in its time is not said faster later.
        let due = Duration::from_nanos(all * 1_000_000_000 / bytes_per_second) + pause;
        match due.checked_sub(begun.elapsed()) {
            Some(early) => thread::sleep(early),
            None => pause += begun.elapsed() - due,
        }
    }
}
