//! SQL batches: [`run`].
//!
//! This is no interpreter of T-SQL: it knows the few forms of statements that the installer of scaleout, its scripts for
//! administrators and its checks consist of, and answers everything else with error 102.

mod create;
mod expressions;
mod known;
mod select;

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{
    error::SqlError,
    objects::{Change, Transaction},
    results::ResultSet,
    shared::{Settings, Shared, State},
    sql::{self, Word},
    store::SessionId,
    tds::Value,
};

/// Runs a batch: what it has answered with, and how it failed if it did; `cancelled` ends what waits.
pub(crate) async fn run(
    shared: &Shared,
    session: SessionId,
    text: &str,
    cancelled: &CancellationToken,
) -> (Vec<ResultSet>, Option<SqlError>) {
    let words = match sql::words(text) {
        Ok(words) => words,
        Err(error) => return (Vec::new(), Some(error)),
    };
    if let Some(error) = unknown(&mut shared.state(), session, text) {
        return (Vec::new(), Some(error));
    }
    if shared.state().faults.stalled.iter().any(|stalled| text.contains(stalled.as_str())) {
        cancelled.cancelled().await;
        return (Vec::new(), Some(SqlError::new(0, "the request was cancelled")));
    }
    let started = Instant::now();
    let mut changes = shared.changes();
    loop {
        changes.mark_unchanged();
        let ended = {
            let mut state = shared.state();
            if state.is_forsaken(session) {
                return (Vec::new(), Some(SqlError::shutdown()));
            }
            let mut batch = Statements::new(&mut state, &shared.settings, session, words.clone());
            batch.lock_wait = started.elapsed();
            let outcome = batch.all();
            let results = std::mem::take(&mut batch.results);
            match outcome {
                Ok(()) => Ok((results, None)),
                Err(Stop::Error(error)) => Ok((results, Some(error))),
                Err(Stop::Locked(deadline)) => Err(started + deadline),
            }
        };
        shared.something_changed();
        match ended {
            Ok(outcome) => return outcome,
            // What the batch did before it met the lock has been undone; it begins again.
            Err(deadline) => {
                changes.mark_unchanged();
                tokio::select! {
                    _ = timeout_at(deadline, changes.changed()) => (),
                    () = cancelled.cancelled() => {
                        return (Vec::new(), Some(SqlError::new(0, "the request was cancelled")));
                    }
                }
            }
        }
    }
}

/// The error of a batch that has something in it of which a test says that the server does not know it.
fn unknown(state: &mut State, session: SessionId, text: &str) -> Option<SqlError> {
    let unknown = state.faults.unknown.iter().find(|unknown| text.contains(unknown.as_str()))?;
    let error = SqlError::no_object(unknown);
    state.store.roll_back(session);
    Some(error)
}

/// Why a batch does not go on.
enum Stop {
    Error(SqlError),
    /// Somebody else has a lock that it waits for, so long from its beginning at most.
    Locked(Duration),
}

impl From<SqlError> for Stop {
    fn from(error: SqlError) -> Self {
        Self::Error(error)
    }
}

type Step<T = ()> = Result<T, Stop>;

/// A row of a table: values by the names of columns.
type Row = BTreeMap<String, Value>;

/// A batch, and how far it has come. It has the whole store to itself.
struct Statements<'a> {
    state: &'a mut State,
    settings: &'a Settings,
    session: SessionId,
    words: Vec<Word>,
    at: usize,
    variables: BTreeMap<String, Value>,
    /// That expressions are about.
    row: Option<Row>,
    /// How many rows COUNT(*) counts.
    count: Option<usize>,
    results: Vec<ResultSet>,
    /// How long it has waited for a lock.
    lock_wait: Duration,
    /// It has begun the transaction itself.
    began: bool,
}

impl<'a> Statements<'a> {
    fn new(state: &'a mut State, settings: &'a Settings, session: SessionId, words: Vec<Word>) -> Self {
        Self {
            state,
            settings,
            session,
            words,
            at: 0,
            variables: BTreeMap::new(),
            row: None,
            count: None,
            results: Vec::new(),
            lock_wait: Duration::ZERO,
            began: false,
        }
    }

    fn all(&mut self) -> Step {
        let outcome = self.until_end();
        match &outcome {
            // XACT_ABORT is on everywhere: an error ends the transaction.
            Err(Stop::Error(_)) => self.state.store.roll_back(self.session),
            Err(Stop::Locked(_)) if self.began => self.state.store.roll_back(self.session),
            Ok(()) | Err(Stop::Locked(_)) => (),
        }
        outcome
    }

    fn until_end(&mut self) -> Step {
        if let Some(result) = self.known() {
            self.results.push(result);
            return Ok(());
        }
        if self.is_at(&["CREATE", "PROCEDURE"]) || self.is_at(&["CREATE", "FUNCTION"]) {
            // These are all there is of their batch.
            return self.create_module();
        }
        while self.at < self.words.len() {
            self.statement(!self.only_reads())?;
        }
        Ok(())
    }

