//! One connection to the server, which carries one request at a time.

use std::{borrow::Cow, io, time::Duration};

use bytes::Bytes;
use tiberius::{Client, ColumnData, Command, IntoSql, Row, SqlBrowser};
use tokio::{net::TcpStream, time::timeout};
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use crate::{config::SqlServerConfig, error::Failure};

/// Redirects that a server may ask for, one after the other; Azure asks for one.
const MAX_REDIRECTS: usize = 4;

/// After how much silence the operating system asks whether the server is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// From this class on, the server ends the connection after an error.
const FATAL_CLASS: u8 = 20;

/// A connection. Once anything on it was cancelled, timed out or failed, it is not clean any more and must be dropped:
/// the client may read the answer of an earlier request for that of a later one (`tests/tds-client` shows it).
#[derive(Debug)]
pub(crate) struct Link {
    client: Client<Compat<TcpStream>>,
    is_clean: bool,
    command_timeout: Duration,
}

/// What a procedure is called with.
#[derive(Debug)]
pub(crate) struct Call<'a>(Command<'a>);

impl<'a> Call<'a> {
    /// `name` is the procedure's, quoted, with its schema.
    pub(crate) fn new(name: impl Into<Cow<'a, str>>) -> Self {
        Self(Command::new(name))
    }

    pub(crate) fn with(mut self, parameter: impl Into<Cow<'a, str>>, value: impl IntoSql<'a> + 'a) -> Self {
        self.0.bind_param(parameter, value);
        self
    }
}

impl Link {
    /// Connects and logs in.
    ///
    /// # Cancel safety
    /// A dropped attempt leaves nothing behind.
    pub(crate) async fn connect(config: &SqlServerConfig) -> Result<Self, Failure> {
        let connecting = async {
            let (mut host, mut port) = (config.host.clone(), config.port);
            for _ in 0..=MAX_REDIRECTS {
                let client_config = config.client_config(&host, port).await?;
                let socket = match (&config.instance, port) {
                    (Some(_), None) => TcpStream::connect_named(&client_config).await?,
                    _ => TcpStream::connect(client_config.get_addr()).await.map_err(Failure::Connect)?,
                };
                prepare(&socket).map_err(Failure::Connect)?;
                match Client::connect(client_config, socket.compat_write()).await {
                    Ok(client) => return Ok(client),
                    Err(tiberius::error::Error::Routing { host: other, port: at }) => {
                        (host, port) = (other, Some(at));
                    }
                    Err(error) => return Err(Failure::Client(error)),
                }
            }
            Err(Failure::Connect(io::Error::other("the server redirects in a circle")))
        };
        let client = timeout(config.connect_timeout, connecting)
            .await
            .map_err(|_| Failure::TimedOut { after: config.connect_timeout })??;
        Ok(Self { client, is_clean: true, command_timeout: config.command_timeout })
    }

    /// Whether another request may be sent.
    pub(crate) fn is_clean(&self) -> bool {
        self.is_clean
    }

    /// Gives the connection up.
    pub(crate) fn spoil(&mut self) {
        self.is_clean = false;
    }

    /// Executes a batch of statements; yields their results.
    pub(crate) async fn batch(&mut self, text: &str) -> Result<Vec<Vec<Row>>, Failure> {
        self.batch_within(self.command_timeout, text).await
    }

    /// Executes a batch that may take so long.
    pub(crate) async fn batch_within(
        &mut self,
        limit: Duration,
        text: &str,
    ) -> Result<Vec<Vec<Row>>, Failure> {
        self.answered(limit, async |client| client.simple_query(text).await?.into_results().await).await
    }

    /// Calls a procedure; yields its results.
    pub(crate) async fn call(&mut self, call: Call<'_>) -> Result<Vec<Vec<Row>>, Failure> {
        self.call_within(self.command_timeout, call).await
    }

    /// Calls a procedure that may take so long.
    pub(crate) async fn call_within(
        &mut self,
        limit: Duration,
        call: Call<'_>,
    ) -> Result<Vec<Vec<Row>>, Failure> {
        self.answered(limit, async |client| {
            Ok(call.0.exec(client).await?.into_command_result().await?.into_iter().collect())
        })
        .await
    }

