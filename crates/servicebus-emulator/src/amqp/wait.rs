//! What a connection waits for besides its peer: [`Waits`].

use std::sync::Arc;

use futures_util::{
    StreamExt as _,
    future::{BoxFuture, FutureExt as _},
    stream::FuturesUnordered,
};
use tokio::sync::oneshot;

use crate::namespace::{Receiver, Sender};

/// Names a link among all that a connection ever had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinkKey {
    pub(super) channel: u16,
    pub(super) handle: u32,
}

/// Subscriptions that may get something, and topics that may go.
#[derive(Debug, Default)]
pub(super) struct Waits(FuturesUnordered<BoxFuture<'static, Option<LinkKey>>>);

impl Waits {
    /// Waits until there may be something to take.
    pub(super) fn for_messages(&self, key: LinkKey, receiver: &Arc<Receiver>) -> oneshot::Sender<()> {
        let receiver = Arc::clone(receiver);
        self.add(key, async move { receiver.changed().await })
    }

    /// Waits until the topic is gone.
    pub(super) fn for_end(&self, key: LinkKey, sender: &Arc<Sender>) -> oneshot::Sender<()> {
        let sender = Arc::clone(sender);
        self.add(key, async move {
            sender.closed().await;
        })
    }

    /// The next link for which the wait is over.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time.
    pub(super) async fn next(&mut self) -> LinkKey {
        loop {
            match self.0.next().await {
                Some(Some(key)) => return key,
                // Its link was detached.
                Some(None) => (),
                None => std::future::pending().await,
            }
        }
    }

    fn add(&self, key: LinkKey, wait: impl Future<Output = ()> + Send + 'static) -> oneshot::Sender<()> {
        let (stop, stopped) = oneshot::channel();
        self.0.push(
            async move {
                tokio::select! {
                    () = wait => Some(key),
                    _ = stopped => None,
                }
            }
            .boxed(),
        );
        stop
    }
}
