//! Deliberate faults of a bus, one at a time, so that the history checker can be shown to find them.

/// A deliberate fault; each says where in the bus it acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mutant {
    /// Delivery: the payload of every fifth delivered message has its last byte flipped.
    CorruptPayload,
    /// Delivery: messages name this node as their origin, whoever published them.
    OwnOrigin,
    /// Delivery: a subscription still gets the messages of a channel that it removed.
    IgnoreRemove,
    /// Delivery: every tenth message is delivered twice.
    DeliverTwice,
    /// Delivery: every tenth message is skipped, without a gap.
    DropEveryTenth,
    /// Delivery: two messages of one frame that follow each other come out swapped, with their own positions.
    SwapNeighbours,
    /// Delivery: `position` says an index that is one too great.
    PositionOffByOne,
    /// Receive: frames whose number is known are appended and delivered again.
    SkipDuplicateCheck,
    /// Receive: a hole in ids or numbers is not told.
    SwallowHole,
    /// Receive: an unreadable frame is skipped without a gap.
    SwallowUnreadable,
    /// Receive: a link that was not `unbroken` is taken for one that was.
    TrustBrokenLink,
    /// Receive: every tenth frame of another node is told as `Gap(Lost)` with its messages delivered all the same.
    TellFalseHole,
    /// Gaps: `frames` is 0 where it would be a number.
    GapTooSmall,
    /// Gaps: `frames` is ten thousand too great.
    GapTooLarge,
    /// Look-up: every cursor is answered with `Gap(Reset)` and on from now.
    GapOnEveryHop,
    /// Look-up: a cursor inside a frame goes on behind the frame.
    ResumeSkipsFrame,
    /// Look-up: a cursor inside a frame goes on at the frame's first message.
    ResumeRepeatsFrame,
    /// Look-up: a cursor older than the ring goes on from the oldest there is, without a gap.
    SwallowExpired,
    /// Look-up: the stem of a cursor is not compared.
    IgnoreStem,
    /// Store: a subscriber whose messages left the ring goes on without a gap.
    SwallowLagged,
    /// Send: a publish resolves `Ok` when its frame is handed to the backplane.
    OkBeforeSend,
    /// Send: a publish whose frame failed with a transient error resolves `Unavailable`, and the frame is sent again.
    RefuseButSend,
    /// Send: every twentieth publish never resolves.
    NeverResolve,
    /// Send: the messages that wait are put into a frame newest first.
    ReverseWaiting,
    /// Send: after `Rewound` the tail is not sent again.
    ForgetTail,
    /// Send: after `Rewound` new messages go first, the tail with new numbers after them.
    RepairAfterNew,
    /// Send: a frame that failed is given a new number when it is tried again.
    RenumberOnRetry,
    /// State: a stream that was up once says so for ever.
    AlwaysUp,
    /// State: a stream that was degraded never says `Up` again.
    NeverUpAgain,
    /// Cursor: a subscription's cursor stays at the last delivered message while nothing is pending.
    IdleCursorStays,
    /// Ring: frames leave by age only.
    IgnoreRingBudget,
    /// Queue: the bound of messages is not looked at.
    IgnoreQueueBudget,
    /// Close: one task of the bus lives on.
    LeakTask,
    /// Counters: `delivered` counts every second message.
    MiscountDelivered,
}

impl Mutant {
    /// Every mutant.
    pub const ALL: &[Self] = &[
        Self::CorruptPayload,
        Self::OwnOrigin,
        Self::IgnoreRemove,
        Self::DeliverTwice,
        Self::DropEveryTenth,
        Self::SwapNeighbours,
        Self::PositionOffByOne,
        Self::SkipDuplicateCheck,
        Self::SwallowHole,
        Self::SwallowUnreadable,
        Self::TrustBrokenLink,
        Self::TellFalseHole,
        Self::GapTooSmall,
        Self::GapTooLarge,
        Self::GapOnEveryHop,
        Self::ResumeSkipsFrame,
        Self::ResumeRepeatsFrame,
        Self::SwallowExpired,
        Self::IgnoreStem,
        Self::SwallowLagged,
        Self::OkBeforeSend,
        Self::RefuseButSend,
        Self::NeverResolve,
        Self::ReverseWaiting,
        Self::ForgetTail,
        Self::RepairAfterNew,
        Self::RenumberOnRetry,
        Self::AlwaysUp,
        Self::NeverUpAgain,
        Self::IdleCursorStays,
        Self::IgnoreRingBudget,
        Self::IgnoreQueueBudget,
        Self::LeakTask,
        Self::MiscountDelivered,
    ];
}
