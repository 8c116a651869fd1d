//! How the objects of an app in SQL Server are.

use scaleout_core::Error;

use crate::{
    bell::Doorbell,
    error::Failure,
    link::{Call, Link, Values},
    node::Node,
    store::Positions,
};

/// What the server says of an app, asked for by [`SqlServerBackplane::health`](crate::SqlServerBackplane::health).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SqlServerHealth {
    /// Version of the objects in the schema.
    pub schema_version: u64,
    /// The epoch of the app.
    pub epoch: u64,
    /// Rows that each message table has had for ever, by table.
    pub rows: Vec<u64>,
    /// How this node learns of what others append.
    pub doorbell: Doorbell,
    /// What Service Broker says; `None` where its objects are not installed, or may not be asked.
    pub service_broker: Option<ServiceBrokerHealth>,
}

/// What Service Broker says of an app's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceBrokerHealth {
    /// `is_broker_enabled` of the database.
    pub is_enabled: bool,
    /// Queues that are on; 2 is right.
    pub queues_on: u64,
    /// Nodes that are registered.
    pub listeners: u64,
    /// Ends of conversations that are not closed; 2 for each listener is right.
    pub conversation_ends: u64,
    /// Messages in `sys.transmission_queue`, which cannot be delivered; 0 is right.
    pub undelivered: u64,
    /// Why the oldest of them cannot be.
    pub undelivered_because: Option<String>,
}

pub(crate) async fn health(node: &Node) -> Result<SqlServerHealth, Error> {
    let mut link = node.pool.lease().await?;
    let positions = Positions::of(&mut link, &node.names.positions).await;
    let positions = positions.map_err(|failure| node.failed(&link, failure, ASKING))?;
    let doorbell = node.doorbell.borrow().clone();
    let service_broker = match doorbell {
        Doorbell::NotWanted => None,
        _ => match ask(&mut link, &node.names.doorbell_health).await {
            Ok(health) => Some(health),
            // Not installed, or not permitted.
            Err(_) if link.is_clean() => None,
            Err(failure) => return Err(node.failed(&link, failure, ASKING)),
        },
    };
    Ok(SqlServerHealth {
        schema_version: positions.layout.as_ref().map_or(0, |layout| layout.schema_version),
        epoch: positions.layout.as_ref().map_or(0, |layout| layout.epoch),
        rows: positions
            .streams
            .iter()
            .map(|lineage| u64::try_from(lineage.last_seq + 1).unwrap_or(0))
            .collect(),
        doorbell,
        service_broker,
    })
}

pub(crate) async fn ask(link: &mut Link, procedure: &str) -> Result<ServiceBrokerHealth, Failure> {
    let mut values = Values::first(link.call(Call::new(procedure)).await?, "doorbell_health")?;
    Ok(ServiceBrokerHealth {
        is_enabled: values.number()? == 1,
        queues_on: values.number()?,
        listeners: values.number()?,
        conversation_ends: values.number()?,
        undelivered: values.number()?,
        undelivered_because: values.text_if_any()?,
    })
}

const ASKING: &str = "asking for the state of the store";
