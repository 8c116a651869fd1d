//! One connection: prelogin, login, then one request after the other.

use std::{io, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::SqlError,
    faults::{Fate, is_named},
    procedures::{self, Call},
    results::ResultSet,
    shared::Shared,
    sql, statements,
    store::SessionId,
    tds::{
        Assembler, Batch, DoneKind, Encryption, Environment, Login, Message, PacketType, Parameter, PreLogin,
        Rpc, Target, Tokens, Value, write_packets,
    },
    tls::{HANDSHAKE, Stream, Tls},
};

/// Until a login says otherwise.
const PACKET_SIZE: usize = 4096;

/// What clients may ask for.
const PACKET_SIZES: std::ops::RangeInclusive<usize> = 512..=32_767;

/// `sp_executesql`, by number.
const EXECUTE_SQL: u16 = 10;

/// The class of errors from which on the server ends the connection.
const FATAL: u8 = 20;

/// Serves a connection until one side ends it or all are cut.
pub(crate) async fn serve(tcp: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts();
    tokio::select! {
        // How a connection ends is the client's concern.
        _ = Session::open(tcp, shared) => (),
        _ = cuts.changed() => (),
    }
}

/// What a connection that is logged in has to do.
#[derive(Debug)]
enum Request {
    Batch(String),
    Call(Call),
    /// Something that this server does not do.
    Unknown(&'static str),
}

/// What becomes of a request.
enum Reply {
    Answer(Bytes),
    /// The connection ends with it.
    Last(Bytes),
    /// The connection ends without it.
    Cut,
}

struct Session {
    shared: Arc<Shared>,
    stream: Stream,
    assembler: Assembler,
    packet_size: usize,
}

impl Session {
    async fn open(tcp: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
        shared.thawed().await;
        let _ = tcp.set_nodelay(true);
        let mut first = [0];
        let strict = tcp.peek(&mut first).await? == 1 && first[0] == HANDSHAKE;
        let stream = match (&shared.settings.tls, strict) {
            (Tls::Offered(configs) | Tls::Required(configs), true) => {
                Stream::encrypt(tcp, configs, false).await?
            }
            (Tls::Unsupported, true) => return Ok(()),
            (_, false) => Stream::Plain(tcp),
        };
        let mut session = Self { shared, stream, assembler: Assembler::default(), packet_size: PACKET_SIZE };
        let Some(login_only) = session.prelogin(strict).await? else { return Ok(()) };
        let Some(id) = session.login(login_only).await? else { return Ok(()) };
        session.requests(id).await
    }

    /// What client and server agree on; whether the login alone is encrypted, `None` where they do not agree.
    async fn prelogin(&mut self, strict: bool) -> io::Result<Option<bool>> {
        let message = self.expect(PacketType::PreLogin).await?;
        let asked = PreLogin::decode(&message.body).map_err(io::Error::other)?;
        let (answer, configs) = match (&self.shared.settings.tls, asked.encryption) {
            _ if strict => (Encryption::On, None),
            (Tls::Unsupported, _) => (Encryption::NotSupported, None),
            (Tls::Offered(_), Encryption::NotSupported) => (Encryption::NotSupported, None),
            (Tls::Offered(configs), Encryption::Off) => (Encryption::Off, Some(configs)),
            (Tls::Offered(configs), _) => (Encryption::On, Some(configs)),
            (Tls::Required(configs), _) => (Encryption::Required, Some(configs)),
        };
        let configs = configs.cloned();
        self.write(PacketType::Result, &PreLogin { encryption: answer, ..asked }.encode()).await?;
        if let Some(configs) = configs {
            // A client that does not encrypt sends its login now, and is gone for that.
            let stream = mem::replace(&mut self.stream, Stream::Gone);
            self.stream = match stream {
                Stream::Plain(tcp) => Stream::encrypt(tcp, &configs, true).await?,
                other => other,
            };
        } else if !strict && matches!(asked.encryption, Encryption::On | Encryption::Required) {
            return Ok(None);
        }
        Ok(Some(answer == Encryption::Off))
    }

