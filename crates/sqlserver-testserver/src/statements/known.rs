//! Statements that are recognised whole, word by word: look-ups in the catalogue, which go beyond what the rest of this
//! module reads.
//!
//! Their texts are written here again, so that one that is changed in the provider is refused until this server has been
//! taught what it means.

use super::{Statements, expressions::kind_of};
use crate::{
    results::ResultSet,
    sql::{self, Word, two_part_name},
    store::{Object, now},
    tds::{Type, Value},
};

/// A text in it that begins so is any text.
const ANY: char = '$';

const SERVER: &str = "SELECT CAST(SERVERPROPERTY(N'ProductVersion') AS nvarchar(128)),
    CAST(SERVERPROPERTY(N'EngineEdition') AS int), CAST(SERVERPROPERTY(N'Edition') AS nvarchar(128)),
    CAST(SERVERPROPERTY(N'BabelfishVersion') AS nvarchar(128)), USER_NAME();";

const DATABASE: &str = "SELECT d.compatibility_level, d.is_read_committed_snapshot_on, d.delayed_durability
    FROM sys.databases AS d WHERE d.name = DB_NAME();";

const CLOCK: &str = "SELECT DATEDIFF_BIG(microsecond, '1970-01-01', SYSUTCDATETIME());";

const PERMISSIONS: &str = "SELECT p.class, p.name,
    CASE WHEN p.class = N'SCHEMA' AND SCHEMA_ID(N'$') IS NULL THEN NULL ELSE HAS_PERMS_BY_NAME(
        CASE p.class WHEN N'SCHEMA' THEN N'$' ELSE QUOTENAME(DB_NAME()) END, p.class, p.name) END
    FROM (VALUES (N'DATABASE', N'CREATE SCHEMA'), (N'DATABASE', N'CREATE TABLE'), (N'DATABASE', N'CREATE PROCEDURE'),
        (N'DATABASE', N'CREATE FUNCTION'), (N'DATABASE', N'CREATE QUEUE'), (N'DATABASE', N'CREATE SERVICE'),
        (N'DATABASE', N'ALTER'), (N'SCHEMA', N'EXECUTE'), (N'SCHEMA', N'ALTER'), (N'SCHEMA', N'SELECT'),
        (N'SCHEMA', N'INSERT'), (N'SCHEMA', N'UPDATE')) AS p (class, name);";

const CONTENTS: &str = "SELECT o.name, CAST(RTRIM(o.type) AS nvarchar(2))
    FROM sys.objects AS o WHERE o.schema_id = SCHEMA_ID(N'$') AND o.parent_object_id = 0 ORDER BY o.name;
    SELECT t.name, N'TY' FROM sys.types AS t WHERE t.schema_id = SCHEMA_ID(N'$');
    SELECT x.name, N'XC' FROM sys.xml_schema_collections AS x WHERE x.schema_id = SCHEMA_ID(N'$');";

const SIZES: &str = "SELECT o.name,
    (SELECT SUM(p.rows) FROM sys.partitions AS p WHERE p.object_id = o.object_id AND p.index_id IN (0, 1)),
    (SELECT SUM(a.total_pages) * 8192 FROM sys.partitions AS p JOIN sys.allocation_units AS a
        ON a.container_id = CASE a.type WHEN 2 THEN p.partition_id ELSE p.hobt_id END WHERE p.object_id = o.object_id)
    FROM sys.objects AS o WHERE o.schema_id = SCHEMA_ID(N'$') AND o.type = 'U' ORDER BY o.name;";

const SERVICES: &str = "SELECT s.name, (SELECT COUNT(*) FROM sys.conversation_endpoints AS e
        WHERE e.service_id = s.service_id AND e.state <> N'CD')
    FROM sys.services AS s WHERE s.name IN (N'$', N'$') ORDER BY s.name;";

/// What a page holds.
const PAGE: i64 = 8192;

