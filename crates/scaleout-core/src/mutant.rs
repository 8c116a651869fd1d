//! Deliberate faults of the bus, one for each promise, so that the history checker can be shown to find them.

/// A deliberate fault of the bus (feature `mutants`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mutant {
    /// A reader that missed messages for good is not told so.
    HideExpired,
    /// Cursors stand before the message they were taken from.
    CursorOffByOne,
    /// Gaps say that no frame is concerned.
    GapTooSmall,
    /// Holes are not noticed.
    SwallowHole,
    /// Ids that came before are taken again.
    SkipIdCheck,
    /// Frames that came before are taken again.
    SkipNumberCheck,
    /// The ring grows without bound.
    IgnoreRingBudget,
    /// Counters are wrong.
    Miscount,
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
