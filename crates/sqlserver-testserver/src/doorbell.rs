//! What the procedures of the doorbell do, apart from waiting.

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    broker::Received,
    error::SqlError,
    store::{Listener, Store, now},
};

/// What a `wait` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Nothing,
    Rung,
    /// The conversation is over.
    Over,
}

impl Store {
    /// The first half of `register`; the pairing is `collect`'s.
    pub(crate) fn register(
        &mut self,
        schema: &str,
        listener: Uuid,
        lifetime_seconds: i64,
    ) -> Result<(), SqlError> {
        self.unregister(schema, listener)?;
        let ear = self.broker.begin(schema, "ears", "bells", lifetime_seconds);
        let row = Listener { armed: false, streams: None, ear, bell: None, seen_at: now() };
        self.schema(schema)?.listeners.insert(listener, row);
        self.broker.send(ear, Bytes::copy_from_slice(&listener.to_bytes_le()))
    }

    /// Takes a node out, and ends both ends of its conversation.
    pub(crate) fn unregister(&mut self, schema: &str, listener: Uuid) -> Result<(), SqlError> {
        let Some(row) = self.schema(schema)?.listeners.remove(&listener) else { return Ok(()) };
        row.bell.into_iter().chain([row.ear]).try_for_each(|handle| self.end(handle))
    }

    /// Ends one side of a conversation, where it has not ended already.
    fn end(&mut self, handle: Uuid) -> Result<(), SqlError> {
        match self.broker.end(handle) {
            Err(error) if ![8426, 8429].contains(&error.number) => Err(error),
            _ => Ok(()),
        }
    }

    /// Empties "bells" of what is there; whether there was anything.
    pub(crate) fn collect(&mut self, schema: &str) -> Result<bool, SqlError> {
        let mut any = false;
        while let Some((bell, message)) = self.broker.receive_any(schema, "bells")? {
            any = true;
            let listener = match message {
                Received::Default(body) => Uuid::from_slice_le(&body).ok(),
                Received::EndDialog | Received::Error => None,
            };
            let listeners = &mut self.schema(schema)?.listeners;
            match listener.and_then(|listener| listeners.get_mut(&listener)) {
                Some(row) => row.bell = Some(bell),
                None => self.end(bell)?,
            }
        }
        Ok(any)
    }

    pub(crate) fn is_paired(&self, schema: &str, listener: Uuid) -> bool {
        self.schemas
            .get(schema)
            .and_then(|schema| schema.listeners.get(&listener))
            .is_some_and(|row| row.bell.is_some())
    }

    pub(crate) fn arm(
        &mut self,
        schema: &str,
        listener: Uuid,
        streams: Option<Bytes>,
    ) -> Result<(), SqlError> {
        match self.schema(schema)?.listeners.get_mut(&listener) {
            Some(row) if row.bell.is_some() => {
                row.armed = true;
                row.streams = streams;
                row.seen_at = now();
                Ok(())
            }
            _ => Err(SqlError::not_registered()),
        }
    }

    /// What has come for a listener's ear, `None` where a wait must go on.
    pub(crate) fn hear(
        &mut self,
        schema: &str,
        listener: Uuid,
        ear: Uuid,
    ) -> Result<Option<Heard>, SqlError> {
        let Some(messages) = self.broker.receive(ear)? else { return Ok(None) };
        if messages.iter().all(|message| matches!(message, Received::Default(_))) {
            return Ok(Some(Heard::Rung));
        }
        self.unregister(schema, listener)?;
        Ok(Some(Heard::Over))
    }

    /// Renews a listener's lease: its ear, `None` where its conversation is over.
    pub(crate) fn listen(&mut self, schema: &str, listener: Uuid) -> Result<Option<Uuid>, SqlError> {
        let row = self.schema(schema)?.listeners.get_mut(&listener).ok_or_else(SqlError::not_registered)?;
        row.seen_at = now();
        let ear = row.ear;
        if self.broker.is_open(ear) {
            return Ok(Some(ear));
        }
        self.unregister(schema, listener)?;
        Ok(None)
    }

    /// Rings every armed listener that wants the stream, and disarms it.
    pub(crate) fn ring(&mut self, schema: &str, stream: usize) -> Result<(), SqlError> {
        let wants = |row: &Listener| match &row.streams {
            None => true,
            Some(map) => map.get(stream / 8).is_some_and(|byte| byte & (1 << (stream % 8)) != 0),
        };
        let mut due = Vec::new();
        for (listener, row) in &mut self.schema(schema)?.listeners {
            if let Some(bell) = row.bell
                && row.armed
                && wants(row)
            {
                row.armed = false;
                due.push((*listener, bell));
            }
        }
        for (listener, bell) in due {
            if self.broker.send(bell, Bytes::from_static(&[1])).is_err()
                && let Some(row) = self.schema(schema)?.listeners.get_mut(&listener)
            {
                row.bell = None;
            }
        }
        Ok(())
    }

    /// Takes out listeners that have neither armed nor waited for so long; how many these were.
    pub(crate) fn janitor(&mut self, schema: &str, lease_seconds: i64) -> Result<i64, SqlError> {
        let cutoff = now().saturating_sub(lease_seconds.saturating_mul(1_000_000));
        let listeners = &self.schema(schema)?.listeners;
        let dead: Vec<Uuid> =
            listeners.iter().filter(|(_, row)| row.seen_at < cutoff).map(|(listener, _)| *listener).collect();
        for listener in &dead {
            self.unregister(schema, *listener)?;
        }
        self.collect(schema)?;
        Ok(dead.len() as i64)
    }
}
