//! Statements that make objects, fill them for the first time, and take them away.

use super::{Statements, Step};
use crate::{
    catalog::Procedure,
    error::SqlError,
    objects::Change,
    sql::Word,
    store::{Declared, Layout, Object},
    tds::Value,
};

/// Tables of a schema, apart from those of a single stream.
const TABLES: [&str; 5] = ["layout", "streams", "epochs", "senders", "listeners"];

impl Statements<'_> {
    /// A procedure or a function; its text is believed, its parameters are checked.
    pub(super) fn create_module(&mut self) -> Step {
        self.want("CREATE")?;
        let is_procedure = self.accept(&["PROCEDURE"]);
        if !is_procedure {
            self.want("FUNCTION")?;
        }
        let (schema, name) = self.object_name()?;
        let object = if is_procedure {
            let declared = self.declared()?;
            match Procedure::named(&name) {
                Some(procedure) if procedure.has(&declared) => Object::Procedure(declared),
                _ => {
                    let message = format!("procedure {name} with these parameters");
                    return Err(SqlError::not_t_sql(message).into());
                }
            }
        } else if name == "store_identity" {
            Object::Function
        } else {
            return Err(self.unknown());
        };
        self.at = self.words.len();
        if self.only_reads() {
            return Ok(());
        }
        self.permitted(if is_procedure { "CREATE PROCEDURE" } else { "CREATE FUNCTION" })?;
        self.add(schema, name, object)
    }

    /// `@name type, ...` before AS or WITH.
    fn declared(&mut self) -> Step<Vec<Declared>> {
        let mut declared = Vec::new();
        while let Some(Word::Variable(name)) = self.words.get(self.at) {
            let name = name.trim_start_matches('@').to_owned();
            self.at += 1;
            let ty = self.type_name()?;
            declared.push(Declared { name, ty, optional: self.accept(&["=", "NULL"]) });
            if !self.accept(&[","]) {
                break;
            }
        }
        if self.is_at(&["AS"]) || self.is_at(&["WITH"]) { Ok(declared) } else { Err(self.unknown()) }
    }

    /// `bigint`, `varbinary(max)`.
    pub(super) fn type_name(&mut self) -> Step<String> {
        let mut ty = self.name()?.to_lowercase();
        if self.accept(&["("]) {
            let size = self.words.get(self.at).map(Word::to_string).unwrap_or_default().to_lowercase();
            self.at += 1;
            self.want(")")?;
            ty = format!("{ty}({size})");
        }
        Ok(ty)
    }

    /// Behind CREATE.
    pub(super) fn create(&mut self, wanted: bool) -> Step {
        if self.accept(&["SCHEMA"]) {
            let name = self.name()?;
            if self.accept(&["AUTHORIZATION"]) {
                self.name()?;
            }
            if wanted {
                self.permitted("CREATE SCHEMA")?;
                if self.state.store.has_schema(self.session, &name) {
                    return Err(SqlError::object_exists(&name).into());
                }
                self.state.store.change(self.session, Change::CreateSchema(name));
            }
            return Ok(());
        }
        if self.accept(&["USER"]) {
            self.name()?;
            self.want("WITHOUT")?;
            return self.want("LOGIN");
        }
        if self.accept(&["SERVICE"]) {
            return self.create_service(wanted);
        }
        let is_queue = self.accept(&["QUEUE"]);
        if !is_queue {
            self.want("TABLE")?;
        }
        let (schema, name) = self.object_name()?;
        let numbered = name.strip_prefix("messages_").is_some_and(|number| number.parse::<u16>().is_ok());
        let known = if is_queue {
            ["ears", "bells"].contains(&name.as_str())
        } else {
            numbered || TABLES.contains(&name.as_str())
        };
        if !known {
            return Err(self.unknown());
        }
        self.skip_to_semicolon();
        if !wanted {
            return Ok(());
        }
        if is_queue {
            self.broker_exists()?;
        }
        self.permitted(if is_queue { "CREATE QUEUE" } else { "CREATE TABLE" })?;
        self.add(schema, name, if is_queue { Object::Queue } else { Object::Table })
    }

    fn create_service(&mut self, wanted: bool) -> Step {
        let service = self.name()?;
        self.want("ON")?;
        self.want("QUEUE")?;
        let (schema, queue) = self.object_name()?;
        self.skip_to_semicolon();
        if wanted {
            self.broker_exists()?;
            self.permitted("CREATE SERVICE")?;
            if self.state.store.object(self.session, &schema, &queue) != Some(Object::Queue) {
                return Err(SqlError::no_object(&format!("{schema}.{queue}")).into());
            }
            if self.state.store.has_service(self.session, &service) {
                return Err(SqlError::object_exists(&service).into());
            }
            self.state.store.change(self.session, Change::CreateService { name: service, schema, queue });
        }
        Ok(())
    }

    /// Whether a permission on the database is there.
    fn permitted(&self, permission: &str) -> Step {
        if self.state.faults.permits(permission) {
            return Ok(());
        }
        let message = format!("{permission} permission denied in database '{}'.", self.state.store.database);
        Err(SqlError::of_class(262, 14, message).into())
    }

    fn broker_exists(&self) -> Step {
        if self.settings.edition == 5 {
            let message = "Statement is not supported in this version of SQL Server.";
            return Err(SqlError::new(40510, message).into());
        }
        Ok(())
    }

    fn add(&mut self, schema: String, name: String, object: Object) -> Step {
        if !self.state.store.has_schema(self.session, &schema) {
            let message = format!(
                "The specified schema name \"{schema}\" either does not exist or you do not have permission to use it."
            );
            return Err(SqlError::new(2760, message).into());
        }
        if self.state.store.object(self.session, &schema, &name).is_some() {
            return Err(SqlError::object_exists(&name).into());
        }
        self.state.store.change(self.session, Change::Create { schema, name, object });
        Ok(())
    }

    /// Behind DROP.
    pub(super) fn drop_objects(&mut self, wanted: bool) -> Step {
        if self.accept(&["SCHEMA"]) {
            let name = self.name()?;
            if wanted {
                let objects =
                    self.state.store.schemas.get(&name).map(|schema| schema.objects.keys().cloned());
                let left = objects
                    .into_iter()
                    .flatten()
                    .find(|object| self.state.store.object(self.session, &name, object).is_some());
                if let Some(left) = left {
                    let message = format!(
                        "Cannot drop schema '{name}' because it is being referenced by object '{left}'."
                    );
                    return Err(SqlError::new(3729, message).into());
                }
                self.state.store.change(self.session, Change::DropSchema(name));
            }
            return Ok(());
        }
        if self.accept(&["SERVICE"]) {
            let name = self.name()?;
            if wanted {
                self.state.store.change(self.session, Change::DropService(name));
            }
            return Ok(());
        }
        if !["PROCEDURE", "FUNCTION", "TABLE", "QUEUE"].iter().any(|kind| self.accept(&[kind])) {
            return Err(self.unknown());
        }
        let may_be_gone = self.accept(&["IF", "EXISTS"]);
        loop {
            let (schema, name) = self.object_name()?;
            if wanted {
                let there = self.state.store.object(self.session, &schema, &name).is_some();
                if there && !self.state.faults.permits("ALTER") {
                    let message = format!(
                        "Cannot drop the object '{schema}.{name}', because it does not exist or you do not have \
                         permission."
                    );
                    return Err(SqlError::of_class(3701, 14, message).into());
                }
                if there {
                    self.state.store.change(self.session, Change::Drop { schema, name });
                } else if !may_be_gone {
                    let message = format!(
                        "Cannot drop '{schema}.{name}', because it does not exist or you do not have permission."
                    );
                    return Err(SqlError::new(3701, message).into());
                }
            }
            if !self.accept(&[","]) {
                return Ok(());
            }
        }
    }

    /// Behind INSERT INTO: the rows of a fresh installation. That of the layout stands for all.
    pub(super) fn insert(&mut self, wanted: bool) -> Step {
        let (schema, table) = self.object_name()?;
        let columns = self.names()?;
        self.want("VALUES")?;
        self.want("(")?;
        let mut values = Vec::new();
        loop {
            values.push(match self.words.get(self.at) {
                // The server knows these better.
                Some(Word::Variable(name)) if ["@now", "@epoch", "@store"].contains(&name.as_str()) => {
                    self.at += 1;
                    Value::Null
                }
                _ => self.expression(wanted)?.0,
            });
            if !self.accept(&[","]) {
                break;
            }
        }
        self.want(")")?;
        if columns.len() != values.len() {
            return Err(self.unknown());
        }
        if !wanted {
            return Ok(());
        }
        self.table(&schema, &table)?;
        let value =
            |name: &str| columns.iter().position(|column| column == name).map(|at| values[at].clone());
        let int = |name: &str| match value(name) {
            Some(Value::Int(int)) => Some(int),
            _ => None,
        };
        match table.as_str() {
            "layout" => {
                let (Some(schema_version), Some(compatible_from), Some(Value::Text(app)), Some(table_count)) =
                    (int("schema_version"), int("compatible_from"), value("app"), int("table_count"))
                else {
                    return Err(self.unknown());
                };
                let layout = Layout { schema_version, compatible_from, app, epoch: 0, store: String::new() };
                let table_count = usize::try_from(table_count).unwrap_or(0);
                for name in TABLES.map(str::to_owned).into_iter().chain((0..table_count).map(messages)) {
                    self.table(&schema, &name)?;
                }
                self.state.store.change(self.session, Change::Rows { schema, layout, table_count });
                Ok(())
            }
            // They are the same in every installation, and come with the row of the layout.
            "streams" | "epochs" => Ok(()),
            name if name.starts_with("messages_") && int("seq") == Some(0) => Ok(()),
            _ => Err(self.unknown()),
        }
    }

    /// Behind UPDATE: the versions of the layout.
    pub(super) fn update(&mut self, wanted: bool) -> Step {
        let (schema, table) = self.object_name()?;
        self.want("SET")?;
        self.want("schema_version")?;
        self.want("=")?;
        let version = self.expression(wanted)?.0;
        self.want(",")?;
        self.want("compatible_from")?;
        self.want("=")?;
        let compatible_from = self.expression(wanted)?.0;
        self.want("WHERE")?;
        self.want("schema_version")?;
        self.want("<")?;
        let below = self.expression(wanted)?.0;
        let (Value::Int(schema_version), Value::Int(compatible_from), Value::Int(below)) =
            (version, compatible_from, below)
        else {
            return Err(self.unknown());
        };
        if table != "layout" {
            return Err(self.unknown());
        }
        if wanted {
            self.table(&schema, &table)?;
            let layout = self.state.store.schemas.get(&schema).and_then(|schema| schema.layout.as_ref());
            if layout.is_some_and(|layout| layout.schema_version < below) {
                let change = Change::Versions { schema, schema_version, compatible_from };
                self.state.store.change(self.session, change);
            }
        }
        Ok(())
    }

    /// `(a, b)`.
    pub(super) fn names(&mut self) -> Step<Vec<String>> {
        self.want("(")?;
        let mut names = vec![self.name()?];
        while self.accept(&[","]) {
            names.push(self.name()?);
        }
        self.want(")")?;
        Ok(names)
    }

    /// A table that must be there.
    pub(super) fn table(&self, schema: &str, name: &str) -> Step {
        match self.state.store.object(self.session, schema, name) {
            Some(Object::Table) => Ok(()),
            // It has other columns than ours.
            Some(Object::Foreign) => Err(SqlError::new(207, "Invalid column name 'schema_version'.").into()),
            _ => Err(SqlError::no_object(&format!("{schema}.{name}")).into()),
        }
    }
}

fn messages(stream: usize) -> String {
    format!("messages_{stream}")
}
