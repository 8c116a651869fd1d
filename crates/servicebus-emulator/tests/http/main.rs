//! The emulator over HTTP.

mod control;
mod management;
mod support;
