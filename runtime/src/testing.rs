//! The simulated world: the very cores that ship, under a clock, a network and a fate that one seed draws.

mod coverage;
mod fleet;
mod law;
mod net;
mod script;
mod slave;

pub use coverage::{Coverage, ENDS, Happening, Standing, can_happen};
pub use script::{CALM_TURNS_MAX, Storm, storm};
