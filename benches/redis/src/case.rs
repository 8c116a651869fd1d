//! What one run is.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One run: who publishes what, how, and to whom. Both processes get it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    pub which: Which,
    pub how: How,
    /// Publishing tasks for `Await`, commands in a pipeline for `Pipe`.
    pub tasks: usize,
    /// Bytes of a payload.
    pub size: usize,
    pub count: u64,
    /// Messages a second; 0 is as fast as it goes.
    pub rate: u64,
    pub channels: usize,
    pub receivers: usize,
    pub runtime: Runtime,
    pub publisher: Publisher,
    pub frame_bytes: usize,
    pub retained_bytes: usize,
    /// For how long messages are published at `rate`, in outages.
    #[serde(default)]
    pub endless: bool,
    #[serde(default)]
    pub url: String,
    #[serde(default)]
    pub app: String,
}

/// What carries the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Which {
    Scaleout,
    /// `PUBLISH` and `SUBSCRIBE` through the same client crate.
    Bare,
    /// `socketioxide-redis` with its `redis` driver.
    SocketioxideRedis,
    /// `socketioxide-redis` with its `fred` driver.
    SocketioxideFred,
}

/// How messages are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum How {
    /// `enqueue`, at most 1 MiB unconfirmed (scaleout).
    Enqueue,
    /// Tasks that await each of their publishes.
    Await,
    /// Pipelines of many commands, two of them under way (bare).
    Pipe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Runtime {
    /// `current_thread`.
    Current,
    /// `multi_thread` with 2 workers.
    Multi,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Publisher {
    PublishOnly,
    /// It also receives what it publishes, as a node that serves clients does.
    Full,
}

/// Bytes that the server keeps of a stream by default.
const RETAINED: usize = 64 << 20;

/// Messages a second that a case is about good for, so that a run takes about a second.
fn guess(case: &Case) -> f64 {
    let small = match (case.which, case.how, case.tasks) {
        (Which::Scaleout, How::Enqueue, _) => 3e6,
        (Which::Scaleout, _, 1_000..) => 2e6,
        (Which::Scaleout, _, 200..) => 800e3,
        (Which::Scaleout, ..) => 300e3,
        (Which::Bare, How::Pipe, _) => 500e3,
        (Which::Bare, ..) => 250e3,
        // What the peer loses grows with the length of a run.
        _ => return 60e3 / if case.size > 1_024 { 3.0 } else { 1.0 },
    };
    match case.size {
        0..=128 => small,
        129..=1_024 => small / 2.0,
        _ => small.min(50e3),
    }
}

impl Case {
    pub fn new(which: Which, how: How, tasks: usize, size: usize) -> Self {
        let mut case = Self {
            which,
            how,
            tasks,
            size: size.max(16),
            count: 0,
            rate: 0,
            channels: 1,
            receivers: 1,
            runtime: Runtime::Current,
            publisher: Publisher::PublishOnly,
            frame_bytes: 128 << 10,
            retained_bytes: RETAINED,
            endless: false,
            url: String::new(),
            app: String::new(),
        };
        case.count = case.usual_count();
        case
    }

    pub fn usual_count(&self) -> u64 {
        if self.rate > 0 { 2 * self.rate } else { guess(self) as u64 }
    }

    /// Whether it promises that nothing is lost.
    pub fn is_reliable(&self) -> bool {
        self.which == Which::Scaleout
    }

    /// What it is, without size and count.
    pub fn name(&self) -> String {
        self.to_string()
    }

    pub fn channel(&self, index: u64) -> String {
        format!("room:{}", index % self.channels as u64)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tasks, .. } = self;
        match (self.which, self.how) {
            (Which::Scaleout, _) if self.rate > 0 => write!(f, "scaleout, one by one"),
            (Which::Bare, _) if self.rate > 0 => write!(f, "bare, one by one"),
            (Which::Scaleout, How::Enqueue) => write!(f, "scaleout, enqueue"),
            (Which::Scaleout, _) => write!(f, "scaleout, {tasks} awaiting"),
            (Which::Bare, How::Pipe) => write!(f, "bare, pipelines of {tasks}"),
            (Which::Bare, _) => write!(f, "bare, {tasks} awaiting"),
            (Which::SocketioxideRedis, _) => write!(f, "socketioxide-redis (redis), {tasks} awaiting"),
            (Which::SocketioxideFred, _) => write!(f, "socketioxide-redis (fred), {tasks} awaiting"),
        }?;
        if self.rate > 0 {
            write!(f, ", {} a second", self.rate)?;
        }
        if self.channels > 1 {
            write!(f, ", {} channels", self.channels)?;
        }
        if self.receivers > 1 {
            write!(f, ", {} receivers", self.receivers)?;
        }
        if self.publisher == Publisher::Full {
            write!(f, ", publisher receives")?;
        }
        if self.frame_bytes != 128 << 10 {
            write!(f, ", frames of {} KiB", self.frame_bytes >> 10)?;
        }
        if self.retained_bytes != RETAINED {
            write!(f, ", {} MiB kept", self.retained_bytes >> 20)?;
        }
        if self.runtime == Runtime::Multi {
            write!(f, ", multi_thread")?;
        }
        Ok(())
    }
}
