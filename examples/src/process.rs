//! How a process of nodes ends: at a signal, or with the first node that cannot go on.

use std::{error::Error, io};

use tokio::{sync::watch, task::JoinSet};

/// Waits for a signal, or for the end of one of `serving`; sets `stopping`, and waits until all of them have ended.
///
/// # Errors
/// Of the first that failed, or where no signal can be waited for.
pub async fn until_stopped(
    mut serving: JoinSet<io::Result<()>>,
    stopping: watch::Sender<bool>,
) -> Result<(), Box<dyn Error>> {
    let mut failure = None;
    let mut signal = Box::pin(signal());
    loop {
        tokio::select! {
            told = &mut signal, if !*stopping.borrow() => {
                tracing::info!("stopping; clients are told to reconnect");
                failure = told.err().map(Into::into);
                stopping.send_replace(true);
            }
            served = serving.join_next() => {
                let Some(served) = served else { break };
                // One node that ended, ends all: the process is restarted as a whole.
                stopping.send_replace(true);
                if let Err(error) = served.map_err(Into::into).and_then(|served| served.map_err(Box::<dyn Error>::from)) {
                    failure.get_or_insert(error);
                }
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Resolves at Ctrl-C, and on Unix at SIGTERM.
async fn signal() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
