//! The server of canned answers, and a wire to it on which connections can be counted.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use mssql_mock_tds::{
    ColumnDefinition, ColumnValue, ConnectionStore, MockTdsServer, QueryRegistry, QueryResponse, Row,
    SqlDataType,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{Mutex, watch},
    task::JoinSet,
};

/// How long something may take that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often something is looked for that nothing tells of.
const POLL: Duration = Duration::from_millis(5);

/// A server that answers what it was told to, whatever it is asked.
///
/// A batch gets the answer to its text. A call by name gets the first answer whose text, in capitals, is anywhere in it. What
/// has no answer is done, without a result.
pub(crate) struct Mock {
    pub(crate) address: SocketAddr,
    answers: Arc<Mutex<QueryRegistry>>,
    connections: Arc<Mutex<ConnectionStore>>,
    _serving: JoinSet<()>,
}

impl Mock {
    pub(crate) async fn start() -> Self {
        Self::serve(MockTdsServer::new("127.0.0.1:0").await.expect("a free port"))
    }

    /// One that sends whoever logs in to this port of 127.0.0.1.
    pub(crate) async fn that_redirects_to(port: u16) -> Self {
        let server = MockTdsServer::new_with_redirection("127.0.0.1:0", "127.0.0.1", port).await;
        Self::serve(server.expect("a free port"))
    }

    fn serve(server: MockTdsServer) -> Self {
        let (address, answers) = (server.local_addr(), server.query_registry());
        let connections = server.connection_store();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            server.run().await.expect("it serves until it is dropped");
        });
        Self { address, answers, connections, _serving: serving }
    }

    pub(crate) async fn answer(&self, text: &str, answer: QueryResponse) {
        self.answers.lock().await.register(text, answer);
    }

    /// Waits until it has got so many requests, over all connections.
    pub(crate) async fn was_asked(&self, times: usize) {
        let asked = async {
            loop {
                let connections = self.connections.lock().await;
                // One for each request.
                let requests = connections.all().values().map(|it| it.transaction_descriptor_headers.len());
                if requests.sum::<usize>() >= times {
                    return;
                }
                drop(connections);
                tokio::time::sleep(POLL).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, asked).await.is_ok(), "it was not asked {times} times");
    }
}

/// An answer of one row with one number.
pub(crate) fn number(value: i32) -> QueryResponse {
    QueryResponse::new(
        vec![ColumnDefinition::new("", SqlDataType::Int)],
        vec![Row::new(vec![ColumnValue::Int(value)])],
    )
}

/// Between clients and a server.
pub(crate) struct Wire {
    pub(crate) port: u16,
    connections: watch::Receiver<Connections>,
    _forwarding: JoinSet<()>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connections {
    pub(crate) ever: usize,
    pub(crate) now: usize,
}

impl Wire {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        Self::forward(Self::listen().await, server)
    }

    /// For [`forward`](Self::forward), so that the port is known before the server is.
    pub(crate) async fn listen() -> TcpListener {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port")
    }

    pub(crate) fn forward(listener: TcpListener, server: SocketAddr) -> Self {
        let port = listener.local_addr().expect("it listens").port();
        let (counts, connections) = watch::channel(Connections::default());
        let mut forwarding = JoinSet::new();
        forwarding.spawn(async move {
            let mut wires = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                counts.send_modify(|count| *count = Connections { ever: count.ever + 1, now: count.now + 1 });
                let counts = counts.clone();
                wires.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(server).await {
                        // Whoever breaks it: it is over.
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                    counts.send_modify(|count| count.now -= 1);
                });
            }
        });
        Self { port, connections, _forwarding: forwarding }
    }

    /// Waits until there were `ever` connections, and `now` are open.
    pub(crate) async fn has(&self, ever: usize, now: usize) {
        let wanted = Connections { ever, now };
        let mut connections = self.connections.clone();
        let reached = tokio::time::timeout(PATIENCE, connections.wait_for(|count| *count == wanted)).await;
        assert!(reached.is_ok(), "{:?} instead of {wanted:?}", *self.connections.borrow());
    }
}
