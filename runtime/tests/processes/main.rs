//! Real masters and slaves, killed, stopped, evicted, held, in thousands, and short of what they need.
//!
//! This target has a main of its own, because its binary is the application too: the processes that the tests start are it
//! again.

mod app;
mod batch;
mod conversing;
mod crowds;
mod descriptors;
mod disks;
mod endless;
mod engines;
mod faults;
mod hearing;
mod leaving;
mod listening;
mod logging;
mod memory;
mod misfortune;
mod outlive;
mod poison;
mod progress;
mod racing;
mod relay;
mod screens;
mod secrets;
mod signals;
mod storms;
mod unsent;
mod users;
mod watched;
mod wrong;

#[path = "../support/crowd.rs"]
mod crowd;
#[path = "../support/need.rs"]
mod need;
#[path = "../support/ports.rs"]
mod ports;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use libtest_mimic::Arguments;
use rustix::process::Signal;

use crate::batch::{
    a_file_whose_master_answers_is_not_taken_over, a_master_that_aborts_again_and_again_is_held,
    a_slave_in_a_batch_job_waits_for_its_master, a_slave_that_is_refused_counts_by_its_exit_code,
};
use crate::conversing::{a_conversation_is_cut_in_the_middle, whatever_becomes_of_a_conversation};
use crate::crowds::{a_thousand_real_slaves, thousands_of_slaves};
use crate::descriptors::{no_descriptors, sixty_four_files};
use crate::disks::{
    a_disk_that_is_full_for_a_while, a_folder_of_the_resource_file_that_vanishes,
    a_full_disk_under_the_trails,
};
use crate::endless::endless_programs_hear_signals;
use crate::engines::{
    little_memory_to_lock, no_io_uring_by_seccomp, no_io_uring_by_sysctl, no_second_ring,
};
use crate::faults::{
    a_journal_on_a_disk_that_hangs, a_journal_on_a_disk_that_refuses,
    a_journal_on_a_disk_that_stays_full, a_journal_that_cannot_be_begun,
    a_state_on_a_disk_that_refuses,
};
use crate::hearing::{a_slave_hears_between_short_tasks, a_slaves_loops_say_what_they_did};
use crate::leaving::{
    a_finished_resource_file_sends_slaves_home, a_finished_result_does_not_wait_for_a_long_task,
    a_held_master_loses_nobody, a_signalled_master, a_slave_algorithm_that_ends_early_is_run_again,
    a_stopped_master_loses_nobody, a_stopped_slave_does_not_hold_big_packets_up,
    an_evicted_slave_says_goodbye, an_evicted_slave_waits_for_nobody,
    slaves_of_a_killed_master_exit,
};
use crate::listening::{
    a_listening_slave_outlives_its_masters, a_silent_socket_keeps_nobody_from_the_next_address,
    either_side_dials, of_two_masters_one_has_the_slave, one_that_waits_is_told_to_go,
};
use crate::logging::what_slaves_log_is_shown;
use crate::memory::a_slave_keeps_what_tasks_free_until_it_is_idle;
use crate::misfortune::{
    a_black_hole_is_named_and_taken_back,
    a_crash_limit_that_is_given_is_kept_where_slaves_are_restarted,
    a_panic_whose_value_panics_is_a_failed_result, a_slave_that_cannot_print_costs_no_task,
    a_state_that_cannot_be_made_is_the_end_with_the_reason, a_task_does_not_take_the_last_slave,
    a_task_that_ends_its_slaves_is_unrunnable, a_task_that_hangs_is_answered_for,
    a_task_that_takes_too_much_memory_is_charged, an_algorithm_has_a_timeout_of_its_own,
    every_way_to_die_everywhere, of_four_nodes_three_do_all_the_work, of_twelve_tasks_two_hang,
    whatever_tasks_do_to_their_process, without_a_crash_limit_only_the_pace_is_bounded,
};
use crate::need::{Need, trial};
use crate::outlive::{
    a_master_killed_again_and_again, a_second_master_is_refused,
    a_stopped_master_and_its_successor, a_stopped_master_and_its_successors_state,
    slaves_outlive_their_masters, what_is_not_this_runs_is_refused_by_name,
};
use crate::poison::a_poisoned_task_is_charged_for_lost_slaves_alone;
use crate::process::AS_APPLICATION;
use crate::progress::{
    a_narrow_terminal_has_the_misfortunes_at_least, a_terminals_last_row_says_how_far_a_run_is,
    progress_is_off_where_it_is_not_wanted,
};
use crate::racing::a_winner_dies_as_it_wins;
use crate::screens::{
    a_black_hole_has_its_screen, a_replay_has_its_screen, each_crash_limit_has_its_screen,
    each_misfortune_has_its_screen, each_misfortune_of_a_node_has_its_screen,
};
use crate::secrets::{nothing_goes_in_plain, the_secret_stands_nowhere_else};
use crate::signals::{
    a_file_at_its_limit_is_a_full_disk, a_hangup_that_is_ignored_stays_ignored,
    a_held_thread_does_not_hold_a_signal_up, a_restless_master_hears_signals,
    a_second_signal_ends_a_held_master, an_abort_writes_the_last_lines,
    slaves_and_parents_leave_on_every_signal, what_a_master_starts_ignores_no_signal,
};
use crate::storms::{
    a_deaf_peer_takes_no_memory, a_storm_of_ten_thousand, a_storm_of_the_silent,
    half_frames_leave_nothing_behind,
};
use crate::support::PATIENCE;
use crate::unsent::{
    a_slave_that_leaves_leaves_nothing_behind,
    a_slave_that_leaves_over_a_slow_link_leaves_nothing_behind,
    a_slave_with_results_unsent_is_not_idle, an_evicted_slave_does_not_write_for_ever,
    an_evicted_slave_over_a_slow_link_tells_what_it_has_not_sent,
};
use crate::users::{
    a_container_whose_user_has_another_number, a_folder_without_modes, two_users_of_one_group,
};
use crate::watched::{
    a_crowd_of_wrong_requests_is_refused, a_held_master_tells_how_it_does,
    a_stopped_run_is_finished,
};
use crate::wrong::{a_refused_slave_says_why, what_is_wrong_is_one_line};

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("thousands_of_slaves_on_the_ring", || {
        thousands_of_slaves("ring")
    }),
    ("thousands_of_slaves_on_epoll", || {
        thousands_of_slaves("epoll")
    }),
    ("a_conversation_is_cut_in_the_middle_on_the_ring", || {
        a_conversation_is_cut_in_the_middle("ring")
    }),
    ("a_conversation_is_cut_in_the_middle_on_epoll", || {
        a_conversation_is_cut_in_the_middle("epoll")
    }),
    ("whatever_becomes_of_a_conversation_on_the_ring", || {
        whatever_becomes_of_a_conversation("ring")
    }),
    ("whatever_becomes_of_a_conversation_on_epoll", || {
        whatever_becomes_of_a_conversation("epoll")
    }),
    ("a_winner_dies_as_it_wins_on_the_ring", || {
        a_winner_dies_as_it_wins("ring")
    }),
    ("a_winner_dies_as_it_wins_on_epoll", || {
        a_winner_dies_as_it_wins("epoll")
    }),
    ("a_crowd_of_wrong_requests_is_refused_on_the_ring", || {
        a_crowd_of_wrong_requests_is_refused("ring")
    }),
    ("a_crowd_of_wrong_requests_is_refused_on_epoll", || {
        a_crowd_of_wrong_requests_is_refused("epoll")
    }),
    ("what_slaves_log_is_shown_on_the_ring", || {
        what_slaves_log_is_shown("ring")
    }),
    ("what_slaves_log_is_shown_on_epoll", || {
        what_slaves_log_is_shown("epoll")
    }),
    (
        "a_slave_keeps_what_tasks_free_until_it_is_idle",
        a_slave_keeps_what_tasks_free_until_it_is_idle,
    ),
    ("nothing_goes_in_plain_on_the_ring", || {
        nothing_goes_in_plain("ring")
    }),
    ("nothing_goes_in_plain_on_epoll", || {
        nothing_goes_in_plain("epoll")
    }),
    (
        "the_secret_stands_nowhere_else",
        the_secret_stands_nowhere_else,
    ),
    ("either_side_dials_on_the_ring", || {
        either_side_dials("ring")
    }),
    ("either_side_dials_on_epoll", || either_side_dials("epoll")),
    ("one_that_waits_is_told_to_go", one_that_waits_is_told_to_go),
    (
        "a_listening_slave_outlives_its_masters",
        a_listening_slave_outlives_its_masters,
    ),
    ("two_users_of_one_group", two_users_of_one_group),
    (
        "a_container_whose_user_has_another_number",
        a_container_whose_user_has_another_number,
    ),
    ("a_folder_without_modes", a_folder_without_modes),
    (
        "of_two_masters_one_has_the_slave",
        of_two_masters_one_has_the_slave,
    ),
    (
        "a_silent_socket_keeps_nobody_from_the_next_address",
        a_silent_socket_keeps_nobody_from_the_next_address,
    ),
    (
        "a_file_whose_master_answers_is_not_taken_over",
        a_file_whose_master_answers_is_not_taken_over,
    ),
    (
        "a_master_that_aborts_again_and_again_is_held",
        a_master_that_aborts_again_and_again_is_held,
    ),
    (
        "a_slave_in_a_batch_job_waits_for_its_master",
        a_slave_in_a_batch_job_waits_for_its_master,
    ),
    (
        "a_slave_that_is_refused_counts_by_its_exit_code",
        a_slave_that_is_refused_counts_by_its_exit_code,
    ),
    (
        "an_abort_writes_the_last_lines",
        an_abort_writes_the_last_lines,
    ),
    (
        "a_terminals_last_row_says_how_far_a_run_is",
        a_terminals_last_row_says_how_far_a_run_is,
    ),
    (
        "a_narrow_terminal_has_the_misfortunes_at_least",
        a_narrow_terminal_has_the_misfortunes_at_least,
    ),
    (
        "progress_is_off_where_it_is_not_wanted",
        progress_is_off_where_it_is_not_wanted,
    ),
    ("each_misfortune_has_its_screen_on_the_ring", || {
        each_misfortune_has_its_screen("ring")
    }),
    ("each_misfortune_has_its_screen_on_epoll", || {
        each_misfortune_has_its_screen("epoll")
    }),
    ("a_black_hole_has_its_screen", a_black_hole_has_its_screen),
    (
        "each_crash_limit_has_its_screen",
        each_crash_limit_has_its_screen,
    ),
    (
        "each_misfortune_of_a_node_has_its_screen",
        each_misfortune_of_a_node_has_its_screen,
    ),
    ("a_replay_has_its_screen", a_replay_has_its_screen),
    ("a_thousand_real_slaves", a_thousand_real_slaves),
    ("a_held_master_loses_nobody_on_the_ring", || {
        a_held_master_loses_nobody("ring")
    }),
    ("a_held_master_loses_nobody_on_epoll", || {
        a_held_master_loses_nobody("epoll")
    }),
    (
        "slaves_of_a_killed_master_exit",
        slaves_of_a_killed_master_exit,
    ),
    (
        "a_finished_resource_file_sends_slaves_home",
        a_finished_resource_file_sends_slaves_home,
    ),
    ("a_master_killed_again_and_again_on_the_ring", || {
        a_master_killed_again_and_again("ring")
    }),
    ("a_master_killed_again_and_again_on_epoll", || {
        a_master_killed_again_and_again("epoll")
    }),
    ("slaves_outlive_their_masters_on_the_ring", || {
        slaves_outlive_their_masters("ring")
    }),
    ("slaves_outlive_their_masters_on_epoll", || {
        slaves_outlive_their_masters("epoll")
    }),
    ("a_second_master_is_refused", a_second_master_is_refused),
    (
        "what_is_not_this_runs_is_refused_by_name",
        what_is_not_this_runs_is_refused_by_name,
    ),
    (
        "a_stopped_master_and_its_successor",
        a_stopped_master_and_its_successor,
    ),
    (
        "a_stopped_master_and_its_successors_state",
        a_stopped_master_and_its_successors_state,
    ),
    ("what_is_wrong_is_one_line", what_is_wrong_is_one_line),
    ("a_refused_slave_says_why", a_refused_slave_says_why),
    (
        "a_stopped_master_loses_nobody",
        a_stopped_master_loses_nobody,
    ),
    (
        "an_evicted_slave_says_goodbye",
        an_evicted_slave_says_goodbye,
    ),
    (
        "an_evicted_slave_waits_for_nobody",
        an_evicted_slave_waits_for_nobody,
    ),
    (
        "a_finished_result_does_not_wait_for_a_long_task",
        a_finished_result_does_not_wait_for_a_long_task,
    ),
    (
        "a_slave_algorithm_that_ends_early_is_run_again",
        a_slave_algorithm_that_ends_early_is_run_again,
    ),
    (
        "a_poisoned_task_is_charged_for_lost_slaves_alone",
        a_poisoned_task_is_charged_for_lost_slaves_alone,
    ),
    (
        "a_task_that_ends_its_slaves_is_unrunnable_on_the_ring",
        || a_task_that_ends_its_slaves_is_unrunnable("ring"),
    ),
    ("a_task_that_ends_its_slaves_is_unrunnable_on_epoll", || {
        a_task_that_ends_its_slaves_is_unrunnable("epoll")
    }),
    (
        "a_crash_limit_that_is_given_is_kept_where_slaves_are_restarted",
        a_crash_limit_that_is_given_is_kept_where_slaves_are_restarted,
    ),
    ("a_task_does_not_take_the_last_slave_on_the_ring", || {
        a_task_does_not_take_the_last_slave("ring")
    }),
    ("a_task_does_not_take_the_last_slave_on_epoll", || {
        a_task_does_not_take_the_last_slave("epoll")
    }),
    ("a_state_that_cannot_be_made_is_the_end_on_the_ring", || {
        a_state_that_cannot_be_made_is_the_end_with_the_reason("ring")
    }),
    ("a_state_that_cannot_be_made_is_the_end_on_epoll", || {
        a_state_that_cannot_be_made_is_the_end_with_the_reason("epoll")
    }),
    ("a_task_that_hangs_is_answered_for_on_the_ring", || {
        a_task_that_hangs_is_answered_for("ring")
    }),
    ("a_task_that_hangs_is_answered_for_on_epoll", || {
        a_task_that_hangs_is_answered_for("epoll")
    }),
    (
        "a_slave_that_cannot_print_costs_no_task_on_the_ring",
        || a_slave_that_cannot_print_costs_no_task("ring"),
    ),
    ("a_slave_that_cannot_print_costs_no_task_on_epoll", || {
        a_slave_that_cannot_print_costs_no_task("epoll")
    }),
    ("of_twelve_tasks_two_hang_on_the_ring", || {
        of_twelve_tasks_two_hang("ring")
    }),
    ("of_twelve_tasks_two_hang_on_epoll", || {
        of_twelve_tasks_two_hang("epoll")
    }),
    (
        "without_a_crash_limit_only_the_pace_is_bounded",
        without_a_crash_limit_only_the_pace_is_bounded,
    ),
    (
        "a_task_that_takes_too_much_memory_is_charged",
        a_task_that_takes_too_much_memory_is_charged,
    ),
    (
        "an_algorithm_has_a_timeout_of_its_own",
        an_algorithm_has_a_timeout_of_its_own,
    ),
    (
        "a_panic_whose_value_panics_is_a_failed_result",
        a_panic_whose_value_panics_is_a_failed_result,
    ),
    ("a_master_on_sigint", || {
        a_signalled_master(Signal::INT, 130)
    }),
    ("a_master_on_sigterm", || {
        a_signalled_master(Signal::TERM, 143)
    }),
    ("a_restless_master_hears_signals_on_the_ring", || {
        a_restless_master_hears_signals("ring")
    }),
    ("endless_programs_hear_signals_on_the_ring", || {
        endless_programs_hear_signals("ring")
    }),
    ("endless_programs_hear_signals_on_epoll", || {
        endless_programs_hear_signals("epoll")
    }),
    ("a_restless_master_hears_signals_on_epoll", || {
        a_restless_master_hears_signals("epoll")
    }),
    (
        "a_held_thread_does_not_hold_a_signal_up_on_the_ring",
        || a_held_thread_does_not_hold_a_signal_up("ring"),
    ),
    ("a_held_thread_does_not_hold_a_signal_up_on_epoll", || {
        a_held_thread_does_not_hold_a_signal_up("epoll")
    }),
    ("a_held_master_tells_how_it_does_on_the_ring", || {
        a_held_master_tells_how_it_does("ring")
    }),
    ("a_held_master_tells_how_it_does_on_epoll", || {
        a_held_master_tells_how_it_does("epoll")
    }),
    ("a_stopped_run_is_finished", a_stopped_run_is_finished),
    (
        "a_second_signal_ends_a_held_master",
        a_second_signal_ends_a_held_master,
    ),
    (
        "a_hangup_that_is_ignored_stays_ignored",
        a_hangup_that_is_ignored_stays_ignored,
    ),
    (
        "slaves_and_parents_leave_on_every_signal",
        slaves_and_parents_leave_on_every_signal,
    ),
    (
        "a_file_at_its_limit_is_a_full_disk",
        a_file_at_its_limit_is_a_full_disk,
    ),
    (
        "what_a_master_starts_ignores_no_signal",
        what_a_master_starts_ignores_no_signal,
    ),
    (
        "a_stopped_slave_does_not_hold_big_packets_up",
        a_stopped_slave_does_not_hold_big_packets_up,
    ),
    (
        "a_slave_hears_between_short_tasks",
        a_slave_hears_between_short_tasks,
    ),
    (
        "a_slaves_loops_say_what_they_did",
        a_slaves_loops_say_what_they_did,
    ),
    (
        "a_slave_that_leaves_leaves_nothing_behind_on_the_ring",
        || a_slave_that_leaves_leaves_nothing_behind("ring"),
    ),
    ("a_slave_that_leaves_leaves_nothing_behind_on_epoll", || {
        a_slave_that_leaves_leaves_nothing_behind("epoll")
    }),
    (
        "a_slave_with_results_unsent_is_not_idle_on_the_ring",
        || a_slave_with_results_unsent_is_not_idle("ring"),
    ),
    ("a_slave_with_results_unsent_is_not_idle_on_epoll", || {
        a_slave_with_results_unsent_is_not_idle("epoll")
    }),
    (
        "an_evicted_slave_does_not_write_for_ever",
        an_evicted_slave_does_not_write_for_ever,
    ),
    ("a_slow_link_takes_nothing_on_the_ring", || {
        a_slave_that_leaves_over_a_slow_link_leaves_nothing_behind("ring")
    }),
    ("a_slow_link_takes_nothing_on_epoll", || {
        a_slave_that_leaves_over_a_slow_link_leaves_nothing_behind("epoll")
    }),
    ("an_evicted_slave_over_a_slow_link_on_the_ring", || {
        an_evicted_slave_over_a_slow_link_tells_what_it_has_not_sent("ring")
    }),
    ("an_evicted_slave_over_a_slow_link_on_epoll", || {
        an_evicted_slave_over_a_slow_link_tells_what_it_has_not_sent("epoll")
    }),
    ("no_descriptors_on_the_ring", || no_descriptors("ring")),
    ("no_descriptors_on_epoll", || no_descriptors("epoll")),
    ("a_storm_of_the_silent_on_the_ring", || {
        a_storm_of_the_silent("ring")
    }),
    ("a_storm_of_the_silent_on_epoll", || {
        a_storm_of_the_silent("epoll")
    }),
    ("a_deaf_peer_takes_no_memory_on_the_ring", || {
        a_deaf_peer_takes_no_memory("ring")
    }),
    ("a_deaf_peer_takes_no_memory_on_epoll", || {
        a_deaf_peer_takes_no_memory("epoll")
    }),
    ("half_frames_leave_nothing_behind_on_the_ring", || {
        half_frames_leave_nothing_behind("ring")
    }),
    ("half_frames_leave_nothing_behind_on_epoll", || {
        half_frames_leave_nothing_behind("epoll")
    }),
    ("a_storm_of_ten_thousand_on_the_ring", || {
        a_storm_of_ten_thousand("ring")
    }),
    ("a_storm_of_ten_thousand_on_epoll", || {
        a_storm_of_ten_thousand("epoll")
    }),
    ("sixty_four_files_on_the_ring", || sixty_four_files("ring")),
    ("sixty_four_files_on_epoll", || sixty_four_files("epoll")),
    ("a_full_disk_under_the_trails", a_full_disk_under_the_trails),
    (
        "a_disk_that_is_full_for_a_while",
        a_disk_that_is_full_for_a_while,
    ),
    (
        "a_folder_of_the_resource_file_that_vanishes",
        a_folder_of_the_resource_file_that_vanishes,
    ),
    (
        "a_journal_on_a_disk_that_refuses",
        a_journal_on_a_disk_that_refuses,
    ),
    (
        "a_journal_on_a_disk_that_stays_full",
        a_journal_on_a_disk_that_stays_full,
    ),
    ("a_journal_on_a_disk_that_hangs_on_the_ring", || {
        a_journal_on_a_disk_that_hangs("ring")
    }),
    ("a_journal_on_a_disk_that_hangs_on_epoll", || {
        a_journal_on_a_disk_that_hangs("epoll")
    }),
    (
        "a_journal_that_cannot_be_begun",
        a_journal_that_cannot_be_begun,
    ),
    (
        "a_state_on_a_disk_that_refuses",
        a_state_on_a_disk_that_refuses,
    ),
    ("no_io_uring_by_seccomp", no_io_uring_by_seccomp),
    ("no_second_ring", no_second_ring),
    ("little_memory_to_lock", little_memory_to_lock),
    ("a_black_hole_is_named_and_taken_back_on_the_ring", || {
        a_black_hole_is_named_and_taken_back("ring")
    }),
    ("a_black_hole_is_named_and_taken_back_on_epoll", || {
        a_black_hole_is_named_and_taken_back("epoll")
    }),
    ("of_four_nodes_three_do_all_the_work_on_the_ring", || {
        of_four_nodes_three_do_all_the_work("ring")
    }),
    ("of_four_nodes_three_do_all_the_work_on_epoll", || {
        of_four_nodes_three_do_all_the_work("epoll")
    }),
    ("whatever_tasks_do_to_their_process_on_the_ring", || {
        whatever_tasks_do_to_their_process("ring")
    }),
    ("whatever_tasks_do_to_their_process_on_epoll", || {
        whatever_tasks_do_to_their_process("epoll")
    }),
    ("every_way_to_die_everywhere_on_the_ring", || {
        every_way_to_die_everywhere("ring")
    }),
    ("every_way_to_die_everywhere_on_epoll", || {
        every_way_to_die_everywhere("epoll")
    }),
    ("no_io_uring_by_sysctl", no_io_uring_by_sysctl),
];

