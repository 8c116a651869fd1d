//! What the adapter does, on whatever store: one file per subject, bound to a store by `scenarios!`.

pub(crate) mod acks;
pub(crate) mod broadcasts;
pub(crate) mod client;
pub(crate) mod emitters;
pub(crate) mod faults;
pub(crate) mod members;
pub(crate) mod namespaces;
pub(crate) mod server_events;
pub(crate) mod troubles;
pub(crate) mod world;

/// Makes a test of each scenario. `$open` is a function that opens a fresh store, or answers `None` where this machine has
/// none.
macro_rules! scenarios {
    ($open:path) => {
        scenario_tests! { $open;
            broadcasts: [
                all_sockets_of_all_nodes_get_text_and_binary,
                a_namespace_is_reached_and_no_other,
                a_room_is_reached_wherever_its_sockets_are,
                those_in_an_excepted_room_get_nothing,
                a_socket_in_two_rooms_gets_it_once,
                a_local_broadcast_stays_on_its_node,
                one_socket_is_reached_by_its_id,
                rooms_named_by_numbers_are_rooms,
                what_is_sent_before_a_disconnect_arrives_before_it,
                what_follows_a_join_reaches_those_who_joined,
                packets_of_many_sizes_arrive_as_they_are,
                a_volatile_packet_reaches_other_nodes,
                another_parser_works_too,
                an_ordered_delivery_is_the_same_on_all_nodes,
            ]
            acks: [
                every_socket_of_every_node_is_heard,
                binary_acks_arrive_as_they_are,
                nobody_to_ask_ends_at_once,
                a_silent_socket_times_out_wherever_it_is,
                one_socket_here_answers,
                one_socket_elsewhere_answers,
                a_node_that_leaves_is_not_waited_for,
                an_ordered_broadcast_hears_all_too,
            ]
            members: [
                all_matching_or_one_join_and_leave,
                all_matching_or_one_are_disconnected,
                rooms_are_those_of_all_nodes,
                all_one_or_local_sockets_are_fetched,
                a_join_elsewhere_leaves_nothing_here,
                a_join_of_nobody_leaves_nothing,
                servers_are_counted,
                a_socket_of_a_server_that_is_gone_is_told,
                a_fetch_without_a_node_that_left_is_complete,
                a_server_that_is_not_known_yet_is_found,
            ]
            server_events: [
                an_event_reaches_the_other_servers_alone,
                answers_of_all_servers_are_collected,
                a_silent_server_is_told,
                a_server_that_leaves_does_not_matter,
                events_and_packets_keep_their_order,
            ]
            namespaces: [
                a_thousand_dynamic_namespaces_work,
                a_deleted_namespace_leaves_nothing,
                first_connections_at_the_same_time_lose_nobody,
                a_namespace_that_others_do_not_have_is_skipped,
            ]
            faults: [
                an_operation_of_a_later_release_is_skipped_and_counted,
                sockets_here_do_not_wait_for_the_backplane,
                an_ordered_delivery_waits_for_the_backplane,
                a_queued_confirmation_does_not_wait,
                a_frozen_node_is_told,
                a_dead_node_is_waited_for_as_long_as_its_lease,
                what_is_too_large_is_told,
                a_burst_to_a_slow_node_arrives_whole,
                emits_of_many_tasks_arrive_whole,
            ]
            emitters: [
                a_process_without_sockets_emits,
                a_process_without_sockets_moves_sockets,
                an_emitter_is_no_server,
            ]
            troubles: [
                an_emit_does_not_wait_for_a_store_that_goes,
                what_is_told_of_an_emit_is_so,
                a_store_that_restarts_within_a_burst_loses_nothing,
                who_knows_no_members_yet_has_no_complete_answer,
                a_packet_that_no_parser_here_takes_is_refused,
                who_drops_everything_leaves_nothing,
                who_closes_in_order_leaves_nothing,
                a_handler_of_events_may_hold_registrations,
                an_ordered_volatile_packet_reaches_all,
            ]
        }
    };
}

macro_rules! scenario_tests {
    ($open:path; $($module:ident: [$($name:ident),* $(,)?])*) => {
        $(mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(store) = $open(stringify!($name)).await else { return };
                crate::scenarios::$module::$name(&store).await;
            })*
        })*
    };
}
