//! Where connections come in.

use std::{io, time::Duration};

use tokio::{net::TcpListener, task::JoinSet};

use crate::{amqp, faults::Faults, namespace::Namespace};

/// How long to wait where the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until it is dropped, which ends them all.
pub(crate) async fn serve(listener: TcpListener, namespace: Namespace, faults: Faults) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    let Some(orders) = faults.connect() else { continue };
                    let (namespace, faults) = (namespace.clone(), faults.clone());
                    connections.spawn(async move {
                        socket.set_nodelay(true)?;
                        amqp::serve(socket, namespace, faults, orders).await
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => ended_with(ended),
        }
    }
}

fn ended_with(ended: Result<io::Result<()>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => (),
        Ok(Err(error)) => tracing::debug!(%error, "a connection broke"),
        Err(error) => tracing::error!(%error, "a connection failed"),
    }
}
