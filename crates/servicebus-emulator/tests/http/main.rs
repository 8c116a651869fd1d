//! The emulator over HTTP.

mod control;
mod management;
mod rest;
mod support;