    /// Lets a client in, or tells it why not.
    async fn login(&mut self, login_only: bool) -> io::Result<Option<Connected>> {
        let message = self.expect(PacketType::Login).await?;
        if login_only {
            let stream = mem::replace(&mut self.stream, Stream::Gone);
            self.stream = stream.decrypt();
        }
        let login = Login::decode(&message.body).map_err(io::Error::other)?;
        let mut tokens = Tokens::default();
        let (refusal, routing) = {
            let state = self.shared.state();
            (self.refusal(&login, &state.faults, &state.store.database), state.faults.routing.clone())
        };
        if let Some(error) = refusal {
            error.write(&mut tokens, "", DoneKind::Done);
            self.write(PacketType::Result, &tokens.finish()).await?;
            self.stream.shutdown().await?;
            return Ok(None);
        }
        let size = usize::try_from(login.packet_size).unwrap_or(PACKET_SIZE);
        let size =
            if size == 0 { PACKET_SIZE } else { size.clamp(*PACKET_SIZES.start(), *PACKET_SIZES.end()) };
        let connected = Connected::new(&self.shared);
        tokens.environment(&Environment::Database(&login.database));
        tokens.login_ack();
        if login.token.is_some() {
            tokens.feature_ack();
        }
        tokens.environment(&Environment::PacketSize { old: PACKET_SIZE as u32, new: size as u32 });
        if let Some((host, port)) = &routing {
            tokens.environment(&Environment::Routing { host, port: *port });
        }
        tokens.done(DoneKind::Done, None, false);
        self.write(PacketType::Result, &tokens.finish()).await?;
        self.packet_size = size;
        if routing.is_some() {
            self.stream.shutdown().await?;
            return Ok(None);
        }
        Ok(Some(connected))
    }

    fn refusal(&self, login: &Login, faults: &crate::faults::Faults, database: &str) -> Option<SqlError> {
        let settings = &self.shared.settings;
        let known = match &login.token {
            Some(token) => settings.access_token.as_ref() == Some(token),
            None => login.user == settings.user && login.password == settings.password,
        };
        if faults.refuses_logins || !known {
            let user = if login.token.is_some() { "<token-identified principal>" } else { &login.user };
            Some(SqlError::login_failed(user))
        } else if !login.database.is_empty() && login.database != database {
            Some(SqlError::no_database(&login.database))
        } else {
            None
        }
    }

    async fn requests(mut self, connected: Connected) -> io::Result<()> {
        loop {
            let message = self.next().await?;
            let request = match message.kind {
                PacketType::Attention => {
                    // It came when the answer was out already.
                    self.acknowledge_attention().await?;
                    continue;
                }
                PacketType::Batch => Batch::decode(message.body).map(|batch| Request::Batch(batch.0)),
                PacketType::Rpc => Rpc::decode(message.body).map(request_of),
                PacketType::TransactionManager => {
                    Ok(Request::Unknown("a request to the transaction manager"))
                }
                PacketType::BulkLoad => Ok(Request::Unknown("a bulk load")),
                PacketType::Login | PacketType::PreLogin | PacketType::Result => return Ok(()),
            };
            let request = request.map_err(io::Error::other)?;
            let cancelled = CancellationToken::new();
            // A task of its own: what has arrived is done, also where the client has gone.
            let mut task = connected.run(request, cancelled.clone());
            // Where this future is dropped, nobody waits for an answer: what only waits ends.
            let _gone = cancelled.clone().drop_guard();
            let reply = tokio::select! {
                reply = &mut task => Some(reply.map_err(io::Error::other)?),
                message = self.next() => match message?.kind {
                    PacketType::Attention => {
                        cancelled.cancel();
                        let _ = task.await;
                        None
                    }
                    _ => return Ok(()),
                },
            };
            self.shared.thawed().await;
            match reply {
                None => self.acknowledge_attention().await?,
                Some(Reply::Answer(answer)) => self.write(PacketType::Result, &answer).await?,
                Some(Reply::Last(answer)) => {
                    self.write(PacketType::Result, &answer).await?;
                    return self.stream.shutdown().await;
                }
                Some(Reply::Cut) => return Ok(()),
            }
        }
    }

    async fn acknowledge_attention(&mut self) -> io::Result<()> {
        let mut tokens = Tokens::default();
        tokens.attention();
        self.write(PacketType::Result, &tokens.finish()).await
    }

    async fn expect(&mut self, kind: PacketType) -> io::Result<Message> {
        let message = self.next().await?;
        if message.kind != kind {
            return Err(io::Error::other(format!("{:?} where {kind:?} was expected", message.kind)));
        }
        Ok(message)
    }

    /// The next message; nothing is lost where the future is dropped.
    async fn next(&mut self) -> io::Result<Message> {
        loop {
            if let Some(message) = self.assembler.next().map_err(io::Error::other)? {
                return Ok(message);
            }
            self.assembler.arrived.reserve(PACKET_SIZE);
            if self.stream.read_buf(&mut self.assembler.arrived).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn write(&mut self, kind: PacketType, body: &[u8]) -> io::Result<()> {
        self.stream.write_all(&write_packets(kind, body, self.packet_size)).await?;
        self.stream.flush().await
    }
}

/// What an RPC asks for.
fn request_of(rpc: Rpc) -> Request {
    let name = match rpc.target {
        Target::Number(EXECUTE_SQL) => "sp_executesql".to_owned(),
        Target::Number(_) => return Request::Unknown("a procedure that goes by its number"),
        Target::Name(name) => name,
    };
    if name == "sp_executesql" {
        // The text, and nothing to put into it.
        return match rpc.parameters.as_slice() {
            [Parameter { value: Value::Text(text), .. }]
            | [Parameter { value: Value::Text(text), .. }, Parameter { value: Value::Text(_), .. }] => {
                Request::Batch(text.clone())
            }
            _ => Request::Unknown("sp_executesql with parameters"),
        };
    }
    match sql::two_part_name(&name) {
        Some((schema, name)) => Request::Call(Call { schema, name, arguments: rpc.parameters }),
        None => Request::Unknown("a procedure without a schema"),
    }
}

/// A place among the connections that are logged in.
struct Connected {
    shared: Arc<Shared>,
    id: SessionId,
}

impl Connected {
    fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), id: shared.state().begin_session() }
    }

