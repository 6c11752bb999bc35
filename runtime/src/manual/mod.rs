//! The manual: a chapter for each thing that somebody wants to do, with code that compiles.
//!
//! | you want | chapter |
//! |---|---|
//! | to begin | [`first_program`] |
//! | to say what the master does | [`master_algorithm`] |
//! | to say how a task is to be run, and what becomes of it | [`tasks_and_policies`] |
//! | slaves that are yours, that remember, that take orders | [`slaves_and_groups`] |
//! | sums and histograms with the same digits on any number of slaves | [`monte_carlo`] |
//! | branch and bound, work that is given back, talk with running tasks | [`search`] |
//! | the same large data in all slaves | [`shared_data`] |
//! | to know what a failure was | [`when_things_go_wrong`] |
//! | to test a master algorithm without a cluster | [`testing_under_churn`] |
//! | a thousand slaves under HTCondor or Slurm | [`clusters`] |
//! | a run that outlives its master | [`long_runs`] |
//! | to know who may join, and what is encrypted | [`security`] |
//! | to see what happened last night | [`reading_a_trail`] |
//! | a familiar idea of another system in ringmw's words | [`coming_from`] |

pub mod first_program {
    #![doc = include_str!("first_program.md")]
}
pub mod master_algorithm {
    #![doc = include_str!("master_algorithm.md")]
}
pub mod tasks_and_policies {
    #![doc = include_str!("tasks_and_policies.md")]
}
pub mod slaves_and_groups {
    #![doc = include_str!("slaves_and_groups.md")]
}
pub mod monte_carlo {
    #![doc = include_str!("monte_carlo.md")]
}
pub mod search {
    #![doc = include_str!("search.md")]
}
pub mod shared_data {
    #![doc = include_str!("shared_data.md")]
}
pub mod when_things_go_wrong {
    #![doc = include_str!("when_things_go_wrong.md")]
}
pub mod testing_under_churn {
    #![doc = include_str!("testing_under_churn.md")]
}
pub mod clusters {
    #![doc = include_str!("clusters.md")]
}
pub mod long_runs {
    #![doc = include_str!("long_runs.md")]
}
pub mod security {
    #![doc = include_str!("security.md")]
}
pub mod reading_a_trail {
    #![doc = include_str!("reading_a_trail.md")]
}
pub mod coming_from {
    #![doc = include_str!("coming_from.md")]
}
