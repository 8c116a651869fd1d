//! Deliberate faults of a bus, one at a time, so that the history checker can be shown to find them.

/// A deliberate fault; each says where in the bus it acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[cfg_attr(not(feature = "mutants"), expect(unreachable_pub, reason = "public with the feature"))]
pub enum Mutant {
    /// Delivery: the payload of every fifth delivered message has its last byte flipped.
    CorruptPayload,
    /// Delivery: messages name this node as their origin, whoever published them.
    OwnOrigin,
    /// Delivery: every tenth message is delivered twice.
    DeliverTwice,
    /// Delivery: every tenth message is skipped, without a gap.
    DropEveryTenth,
    /// Delivery: two messages of one channel that follow each other in a frame come out swapped, positions and all.
    SwapNeighbours,
    /// Delivery: `position` says an index that is one too great.
    PositionOffByOne,
    /// Receive: payloads whose id came before are taken again.
    SkipIdCheck,
    /// Receive: frames whose number is known are appended and delivered again.
    SkipNumberCheck,
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
    /// Send: every twentieth publish never resolves.
    NeverResolve,
    /// Send: a message overtakes the one that waits before it.
    OvertakeWaiting,
    /// Send: after `Rewound` the tail is not sent again.
    ForgetTail,
    /// Interest: messages go out although a stream that is opened on demand did not open yet.
    SendWhileOpening,
    /// Interest: a stream that nobody reads is received on.
    KeepUnread,
    /// State: a stream that was up once says so for ever.
    AlwaysUp,
    /// State: a stream that was degraded never says `Up` again.
    NeverUpAgain,
    /// Cursor: a cursor taken from a message stands before that message.
    CursorBeforeMessage,
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
    #[cfg(feature = "mutants")]
    pub const ALL: &[Self] = &[
        Self::CorruptPayload,
        Self::OwnOrigin,
        Self::DeliverTwice,
        Self::DropEveryTenth,
        Self::SwapNeighbours,
        Self::PositionOffByOne,
        Self::SkipIdCheck,
        Self::SkipNumberCheck,
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
        Self::NeverResolve,
        Self::OvertakeWaiting,
        Self::ForgetTail,
        Self::SendWhileOpening,
        Self::KeepUnread,
        Self::AlwaysUp,
        Self::NeverUpAgain,
        Self::CursorBeforeMessage,
        Self::IdleCursorStays,
        Self::IgnoreRingBudget,
        Self::IgnoreQueueBudget,
        Self::LeakTask,
        Self::MiscountDelivered,
    ];
}

/// The fault that a bus was built with: none, and at no cost, without the feature `mutants`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mutation(#[cfg(feature = "mutants")] pub(crate) Option<Mutant>);

impl Mutation {
    #[cfg(feature = "mutants")]
    pub(crate) fn is(self, mutant: Mutant) -> bool {
        self.0 == Some(mutant)
    }

    #[cfg(not(feature = "mutants"))]
    #[inline]
    pub(crate) fn is(self, _mutant: Mutant) -> bool {
        false
    }
}
