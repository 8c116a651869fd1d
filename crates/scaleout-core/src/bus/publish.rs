//! What a publish resolves to.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    Error, Receipt,
    mutant::{Mutant, Mutation},
};

/// The outcome of [`Bus::publish`](super::Bus::publish), to be awaited; dropping it withdraws nothing.
#[derive(Debug)]
#[must_use = "the message is on its way, but its failure would go unnoticed: await this, or use `enqueue`"]
pub struct Publish(State);

#[derive(Debug)]
enum State {
    Sent(Receipt),
    Refused(Option<Error>),
    /// Deliberate faults only.
    Claimed,
    /// Deliberate faults only.
    Forgotten,
}

impl Publish {
    pub(super) fn new(pushed: Result<Receipt, Error>, mutation: Mutation) -> Self {
        Self(match pushed {
            Ok(_) if mutation.is(Mutant::OkBeforeSend) => State::Claimed,
            Ok(_) if mutation.is(Mutant::NeverResolve) => State::Forgotten,
            Ok(receipt) => State::Sent(receipt),
            Err(error) => State::Refused(Some(error)),
        })
    }
}

impl Future for Publish {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Sent(receipt) => Pin::new(receipt).poll(cx),
            State::Claimed => Poll::Ready(Ok(())),
            State::Forgotten => Poll::Pending,
            State::Refused(error) => {
                Poll::Ready(Err(error.take().expect("`Publish` is not polled after it is ready")))
            }
        }
    }
}

/// The outcome of [`Bus::publish_many`](super::Bus::publish_many), to be awaited; dropping it withdraws nothing.
#[derive(Debug)]
#[must_use = "the messages are on their way, but failures would go unnoticed"]
pub struct PublishMany {
    /// Those that did not resolve yet, oldest first.
    open: std::iter::Peekable<std::iter::Enumerate<std::vec::IntoIter<Publish>>>,
    failed: Vec<(usize, Error)>,
}

pub(super) fn many(messages: impl Iterator<Item = Publish>) -> PublishMany {
    let open: Vec<Publish> = messages.collect();
    PublishMany { open: open.into_iter().enumerate().peekable(), failed: Vec::new() }
}

impl Future for PublishMany {
    type Output = Result<(), PublishManyError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some((index, publish)) = this.open.peek_mut() {
            let outcome = std::task::ready!(Pin::new(publish).poll(cx));
            if let Err(error) = outcome {
                this.failed.push((*index, error));
            }
            this.open.next();
        }
        match std::mem::take(&mut this.failed) {
            failed if failed.is_empty() => Poll::Ready(Ok(())),
            failed => Poll::Ready(Err(PublishManyError { failed })),
        }
    }
}

/// The messages of one [`Bus::publish_many`](super::Bus::publish_many) that failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct PublishManyError {
    /// The index of each message that failed, and why.
    pub failed: Vec<(usize, Error)>,
}

impl fmt::Display for PublishManyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} messages of a batch were not published", self.failed.len())?;
        match self.failed.first() {
            Some((index, error)) => write!(f, ", the first at index {index}: {error}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PublishManyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let (_, error) = self.failed.first()?;
        Some(error)
    }
}
