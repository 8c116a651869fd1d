//! A child process that does not outlive the value that stands for it, nor this process.

use std::{
    io,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::POLL;

/// Waits until its input ends, as it does with the process that made it, and cleans up then: an id, a folder.
///
/// What a terminal sends to all that run in it must not end it before.
const WATCH: &str = r#"trap '' HUP INT TERM; read -r _; kill -KILL "$1"; rm -rf -- "$2""#;

/// A running process, or one that ended and was not looked at since.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Ends the process where this one is killed, which runs no destructor.
    watch: Child,
}

impl Process {
    /// Starts it; `folder` goes with it where this process is killed.
    pub(super) fn spawn(command: &mut Command, folder: &Path) -> io::Result<Self> {
        let mut child = command.spawn()?;
        let mut watch = Command::new("/bin/sh");
        watch.args(["-c", WATCH, "sh", &child.id().to_string()]).arg(folder);
        // The input is a pipe that nobody else inherits; the output must not keep that of a test open.
        watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        match watch.spawn() {
            Ok(watch) => Ok(Self { child, watch }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The status with which it ended; `None` while it runs.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends `signal`. The process is not waited for before this value goes, so its id is nobody else's.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
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
        // First who would kill by an id that may be somebody else's soon.
        end(&mut self.watch);
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // Both fail only where it ended already.
    let _ = child.kill();
    let _ = child.wait();
}
