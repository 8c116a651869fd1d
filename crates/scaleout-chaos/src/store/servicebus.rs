//! The emulator of Azure Service Bus, in this process.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Result, bail};
use bytes::Bytes;
use scaleout::{Epoch, PayloadId, StreamIndex};
use scaleout_testkit::{fixture::Held, servers::Fate};
use servicebus_emulator::{Emulator, Logged};

use super::{APP, STREAMS};
use crate::plan::StoreFault;

pub(crate) struct ServiceBus {
    emulator: Emulator,
}

impl ServiceBus {
    pub(super) async fn start() -> Result<Self> {
        Ok(Self { emulator: Emulator::builder().keep_log(true).start().await? })
    }

    pub(super) fn port(&self) -> u16 {
        self.emulator.amqp_port()
    }

    pub(super) fn url(&self, port: u16) -> String {
        let own = format!(":{}", self.port());
        let text = self.emulator.connection_string().replacen(&own, &format!(":{port}"), 1);
        format!(
            "{text};App={APP};TopicCount={STREAMS};FatalRetry=500ms;MaxBackoff=500ms;OperationTimeout=1s;IdleTimeout=2s;\
             StartJitter=0"
        )
    }

    pub(super) fn strike(&self, fault: &StoreFault) -> Result<String> {
        let faults = self.emulator.faults();
        match fault {
            StoreFault::KillClients => return Ok(format!("{} connections", faults.kill_connections())),
            StoreFault::Outage => {
                faults.refuse_connections(true);
                faults.kill_connections();
            }
            StoreFault::Stutter { .. } => faults.freeze(),
            StoreFault::Detach => faults.detach_all(),
            StoreFault::Throttle { count } => faults.server_busy(*count),
            StoreFault::Latency { latency } => faults.delay(*latency),
            StoreFault::LoseOutcomes { count } => faults.lose_outcomes(*count),
            StoreFault::LoseSends { count } => faults.lose_sends(*count),
            StoreFault::HoldSends { count } => faults.hold_sends(*count),
            StoreFault::ReleaseSends => return Ok(format!("{} sends", faults.release_sends())),
            StoreFault::CutDeliveries { count } => faults.cut_deliveries(*count),
            StoreFault::DuplicateDeliveries { count } => faults.duplicate_deliveries(*count),
            StoreFault::ExpireTokens => faults.expire_tokens(),
            StoreFault::DeleteTopic { topic } => {
                // Gone already where it was deleted a moment ago.
                return Ok(format!("{:?}", faults.delete_entity(&topic_name(*topic)).is_ok()));
            }
            other => bail!("Service Bus knows no {other:?}"),
        }
        Ok(String::new())
    }

    pub(super) fn relent(&self, fault: &StoreFault) {
        match fault {
            StoreFault::Outage => self.emulator.faults().refuse_connections(false),
            StoreFault::Stutter { .. } => self.emulator.faults().thaw(),
            _ => {}
        }
    }

    pub(super) fn heal(&self) {
        self.emulator.faults().release_sends();
        self.emulator.faults().clear();
        self.emulator.faults().delay(Duration::ZERO);
    }

    pub(super) fn next_frame(&self, fate: Fate) {
        match fate {
            Fate::LoseAnswer => self.emulator.faults().lose_outcomes(1),
            Fate::LoseSend => self.emulator.faults().lose_sends(1),
            Fate::Delay => self.emulator.faults().hold_sends(1),
        }
    }

    pub(super) fn release(&self) {
        self.emulator.faults().release_sends();
    }

    pub(super) fn log(&self, stream: StreamIndex) -> Vec<Held> {
        let held = |message: Logged| Held {
            epoch: Epoch(
                message
                    .topic_created_at
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |at| u64::try_from(at.as_micros()).unwrap_or(u64::MAX)),
            ),
            id: PayloadId(message.enqueued_sequence_number.unsigned_abs()),
            bytes: message.data().unwrap_or_else(|| Bytes::from_static(b"not a frame")),
        };
        self.emulator.namespace().log(&topic_name(stream.0)).into_iter().map(held).collect()
    }
}

fn topic_name(topic: u16) -> String {
    format!("scaleout-{APP}-{topic}")
}
