//! Values and conditions.

use super::{Statements, Step};
use crate::{
    sql::{Word, two_part_name},
    store::Object,
    tds::{Type, Value},
};

impl Statements<'_> {
    /// Whether something holds. Nothing is looked up where it is not `wanted`.
    pub(super) fn condition(&mut self, wanted: bool) -> Step<bool> {
        let mut holds = self.conjunction(wanted)?;
        while self.accept(&["OR"]) {
            holds |= self.conjunction(wanted)?;
        }
        Ok(holds)
    }

    fn conjunction(&mut self, wanted: bool) -> Step<bool> {
        let mut holds = self.comparison(wanted)?;
        while self.accept(&["AND"]) {
            holds &= self.comparison(wanted)?;
        }
        Ok(holds)
    }

    fn comparison(&mut self, wanted: bool) -> Step<bool> {
        if self.accept(&["NOT"]) {
            return Ok(!self.comparison(wanted)?);
        }
        if self.accept(&["EXISTS"]) {
            self.want("(")?;
            self.want("SELECT")?;
            let found = self.selected(wanted)?;
            self.want(")")?;
            return Ok(!found.result.rows.is_empty());
        }
        if self.is_at(&["("]) && !self.is_at(&["(", "SELECT"]) {
            self.want("(")?;
            let holds = self.condition(wanted)?;
            self.want(")")?;
            return Ok(holds);
        }
        let (left, _) = self.expression(wanted)?;
        if self.accept(&["IS"]) {
            let negated = self.accept(&["NOT"]);
            self.want("NULL")?;
            return Ok((left == Value::Null) != negated);
        }
        let operator = match self.words.get(self.at) {
            Some(Word::Symbol(symbol @ ('=' | '<' | '>'))) => *symbol,
            _ => return Err(self.unknown()),
        };
        self.at += 1;
        let differs = operator == '<' && self.accept(&[">"]);
        let (right, _) = self.expression(wanted)?;
        Ok(match (left, right) {
            // What is compared with NULL is neither.
            (Value::Null, _) | (_, Value::Null) => false,
            (left, right) if differs => left != right,
            (left, right) if operator == '=' => left == right,
            (Value::Int(left), Value::Int(right)) => {
                if operator == '<' {
                    left < right
                } else {
                    left > right
                }
            }
            _ => return Err(self.unknown()),
        })
    }

    /// A value, and the type of a column that holds it.
    pub(super) fn expression(&mut self, wanted: bool) -> Step<(Value, Type)> {
        let (mut value, ty) = self.term(wanted)?;
        while self.accept(&["+"]) {
            value = match (value, self.term(wanted)?.0) {
                (Value::Text(left), Value::Text(right)) => Value::Text(left + &right),
                (Value::Text(_), Value::Null) | (Value::Null, _) => Value::Null,
                _ => return Err(self.unknown()),
            };
        }
        Ok((value, ty))
    }

    fn term(&mut self, wanted: bool) -> Step<(Value, Type)> {
        if self.accept(&["(", "SELECT"]) {
            return self.scalar(wanted);
        }
        let Some(word) = self.words.get(self.at).cloned() else { return Err(self.unknown()) };
        self.at += 1;
        match word {
            Word::Number(digits) => match digits.parse() {
                Ok(number) => Ok((Value::Int(number), Type::Int)),
                // Rows carry nothing but an empty value in this form.
                Err(_) if digits == "0x" => Ok((Value::Binary(Vec::new().into()), Type::VarBinaryMax)),
                Err(_) => Err(self.unknown()),
            },
            Word::Text(text) => Ok((Value::Text(text), Type::NVarChar(4000))),
            Word::Symbol('-') => match self.term(wanted)? {
                (Value::Int(number), ty) => Ok((Value::Int(-number), ty)),
                _ => Err(self.unknown()),
            },
            Word::Variable(name) if name.eq_ignore_ascii_case("@@TRANCOUNT") => {
                let count = i64::from(self.state.store.transactions.contains_key(&self.session));
                Ok((Value::Int(count), Type::Int))
            }
            Word::Variable(name) if name.eq_ignore_ascii_case("@@VERSION") => {
                Ok((VERSION.into(), Type::NVarChar(300)))
            }
            // In what is not done, nothing has a value.
            Word::Variable(_) if !wanted => Ok((Value::Int(0), Type::Int)),
            Word::Variable(name) => match self.variables.get(&name) {
                Some(value) => Ok((value.clone(), Type::BigInt)),
                None => Err(self.unknown()),
            },
            Word::Plain(ref name) if self.is_at(&["("]) || word.is("NULL") || word.is("CASE") => {
                self.function(&name.to_uppercase(), wanted)
            }
            Word::Plain(_) | Word::Bracketed(_) => {
                let mut name = word.name().unwrap_or_default().to_owned();
                // The alias of the only table there is.
                if self.accept(&["."]) {
                    name = self.name()?;
                }
                self.column(&name, wanted)
            }
            Word::Symbol(_) => Err(self.unknown()),
        }
    }

    fn column(&mut self, name: &str, wanted: bool) -> Step<(Value, Type)> {
        match self.row.as_ref().and_then(|row| row.get(name)) {
            Some(value) => {
                let ty = match value {
                    Value::Bit(_) => Type::Bit,
                    Value::Text(_) => Type::NVarChar(400),
                    Value::Int(_) if name == "epoch" => Type::BigInt,
                    _ => Type::Int,
                };
                Ok((value.clone(), ty))
            }
            None if !wanted => Ok((Value::Null, Type::Int)),
            None => Err(self.unknown()),
        }
    }

    fn function(&mut self, name: &str, wanted: bool) -> Step<(Value, Type)> {
        match name {
            "NULL" => return Ok((Value::Null, Type::Int)),
            "CASE" => return self.case(wanted),
            _ => self.want("(")?,
        }
        if name == "CAST" {
            let (value, _) = self.expression(wanted)?;
            self.want("AS")?;
            let ty = self.type_name()?;
            self.want(")")?;
            return self.cast(value, &ty);
        }
        if name == "COUNT" {
            self.want("*")?;
            self.want(")")?;
            return Ok((Value::Int(self.count.unwrap_or(0) as i64), Type::Int));
        }
        let mut arguments = Vec::new();
        while !self.accept(&[")"]) {
            arguments.push(self.expression(wanted)?.0);
            self.accept(&[","]);
        }
        if !wanted {
            return Ok((Value::Null, Type::Int));
        }
        let store = &self.state.store;
        let found = |found: bool| if found { Value::Int(1) } else { Value::Null };
        match (name, arguments.as_slice()) {
            ("OBJECT_ID", [Value::Text(name), kind @ ..]) => {
                let object =
                    two_part_name(name).and_then(|(schema, name)| store.object(self.session, &schema, &name));
                let is_kind = match (&object, kind) {
                    (None, _) => false,
                    (Some(object), _) if self.is_hidden(object) => false,
                    (Some(_), []) => true,
                    (Some(object), [Value::Text(kind)]) => kind == kind_of(object),
                    _ => return Err(self.unknown()),
                };
                Ok((found(is_kind), Type::Int))
            }
            ("SCHEMA_ID", [Value::Text(name)]) => {
                let id = store.has_schema(self.session, name).then(|| schema_id(name));
                Ok((id.into(), Type::Int))
            }
            ("DATABASE_PRINCIPAL_ID", [Value::Text(_)]) => Ok((Value::Null, Type::Int)),
            ("HAS_PERMS_BY_NAME", [Value::Text(name), Value::Text(class), Value::Text(right)])
                if class == "OBJECT" && right == "EXECUTE" =>
            {
                let (schema, name) = two_part_name(name).ok_or_else(|| self.unknown())?;
                let there = store.object(self.session, &schema, &name).is_some();
                let may = i64::from(self.state.faults.permits("EXECUTE") && !self.state.faults.denies(&name));
                Ok((there.then_some(may).into(), Type::Int))
            }
            ("USER_NAME", []) => Ok(("dbo".into(), Type::NVarChar(128))),
            ("DB_NAME", []) => Ok((store.database.as_str().into(), Type::NVarChar(128))),
            ("SERVERPROPERTY", [Value::Text(name)]) => match name.as_str() {
                "EngineEdition" => Ok((Value::Int(self.settings.edition), Type::Int)),
                "ProductVersion" => Ok((self.settings.version.as_str().into(), Type::NVarChar(128))),
                "ServerName" => Ok(("TESTSERVER".into(), Type::NVarChar(128))),
                _ => Err(self.unknown()),
            },
            _ => Err(self.unknown()),
        }
    }

    fn case(&mut self, wanted: bool) -> Step<(Value, Type)> {
        self.want("WHEN")?;
        let holds = self.condition(wanted)?;
        self.want("THEN")?;
        let then = self.expression(wanted)?;
        self.want("ELSE")?;
        let otherwise = self.expression(wanted)?;
        self.want("END")?;
        Ok(if holds { then } else { otherwise })
    }

    fn cast(&mut self, value: Value, ty: &str) -> Step<(Value, Type)> {
        let (base, size) = match ty.split_once('(') {
            Some((base, size)) => (base, size.trim_end_matches(')').parse().unwrap_or(4000)),
            None => (ty, 1),
        };
        Ok(match (base, value) {
            ("bit", Value::Int(value)) => (Value::Bit(value != 0), Type::Bit),
            ("bit", value) => (value, Type::Bit),
            ("smallint", value) => (value, Type::SmallInt),
            ("int", Value::Bit(value)) => (Value::Int(value.into()), Type::Int),
            ("int", value) => (value, Type::Int),
            ("bigint", value) => (value, Type::BigInt),
            ("nvarchar", value) => (value, Type::NVarChar(size)),
            // Only compared: byte for byte, without the rules of a collation.
            ("varbinary", value @ (Value::Text(_) | Value::Null)) => (value, Type::NVarChar(4000)),
            _ => return Err(self.unknown()),
        })
    }
}

const VERSION: &str = "Microsoft SQL Server test server of scaleout (not SQL Server; it does not run T-SQL)";

/// Another number for another schema.
pub(super) fn schema_id(name: &str) -> i64 {
    name.bytes().fold(5, |id, byte| (id * 31 + i64::from(byte)) % i64::from(i32::MAX))
}

/// As `OBJECT_ID` and `sys.objects` have it.
pub(super) fn kind_of(object: &Object) -> &'static str {
    match object {
        Object::Table | Object::Foreign => "U",
        Object::ForeignType => "TY",
        Object::Function => "FN",
        Object::Queue => "SQ",
        Object::Procedure(_) => "P",
    }
}
