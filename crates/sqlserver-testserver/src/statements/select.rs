//! SELECT, of very few tables.

use super::{
    Row, Statements, Step,
    expressions::{kind_of, schema_id},
};
use crate::{
    results::ResultSet,
    sql::Word,
    store::Object,
    tds::{Column, Type, Value},
};

/// What may come behind the list of a SELECT.
const ENDS: [&str; 6] = ["FROM", "WHERE", "ELSE", "END", ";", ")"];

/// What a SELECT yields, with the names that a SELECT around it sees.
pub(super) struct Selected {
    names: Vec<String>,
    pub(super) result: ResultSet,
}

impl Statements<'_> {
    /// Behind SELECT: answers with its rows.
    pub(super) fn select(&mut self, wanted: bool) -> Step {
        let result = self.selected(wanted)?.result;
        if wanted {
            self.results.push(result);
        }
        Ok(())
    }

    /// Behind SELECT: its rows.
    pub(super) fn selected(&mut self, wanted: bool) -> Step<Selected> {
        let list = self.at;
        let counts = self.skip_list();
        // Expressions want a row, so where that comes from is looked at first.
        let rows = if self.accept(&["FROM"]) { self.from(wanted)? } else { vec![Row::new()] };
        let filter = self.accept(&["WHERE"]).then_some(self.at);
        let mut end = self.at;
        let outer = (self.row.take(), self.count.take());
        let mut chosen = Vec::new();
        // One more, for the end of the text where there are no rows.
        for row in rows.into_iter().map(Some).chain([None]) {
            self.row.clone_from(&row);
            let holds = match filter {
                Some(filter) => {
                    self.at = filter;
                    let holds = self.condition(wanted && row.is_some())?;
                    end = self.at;
                    holds
                }
                None => true,
            };
            chosen.extend(row.filter(|_| holds));
        }
        if counts {
            self.count = Some(chosen.len());
            chosen = vec![Row::new()];
        }
        let mut selected =
            Selected { names: Vec::new(), result: ResultSet { columns: Vec::new(), rows: Vec::new() } };
        // One more, for the columns where there are no rows.
        for row in chosen.into_iter().map(Some).chain([None]) {
            let is_row = row.is_some();
            self.row = row;
            self.at = list;
            let (names, columns, values) = self.select_list(wanted && is_row)?;
            if selected.names.is_empty() {
                selected.names = names;
                selected.result.columns = columns;
            }
            if is_row {
                selected.result.rows.push(values);
            }
        }
        (self.row, self.count) = outer;
        self.at = end;
        Ok(selected)
    }

    /// Goes to the end of a list; whether it counts rows.
    fn skip_list(&mut self) -> bool {
        let (mut brackets, mut cases, mut counts) = (0, 0, false);
        while let Some(word) = self.words.get(self.at) {
            match word {
                _ if brackets + cases == 0 && ENDS.iter().any(|end| word.is(end)) => break,
                Word::Symbol('(') => brackets += 1,
                Word::Symbol(')') => brackets -= 1,
                _ if word.is("CASE") => cases += 1,
                _ if word.is("END") => cases -= 1,
                _ => counts |= brackets == 0 && word.is("COUNT"),
            }
            self.at += 1;
        }
        counts
    }

    fn select_list(&mut self, wanted: bool) -> Step<(Vec<String>, Vec<Column>, Vec<Value>)> {
        let (mut names, mut columns, mut values) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let (value, ty) = self.expression(wanted)?;
            let last = self.words.get(self.at - 1).and_then(Word::name).unwrap_or_default().to_owned();
            names.push(if self.accept(&["AS"]) { self.name()? } else { last });
            columns.push(Column { name: "", ty });
            values.push(value);
            if !self.accept(&[","]) {
                break;
            }
        }
        // Whatever is left of the list is something else than was understood.
        if self.at < self.words.len() && !ENDS.iter().any(|end| self.is_at(&[end])) {
            return Err(self.unknown());
        }
        Ok((names, columns, values))
    }

    /// Behind FROM: a table, or something in brackets, and its alias.
    fn from(&mut self, wanted: bool) -> Step<Vec<Row>> {
        if self.accept(&["("]) {
            let (names, rows) = if self.accept(&["VALUES"]) {
                let rows = self.values(wanted)?;
                self.want(")")?;
                self.want("AS")?;
                self.name()?;
                (self.names()?, rows)
            } else {
                self.want("SELECT")?;
                let selected = self.selected(wanted)?;
                self.want(")")?;
                self.want("AS")?;
                self.name()?;
                (selected.names, selected.result.rows)
            };
            let rows = rows.into_iter().map(|values| names.iter().cloned().zip(values).collect());
            return Ok(if wanted { rows.collect() } else { Vec::new() });
        }
        let (schema, name) = self.object_name()?;
        if self.accept(&["AS"]) {
            self.name()?;
        }
        if wanted { self.rows_of(&schema, &name) } else { Ok(Vec::new()) }
    }

    /// Behind VALUES: `(a, b), (c, d)`.
    fn values(&mut self, wanted: bool) -> Step<Vec<Vec<Value>>> {
        let mut rows = Vec::new();
        loop {
            self.want("(")?;
            let mut row = vec![self.expression(wanted)?.0];
            while self.accept(&[","]) {
                row.push(self.expression(wanted)?.0);
            }
            self.want(")")?;
            rows.push(row);
            if !self.accept(&[","]) {
                return Ok(rows);
            }
        }
    }

    fn rows_of(&self, schema: &str, name: &str) -> Step<Vec<Row>> {
        let store = &self.state.store;
        Ok(match (schema, name) {
            ("sys", "databases") => vec![row([
                ("name", store.database.as_str().into()),
                ("is_broker_enabled", store.broker.is_enabled().into()),
            ])],
            ("sys", "types") => self.of_schemas(|object| matches!(object, Object::ForeignType)),
            // Nobody makes any here.
            ("sys", "xml_schema_collections") => Vec::new(),
            ("sys", "services") => store
                .services(self.session)
                .into_iter()
                .map(|name| row([("name", Value::Text(name))]))
                .collect(),
            ("sys", "objects") => self.of_schemas(|object| !matches!(object, Object::ForeignType)),
            (_, "layout") => {
                self.table(schema, name)?;
                let found = store.schemas.get(schema);
                let rows = found.and_then(|schema| Some((schema.streams.len(), schema.layout.as_ref()?)));
                rows.into_iter()
                    .map(|(table_count, layout)| {
                        row([
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

    /// What the schemas have.
    fn of_schemas(&self, wanted: impl Fn(&Object) -> bool) -> Vec<Row> {
        let objects = self.state.store.objects(self.session).into_iter();
        let row = |(schema, name, object): (String, String, Object)| {
            row([
                ("schema_id", schema_id(&schema).into()),
                ("name", Value::Text(name)),
                ("type", kind_of(&object).into()),
            ])
        };
        objects.filter(|(.., object)| wanted(object)).map(row).collect()
    }

    /// `(SELECT ...)`, behind SELECT, where one value is wanted.
    pub(super) fn scalar(&mut self, wanted: bool) -> Step<(Value, Type)> {
        let Selected { result, .. } = self.selected(wanted)?;
        self.want(")")?;
        match (result.columns.as_slice(), result.rows.as_slice()) {
            ([column], []) => Ok((Value::Null, column.ty)),
            ([column], [row]) => Ok((row[0].clone(), column.ty)),
            _ => Err(self.unknown()),
        }
    }
}

fn row<const N: usize>(values: [(&str, Value); N]) -> Row {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
