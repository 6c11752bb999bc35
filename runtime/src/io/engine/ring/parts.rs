//! What one send writes: a buffer, or several that lie anywhere, one behind the other.

use crate::io::engine::{Buffer, ConnId, Handler};

/// The buffers of a send, in their order.
pub(super) enum Parts {
    One(Buffer),
    Many(Box<Many>),
}

/// Several, and how the kernel is told of them. What it is told points into here, so this is boxed and stays where it is.
pub(super) struct Many {
    buffers: Vec<Buffer>,
    vectors: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl Parts {
    pub(super) fn many(buffers: Vec<Buffer>) -> Parts {
        // SAFETY: a msghdr is made of integers and pointers, for which zero is valid: it says that there is nothing.
        let header = unsafe { std::mem::zeroed() };
        Parts::Many(Box::new(Many {
            vectors: Vec::with_capacity(buffers.len()),
            buffers,
            header,
        }))
    }

    /// Bytes of all.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Parts::One(buffer) => buffer.len(),
            Parts::Many(many) => many.buffers.iter().map(|buffer| buffer.len()).sum(),
        }
    }

    /// They have been written.
    pub(super) fn told(self, conn: ConnId, drained: bool, handler: &mut dyn Handler) {
        match self {
            Parts::One(buffer) => buffer.told(conn, drained, handler),
            Parts::Many(many) => {
                let last = many.buffers.len() - 1;
                for (nth, buffer) in many.buffers.into_iter().enumerate() {
                    buffer.told(conn, drained && nth == last, handler);
                }
            }
        }
    }
}

impl Many {
    /// What the kernel is told of all from this byte on. It is good until the next call, for as long as this is not dropped.
    pub(super) fn message(&mut self, from: usize) -> *const libc::msghdr {
        let mut skipped = from;
        self.vectors.clear();
        for buffer in &self.buffers {
            let rest = &buffer[skipped.min(buffer.len())..];
            skipped -= buffer.len() - rest.len();
            if !rest.is_empty() {
                self.vectors.push(libc::iovec {
                    // The kernel only reads what is sent.
                    iov_base: rest.as_ptr().cast_mut().cast(),
                    iov_len: rest.len(),
                });
            }
        }
        self.header.msg_iov = self.vectors.as_mut_ptr();
        self.header.msg_iovlen = self.vectors.len() as _;
        &raw const self.header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A send that ended early goes on at any byte.
    #[test]
    fn what_is_left_of_a_send_is_told_from_any_byte() {
        let all: Vec<u8> = (0..60).collect();
        let cuts = [0, 1, 17, 18, 60];
        let buffers = cuts.windows(2).map(|cut| &all[cut[0]..cut[1]]);
        let parts = Parts::many(buffers.map(|part| Buffer::Own(part.to_vec())).collect());
        assert_eq!(parts.bytes(), all.len());
        let Parts::Many(mut many) = parts else {
            panic!("there are four");
        };
        for from in 0..all.len() {
            many.message(from);
            let vectors = &many.vectors;
            let told: Vec<u8> = vectors
                .iter()
                .flat_map(|vector| {
                    assert!(vector.iov_len > 0);
                    // SAFETY: they were just made of the buffers, which are there.
                    unsafe { std::slice::from_raw_parts(vector.iov_base.cast(), vector.iov_len) }
                })
                .copied()
                .collect();
            assert_eq!(told, all[from..], "from {from}");
        }
    }
}
