//! Calls of procedures: [`call`].

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    catalog::{Arguments, Procedure},
    doorbell::Heard,
    error::SqlError,
    messages::{Frame, Keep, Published},
    results::ResultSet,
    shared::{Shared, State},
    store::{Object, Schema, SessionId, Store},
    tds::{Parameter, Type, Value},
};

/// How long `register` waits for its hello.
const PAIRING: Duration = Duration::from_secs(2);

/// How long it waits before it looks whether another node has collected that.
const PAIRING_STEP: Duration = Duration::from_millis(100);

/// A procedure of a schema, as a request names it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) arguments: Vec<Parameter>,
}

/// Runs a procedure; `cancelled` ends what waits.
pub(crate) async fn call(
    shared: &Shared,
    session: SessionId,
    call: Call,
    cancelled: &CancellationToken,
) -> Result<Vec<ResultSet>, SqlError> {
    let schema = call.schema.clone();
    let (procedure, arguments) = {
        let mut state = shared.state();
        if state.is_forsaken(session) {
            return Err(SqlError::shutdown());
        }
        let (procedure, arguments) = resolve(&state, session, call)?;
        match procedure {
            Procedure::Wait | Procedure::Register | Procedure::Collect => (procedure, arguments),
            _ => {
                let result = run(&mut state.store, &schema, procedure, &arguments);
                shared.something_changed();
                return result;
            }
        }
    };
    let result = tokio::select! {
        result = run_waiting(shared, &schema, procedure, &arguments) => result,
        () = cancelled.cancelled() => Err(SqlError::new(0, "the request was cancelled")),
    };
    shared.something_changed();
    result
}

/// What is called, with its arguments, where it may be called.
fn resolve(state: &State, session: SessionId, call: Call) -> Result<(Procedure, Arguments), SqlError> {
    let Call { schema, name, arguments } = call;
    let object = state.store.object(session, &schema, &name);
    let (Some(Object::Procedure(declared)), Some(procedure)) = (object, Procedure::named(&name)) else {
        return Err(SqlError::no_procedure(&format!("{schema}.{name}")));
    };
    if state.faults.denies(&name) || !state.faults.permits("EXECUTE") {
        return Err(SqlError::denied(&name, &schema, &state.store.database));
    }
    let arguments = Arguments::bind(&name, &declared, arguments)?;
    let alone = !matches!(
        procedure,
        Procedure::Positions
            | Procedure::Read
            | Procedure::ReadStream(_)
            | Procedure::Held
            | Procedure::Unregister
            | Procedure::Collect
            | Procedure::Ring
            | Procedure::DoorbellHealth
    );
    if alone && state.store.transactions.contains_key(&session) {
        return Err(SqlError::in_transaction(&name));
    }
    Ok((procedure, arguments))
}

/// A procedure that does not wait, from beginning to end without anybody in between.
fn run(
    store: &mut Store,
    schema: &str,
    procedure: Procedure,
    arguments: &Arguments,
) -> Result<Vec<ResultSet>, SqlError> {
    Ok(match procedure {
        Procedure::Positions => positions(store, schema)?,
        Procedure::Read => {
            let (rows, bytes) = (arguments.int("max_rows")?, arguments.int("max_bytes")?);
            let schema = store.schema(schema)?;
            if schema.layout()?.epoch != arguments.int("epoch")? {
                return Err(SqlError::another_epoch());
            }
            let wanted = |stream| {
                let after = arguments.optional_int(&format!("after_{stream}"))?;
                Some(read(schema, stream, after, rows, bytes))
            };
            (0..schema.streams.len()).filter_map(wanted).collect()
        }
        Procedure::ReadStream(stream) => {
            let (rows, bytes) = (arguments.int("max_rows")?, arguments.int("max_bytes")?);
            vec![read(store.schema(schema)?, stream, arguments.int("after")?, rows, bytes)]
        }
        Procedure::Publish(stream) => vec![publish(store, schema, stream, arguments)?],
        Procedure::Trim(stream) => {
            let keep = Keep {
                rows: arguments.int("keep_rows")?,
                seconds: arguments.int("keep_seconds")?,
                bytes: arguments.int("keep_bytes")?,
            };
            let (batch, max_batches) = (arguments.int("batch")?, arguments.int("max_batches")?);
            let (deleted, more) = store.schema(schema)?.trim(stream, keep, batch, max_batches)?;
            vec![ResultSet::one(&[("", Type::BigInt), ("", Type::Bit)], vec![deleted.into(), more.into()])]
        }
        Procedure::Held => {
            let stream = usize::try_from(arguments.int("stream")?).unwrap_or(usize::MAX);
            let held = store.schema(schema)?.held(stream, arguments.node("node")?);
            vec![ResultSet::single(Type::BigInt, held)]
        }
        Procedure::Renew => {
            let dropped =
                store.schema(schema)?.renew(arguments.node("node")?, arguments.int("keep_seconds")?);
            vec![ResultSet::single(Type::Int, dropped)]
        }
        Procedure::OpenEpoch => {
            let identity = store.identity();
            let after_known = arguments.int("after_known")? != 0;
            let (old, seen) = (arguments.int("old")?, arguments.int("seen")?);
            store.schema(schema)?.open_epoch(old, seen, after_known, identity)?;
            Vec::new()
        }
        Procedure::Unregister => {
            store.unregister(schema, arguments.guid("listener")?)?;
            Vec::new()
        }
        Procedure::Arm => {
            store.arm(schema, arguments.guid("listener")?, arguments.optional_binary("streams"))?;
            let mut results = vec![ResultSet::one(
                &[("is_broker_enabled", Type::Bit)],
                vec![store.broker.is_enabled().into()],
            )];
            results.extend(positions(store, schema)?);
            results
        }
        Procedure::Ring => {
            store.ring(schema, usize::try_from(arguments.int("stream")?).unwrap_or(usize::MAX))?;
            Vec::new()
        }
        Procedure::Janitor => {
            let removed = store.janitor(schema, arguments.int("lease_seconds")?)?;
            vec![ResultSet::single(Type::Int, removed)]
        }
        Procedure::DoorbellHealth => vec![health(store, schema)?],
        Procedure::Wait | Procedure::Register | Procedure::Collect => Vec::new(),
    })
}

