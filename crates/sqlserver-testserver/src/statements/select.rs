//! SELECT, of very few tables.

use super::{Row, Statements, Step, expressions::kind_of};
use crate::{
    error::SqlError,
    results::ResultSet,
    sql::Word,
    tds::{Column, Type, Value},
};

impl Statements<'_> {
    /// Behind SELECT: answers with its rows.
    pub(super) fn select(&mut self, wanted: bool) -> Step {
        if self.is_at(&["o", ".", "name"]) {
            return self.missing(wanted);
        }
        let result = self.rows_of_select(wanted)?;
        if wanted {
            self.results.push(result);
        }
        Ok(())
    }

    /// Behind SELECT: its rows.
    pub(super) fn rows_of_select(&mut self, wanted: bool) -> Step<ResultSet> {
        let list = self.at;
        // Expressions want a row, so where that comes from is looked at first.
        let mut depth = 0;
        while let Some(word) = self.words.get(self.at) {
            match word {
                Word::Symbol('(') => depth += 1,
                Word::Symbol(')') if depth == 0 => break,
                Word::Symbol(')') => depth -= 1,
                Word::Symbol(';') => break,
                _ if depth == 0 && (word.is("FROM") || word.is("WHERE") || word.is("ELSE")) => break,
                _ => (),
            }
            self.at += 1;
        }
        let rows = if self.accept(&["FROM"]) { self.from(wanted)? } else { vec![Row::new()] };
        let filter = self.accept(&["WHERE"]).then_some(self.at);
        let mut end = self.at;
        let mut result = ResultSet { columns: Vec::new(), rows: Vec::new() };
        // One more, for the columns and the end of the text where there are no rows.
        for row in rows.into_iter().map(Some).chain([None]) {
            let is_row = row.is_some();
            self.row = row;
            let mut chosen = is_row;
            if let Some(filter) = filter {
                self.at = filter;
                let holds = self.condition(wanted && is_row)?;
                chosen &= holds;
                end = self.at;
            }
            self.at = list;
            let (columns, values) = self.select_list(wanted && is_row)?;
            if result.columns.is_empty() {
                result.columns = columns;
            }
            if chosen {
                result.rows.push(values);
            }
        }
        self.row = None;
        self.at = end;
        Ok(result)
    }

    fn select_list(&mut self, wanted: bool) -> Step<(Vec<Column>, Vec<Value>)> {
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        loop {
            let (value, ty) = self.expression(wanted)?;
            if self.accept(&["AS"]) {
                self.name()?;
            }
            columns.push(Column { name: "", ty });
            values.push(value);
            if !self.accept(&[","]) {
                break;
            }
        }
        // Whatever is left of the list is something else than was understood.
        let ends = ["FROM", "WHERE", "ELSE", ";", ")"];
        if self.at < self.words.len() && !ends.iter().any(|end| self.is_at(&[end])) {
            return Err(self.unknown());
        }
        Ok((columns, values))
    }

    /// Behind FROM: a table and its alias.
    fn from(&mut self, wanted: bool) -> Step<Vec<Row>> {
        let (schema, name) = self.object_name()?;
        if self.accept(&["AS"]) {
            self.name()?;
        }
        if !wanted {
            return Ok(Vec::new());
        }
        let store = &self.state.store;
        Ok(match (schema.as_str(), name.as_str()) {
            ("sys", "databases") => vec![Row::from([
                ("database_id", Value::Int(5)),
                ("name", store.database.as_str().into()),
                ("is_broker_enabled", store.broker.is_enabled().into()),
            ])],
            ("sys", "services") => {
                let committed = store.broker.services.keys().cloned();
                let here = store.created_services(self.session);
                let names: Vec<String> = committed.chain(here).collect();
                names
                    .into_iter()
                    .filter(|name| store.has_service(self.session, name))
                    .map(|name| Row::from([("name", Value::Text(name))]))
                    .collect()
            }
            (_, "layout") => {
                self.table(&schema, &name)?;
                let found = store.schemas.get(&schema);
                let rows = found.and_then(|schema| Some((schema.streams.len(), schema.layout.as_ref()?)));
                rows.into_iter()
                    .map(|(table_count, layout)| {
                        Row::from([
                            ("schema_version", layout.schema_version.into()),
                            ("compatible_from", layout.compatible_from.into()),
                            ("app", layout.app.as_str().into()),
                            ("table_count", (table_count as i64).into()),
                            ("epoch", layout.epoch.into()),
                            ("store", layout.store.as_str().into()),
                        ])
                    })
                    .collect()
            }
            _ => return Err(self.unknown()),
        })
    }

    /// The question of the mode "verify": which objects of a list are missing or may not be executed. The one statement
    /// that is known as a whole.
    fn missing(&mut self, wanted: bool) -> Step {
        let end = self.words.len() - usize::from(self.words.last().is_some_and(|word| word.is(";")));
        let words = self.words[self.at..end].to_vec();
        let asks = |keyword: &str| words.iter().any(|word| word.is(keyword));
        if !asks("HAS_PERMS_BY_NAME") || !asks("VALUES") {
            return Err(self.unknown());
        }
        self.at = end;
        let mut listed = Vec::new();
        let mut prefix = None;
        for window in words.windows(5) {
            match window {
                [open, Word::Text(name), comma, Word::Text(kind), close]
                    if open.is("(") && comma.is(",") && close.is(")") =>
                {
                    listed.push((name.clone(), kind.clone()));
                }
                [function, open, Word::Text(text), plus, _]
                    if function.is("OBJECT_ID") && open.is("(") && plus.is("+") =>
                {
                    prefix = Some(text.clone());
                }
                _ => (),
            }
        }
        let schema = prefix.and_then(|prefix| crate::sql::two_part_name(&format!("{prefix}x")));
        let Some((schema, _)) = schema else { return Err(self.unknown()) };
        if !wanted {
            return Ok(());
        }
        let store = &self.state.store;
        let kind = |name: &str| store.object(self.session, &schema, name).map(|object| kind_of(&object));
        let sees_tables = kind("layout").is_some();
        let mut result = ResultSet::new(&[("name", Type::NVarChar(128)), ("", Type::Int)]);
        for (name, wanted) in listed {
            let is_there = kind(&name) == Some(wanted.as_str());
            let missed = match wanted.as_str() {
                "P" => !is_there || self.state.faults.denies(&name),
                "U" => !is_there && sees_tables,
                _ => return Err(SqlError::not_t_sql(format!("a kind of object {wanted}")).into()),
            };
            if missed {
                result.rows.push(vec![Value::Text(name), i64::from(is_there).into()]);
            }
        }
        self.results.push(result);
        Ok(())
    }
}
