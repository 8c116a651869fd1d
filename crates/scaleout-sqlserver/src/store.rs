//! Where the store stands: what `positions` answers, and what follows from it.

use scaleout_core::{
    Error, ErrorKind, Start,
    provider::{Head, Place},
};
use tiberius::Row;

use crate::{
    config::SqlServerConfig,
    error::{Failure, Trouble},
    link::{Call, Link, Values},
    sql::SCHEMA_VERSION,
};

/// The row that all nodes of an app must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) schema_version: u64,
    pub(crate) compatible_from: u64,
    pub(crate) app: String,
    pub(crate) table_count: u64,
    pub(crate) epoch: u64,
    /// It is the copy of the database that the epoch was opened on.
    pub(crate) is_same_store: bool,
}

/// Where the streams stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Positions {
    /// `None`: the tables are there, and the installer has not finished, or somebody emptied them.
    pub(crate) layout: Option<Layout>,
    /// By stream.
    pub(crate) streams: Vec<Lineage>,
}

/// The epochs of one stream, and its last row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lineage {
    /// The newest epoch.
    pub(crate) epoch: u64,
    first_seq: i64,
    pub(crate) last_seq: i64,
    /// Oldest first; those that still have rows.
    epochs: Vec<Opening>,
}

/// The beginning of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Opening {
    epoch: u64,
    first_seq: i64,
    after: Option<Place>,
}

impl Positions {
    /// Asks for them; `procedure` is the quoted name of `positions`.
    pub(crate) async fn of(link: &mut Link, procedure: &str) -> Result<Self, Failure> {
        Self::read(link.call(Call::new(procedure)).await?)
    }

    /// Reads the three results of `positions`.
    pub(crate) fn read(results: Vec<Vec<Row>>) -> Result<Self, Failure> {
        let [layout, streams, epochs] = <[Vec<Row>; 3]>::try_from(results)
            .map_err(|results| Failure::Answer(format!("positions came as {} results", results.len())))?;
        let layout = layout.into_iter().next().map(layout_of).transpose()?;
        let mut lineages = Vec::with_capacity(streams.len());
        for row in streams {
            let mut values = Values::of(row);
            if values.number()? != lineages.len() as u64 {
                return Err(Failure::Answer("a stream is missing".into()));
            }
            let (epoch, first_seq, last_seq) = (values.number()?, values.seq()?, values.seq()?);
            if last_seq < first_seq {
                return Err(Failure::Answer("a stream ends before its epoch begins".into()));
            }
            lineages.push(Lineage { epoch, first_seq, last_seq, epochs: Vec::new() });
        }
        for row in epochs {
            let mut values = Values::of(row);
            let stream = usize::try_from(values.number()?).unwrap_or(usize::MAX);
            let (epoch, first_seq) = (values.number()?, values.seq()?);
            let after = place_of(values.number_if_any()?, values.number_if_any()?);
            if let Some(lineage) = lineages.get_mut(stream) {
                lineage.epochs.push(Opening { epoch, first_seq, after });
            }
        }
        Ok(Self { layout, streams: lineages })
    }
}

impl Layout {
    /// Whether a node with these settings belongs to it.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) or [`Unsupported`](ErrorKind::Unsupported), which name both sides.
    pub(crate) fn check(&self, config: &SqlServerConfig) -> Result<(), Error> {
        self.trouble(config).map_or(Ok(()), |trouble| Err(trouble.into_error()))
    }

    /// Why a node with these settings does not belong to it.
    pub(crate) fn trouble(&self, config: &SqlServerConfig) -> Option<Trouble> {
        let (schema, found) = (&config.schema, self.table_count);
        if !self.is_of(config) {
            let what = format!(
                "schema {schema} belongs to the app {}, and this node is of {}",
                self.app, config.app
            );
            let fix = "set schema to another one, since each app has a schema of its own";
            return Some(Trouble::new(ErrorKind::Config, what).mended_by(fix));
        }
        let tables = config.table_count;
        if found != u64::from(tables.get()) {
            let what =
                format!("schema {schema} has {found} message tables, and this node is set to {tables}");
            let fix = format!("set table_count={found}, since all nodes of an app agree on it");
            return Some(Trouble::new(ErrorKind::Config, what).mended_by(fix));
        }
        if self.compatible_from > SCHEMA_VERSION {
            let what = format!(
                "schema {schema} has version {}, which needs nodes of version {} or later, and this node knows version \
                 {SCHEMA_VERSION}",
                self.schema_version, self.compatible_from
            );
            return Some(Trouble::new(ErrorKind::Unsupported, what).mended_by("update scaleout-sqlserver"));
        }
        None
    }

