//! Who is told that there is something to read.

use std::task::Waker;

use super::{Appended, Store, Touched, pending::Ready, reader::ReaderKey};

/// Readers that one [`Store::notify`] touches at most, so that a crowd does not hold the lock; tests need no crowd.
const NOTIFY_CHUNK: usize = if cfg!(test) { 2 } else { 1_000 };

/// What is left of a walk over the readers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notified {
    /// All were reached.
    All,
    /// Some are left: call again, after others had a turn.
    More,
}

impl Store {
    /// Marks the readers of what was appended, up to a chunk of them.
    pub(crate) fn notify(&mut self, appended: &mut Appended, wakes: &mut Vec<Waker>) -> Notified {
        let mut left = NOTIFY_CHUNK;
        while let Some(&touched) = appended.touched.get(appended.next.0) {
            let mut marked = Vec::new();
            let mut end = 0;
            if let Some(held) = self.channels.same(touched.channel, touched.hash) {
                end = held.subscribers.end();
                let from = appended.next.1;
                let stop = end.min(from + left);
                left -= stop.saturating_sub(from);
                appended.next.1 = stop;
                marked.extend((from..stop).filter_map(|at| {
                    let subscriber = held.subscribers.get(at).filter(|subscriber| !subscriber.ready)?;
                    Some((u32::try_from(at).ok()?, subscriber.reader))
                }));
            }
            for (subscriber, reader) in marked {
                self.mark(reader, subscriber, touched, wakes);
            }
            if appended.next.1 < end {
                return Notified::More;
            }
            appended.next = (appended.next.0 + 1, 0);
        }
        self.notifying = None;
        Notified::All
    }

    fn mark(&mut self, key: ReaderKey, subscriber: u32, touched: Touched, wakes: &mut Vec<Waker>) {
        let Touched { channel, seq, place, .. } = touched;
        let reader = &self.readers[key.index()];
        if !reader.is_live() || place < reader.place {
            return;
        }
        if reader.pending.is_empty() && reader.told.is_none() {
            self.settle(key);
        }
        let reader = &mut self.readers[key.index()];
        self.channels.get_mut(channel).subscribers.set_ready(subscriber, true);
        reader.pending.push(Ready { place, seq, channel, subscriber });
        reader.signal(self.stream, wakes);
    }

    /// Marks every reader with something to tell (a hole), from `next` on, up to a chunk of them.
    pub(crate) fn notify_all(&mut self, next: &mut usize, wakes: &mut Vec<Waker>) -> Notified {
        let holes_end = self.holes_end();
        let end = self.readers.capacity();
        let stop = end.min(*next + NOTIFY_CHUNK);
        for key in *next..stop {
            if let Some(reader) = self.readers.get_mut(key).filter(|reader| reader.is_pending(holes_end)) {
                reader.signal(self.stream, wakes);
            }
        }
        *next = stop;
        if stop < end { Notified::More } else { Notified::All }
    }

    pub(super) fn signal_if_pending(&mut self, key: ReaderKey, wakes: &mut Vec<Waker>) {
        let holes_end = self.holes_end();
        let reader = &mut self.readers[key.index()];
        if reader.is_pending(holes_end) {
            reader.signal(self.stream, wakes);
        }
    }
}
