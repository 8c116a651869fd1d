//! The scenarios on the emulator of Azure Service Bus.
#![cfg(unix)]

#[macro_use]
mod scenarios;

use std::time::Duration;

use scaleout_core::{Backplane as _, Bus, BusBuilder};
use scaleout_servicebus::{ServiceBusBackplane, ServiceBusConfig};
use servicebus_emulator::Emulator;

use self::scenarios::world::Store;

scenarios!(super::open);

async fn open(_test: &str) -> Option<ServiceBus> {
    Some(ServiceBus(Emulator::builder().start().await.expect("free ports")))
}

struct ServiceBus(Emulator);

impl ServiceBus {
    fn backplane(&self) -> ServiceBusBackplane {
        let text = format!("{};App=socketio-test", self.0.connection_string());
        let config: ServiceBusConfig = text.parse().expect("its own connection string");
        let config = config
            .with_fatal_retry(Duration::from_secs(2))
            .with_max_backoff(Duration::from_secs(1))
            .with_operation_timeout(Duration::from_secs(3))
            .with_start_jitter(Duration::ZERO);
        ServiceBusBackplane::new(config).expect("settings that work")
    }
}

impl Store for ServiceBus {
    fn bus(&self) -> BusBuilder {
        Bus::builder(self.backplane())
    }

    /// Out of reach: what a namespace holds is never gone.
    async fn set_away(&self, away: bool) {
        self.0.faults().refuse_connections(away);
        if away {
            self.0.faults().kill_connections();
        }
    }

    fn max_message_bytes(&self) -> usize {
        self.backplane().capabilities().max_payload_bytes
    }
}
