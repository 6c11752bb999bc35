//! The ringmw command.
fn main() {}
