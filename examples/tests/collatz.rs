//! The test that the example shows. Cargo runs the tests of an application, and of an example only if it does not also
//! build it: so it is an application here.

// Its `main` is run by the other tests.
#[allow(dead_code)]
#[path = "../collatz.rs"]
mod collatz;