fn publish(
    store: &mut Store,
    schema: &str,
    stream: usize,
    arguments: &Arguments,
) -> Result<ResultSet, SqlError> {
    let frame = Frame {
        epoch: arguments.int("epoch")?,
        node: arguments.node("node")?,
        number: arguments.int("number")?,
        after: arguments.int("after")?,
        payload: arguments.binary("payload")?,
    };
    let number = frame.number;
    let published = store.schema(schema)?.publish(stream, frame)?;
    let row: [Option<i64>; 5] = match published {
        Published::Appended { seq, id } => {
            let rung = store.ring(schema, stream);
            let doorbell_error = rung.err().map(|error| error.number.into());
            [Some(0), Some(seq), Some(id), Some(number), doorbell_error]
        }
        Published::Held(held) => [Some(1), None, None, Some(held), None],
        Published::Missing(held) => [Some(2), None, None, Some(held), None],
    };
    let columns =
        [("", Type::Int), ("", Type::BigInt), ("", Type::BigInt), ("", Type::BigInt), ("", Type::Int)];
    Ok(ResultSet::one(&columns, row.map(Value::from).into()))
}

fn positions(store: &mut Store, name: &str) -> Result<Vec<ResultSet>, SqlError> {
    let identity = store.identity();
    let schema = store.schema(name)?;
    let table_count = schema.streams.len() as i64;
    let layout = schema.layout()?;
    let first = ResultSet::one(
        &[
            ("schema_version", Type::Int),
            ("compatible_from", Type::Int),
            ("app", Type::NVarChar(64)),
            ("table_count", Type::Int),
            ("epoch", Type::BigInt),
            ("", Type::Int),
        ],
        vec![
            layout.schema_version.into(),
            layout.compatible_from.into(),
            layout.app.as_str().into(),
            table_count.into(),
            layout.epoch.into(),
            i64::from(layout.store == identity).into(),
        ],
    );
    let mut streams = ResultSet::new(&[
        ("stream", Type::SmallInt),
        ("epoch", Type::BigInt),
        ("first_seq", Type::BigInt),
        ("last_seq", Type::BigInt),
    ]);
    streams.rows = schema
        .streams
        .iter()
        .enumerate()
        .map(|(number, stream)| {
            let numbers = [number as i64, stream.epoch, stream.first_seq, stream.last_seq];
            numbers.map(Value::from).into()
        })
        .collect();
    let mut epochs = ResultSet::new(&[
        ("stream", Type::SmallInt),
        ("epoch", Type::BigInt),
        ("first_seq", Type::BigInt),
        ("after_epoch", Type::BigInt),
        ("after_id", Type::BigInt),
    ]);
    epochs.rows = schema
        .epochs
        .iter()
        .map(|((stream, epoch), row)| {
            let (after_epoch, after_id) = row.after.unzip();
            let numbers = [Some(*stream as i64), Some(*epoch), Some(row.first_seq), after_epoch, after_id];
            numbers.map(Value::from).into()
        })
        .collect();
    Ok(vec![first, streams, epochs])
}

