#![doc = include_str!("../README.md")]

pub mod checker;
pub mod conformance;
pub mod faulty;
pub mod fixture;
pub mod load;
pub mod mutants;
mod observed;
mod recorder;
#[cfg(all(unix, feature = "servers"))]
pub mod servers;
pub mod simulation;
