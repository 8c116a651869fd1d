//! Every deliberate fault of the bus is found by the checker, within 200 seeds, by the invariant it breaks.

use std::collections::BTreeMap;

use scaleout_core::Mutant;
use scaleout_testkit::{
    checker::Invariant::{self, *},
    simulation,
};

/// Within how many seeds a mutant must be found.
const SEEDS: u64 = 200;

macro_rules! mutants {
    ($($name:ident: $mutant:ident => [$($invariant:ident),+];)*) => {
        $(
            #[test]
            fn $name() {
                find(Mutant::$mutant, &[$($invariant),+]);
            }
        )*

        /// The mutants that have a test.
        const TESTED: &[Mutant] = &[$(Mutant::$mutant),*];
    };
}

// Behind the arrow: the invariants of which one must be broken by it.
mutants! {
    corrupt_payload: CorruptPayload => [Validity];
    own_origin: OwnOrigin => [Validity];
    deliver_twice: DeliverTwice => [Uniqueness];
    drop_every_tenth: DropEveryTenth => [Completeness];
    swap_neighbours: SwapNeighbours => [StreamOrder];
    position_off_by_one: PositionOffByOne => [Agreement];
    skip_id_check: SkipIdCheck => [Accounts];
    skip_number_check: SkipNumberCheck => [Uniqueness];
    swallow_hole: SwallowHole => [Completeness];
    swallow_unreadable: SwallowUnreadable => [Completeness];
    trust_broken_link: TrustBrokenLink => [Completeness];
    tell_false_hole: TellFalseHole => [NoFalseGap];
    gap_too_small: GapTooSmall => [Extent];
    gap_too_large: GapTooLarge => [Extent];
    gap_on_every_hop: GapOnEveryHop => [NoFalseGap];
    resume_skips_frame: ResumeSkipsFrame => [Completeness];
    resume_skips_frame_and_so_a_hop_shows: ResumeSkipsFrame => [Transparency];
    resume_repeats_frame: ResumeRepeatsFrame => [Uniqueness];
    swallow_expired: SwallowExpired => [Completeness];
    ignore_stem: IgnoreStem => [Uniqueness, Completeness];
    swallow_lagged: SwallowLagged => [Completeness];
    ok_before_send: OkBeforeSend => [Outcomes];
    never_resolve: NeverResolve => [Outcomes];
    overtake_waiting: OvertakeWaiting => [PublisherOrder];
    forget_tail: ForgetTail => [Repair];
    send_while_opening: SendWhileOpening => [Completeness];
    keep_unread: KeepUnread => [Bounds];
    always_up: AlwaysUp => [Liveness];
    never_up_again: NeverUpAgain => [Liveness];
    cursor_before_message: CursorBeforeMessage => [Uniqueness];
    idle_cursor_stays: IdleCursorStays => [Liveness];
    ignore_ring_budget: IgnoreRingBudget => [Bounds];
    ignore_queue_budget: IgnoreQueueBudget => [Bounds];
    leak_task: LeakTask => [Bounds];
    miscount_delivered: MiscountDelivered => [Accounts];
}

#[test]
fn every_mutant_has_a_test() {
    for mutant in Mutant::ALL {
        assert!(TESTED.contains(mutant), "{mutant:?}");
    }
}

fn find(mutant: Mutant, expected: &[Invariant]) {
    let mut found: BTreeMap<Invariant, u64> = BTreeMap::new();
    for seed in 0..SEEDS {
        let run = simulation::run_with(seed, move |builder| builder.mutant(mutant));
        for violation in run.violations {
            if found.insert(violation.invariant, seed).is_none() {
                println!("{mutant:?}: seed {seed}: {violation}");
            }
            if expected.contains(&violation.invariant) {
                return;
            }
        }
    }
    panic!("{mutant:?} was not found by {expected:?} within {SEEDS} seeds; found by {found:?}");
}
