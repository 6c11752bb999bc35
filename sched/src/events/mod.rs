//! What happens: an event a file, each an `impl` of the scheduler. They call each other's methods, and share no free
//! functions: no event imports another.

mod ahead;
mod away;
mod cancel;
mod duplicate;
mod expire;
mod groups;
mod hand_out;
mod hungry;
mod keep;
mod lose;
mod packet_size;
mod quarantine;
pub(crate) mod recall;
mod reserve;
mod results;
mod submit;