impl Statements<'_> {
    /// What a batch yields, if it is one of these.
    pub(super) fn known(&self) -> Option<ResultSet> {
        // Whoever waits for a lock comes here again and again.
        if !self.words.first().is_some_and(|first| first.is("SELECT")) {
            return None;
        }
        if self.fits(SERVER).is_some() {
            return Some(self.server());
        }
        if self.fits(DATABASE).is_some() {
            return Some(self.database());
        }
        if self.fits(CLOCK).is_some() {
            return Some(self.clock());
        }
        if let Some([schema, quoted]) = self.fits(PERMISSIONS).as_deref() {
            // `[x]` is that name in brackets.
            let (unquoted, _) = two_part_name(&format!("{quoted}.x"))?;
            return (unquoted == *schema).then(|| self.permissions(schema));
        }
        if let Some([schema, of_types, of_collections]) = self.fits(CONTENTS).as_deref() {
            // One result instead of three: whoever asks takes all rows.
            return (schema == of_types && schema == of_collections).then(|| self.contents(schema));
        }
        if let Some([schema]) = self.fits(SIZES).as_deref() {
            return Some(self.sizes(schema));
        }
        let services = self.fits(SERVICES)?;
        Some(self.services(&services))
    }

    /// The texts in the places of [`ANY`], where the batch is this one word by word.
    fn fits(&self, known: &str) -> Option<Vec<String>> {
        let known = sql::words(known).ok()?;
        if known.len() != self.words.len() {
            return None;
        }
        let mut texts = Vec::new();
        for (known, word) in known.iter().zip(&self.words) {
            match (known, word) {
                (Word::Text(any), Word::Text(text)) if any.starts_with(ANY) => texts.push(text.clone()),
                _ if known == word => {}
                _ => return None,
            }
        }
        Some(texts)
    }

    fn server(&self) -> ResultSet {
        let settings = self.settings;
        let edition = if settings.edition == 5 { "SQL Azure" } else { "Enterprise Edition (test server)" };
        ResultSet::one(
            &[
                ("", Type::NVarChar(128)),
                ("", Type::Int),
                ("", Type::NVarChar(128)),
                ("", Type::NVarChar(128)),
                ("", Type::NVarChar(128)),
            ],
            vec![
                settings.version.as_str().into(),
                settings.edition.into(),
                edition.into(),
                settings.babelfish.clone().map_or(Value::Null, Value::Text),
                "dbo".into(),
            ],
        )
    }

    fn database(&self) -> ResultSet {
        let faults = &self.state.faults;
        ResultSet::one(
            &[("", Type::Int), ("", Type::Bit), ("", Type::Int)],
            vec![Value::Int(160), (!faults.locks_readers).into(), Value::Int(0)],
        )
    }

    fn clock(&self) -> ResultSet {
        let clock = now().saturating_add(self.state.faults.clock_ahead);
        ResultSet::one(&[("", Type::BigInt)], vec![clock.into()])
    }

    fn permissions(&self, schema: &str) -> ResultSet {
        let there = self.state.store.has_schema(self.session, schema);
        let mut result =
            ResultSet::new(&[("", Type::NVarChar(8)), ("", Type::NVarChar(16)), ("", Type::Int)]);
        let create = ["SCHEMA", "TABLE", "PROCEDURE", "FUNCTION", "QUEUE", "SERVICE"];
        let of_database = create.map(|what| format!("CREATE {what}")).into_iter().chain(["ALTER".into()]);
        for name in of_database {
            let may = self.state.faults.permits(&name);
            result.rows.push(vec!["DATABASE".into(), Value::Text(name), i64::from(may).into()]);
        }
        for name in ["EXECUTE", "ALTER", "SELECT", "INSERT", "UPDATE"] {
            let may = there.then(|| i64::from(self.state.faults.permits(name)));
            result.rows.push(vec!["SCHEMA".into(), name.into(), may.into()]);
        }
        result
    }

    fn contents(&self, schema: &str) -> ResultSet {
        let mut result = ResultSet::new(&[("", Type::NVarChar(128)), ("", Type::NVarChar(2))]);
        for (name, object) in self.objects_seen(schema) {
            result.rows.push(vec![Value::Text(name), kind_of(&object).into()]);
        }
        result
    }

    fn sizes(&self, schema: &str) -> ResultSet {
        let mut result = ResultSet::new(&[("", Type::NVarChar(128)), ("", Type::BigInt), ("", Type::BigInt)]);
        for (name, object) in self.objects_seen(schema) {
            if let Some((rows, bytes)) = self.size(schema, &name, &object) {
                result.rows.push(vec![Value::Text(name), rows.into(), bytes.into()]);
            }
        }
        result
    }

    /// What the user sees in a schema.
    fn objects_seen(&self, schema: &str) -> impl Iterator<Item = (String, Object)> {
        let objects = self.state.store.objects(self.session).into_iter();
        let seen = objects.filter(move |(of, _, object)| of == schema && !self.is_hidden(object));
        seen.map(|(_, name, object)| (name, object))
    }

    /// Whether the user does not see such an object.
    pub(super) fn is_hidden(&self, object: &Object) -> bool {
        self.state.faults.hides_tables && matches!(object, Object::Table | Object::Foreign)
    }

    /// Rows and bytes of a table; each takes whole pages, and payloads are all that is counted.
    fn size(&self, schema: &str, name: &str, object: &Object) -> Option<(i64, i64)> {
        if !matches!(object, Object::Table | Object::Foreign) {
            return None;
        }
        let schema = self.state.store.schemas.get(schema)?;
        let stream = name.strip_prefix("messages_").and_then(|number| number.parse::<usize>().ok());
        let (rows, payload) = match (name, stream.and_then(|stream| schema.streams.get(stream))) {
            (_, Some(stream)) => {
                (stream.rows.len(), stream.rows.iter().map(|row| row.payload.len()).sum::<usize>())
            }
            ("layout", _) => (usize::from(schema.layout.is_some()), 0),
            ("streams", _) => (schema.streams.len(), 0),
            ("epochs", _) => (schema.epochs.len(), 0),
            ("senders", _) => (schema.senders.len(), 0),
            ("listeners", _) => (schema.listeners.len(), 0),
            _ => (0, 0),
        };
        let pages = i64::try_from(payload).unwrap_or(i64::MAX) / PAGE + 1;
        Some((i64::try_from(rows).unwrap_or(i64::MAX), pages.saturating_mul(PAGE)))
    }

    fn services(&self, names: &[String]) -> ResultSet {
        let store = &self.state.store;
        let mut result = ResultSet::new(&[("", Type::NVarChar(128)), ("", Type::Int)]);
        for name in store.services(self.session).into_iter().filter(|name| names.contains(name)) {
            let queue = store.broker.services.get(&name);
            let ends = queue.map_or(0, |(schema, queue)| store.broker.conversations_of(schema, queue));
            result.rows.push(vec![Value::Text(name), i64::try_from(ends).unwrap_or(i64::MAX).into()]);
        }
        result
    }
}