    fn run(&self, request: Request, cancelled: CancellationToken) -> JoinHandle<Reply> {
        let name = match &request {
            Request::Call(call) => &call.name,
            Request::Batch(_) | Request::Unknown(_) => "batch",
        };
        self.shared.state().begin_request(self.id, name);
        let (shared, id) = (Arc::clone(&self.shared), self.id);
        tokio::spawn(async move {
            let reply = run(&shared, id, request, &cancelled).await;
            shared.state().end_request(id);
            shared.something_changed();
            reply
        })
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.shared.state().end_session(self.id);
        self.shared.something_changed();
    }
}

/// A request, and whatever the faults do to it.
async fn run(
    shared: &Arc<Shared>,
    session: SessionId,
    request: Request,
    cancelled: &CancellationToken,
) -> Reply {
    shared.thawed().await;
    let publishes = |stream: &str| matches!(&request, Request::Call(call) if is_named(&call.name, stream));
    let (latency, fate, throttled, rewinds) = {
        let mut state = shared.state();
        let rewinds = state.store.rewinds;
        let faults = &mut state.faults;
        let fate = if publishes("publish_0") { faults.fate.take() } else { None };
        let throttled = (faults.throttled > 0).then(|| {
            faults.throttled -= 1;
            faults.throttled
        });
        (faults.latency, fate, throttled, rewinds)
    };
    delay(latency / 2).await;
    let _held = match fate {
        Some(Fate::LoseSend) => return Reply::Cut,
        Some(Fate::Delay) => Some(shared.hold().await),
        Some(Fate::LoseAnswer) | None => None,
    };
    // Only what the network holds back reaches another copy of the database.
    if fate != Some(Fate::Delay) && shared.state().store.rewinds != rewinds {
        return Reply::Cut;
    }
    let deadlock = publishes("publish") && {
        let faults = &mut shared.state().faults;
        let chosen = faults.deadlocks > 0;
        faults.deadlocks -= usize::from(chosen);
        chosen
    };
    let kind = match &request {
        Request::Call(_) => DoneKind::Proc,
        Request::Batch(_) | Request::Unknown(_) => DoneKind::Done,
    };
    let procedure = match &request {
        Request::Call(call) => call.name.clone(),
        Request::Batch(_) | Request::Unknown(_) => String::new(),
    };
    let (results, error) = match (request, throttled) {
        (_, Some(nth)) => (Vec::new(), Some(SqlError::throttled(nth))),
        _ if deadlock => (Vec::new(), Some(SqlError::deadlock())),
        (Request::Unknown(what), _) => (Vec::new(), Some(SqlError::not_t_sql(what))),
        (Request::Batch(text), _) => statements::run(shared, session, &text, cancelled).await,
        (Request::Call(call), _) => match procedures::call(shared, session, call, cancelled).await {
            Ok(results) => (results, None),
            Err(error) => (Vec::new(), Some(error)),
        },
    };
    drop(_held);
    delay(latency / 2).await;
    if fate == Some(Fate::LoseAnswer) {
        return Reply::Cut;
    }
    let fatal = error.as_ref().is_some_and(|error| error.class >= FATAL);
    let answer = answer(&results, error.as_ref(), kind, &procedure);
    if fatal { Reply::Last(answer) } else { Reply::Answer(answer) }
}

fn answer(results: &[ResultSet], error: Option<&SqlError>, kind: DoneKind, procedure: &str) -> Bytes {
    let mut tokens = Tokens::default();
    let in_procedure = kind == DoneKind::Proc;
    for (place, result) in results.iter().enumerate() {
        let more = in_procedure || error.is_some() || place + 1 < results.len();
        result.write(&mut tokens, if in_procedure { DoneKind::InProc } else { kind }, more);
    }
    match error {
        Some(error) => error.write(&mut tokens, procedure, kind),
        None if in_procedure => {
            tokens.return_status(0);
            tokens.done(kind, None, false);
        }
        None if results.is_empty() => tokens.done(kind, None, false),
        None => (),
    }
    tokens.finish()
}

async fn delay(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}
