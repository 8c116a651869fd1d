//! What the procedures do to messages, epochs and senders of a schema.

use std::{collections::BTreeSet, mem};

use bytes::Bytes;

use crate::{
    error::SqlError,
    store::{Before, EpochRow, MessageRow, Schema, Sender, Stream, now},
};

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    Appended {
        seq: i64,
        id: i64,
    },
    /// The stream holds frames of the node up to this number already.
    Held(i64),
    /// The stream holds frames of the node up to this number only.
    Missing(i64),
}

/// A frame to append.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) epoch: i64,
    pub(crate) node: [u8; 16],
    pub(crate) number: i64,
    pub(crate) after: i64,
    pub(crate) payload: Bytes,
}

/// What `trim` leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    pub(crate) rows: i64,
    pub(crate) seconds: i64,
    pub(crate) bytes: i64,
}

impl Schema {
    fn stream(&mut self, stream: usize) -> Result<&mut Stream, SqlError> {
        self.streams.get_mut(stream).ok_or_else(|| SqlError::no_object(&format!("messages_{stream}")))
    }

    /// Appends a frame, once. The caller has the whole store to itself: nobody comes between the number and the row.
    pub(crate) fn publish(&mut self, stream: usize, frame: Frame) -> Result<Published, SqlError> {
        if self.stream(stream)?.epoch != frame.epoch {
            return Err(SqlError::another_epoch());
        }
        let before = self.senders.get(&(stream, frame.node)).cloned();
        let held = before.as_ref().map_or(0, |sender| sender.last_number);
        if frame.number <= held {
            return Ok(Published::Held(held));
        }
        if held < frame.after {
            return Ok(Published::Missing(held));
        }
        let at = now();
        self.senders.insert((stream, frame.node), Sender { last_number: frame.number, seen_at: at });
        let stream = self.stream(stream)?;
        stream.last_seq += 1;
        stream.bytes += frame.payload.len() as i64;
        let row = MessageRow {
            seq: stream.last_seq,
            epoch: frame.epoch,
            id: stream.last_seq - stream.first_seq,
            at,
            bytes: stream.bytes,
            payload: frame.payload,
            sent: Some((frame.node, before)),
        };
        let published = Published::Appended { seq: row.seq, id: row.id };
        stream.rows.push_back(row);
        Ok(published)
    }

    /// The rows behind `after`: at most `max_rows` and, after the first one, at most `max_bytes` bytes.
    pub(crate) fn read(
        &self,
        stream: usize,
        after: i64,
        max_rows: i64,
        max_bytes: i64,
    ) -> impl Iterator<Item = &MessageRow> {
        let rows = self.streams.get(stream).map(|stream| &stream.rows);
        let first = rows.map_or(0, |rows| rows.partition_point(|row| row.seq <= after));
        let limit =
            rows.and_then(|rows| rows.get(first)).map_or(0, |row| row.bytes.saturating_add(max_bytes));
        rows.into_iter()
            .flat_map(move |rows| rows.range(first..))
            .take(usize::try_from(max_rows).unwrap_or(0))
            .take_while(move |row| row.bytes <= limit)
    }

    /// Begins a new history of all streams, where `old` is the one that there is.
    pub(crate) fn open_epoch(
        &mut self,
        old: i64,
        seen: i64,
        after_known: bool,
        identity: String,
    ) -> Result<(), SqlError> {
        let at = now();
        let epoch = at.max(old.saturating_add(1)).max(seen.saturating_add(1));
        let layout = self.layout()?;
        if layout.epoch != old {
            return Ok(());
        }
        layout.epoch = epoch;
        let store = mem::replace(&mut layout.store, identity);
        if !after_known {
            self.senders.clear();
        }
        for (number, stream) in self.streams.iter_mut().enumerate() {
            let before =
                Before { epoch: stream.epoch, id: stream.last_seq - stream.first_seq, store: store.clone() };
            stream.last_seq += 1;
            stream.first_seq = stream.last_seq;
            stream.epoch = epoch;
            let first_seq = stream.first_seq;
            let after = after_known.then_some((before.epoch, before.id));
            self.epochs.insert((number, epoch), EpochRow { first_seq, after, before: Some(before) });
            stream.rows.push_back(MessageRow {
                seq: first_seq,
                epoch,
                id: 0,
                at,
                bytes: stream.bytes,
                payload: Bytes::new(),
                sent: None,
            });
        }
        Ok(())
    }