    /// After `SET NOEXEC ON`.
    fn only_reads(&self) -> bool {
        self.state.reading.contains(&self.session)
    }

    /// One statement, with the semicolon behind it; it is only read where it is not to be done.
    fn statement(&mut self, wanted: bool) -> Step {
        if self.accept(&[";"]) {
            return Ok(());
        }
        if self.accept(&["SET"]) {
            self.set(wanted)?;
        } else if self.accept(&["DECLARE"]) {
            self.skip_to_semicolon();
        } else if self.accept(&["IF"]) {
            return self.branch(wanted);
        } else if self.accept(&["BEGIN", "TRANSACTION"]) {
            if wanted {
                self.begin()?;
            }
        } else if self.accept(&["BEGIN"]) {
            while !self.accept(&["END"]) {
                self.more()?;
                self.statement(wanted)?;
            }
        } else if self.accept(&["COMMIT", "TRANSACTION"]) {
            if wanted {
                self.transaction()?;
                self.state.store.commit(self.session);
            }
        } else if self.accept(&["ROLLBACK", "TRANSACTION"]) {
            if wanted {
                self.transaction()?;
                self.state.store.roll_back(self.session);
            }
        } else if self.accept(&["THROW"]) {
            self.throw(wanted)?;
        } else if self.accept(&["RETURN"]) {
            if wanted {
                self.at = self.words.len();
            }
        } else if self.accept(&["EXEC"]) {
            self.exec(wanted)?;
        } else if self.accept(&["SELECT"]) {
            self.select(wanted)?;
        } else if self.accept(&["CREATE"]) {
            self.create(wanted)?;
        } else if self.accept(&["DROP"]) {
            self.drop_objects(wanted)?;
        } else if self.accept(&["INSERT", "INTO"]) {
            self.insert(wanted)?;
        } else if self.accept(&["UPDATE"]) {
            self.update(wanted)?;
        } else if self.accept(&["DELETE", "FROM"]) {
            let (schema, name) = self.object_name()?;
            if name != "listeners" {
                return Err(self.unknown());
            }
            if wanted {
                self.table(&schema, &name)?;
                self.state.store.change(self.session, Change::DeleteListeners(schema));
            }
        } else if self.is_at(&["GRANT"]) || self.is_at(&["ALTER", "AUTHORIZATION"]) {
            // Rights are not this server's concern, except for those that a test denies.
            self.skip_to_semicolon();
        } else if self.accept(&["ALTER", "DATABASE", "CURRENT", "SET", "ENABLE_BROKER", "WITH", "NO_WAIT"]) {
            if wanted {
                self.enable_broker()?;
            }
        } else {
            return Err(self.unknown());
        }
        self.accept(&[";"]);
        Ok(())
    }

    fn branch(&mut self, wanted: bool) -> Step {
        let holds = self.condition(wanted)?;
        self.statement(wanted && holds)?;
        if self.accept(&["ELSE"]) {
            self.statement(wanted && !holds)?;
        }
        Ok(())
    }

    /// Options of the session, which are what they should be, and values that the server gives its rows by itself.
    fn set(&mut self, wanted: bool) -> Step {
        const OPTIONS: [&str; 7] = [
            "ANSI_NULLS",
            "ANSI_PADDING",
            "ANSI_WARNINGS",
            "NOCOUNT",
            "QUOTED_IDENTIFIER",
            "XACT_ABORT",
            "TRANSACTION",
        ];
        if self.accept(&["NOEXEC", "ON"]) {
            if wanted {
                self.state.reading.insert(self.session);
            }
            return Ok(());
        }
        if self.accept(&["NOEXEC", "OFF"]) {
            self.state.reading.remove(&self.session);
            return Ok(());
        }
        match self.words.get(self.at) {
            Some(Word::Plain(option)) if OPTIONS.contains(&option.to_uppercase().as_str()) => {
                self.skip_to_semicolon();
            }
            Some(Word::Variable(name)) if ["@now", "@epoch", "@store"].contains(&name.as_str()) => {
                self.skip_to_semicolon();
            }
            Some(Word::Variable(name)) => {
                let name = name.clone();
                self.at += 1;
                self.want("=")?;
                let (value, _) = self.expression(wanted)?;
                self.variables.insert(name, value);
            }
            _ => return Err(self.unknown()),
        }
        Ok(())
    }

    fn begin(&mut self) -> Step {
        if self.state.store.transactions.contains_key(&self.session) {
            return Err(SqlError::not_t_sql("a transaction inside a transaction").into());
        }
        self.state.store.transactions.insert(self.session, Transaction::default());
        self.began = true;
        Ok(())
    }

    fn transaction(&self) -> Step {
        if self.state.store.transactions.contains_key(&self.session) {
            return Ok(());
        }
        Err(SqlError::new(3902, "The request has no corresponding BEGIN TRANSACTION.").into())
    }

