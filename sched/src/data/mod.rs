//! What the scheduler keeps: tables, lists, counters. Nothing here knows the scheduler.

pub(crate) mod counts;
pub(crate) mod deadlines;
pub(crate) mod hands;
pub(crate) mod health;
pub(crate) mod hungry;
pub(crate) mod labels;
pub(crate) mod line;
pub(crate) mod list;
pub(crate) mod owners;
pub(crate) mod packet_costs;
pub(crate) mod quarantined;
pub(crate) mod record;
pub(crate) mod reserved;
pub(crate) mod room;
pub(crate) mod slave_map;
pub(crate) mod slaves;
pub(crate) mod tasks;
pub(crate) mod times;