fn read(schema: &Schema, stream: usize, after: i64, max_rows: i64, max_bytes: i64) -> ResultSet {
    let mut result = ResultSet::new(&[
        ("", Type::SmallInt),
        ("seq", Type::BigInt),
        ("epoch", Type::BigInt),
        ("id", Type::BigInt),
        ("after_epoch", Type::BigInt),
        ("after_id", Type::BigInt),
        ("", Type::BigInt),
        ("payload", Type::VarBinaryMax),
    ]);
    result.rows = schema
        .read(stream, after, max_rows, max_bytes)
        .map(|row| {
            let opened = if row.id == 0 { schema.epochs.get(&(stream, row.epoch)) } else { None };
            let (after_epoch, after_id) = opened.and_then(|opened| opened.after).unzip();
            vec![
                (stream as i64).into(),
                row.seq.into(),
                row.epoch.into(),
                row.id.into(),
                after_epoch.into(),
                after_id.into(),
                row.at.into(),
                row.payload.clone().into(),
            ]
        })
        .collect();
    result
}

fn health(store: &mut Store, name: &str) -> Result<ResultSet, SqlError> {
    let listeners = store.schema(name)?.listeners.len() as i64;
    let objects = &store.schema(name)?.objects;
    let queues: Vec<String> = objects
        .iter()
        .filter(|(queue, object)| **object == Object::Queue && ["ears", "bells"].contains(&queue.as_str()))
        .map(|(queue, _)| queue.clone())
        .collect();
    let on = queues.iter().filter(|queue| store.broker.is_on(name, queue)).count() as i64;
    let (undelivered, why) = store.broker.undelivered(name);
    Ok(ResultSet::one(
        &[
            ("", Type::Bit),
            ("", Type::Int),
            ("", Type::Int),
            ("", Type::Int),
            ("", Type::Int),
            ("", Type::NVarChar(2000)),
        ],
        vec![
            store.broker.is_enabled().into(),
            on.into(),
            listeners.into(),
            (store.broker.conversations(name) as i64).into(),
            (undelivered as i64).into(),
            why.into(),
        ],
    ))
}

/// A procedure that waits for messages of the broker.
async fn run_waiting(
    shared: &Shared,
    schema: &str,
    procedure: Procedure,
    arguments: &Arguments,
) -> Result<Vec<ResultSet>, SqlError> {
    match procedure {
        Procedure::Wait => {
            let timeout = milliseconds(arguments.int("timeout_ms")?);
            let heard = wait(shared, schema, arguments.guid("listener")?, timeout).await?;
            let number = match heard {
                Heard::Nothing => 0,
                Heard::Rung => 1,
                Heard::Over => 2,
            };
            Ok(vec![ResultSet::single(Type::Int, number)])
        }
        Procedure::Register => {
            let listener = arguments.guid("listener")?;
            arguments.text("label")?;
            let lifetime = arguments.int("lifetime_seconds")?;
            shared.state().store.register(schema, listener, lifetime)?;
            shared.something_changed();
            let deadline = Instant::now() + PAIRING;
            // Where many register at once, somebody else may collect this one's hello.
            while !shared.state().store.is_paired(schema, listener) && Instant::now() < deadline {
                collect(shared, schema, PAIRING_STEP).await?;
            }
            let ready = shared.state().store.is_paired(schema, listener);
            Ok(vec![ResultSet::single(Type::Bit, ready)])
        }
        _ => {
            collect(shared, schema, milliseconds(arguments.int("wait_ms")?)).await?;
            Ok(Vec::new())
        }
    }
}

/// A negative time-out of WAITFOR never ends; nobody waits for so long.
fn milliseconds(value: i64) -> Duration {
    u64::try_from(value).map_or(Duration::from_secs(86_400), Duration::from_millis)
}

async fn wait(shared: &Shared, schema: &str, listener: Uuid, timeout: Duration) -> Result<Heard, SqlError> {
    let deadline = Instant::now() + timeout;
    let mut changes = shared.changes();
    let Some(ear) = shared.state().store.listen(schema, listener)? else { return Ok(Heard::Over) };
    loop {
        changes.mark_unchanged();
        if let Some(heard) = shared.state().store.hear(schema, listener, ear)? {
            return Ok(heard);
        }
        if timeout_at(deadline, changes.changed()).await.is_err() {
            return Ok(Heard::Nothing);
        }
    }
}

/// Waits for a first message in "bells", and takes all that are there.
async fn collect(shared: &Shared, schema: &str, timeout: Duration) -> Result<(), SqlError> {
    let deadline = Instant::now() + timeout;
    let mut changes = shared.changes();
    loop {
        changes.mark_unchanged();
        let any = shared.state().store.collect(schema)?;
        if any || timeout_at(deadline, changes.changed()).await.is_err() {
            return Ok(());
        }
    }
}