    async fn answered<T>(
        &mut self,
        limit: Duration,
        request: impl AsyncFnOnce(&mut Client<Compat<TcpStream>>) -> tiberius::Result<T>,
    ) -> Result<T, Failure> {
        if !std::mem::replace(&mut self.is_clean, false) {
            return Err(Failure::Connect(io::Error::other("the connection was given up")));
        }
        let answer = timeout(limit, request(&mut self.client)).await;
        // An error of the server is an answer too: what is left of it is read before the next request.
        self.is_clean = match &answer {
            Ok(Ok(_)) => true,
            Ok(Err(tiberius::error::Error::Server(error))) => error.class() < FATAL_CLASS,
            Ok(Err(_)) | Err(_) => false,
        };
        answer.map_err(|_| Failure::TimedOut { after: limit })?.map_err(Failure::Client)
    }
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
    socket2::SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

/// The values of a row, in the order of its columns: names differ between servers that speak the protocol.
#[derive(Debug)]
pub(crate) struct Values(std::vec::IntoIter<ColumnData<'static>>);

impl Values {
    pub(crate) fn of(row: Row) -> Self {
        Self(row.into_iter().collect::<Vec<_>>().into_iter())
    }

    /// Those of the first row of all, where there has to be one; `procedure` names what yields it.
    pub(crate) fn first(results: Vec<Vec<Row>>, procedure: &str) -> Result<Self, Failure> {
        let row = results.into_iter().flatten().next();
        row.map(Self::of).ok_or_else(|| Failure::Answer(format!("{procedure} yields no row")))
    }

    /// The next value, of whatever integer type; `None` for NULL.
    pub(crate) fn integer(&mut self) -> Result<Option<i64>, Failure> {
        match self.0.next() {
            Some(ColumnData::Bit(value)) => Ok(value.map(i64::from)),
            Some(ColumnData::U8(value)) => Ok(value.map(i64::from)),
            Some(ColumnData::I16(value)) => Ok(value.map(i64::from)),
            Some(ColumnData::I32(value)) => Ok(value.map(i64::from)),
            Some(ColumnData::I64(value)) => Ok(value),
            other => Err(unexpected("an integer", other.as_ref())),
        }
    }

    /// The next value, which no column of ours leaves open, as a number that is never negative.
    pub(crate) fn number(&mut self) -> Result<u64, Failure> {
        let value = self.integer()?.ok_or_else(|| unexpected("a number", None))?;
        u64::try_from(value).map_err(|_| Failure::Answer("a number below 0".into()))
    }

    /// The same; `None` for NULL.
    pub(crate) fn number_if_any(&mut self) -> Result<Option<u64>, Failure> {
        let value = self.integer()?;
        value.map(u64::try_from).transpose().map_err(|_| Failure::Answer("a number below 0".into()))
    }

    /// The number of a row.
    pub(crate) fn seq(&mut self) -> Result<i64, Failure> {
        self.integer()?.ok_or_else(|| unexpected("the number of a row", None))
    }

    pub(crate) fn text(&mut self) -> Result<String, Failure> {
        match self.0.next() {
            Some(ColumnData::String(Some(text))) => Ok(text.into_owned()),
            other => Err(unexpected("text", other.as_ref())),
        }
    }

    /// The same; `None` for NULL.
    pub(crate) fn text_if_any(&mut self) -> Result<Option<String>, Failure> {
        match self.0.next() {
            Some(ColumnData::String(text)) => Ok(text.map(Cow::into_owned)),
            other => Err(unexpected("text", other.as_ref())),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, Failure> {
        match self.0.next() {
            Some(ColumnData::Binary(Some(bytes))) => Ok(Bytes::from(bytes.into_owned())),
            other => Err(unexpected("bytes", other.as_ref())),
        }
    }
}

fn unexpected(wanted: &str, got: Option<&ColumnData<'static>>) -> Failure {
    let got = match got {
        None => "nothing",
        Some(ColumnData::String(_)) => "text",
        Some(ColumnData::Binary(_)) => "bytes",
        Some(_) => "another type",
    };
    Failure::Answer(format!("{wanted} was expected, and {got} came"))
}
