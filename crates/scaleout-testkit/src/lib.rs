#![doc = include_str!("../README.md")]

pub mod checker;
pub mod conformance;
pub mod faulty;
pub mod fixture;
pub mod mutants;
pub mod simulation;
