//! A child process that does not outlive the value that stands for it.

use std::{
    io,
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

/// How often an event is looked for that nothing tells of.
pub(super) const POLL: Duration = Duration::from_millis(10);

/// A running process, or one that ended and was not looked at since.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The status with which it ended; `None` while it runs.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Sends `signal`. The process is not waited for before this value goes, so its id is nobody else's.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.0), signal)?)
    }

    /// Asks it to end and waits until it did; kills it where that takes longer than `patience`.
    pub(super) async fn stop(mut self, patience: Duration) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        // A frozen process hears nothing.
        self.signal(Signal::CONT)?;
        let deadline = Instant::now() + patience;
        while self.ended()?.is_none() {
            if Instant::now() > deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the process does not end when asked to",
                ));
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
