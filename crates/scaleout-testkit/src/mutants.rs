//! Backplanes that break one rule each, to show that the conformance suite finds it.
//!
//! [`MutantFixture`] puts a [`Mutant`] in front of the nodes of any fixture.

mod fixture;
mod node;
mod reception;

pub use fixture::MutantFixture;

macro_rules! mutants {
    ($($rule:literal: $($(#[$doc:meta])* $mutant:ident,)*)*) => {
        /// A deliberate breach of one rule of the contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Mutant {
            $($($(#[$doc])* $mutant,)*)*
        }

        impl Mutant {
            /// All mutants.
            pub const ALL: &[Self] = &[$($(Self::$mutant,)*)*];

            /// The rule that it breaks.
            #[must_use]
            pub fn rule(self) -> u8 {
                match self {
                    $($(Self::$mutant => $rule,)*)*
                }
            }
        }
    };
}

mutants! {
    1:
        /// A node talks to the store while it is constructed, and panics where that fails.
        ConnectsInConstruction,
        /// A reception ends at its first fault.
        EndsAtAFault,
        /// A reception stays silent for ever after its third fault.
        GivesUp,
        /// Attempts follow each other without a pause.
        Hammers,
        /// A reception does not end when its node is closed.
        OutlivesClose,
    2:
        /// What is not UTF-8 is replaced.
        TakesBytesForText,
        /// Bytes beyond 64 KiB are cut off.
        Truncates,
        /// A payload above the limit is answered `Ok`, and not sent.
        AcceptsTooLarge,
        /// A payload above the limit is refused, and sent in part.
        SendsTooLargeInPart,
    3:
        /// Two payloads share an id.
        RepeatsIds,
        /// Ids that should be dense are all even.
        LeavesIdsOut,
        /// Ids that should be dense begin at 1.
        CountsFromOne,
        /// Ids are counted by each reception for itself.
        CountsIdsPerReception,
        /// The last payload comes out again after a reconnect.
        Redelivers,
    4:
        /// Every second node sees neighbours swapped.
        SwapsNeighbours,
        /// A node does not receive what it sent.
        HidesOwnPayloads,
    5:
        /// Every second frame goes before the one it was sent after.
        SwapsFrames,
        /// A frame that failed goes after the next one.
        RetriesBehind,
    6:
        /// The first `Opened` is left out.
        OpensSilently,
        /// `Opened` is left out after a reconnect.
        ReopensSilently,
        /// A new epoch is opened behind its first payload.
        OpensEpochsLate,
        /// Faults are not told.
        SwallowsFaults,
        /// `head` is always that of an empty store.
        ForgetsTheHead,
        /// Every link says that it is unbroken.
        IsAlwaysUnbroken,
        /// No link but the first says that it is unbroken.
        IsNeverUnbroken,
    7:
        /// The backlog has one payload less than asked for.
        ShortensTheBacklog,
        /// The first live payload behind a backlog is left out.
        LeavesAHoleBehindTheBacklog,
        /// The last payload of a backlog comes twice.
        OverlapsTheBacklog,
        /// `Latest` begins with the past.
        StartsInThePast,
        /// The backlog holds only the newest epoch.
        ForgetsEarlierEpochs,
        /// After a reconnect only what is new comes.
        StartsOverAtNow,
        /// Ids close up where retention dropped payloads.
        HidesWhatRetentionDropped,
        /// The backlog is a single payload, whatever is retained.
        CutsTheBacklogShort,
        /// A stream's second reception at a node begins at now.
        ReplaysOnce,
        /// What is told as retained lacks the newest payload.
        TellsLessThanIsRetained,
        /// Everything that was ever sent is told as retained.
        TellsMoreThanIsRetained,
    8:
        /// A changed store keeps its epoch.
        KeepsTheEpoch,
        /// A new epoch never says what it continues.
        HidesWhatItContinues,
        /// A new epoch says that it continues everything.
        InventsWhatItContinues,
        /// Each node has its own number for an epoch.
        OpensAnEpochPerNode,
        /// The store takes what a node appends to the epoch before.
        AppendsToOlderEpochs,
    9:
        /// Every send is appended, retries too.
        AppendsEverySend,
        /// A retry is answered `Ok`, and not sent.
        DropsRetries,
        /// `Rewound` is answered `Ok`.
        HidesRewound,
        /// `Rewound` comes only the first time.
        RewindsOnce,
        /// `Rewound` always names 0.
        RewindsToNothing,
        /// `Rewound` is answered, and the payload added.
        AddsWhatIsRewound,
        /// A number may not be left out.
        RefusesHoles,
        /// A frame that timed out is appended behind a later one.
        AppendsLateCopies,
        /// All nodes share their numbers.
        SharesNumbers,
    10:
        /// A reception that nobody reads holds up the other receptions of its node.
        BlocksOtherStreams,
        /// Everything is sent on stream 0.
        MixesStreams,
    11:
        /// A node with another stream count is taken as one that fits.
        AcceptsOtherCounts,
        /// Every second node has one stream more.
        CountsPerNode,
    12:
        /// Another app is the same app.
        MeetsOtherApps,
    13:
        /// `close` does nothing.
        IgnoresClose,
        /// A dropped reception stays registered.
        LeavesDeadReceptions,
        /// A closed node answers `Ok`, and sends nothing.
        AnswersWhenClosed,
    14:
        /// Fatal errors are told as transient.
        HidesFatalErrors,
        /// A reception stays silent for ever after a fatal error.
        GivesUpWhenRefused,
        /// Refused credentials are tried without a pause.
        HammersWhenRefused,
    15:
        /// A probe is appended.
        AppendsProbes,
        /// A probe is refused.
        RefusesProbes,
        /// A probe is answered `Ok` without asking the store.
        AnswersProbesItself,
        /// The empty payload at the beginning of an epoch shares the id of the next one.
        RepeatsIdsOfEmptyPayloads,
}
