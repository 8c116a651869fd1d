//! Bytes to and from a socket at the same time: [`Pipe`].

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, sleep_until},
};
use tokio_util::io::poll_read_buf;

/// What is read at once.
const READ: usize = 64 * 1024;

/// What happened.
#[derive(Debug)]
pub(super) enum Progress {
    /// So many bytes came; none: the peer says no more.
    Read(usize),
    /// All that could be written is written.
    Wrote,
}

/// A socket, and what is on its way to it.
#[derive(Debug)]
pub(super) struct Pipe<'a, S> {
    stream: &'a mut S,
    pub(super) input: BytesMut,
    output: BytesMut,
    needs_flush: bool,
    /// What is held back so that answers take longer, and until when.
    delayed: VecDeque<(Instant, BytesMut)>,
    delayed_bytes: usize,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Pipe<'a, S> {
    pub(super) fn new(stream: &'a mut S, input: BytesMut) -> Self {
        Self {
            stream,
            input,
            output: BytesMut::new(),
            needs_flush: false,
            delayed: VecDeque::new(),
            delayed_bytes: 0,
        }
    }

    /// Takes what is to be written, some time from now.
    pub(super) fn take_output(&mut self, bytes: &mut BytesMut, delay: Duration) {
        if bytes.is_empty() {
            return;
        }
        if delay.is_zero() && self.delayed.is_empty() {
            if self.output.is_empty() {
                // Both keep their memory for the next time.
                std::mem::swap(&mut self.output, bytes);
            } else {
                self.output.extend_from_slice(bytes);
                bytes.clear();
            }
            return;
        }
        // Not before what was said earlier.
        let last = self.delayed.back().map(|(due, _)| *due);
        let due = (Instant::now() + delay).max(last.unwrap_or_else(Instant::now));
        self.delayed_bytes += bytes.len();
        self.delayed.push_back((due, bytes.split()));
    }

    /// Bytes that are not written.
    pub(super) fn waiting(&self) -> usize {
        self.output.len() + self.delayed_bytes
    }

    /// Writes what there is and, where `reads`, reads.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time.
    pub(super) async fn progress(&mut self, reads: bool) -> io::Result<Progress> {
        loop {
            self.release(Instant::now());
            let due = self.delayed.front().map(|(due, _)| *due);
            tokio::select! {
                progress = poll_fn(|cx| self.poll(cx, reads)) => return progress,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => (),
            }
        }
    }

    /// Writes all that there is, says that it was all, and waits for the peer to say so too: were the socket closed with
    /// something unread, the peer's system could throw away what it has not read.
    pub(super) async fn say_goodbye(&mut self) -> io::Result<()> {
        while let Some((due, bytes)) = self.delayed.pop_front() {
            sleep_until(due).await;
            self.output.extend_from_slice(&bytes);
        }
        self.stream.write_all(&self.output).await?;
        self.stream.shutdown().await?;
        self.input.clear();
        while self.stream.read_buf(&mut self.input).await? > 0 {
            self.input.clear();
        }
        Ok(())
    }

    fn release(&mut self, now: Instant) {
        while let Some((due, _)) = self.delayed.front()
            && *due <= now
            && let Some((_, bytes)) = self.delayed.pop_front()
        {
            self.delayed_bytes -= bytes.len();
            self.output.extend_from_slice(&bytes);
        }
    }

    fn poll(&mut self, cx: &mut std::task::Context<'_>, reads: bool) -> Poll<io::Result<Progress>> {
        if let Poll::Ready(wrote) = self.poll_write(cx)? {
            // Only where there was something: else there would be no end to it.
            if wrote {
                return Poll::Ready(Ok(Progress::Wrote));
            }
        }
        if !reads {
            return Poll::Pending;
        }
        self.input.reserve(READ);
        let read = ready!(poll_read_buf(Pin::new(&mut *self.stream), cx, &mut self.input))?;
        Poll::Ready(Ok(Progress::Read(read)))
    }

    fn poll_write(&mut self, cx: &mut std::task::Context<'_>) -> Poll<io::Result<bool>> {
        let mut wrote = false;
        while !self.output.is_empty() {
            let count = ready!(Pin::new(&mut *self.stream).poll_write(cx, &self.output))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(count);
            self.needs_flush = true;
            wrote = true;
        }
        if self.needs_flush {
            ready!(Pin::new(&mut *self.stream).poll_flush(cx))?;
            self.needs_flush = false;
            wrote = true;
        }
        Poll::Ready(Ok(wrote))
    }
}
