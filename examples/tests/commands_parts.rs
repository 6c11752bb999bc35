//! The tests that stand beside the parts of the example `commands`: Cargo runs those of an application, and of an example
//! only if it does not also build it.

// Its `main` is run by the other tests.
#[allow(dead_code, unused_imports)]
#[path = "../commands/main.rs"]
mod commands;