fn main() -> ExitCode {
    if std::env::var_os(AS_APPLICATION).is_some() {
        return app::app().run();
    }
    // Whoever runs the tests by `nohup` ignores it, and what they start would, too.
    // SAFETY: there is one thread yet.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_DFL) };
    let mut args = Arguments::from_args();
    // They start thousands of processes, and time some.
    args.test_threads = Some(1);
    let trials = TESTS
        .iter()
        .map(|&(name, test)| match name.starts_with("every_way_to_die") {
            // Minutes; its parts are tests of their own.
            true => trial(name, &needs(name), test).with_ignored_flag(true),
            false => trial(name, &needs(name), test),
        });
    libtest_mimic::run(&args, trials.collect()).exit_code()
}

/// What a test needs beside Linux.
fn needs(name: &str) -> Vec<Need> {
    match name {
        "a_full_disk_under_the_trails" | "a_disk_that_is_full_for_a_while" => vec![Need::Mount],
        "no_second_ring" => vec![Need::Ring],
        "two_users_of_one_group" => vec![Need::Nobody, Need::Users],
        "a_container_whose_user_has_another_number" => vec![Need::Nobody, Need::Users],
        "a_folder_without_modes" => vec![Need::Modeless],
        "little_memory_to_lock" => vec![Need::Ring, Need::Nobody],
        "no_io_uring_by_sysctl" => vec![Need::Ring, Need::Nobody, Need::Sysctl],
        "thousands_of_slaves_on_the_ring" => vec![Need::Files, Need::Ring],
        "thousands_of_slaves_on_epoll" => vec![Need::Files],
        _ if name.ends_with("_on_the_ring") => vec![Need::Ring],
        _ => Vec::new(),
    }
}

const _: () = assert!(PATIENCE.as_secs() >= 10);
