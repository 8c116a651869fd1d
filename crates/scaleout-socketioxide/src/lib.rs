#![doc = include_str!("../README.md")]
#![expect(dead_code, reason = "the adapter that uses it comes next")]
mod op;