    /// Whether it is that of the app of these settings.
    pub(crate) fn is_of(&self, config: &SqlServerConfig) -> bool {
        self.app == config.app.as_str()
    }
}

fn layout_of(row: Row) -> Result<Layout, Failure> {
    let mut values = Values::of(row);
    Ok(Layout {
        schema_version: values.number()?,
        compatible_from: values.number()?,
        app: values.text()?,
        table_count: values.number()?,
        epoch: values.number()?,
        is_same_store: values.number()? == 1,
    })
}

/// A place that two columns name together.
pub(crate) fn place_of(epoch: Option<u64>, id: Option<u64>) -> Option<Place> {
    Some(Place { epoch: epoch?, id: id? })
}

impl Lineage {
    pub(crate) fn head(&self) -> Head {
        let after = self.epochs.iter().rev().find(|opening| opening.epoch == self.epoch);
        Head { last: self.last(), after: after.and_then(|opening| opening.after) }
    }

    /// The place of the last row.
    pub(crate) fn last(&self) -> Place {
        Place { epoch: self.epoch, id: self.last_seq.abs_diff(self.first_seq) }
    }

    /// The row before the first one of the newest epoch.
    pub(crate) fn before(&self) -> i64 {
        self.first_seq - 1
    }

    /// The row behind which a new reception reads, and its place.
    ///
    /// Rows have no holes, so that it is counted without reading; a row that opens an epoch carries nothing and is not
    /// counted.
    pub(crate) fn start(&self, start: Start) -> (i64, Place) {
        let Start::Backlog { payloads } = start else { return (self.last_seq, self.last()) };
        let mut wanted = payloads as u64;
        let mut upto = self.last_seq;
        for opening in self.epochs.iter().rev() {
            let frames = u64::try_from(upto - opening.first_seq).unwrap_or(0);
            if wanted <= frames {
                let id = frames - wanted;
                return (opening.first_seq.saturating_add_unsigned(id), Place { epoch: opening.epoch, id });
            }
            wanted -= frames;
            upto = opening.first_seq - 1;
        }
        (BEFORE_ALL, Place::START)
    }

    /// The row behind which a reception goes on that has read up to row `seq` at `place`, when `known` was the newest epoch.
    ///
    /// Where the store forgot rows, those of a later epoch have numbers that were read before. Where nobody knows what a
    /// later epoch continues, rows before it may be of another history than those that were read, and are passed over.
    pub(crate) fn resume(&self, seq: i64, place: Place, known: u64) -> i64 {
        if let Some(opening) = self.of_unknown_origin(known) {
            return opening.first_seq - 1;
        }
        let later = self.epochs.iter().filter(|opening| opening.epoch > place.epoch);
        later.map(|opening| opening.first_seq - 1).min().map_or(seq, |before| before.min(seq))
    }

    /// Whether the row `seq`, which was read at `place` when `known` was the newest epoch, has to be there unless it was
    /// trimmed.
    pub(crate) fn includes(&self, seq: i64, place: Place, known: u64) -> bool {
        self.of_unknown_origin(known).is_none()
            && self.resume(seq, place, known) == seq
            && seq <= self.last_seq
    }

    /// The last epoch after `known` that continues nothing, as far as anybody knows.
    fn of_unknown_origin(&self, known: u64) -> Option<&Opening> {
        self.epochs.iter().rev().find(|opening| opening.epoch > known && opening.after.is_none())
    }
}

/// The first row of a stream has number 0.
pub(crate) const BEFORE_ALL: i64 = -1;
