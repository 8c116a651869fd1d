//! What is exported: names, units, meaning. `docs/operations.md` has the same list.

use metrics::Unit;

use super::CounterValue;
use crate::Counters;

type Family = (&'static str, Unit, &'static str);

/// In the order in which [`Metrics::register`](super::Metrics::register) takes them.
pub(super) const GAUGES: [Family; 6] = [
    ("scaleout_queue_messages", Unit::Count, "Messages that wait to be sent or confirmed."),
    ("scaleout_queue_bytes", Unit::Bytes, "Bytes of the messages that wait to be sent or confirmed."),
    ("scaleout_tail_bytes", Unit::Bytes, "Bytes of accepted frames that are kept for repair."),
    ("scaleout_ring_bytes", Unit::Bytes, "Bytes of received frames, their index and channel names."),
    ("scaleout_readers", Unit::Count, "Subscriptions, counted once for each stream of theirs."),
    ("scaleout_ready", Unit::Count, "Whether clients should be sent to this node: 1 or 0."),
];

/// In the order in which [`Metrics::register`](super::Metrics::register) takes them.
pub(super) const STREAM_GAUGES: [Family; 4] = [
    ("scaleout_stream_state", Unit::Count, "0 connecting, 1 up, 2 degraded, 3 closed."),
    ("scaleout_lag_payloads", Unit::Count, "Payloads in the store that this node did not receive yet."),
    (
        "scaleout_headroom_payloads",
        Unit::Count,
        "Payloads that this node has received and the store still retains.",
    ),
    (
        "scaleout_headroom_seconds",
        Unit::Seconds,
        "How long this node may stand still before it loses something, at the rate measured last.",
    ),
];

/// In the order in which [`Metrics::register`](super::Metrics::register) takes them.
pub(super) const HISTOGRAMS: [Family; 4] = [
    ("scaleout_frame_bytes", Unit::Bytes, "Bytes of frames that the store confirmed."),
    ("scaleout_frame_messages", Unit::Count, "Messages in frames that the store confirmed."),
    ("scaleout_send_seconds", Unit::Seconds, "From handing a frame to the store to its confirmation."),
    (
        "scaleout_latency_seconds",
        Unit::Seconds,
        "From the first attempt to send a frame, by its node's clock, to its receipt here.",
    ),
];

/// All counters of a bus, always in the same order.
pub(super) fn values(counters: &Counters) -> Vec<CounterValue> {
    // Without `..`: one that is added must be exported.
    let Counters {
        published,
        received,
        delivered,
        duplicates,
        foreign,
        unreadable,
        mislaid,
        empty,
        refused,
        unavailable,
        expired,
        dropped,
        closed,
        too_large,
        unconfirmed,
        rewound,
        repaired,
        holes,
        gaps_lost,
        gaps_reset,
        gaps_expired,
        gaps_lagged,
        lookups_in_ring,
        lookups_older,
        lookups_expired,
        lookups_ahead,
        lookups_reset,
        lookups_absent,
        lookups_unpositioned,
        faults,
        reconnects,
        refused_payloads,
    } = *counters;
    let alone = |name, description, value| CounterValue { name, description, reason: None, value };
    let one = |name, description| {
        move |reason, value| CounterValue { name, description, reason: Some(reason), value }
    };
    let dropped_messages =
        one("scaleout_dropped_messages_total", "Messages that are surely not in the store.");
    let skipped = one("scaleout_skipped_payloads_total", "Payloads that carried nothing for this node.");
    let gaps = one("scaleout_gaps_total", "Gaps told to subscriptions.");
    let lookups = one("scaleout_cursor_lookups_total", "Streams of cursors that clients came back with.");
    vec![
        alone("scaleout_published_messages_total", "Messages that the store confirmed.", published),
        alone(
            "scaleout_received_messages_total",
            "Messages received from the store, without copies.",
            received,
        ),
        alone("scaleout_delivered_messages_total", "Messages handed to subscriptions.", delivered),
        dropped_messages("refused", refused),
        dropped_messages("unavailable", unavailable),
        dropped_messages("expired", expired),
        dropped_messages("dropped", dropped),
        dropped_messages("closed", closed),
        dropped_messages("too_large", too_large),
        alone(
            "scaleout_unconfirmed_messages_total",
            "Messages that were tried and never confirmed.",
            unconfirmed,
        ),
        alone("scaleout_duplicate_payloads_total", "Payloads and frames that came again.", duplicates),
        skipped("foreign", foreign),
        skipped("unreadable", unreadable),
        skipped("mislaid", mislaid),
        skipped("empty", empty),
        skipped("refused", refused_payloads),
        alone(
            "scaleout_rewinds_total",
            "Times that the store turned out to have forgotten frames of this node.",
            rewound,
        ),
        alone(
            "scaleout_repaired_frames_total",
            "Frames sent again to a store that had forgotten them.",
            repaired,
        ),
        alone("scaleout_holes_total", "Gaps noticed on a stream.", holes),
        gaps("lost", gaps_lost),
        gaps("reset", gaps_reset),
        gaps("expired", gaps_expired),
        gaps("lagged", gaps_lagged),
        lookups("in_ring", lookups_in_ring),
        lookups("older", lookups_older),
        lookups("expired", lookups_expired),
        lookups("ahead", lookups_ahead),
        lookups("reset", lookups_reset),
        lookups("absent", lookups_absent),
        lookups("unpositioned", lookups_unpositioned),
        alone("scaleout_faults_total", "Failed attempts to connect, receive or send.", faults),
        alone(
            "scaleout_reconnects_total",
            "Times that a stream was received again after failed attempts.",
            reconnects,
        ),
    ]
}
