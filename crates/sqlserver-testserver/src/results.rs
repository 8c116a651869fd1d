//! What a request answers with: [`ResultSet`].

use crate::tds::{Column, DoneKind, Tokens, Type, Value};

/// Rows, and what their columns are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResultSet {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl ResultSet {
    pub(crate) fn new(columns: &[(&'static str, Type)]) -> Self {
        let columns = columns.iter().map(|(name, ty)| Column { name, ty: *ty }).collect();
        Self { columns, rows: Vec::new() }
    }

    /// One row.
    pub(crate) fn one(columns: &[(&'static str, Type)], row: Vec<Value>) -> Self {
        Self { rows: vec![row], ..Self::new(columns) }
    }

    /// One value.
    pub(crate) fn single(ty: Type, value: impl Into<Value>) -> Self {
        Self::one(&[("", ty)], vec![value.into()])
    }

    pub(crate) fn write(&self, tokens: &mut Tokens, kind: DoneKind, more: bool) {
        tokens.columns(&self.columns);
        for row in &self.rows {
            tokens.row(&self.columns, row);
        }
        tokens.done(kind, Some(self.rows.len()), more);
    }
}
