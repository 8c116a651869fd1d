//! Conformance suite, fault injection and history checker of scaleout's backplanes.

pub mod checker;
pub mod simulation;