    fn throw(&mut self, wanted: bool) -> Step {
        let number = match self.expression(wanted)?.0 {
            Value::Int(number) => u32::try_from(number).unwrap_or(0),
            _ => 0,
        };
        self.want(",")?;
        let message = self.text()?;
        self.want(",")?;
        self.expression(wanted)?;
        if wanted { Err(SqlError::new(number, message).into()) } else { Ok(()) }
    }

    /// A text that was built, or a procedure of the server.
    fn exec(&mut self, wanted: bool) -> Step {
        if self.accept(&["("]) {
            let text = self.text()?;
            self.want(")")?;
            if !wanted {
                return Ok(());
            }
            let words = sql::words(&text)?;
            let outer = std::mem::replace(&mut self.words, words);
            let at = std::mem::replace(&mut self.at, 0);
            let outcome = self.until_end();
            (self.words, self.at) = (outer, at);
            return outcome;
        }
        let result = match (self.words.get(self.at), self.words.get(self.at + 1)) {
            (Some(Word::Variable(name)), Some(equals)) if equals.is("=") => {
                let name = name.clone();
                self.at += 2;
                Some(name)
            }
            _ => None,
        };
        if !self.accept(&["sp_getapplock"]) {
            return Err(self.unknown());
        }
        let mut arguments = BTreeMap::new();
        loop {
            let Some(Word::Variable(name)) = self.words.get(self.at).cloned() else {
                return Err(self.unknown());
            };
            self.at += 1;
            self.want("=")?;
            arguments.insert(name.to_lowercase(), self.expression(wanted)?.0);
            if !self.accept(&[","]) {
                break;
            }
        }
        if wanted {
            let granted = self.lock(&arguments)?;
            self.variables.extend(result.map(|name| (name, Value::Int(granted))));
        }
        Ok(())
    }

    /// `sp_getapplock` in a transaction: 0 where it is granted, -1 where the time is over.
    fn lock(&mut self, arguments: &BTreeMap<String, Value>) -> Step<i64> {
        let (Some(Value::Text(resource)), Some(Value::Int(timeout))) =
            (arguments.get("@resource"), arguments.get("@locktimeout"))
        else {
            return Err(SqlError::not_t_sql("sp_getapplock without resource or time-out").into());
        };
        self.transaction()?;
        let holder = *self.state.store.locks.entry(resource.clone()).or_insert(self.session);
        if holder == self.session {
            return Ok(0);
        }
        let timeout = u64::try_from(*timeout).map_or(Duration::MAX, Duration::from_millis);
        if self.lock_wait >= timeout { Ok(-1) } else { Err(Stop::Locked(timeout)) }
    }

    fn enable_broker(&mut self) -> Step {
        if self.settings.edition == 5 {
            return Err(SqlError::not_t_sql("ENABLE_BROKER in an edition without it").into());
        }
        if !self.state.faults.permits("ALTER") {
            let message = format!(
                "User does not have permission to alter database '{}', the database does not exist, or the database is \
                 not in a state that allows access checks.",
                self.state.store.database
            );
            return Err(SqlError::of_class(5011, 14, message).into());
        }
        if self.state.sessions.len() > 1 {
            let message = format!(
                "Database state cannot be changed while other users are using the database '{}'",
                self.state.store.database
            );
            return Err(SqlError::new(5070, message).into());
        }
        self.state.store.broker.set_enabled(true);
        Ok(())
    }

    fn is_at(&self, keywords: &[&str]) -> bool {
        let words = self.words.get(self.at..self.at + keywords.len());
        words.is_some_and(|words| words.iter().zip(keywords).all(|(word, keyword)| word.is(keyword)))
    }

    fn accept(&mut self, keywords: &[&str]) -> bool {
        let is_at = self.is_at(keywords);
        if is_at {
            self.at += keywords.len();
        }
        is_at
    }

    fn want(&mut self, keyword: &str) -> Step {
        if self.accept(&[keyword]) { Ok(()) } else { Err(self.unknown()) }
    }

    fn more(&self) -> Step {
        if self.at < self.words.len() { Ok(()) } else { Err(self.unknown()) }
    }

    fn text(&mut self) -> Step<String> {
        match self.words.get(self.at) {
            Some(Word::Text(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.unknown()),
        }
    }

    fn name(&mut self) -> Step<String> {
        match self.words.get(self.at).and_then(Word::name) {
            Some(name) => {
                let name = name.to_owned();
                self.at += 1;
                Ok(name)
            }
            None => Err(self.unknown()),
        }
    }

    /// `schema.name`.
    fn object_name(&mut self) -> Step<(String, String)> {
        let schema = self.name()?;
        self.want(".")?;
        Ok((schema, self.name()?))
    }

    fn skip_to_semicolon(&mut self) {
        while self.words.get(self.at).is_some_and(|word| !word.is(";")) {
            self.at += 1;
        }
    }

    /// Whatever comes here has not been taught to this server.
    fn unknown(&self) -> Stop {
        let around: Vec<String> =
            self.words.iter().skip(self.at.saturating_sub(8)).take(24).map(Word::to_string).collect();
        SqlError::not_t_sql(around.join(" ")).into()
    }
}
