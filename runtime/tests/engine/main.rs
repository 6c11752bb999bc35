//! What an engine promises, on real sockets, the same for both engines.
//!
//! A rig waits for its engine's descriptor like a driver, and gives up after `PATIENCE`: a wake-up that is lost is a test
//! that fails.

mod connecting;
mod crowds;
mod descriptors;
mod ending;
mod long_frames;
#[path = "../support/need.rs"]
mod need;
mod passing;
mod rig;

use std::process::ExitCode;

use ringmw::internals::engine::Choice;

use connecting::{
    a_slot_used_again_is_another_connection, accepting_pauses_and_resumes,
    an_adopted_connection_is_like_another,
};
use crowds::{
    a_flood_gives_way_and_silences_nobody, a_runtime_can_drive_it,
    many_idle_connections_do_not_disturb_one, one_take_catches_up,
};
use descriptors::{accepting_stops_for_want_of_descriptors, no_descriptor_is_lost};
use ending::{
    a_flush_ends_at_its_deadline, a_half_closed_peer_can_be_answered,
    a_reset_is_told_after_the_bytes_before_it, a_reset_peer_can_be_sent_to_and_closed,
    dropping_an_engine_closes_all, last_frame_arrives_though_the_peer_is_sending,
    nothing_is_told_after_close,
};
use long_frames::{
    a_peer_that_goes_in_a_long_frame_is_told_of, long_frames_are_received_into_their_own_memory,
};
use passing::{
    big_frames_pass_both_ways, buffers_are_sent_in_order, many_clients_are_echoed,
    what_is_not_read_is_accounted_for,
};

fn main() -> ExitCode {
    let args = libtest_mimic::Arguments::from_args();
    let trials = for_both_engines![Choice::Ring, Choice::Epoll;
        many_clients_are_echoed,
        big_frames_pass_both_ways,
        long_frames_are_received_into_their_own_memory,
        a_peer_that_goes_in_a_long_frame_is_told_of,
        buffers_are_sent_in_order,
        what_is_not_read_is_accounted_for,
        a_half_closed_peer_can_be_answered,
        a_reset_is_told_after_the_bytes_before_it,
        a_reset_peer_can_be_sent_to_and_closed,
        last_frame_arrives_though_the_peer_is_sending,
        a_flush_ends_at_its_deadline,
        nothing_is_told_after_close,
        a_slot_used_again_is_another_connection,
        accepting_pauses_and_resumes,
        many_idle_connections_do_not_disturb_one,
        one_take_catches_up,
        a_flood_gives_way_and_silences_nobody,
        an_adopted_connection_is_like_another,
        dropping_an_engine_closes_all,
        a_runtime_can_drive_it,
        no_descriptor_is_lost,
        accepting_stops_for_want_of_descriptors,
    ];
    libtest_mimic::run(&args, trials.into()).exit_code()
}