    /// Deletes what is beyond retention, and tells how much that was and whether there may be more.
    pub(crate) fn trim(
        &mut self,
        number: usize,
        keep: Keep,
        batch: i64,
        max_batches: i64,
    ) -> Result<(i64, bool), SqlError> {
        let cutoff = now().saturating_sub(keep.seconds.saturating_mul(1_000_000));
        let stream = self.stream(number)?;
        let (last_seq, bytes) = (stream.last_seq, stream.bytes);
        let due = |row: &MessageRow| {
            row.seq < last_seq
                && (row.seq <= last_seq.saturating_sub(keep.rows)
                    || row.at < cutoff
                    || row.bytes <= bytes.saturating_sub(keep.bytes))
        };
        let (mut deleted, mut more, mut batches) = (0, true, max_batches);
        while more && batches > 0 {
            batches -= 1;
            // As the procedure does: up to the last row of the batch that is due, whatever stands before it.
            let upto = stream.rows.iter().take(usize::try_from(batch).unwrap_or(0)).rposition(due);
            let count = upto.map_or(0, |last| last + 1);
            stream.rows.drain(..count);
            deleted += count as i64;
            more = count > 0;
        }
        if deleted > 0 {
            self.forget_epochs(number);
        }
        Ok((deleted, more))
    }

    /// Deletes all rows of every stream but the last `keep`.
    pub(crate) fn keep_last(&mut self, keep: usize) {
        for number in 0..self.streams.len() {
            let rows = &mut self.streams[number].rows;
            let surplus = rows.len().saturating_sub(keep.max(1));
            rows.drain(..surplus);
            self.forget_epochs(number);
        }
    }

    /// Epochs that have no rows any more, and are older than those that have.
    fn forget_epochs(&mut self, number: usize) {
        if let Some(oldest) = self.streams[number].rows.front().map(|row| row.epoch) {
            self.epochs.retain(|(stream, epoch), _| *stream != number || *epoch >= oldest);
        }
    }

    pub(crate) fn held(&self, stream: usize, node: [u8; 16]) -> i64 {
        self.senders.get(&(stream, node)).map_or(0, |sender| sender.last_number)
    }

    /// Keeps a node, drops those that nobody has kept for so long, and tells how many these were.
    pub(crate) fn renew(&mut self, node: [u8; 16], keep_seconds: i64) -> i64 {
        let at = now();
        let cutoff = at.saturating_sub(keep_seconds.saturating_mul(1_000_000));
        let before = self.senders.len();
        for ((_, sender), row) in &mut self.senders {
            if *sender == node {
                row.seen_at = at;
            }
        }
        self.senders.retain(|_, sender| sender.seen_at >= cutoff);
        (before - self.senders.len()) as i64
    }

    /// Undoes the last `forgotten` rows of each stream: messages, what `senders` said of them, and epochs, which were
    /// opened for all streams at once: one goes where no stream keeps a message of it.
    ///
    /// What trim deleted does not come back, so a stream is not undone beyond its oldest row.
    pub(crate) fn forget_last(&mut self, forgotten: usize) {
        let mut targets: Vec<i64> = self
            .streams
            .iter()
            .map(|stream| {
                let keep = stream.rows.len().saturating_sub(forgotten).max(1);
                stream.rows[keep - 1].seq
            })
            .collect();
        let epochs: BTreeSet<i64> = self.epochs.keys().map(|(_, epoch)| *epoch).collect();
        for epoch in epochs.into_iter().rev() {
            let firsts: Vec<i64> = (0..self.streams.len())
                .map(|stream| self.epochs.get(&(stream, epoch)).map_or(0, |row| row.first_seq))
                .collect();
            // It was opened for all streams at once, so it goes from all of them, or stays.
            let crossed = targets.iter().zip(&firsts).all(|(target, first)| target < first);
            let remembered =
                self.streams.iter().zip(&firsts).all(|(stream, first)| stream.rows[0].seq < *first);
            let undone = crossed && remembered;
            for (target, first) in targets.iter_mut().zip(&firsts) {
                *target = if undone { (*target).min(first - 1) } else { (*target).max(*first) };
            }
            if !undone {
                break;
            }
        }
        for (number, target) in targets.into_iter().enumerate() {
            self.undo(number, target);
        }
    }

    /// Undoes a stream's rows behind `target`, newest first.
    fn undo(&mut self, number: usize, target: i64) {
        let stream = &mut self.streams[number];
        while let Some(row) = stream.rows.pop_back_if(|row| row.seq > target) {
            match row.sent {
                Some((node, Some(before))) => {
                    self.senders.insert((number, node), before);
                }
                Some((node, None)) => {
                    self.senders.remove(&(number, node));
                }
                None => {
                    let opened = self.epochs.remove(&(number, row.epoch));
                    if let Some(before) = opened.and_then(|opened| opened.before) {
                        stream.epoch = before.epoch;
                        stream.first_seq = row.seq - 1 - before.id;
                        if let Some(layout) = &mut self.layout {
                            layout.epoch = before.epoch;
                            layout.store = before.store;
                        }
                    }
                }
            }
        }
        if let Some(last) = stream.rows.back() {
            stream.last_seq = last.seq;
            stream.bytes = last.bytes;
        }
    }
}
