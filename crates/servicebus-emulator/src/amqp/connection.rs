//! Connections: bytes in and out, heartbeats, and what concerns all sessions.

mod io;
mod state;

use std::{io as std_io, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout},
};

use crate::{
    faults::{Connection as Orders, Event, Faults},
    namespace::Namespace,
    sas::Claim,
};

use self::{
    io::{Pipe, Progress},
    state::State,
};
use super::{
    frame::{Frame, SASL},
    sasl::{self, Login},
};

/// The longest frame that we take; half a megabyte is too long for nobody's good.
pub(super) const MAX_FRAME: u32 = 64 * 1024;

/// How long a peer may take until it has said who it is.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a peer may take to read our last words.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often time is looked at, at least.
const TICK: Duration = Duration::from_secs(1);

const AMQP_HEADER: &[u8; 8] = b"AMQP\x00\x01\x00\x00";
const SASL_HEADER: &[u8; 8] = b"AMQP\x03\x01\x00\x00";

/// Speaks AMQP with a peer until one of the two has enough.
///
/// # Errors
///
/// The peer breaks the connection, or does not speak AMQP.
pub(crate) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    namespace: Namespace,
    faults: Faults,
    orders: Orders,
) -> std_io::Result<()> {
    let mut input = BytesMut::new();
    let claim = tokio::select! {
        claim = timeout(LOGIN_TIMEOUT, log_in(&mut stream, &mut input, &namespace)) => claim??,
        event = killed(&orders) => return event,
    };
    let Some(claim) = claim else { return Ok(()) };
    let mut state = State::new(namespace, faults, claim);
    let done = run(&mut stream, input, &mut state, &orders).await;
    state.close();
    done
}

/// Exchanges headers, with or without a layer of SASL. `None`: the peer is not let in.
async fn log_in(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    input: &mut BytesMut,
    namespace: &Namespace,
) -> std_io::Result<Option<Option<Claim>>> {
    let mut claim = None;
    let mut header = read_header(stream, input).await?;
    if header == *SASL_HEADER {
        let mut out = BytesMut::from(SASL_HEADER.as_slice());
        sasl::write_mechanisms(&mut out);
        stream.write_all(&out).await?;
        stream.flush().await?;
        let frame = loop {
            if let Some(frame) = Frame::take(input, MAX_FRAME as usize).map_err(std_io::Error::other)? {
                break frame;
            }
            fill(stream, input).await?;
        };
        if frame.kind != SASL {
            return Err(std_io::Error::other("a frame of SASL is expected"));
        }
        let login = sasl::login(frame.body, namespace).map_err(std_io::Error::other)?;
        out.clear();
        sasl::write_outcome(&mut out, &login);
        stream.write_all(&out).await?;
        stream.flush().await?;
        match login {
            Login::In(given) => claim = given,
            Login::Refused => {
                stream.shutdown().await?;
                return Ok(None);
            }
        }
        header = read_header(stream, input).await?;
    }
    // What we would rather hear is the answer to everything else.
    stream.write_all(AMQP_HEADER).await?;
    stream.flush().await?;
    if header != *AMQP_HEADER {
        stream.shutdown().await?;
        return Ok(None);
    }
    Ok(Some(claim))
}

async fn read_header(stream: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> std_io::Result<[u8; 8]> {
    loop {
        if let Some(header) = input.first_chunk().copied() {
            input.advance(8);
            return Ok(header);
        }
        fill(stream, input).await?;
    }
}

async fn fill(stream: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> std_io::Result<()> {
    match stream.read_buf(input).await? {
        0 => Err(std_io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

async fn killed(orders: &Orders) -> std_io::Result<()> {
    while orders.event().await != Event::Kill {}
    Ok(())
}

async fn run(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    input: BytesMut,
    state: &mut State,
    orders: &Orders,
) -> std_io::Result<()> {
    let mut pipe = Pipe::new(stream, input);
    let mut tick = Instant::now() + state.tick_every(TICK);
    // What came with the header.
    state.read(&mut pipe.input);
    loop {
        // What was written meanwhile makes room.
        state.set_held_back(pipe.waiting());
        state.pump();
        let delay = state.answer_delay();
        pipe.take_output(state.output(), delay);
        state.set_held_back(pipe.waiting());
        if state.is_over() {
            // Whether it hears us or not: it is over.
            let _ = timeout(GOODBYE_TIMEOUT, pipe.say_goodbye()).await;
            return Ok(());
        }
        // What was read and not looked at, because answers were waiting.
        let reads = !state.is_full();
        if reads && state.has_more(&pipe.input) {
            state.read(&mut pipe.input);
            continue;
        }
        tokio::select! {
            event = orders.event() => match event {
                Event::Kill => return Ok(()),
                event => state.obey(&event),
            },
            () = orders.frozen() => tokio::select! {
                _ = killed(orders) => return Ok(()),
                () = orders.thawed() => state.thawed(),
            },
            progress = pipe.progress(reads) => match progress? {
                Progress::Read(0) => return Ok(()),
                Progress::Read(_) => state.read(&mut pipe.input),
                Progress::Wrote => state.wrote(),
            },
            key = state.woken() => state.wake(key),
            () = tokio::time::sleep_until(tick) => {
                tick = Instant::now() + state.tick_every(TICK);
                state.tick();
            }
        }
    }
}
