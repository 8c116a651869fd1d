//! Node processes under seeded faults, judged by the history checker.

fn main() {}
