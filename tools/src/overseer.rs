//! `ringmw overseer`: keeps as many slaves alive on a batch system as the resource file desires.
#[allow(dead_code)]
pub(crate) mod policy;
