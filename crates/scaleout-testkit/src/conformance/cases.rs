//! The list of all cases, and the macros that make tests of it.

use crate::conformance::Case;

/// Makes each case of the conformance suite a test of its own, `tokio::test`s on fixtures of their own.
///
/// The first argument is an expression that makes a [`Fixture`](crate::fixture::Fixture); it may await. What follows
/// are options of `tokio::test`, such as `start_paused = true` for a store that lives in the test's own time.
#[macro_export]
macro_rules! conformance_tests {
    ($fixture:expr $(, $option:ident = $value:tt)* $(,)?) => {
        $crate::__for_each_case! { [$crate::__conformance_test] ($fixture; $($option = $value),*) }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_test {
    ($settings:tt $($group:ident::$case:ident)*) => {
        $( $crate::__one_conformance_test! { $settings $group::$case } )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __one_conformance_test {
    (($fixture:expr; $($option:ident = $value:tt),*) $group:ident::$case:ident) => {
        #[tokio::test($($option = $value),*)]
        async fn $case() {
            let fixture = $fixture;
            $crate::conformance::run($crate::__case!($group::$case), &fixture).await;
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __case {
    ($group:ident::$case:ident) => {
        $crate::conformance::Case {
            name: stringify!($case),
            run: |fixture| ::std::boxed::Box::pin($crate::conformance::$group::$case(fixture)),
        }
    };
}

macro_rules! registry {
    (() $($group:ident::$case:ident)*) => { vec![$($crate::__case!($group::$case)),*] };
}

/// Every case of the suite.
#[must_use]
pub fn cases() -> Vec<Case> {
    crate::__for_each_case! { [registry] () }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __for_each_case {
    ([$($then:tt)*] $settings:tt) => {
        $($then)*! { $settings
            link::rule_01_construction_does_no_io
            link::rule_01_a_reception_outlives_every_fault
            link::rule_01_attempts_are_spaced_and_never_given_up
            link::rule_01_a_reception_ends_at_close
            bytes::rule_02_bytes_arrive_unchanged
            bytes::rule_02_the_largest_payload_arrives
            bytes::rule_02_a_larger_payload_is_refused
            order::rule_03_ids_strictly_increase
            order::rule_03_dense_ids_have_no_holes
            order::rule_03_dense_ids_begin_at_0_in_every_epoch
            order::rule_03_a_position_names_one_payload_for_ever
            order::rule_03_no_payload_comes_out_twice
            order::rule_04_all_nodes_see_one_order
            order::rule_04_a_node_receives_its_own_payloads
            order::rule_05_frames_of_a_node_keep_their_order
            order::rule_05_retried_frames_keep_their_order
            order::rule_05_a_late_node_sees_the_same_order
            link::rule_06_opened_comes_first
            link::rule_06_opened_follows_every_reconnect
            link::rule_06_every_failed_attempt_is_told
            link::rule_06_head_is_the_last_id
            link::rule_06_opened_comes_before_a_new_epoch
            link::rule_06_nothing_is_missed_in_silence
            link::rule_06_what_a_flush_took_is_told
            link::rule_06_replay_leaves_no_broken_link
            backlog::rule_07_the_backlog_is_the_last_payloads
            backlog::rule_07_a_large_backlog_is_all_there_is
            backlog::rule_07_a_reception_that_was_dropped_begins_anew
            backlog::rule_07_backlog_and_live_join_without_a_hole
            backlog::rule_07_latest_yields_nothing_of_the_past
            backlog::rule_07_the_backlog_reaches_into_earlier_epochs
            backlog::rule_07_reception_goes_on_where_it_stood
            backlog::rule_07_the_backlog_is_what_is_retained
            backlog::rule_07_what_retention_dropped_shows
            backlog::rule_07_what_is_retained_is_told
            backlog::rule_07_a_reception_crosses_epochs_without_loss
            epochs::rule_08_a_flush_begins_a_new_epoch
            epochs::rule_08_a_failover_begins_a_new_epoch
            epochs::rule_08_a_new_epoch_says_what_it_continues
            epochs::rule_08_what_was_kept_keeps_its_position
            epochs::rule_08_one_node_opens_the_new_epoch
            epochs::rule_08_an_older_epoch_takes_no_appends
            sends::rule_09_a_frame_sent_twice_is_held_once
            sends::rule_09_an_older_number_adds_nothing
            sends::rule_09_a_lost_answer_does_not_double_a_frame
            sends::rule_09_a_lost_frame_is_added_by_a_retry
            sends::rule_09_a_late_copy_adds_nothing
            sends::rule_09_a_dropped_send_may_be_repeated
            sends::rule_09_a_number_may_be_left_out
            sends::rule_09_numbers_are_counted_per_node
            sends::rule_09_a_flush_rewinds_to_nothing
            sends::rule_09_a_failover_rewinds_to_what_was_kept
            sends::rule_09_a_restart_that_forgot_nothing_rewinds_nobody
            sends::rule_09_an_after_that_is_not_held_is_rewound
            sharing::rule_10_streams_are_independent
            sharing::rule_10_a_slow_receiver_disturbs_nobody
            sharing::rule_11_nodes_agree_on_the_stream_count
            sharing::rule_11_a_node_that_differs_is_refused
            sharing::rule_12_two_apps_never_meet
            sharing::rule_12_a_backlog_is_of_one_app
            sharing::rule_13_close_releases_registrations
            sharing::rule_13_a_dead_node_leaves_nothing_for_ever
            sharing::rule_13_a_closed_node_is_closed
            link::rule_14_a_fatal_error_is_told_as_fatal
            link::rule_14_a_fatal_error_is_tried_seldom
            link::rule_14_a_fatal_error_heals
            bytes::rule_15_a_probe_adds_nothing
            bytes::rule_15_a_probe_leaves_the_log_as_it_is
            bytes::rule_15_a_probe_tells_what_is_rewound
            bytes::rule_15_a_probe_proves_the_link
            bytes::rule_15_empty_payloads_take_ids_in_order
            promises::promise_all_nodes_see_one_order
            promises::promise_each_publishers_order_holds_across_epochs
            promises::promise_one_publishers_messages_keep_their_order
            promises::promise_no_duplicate_even_after_a_retried_send
            promises::promise_an_outage_loses_nothing_accepted
            promises::promise_an_outage_shows_in_the_state
            promises::promise_a_store_that_forgot_is_repaired
            promises::promise_whatever_is_missing_is_told
            promises::promise_a_slow_subscriber_is_told
            promises::promise_an_expired_cursor_is_told
            promises::promise_an_idle_client_never_expires
            promises::promise_a_hole_in_a_publishers_frames_is_told
            promises::promise_an_unreadable_frame_is_told
            promises::promise_no_fault_no_gap
            promises::promise_a_client_resumes_on_any_node
            promises::promise_a_fresh_node_resumes_clients_of_others
            on_demand::promise_a_stream_on_demand_gives_what_comes_after_its_opening
            on_demand::promise_a_stream_given_up_is_resumed_without_a_gap
            promises::promise_messages_wait_in_a_bounded_queue_during_an_outage
            promises::promise_close_sends_what_waits_and_leaves_nothing
        }
    };
}
