//! What there is in the database, as far as the login sees it. Nothing is changed.

use scaleout_core::ErrorKind;
use tiberius::{
    Row,
    error::{Error as ClientError, TokenError},
};

use crate::{
    config::SqlServerConfig,
    error::{Failure, Trouble, grant_to_run},
    link::{Link, Values},
    names::Names,
    sql::{Target, identifier},
    store::{Layout, Positions},
};

/// Whoever looks, over one connection.
pub(crate) struct Look<'a> {
    pub(crate) link: &'a mut Link,
    pub(crate) config: &'a SqlServerConfig,
    pub(crate) target: Target,
}

/// Whether publishers can wake nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doorbell {
    /// They can.
    Installed,
    /// Its objects are not there.
    NotInstalled,
    /// The edition has no Service Broker.
    NoBroker,
    /// Service Broker is off in the database.
    Off,
}

/// What there is of Service Broker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broker {
    is_enabled: bool,
    exists: bool,
    pub(crate) is_installed: bool,
}

/// An object that a node cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) name: String,
    /// It is not permitted.
    pub(crate) is_there: bool,
    /// As whom the node is in the database.
    pub(crate) user: String,
}

/// An object, a type or the like of a schema, whoever made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) name: String,
    /// As `sys.objects` has it: `U`, `P`, `FN`, `SQ`; or `TY` or `XC`, which may have the name of an object.
    pub(crate) code: String,
}

impl Content {
    /// Whether nothing else can have its name that is an object, as all that is ours.
    pub(crate) fn is_object(&self) -> bool {
        !["TY", "XC"].contains(&self.code.as_str())
    }
}

/// What a table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) table: String,
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

/// A permission, and whether the user has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permission {
    /// The schema's; else it is the database's.
    pub(crate) is_of_schema: bool,
    pub(crate) name: String,
    /// `None`: there is no such schema, or the user does not see it.
    pub(crate) is_granted: Option<bool>,
}

impl<'a> Look<'a> {
    pub(crate) fn new(link: &'a mut Link, config: &'a SqlServerConfig) -> Self {
        Self { link, config, target: config.into() }
    }

    /// The layout row, which every login may learn that may run; `None` where the objects are not all there.
    pub(crate) async fn layout(&mut self) -> Result<Option<Layout>, Failure> {
        let Names { positions, .. } = Names::new(&self.config.schema, self.config.table_count);
        match Positions::of(self.link, &positions).await {
            Ok(positions) => Ok(positions.layout),
            Err(failure) if is_missing(&failure) => Ok(None),
            // Those of another version may answer otherwise.
            Err(Failure::Answer(_)) => self.probe().await,
            Err(failure) => Err(failure),
        }
    }

    /// The layout row, also of objects of another version; `None` also where the login does not see the table.
    pub(crate) async fn probe(&mut self) -> Result<Option<Layout>, Failure> {
        let rows = self.ask(&self.target.probe()).await?;
        let layout = rows.into_iter().next().map(|row| {
            let mut values = Values::of(row);
            Ok(Layout {
                schema_version: values.number()?,
                compatible_from: values.number()?,
                app: values.text()?,
                table_count: values.number()?,
                epoch: 0,
                is_same_store: true,
            })
        });
        layout.transpose()
    }

    /// What a node needs for polling, and cannot use.
    pub(crate) async fn missing(&mut self) -> Result<Vec<Missing>, Failure> {
        let rows = self.ask(&self.target.missing()).await?;
        let objects = rows.into_iter().map(|row| {
            let mut values = Values::of(row);
            let (name, is_there) = (values.text()?, values.number()? == 1);
            Ok(Missing { name, is_there, user: values.text_if_any()?.unwrap_or_default() })
        });
        objects.collect()
    }

    pub(crate) async fn doorbell(&mut self) -> Result<Doorbell, Failure> {
        let broker = self.broker().await?;
        Ok(match broker {
            Broker { exists: false, .. } => Doorbell::NoBroker,
            Broker { is_enabled: false, .. } => Doorbell::Off,
            Broker { is_installed: false, .. } => Doorbell::NotInstalled,
            _ => Doorbell::Installed,
        })
    }

    pub(crate) async fn broker(&mut self) -> Result<Broker, Failure> {
        let rows = self.ask(&self.target.doorbell_probe()).await?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(Broker { is_enabled: false, exists: true, is_installed: false });
        };
        let mut values = Values::of(row);
        Ok(Broker {
            is_enabled: values.integer()? == Some(1),
            exists: values.integer()? != Some(AZURE_SQL_DATABASE),
            is_installed: values.integer()? == Some(1),
        })
    }

    pub(crate) async fn permissions(&mut self) -> Result<Vec<Permission>, Failure> {
        let rows = self.ask(&self.target.permissions()).await?;
        let permissions = rows.into_iter().map(|row| {
            let mut values = Values::of(row);
            Ok(Permission {
                is_of_schema: values.text()? == "SCHEMA",
                name: values.text()?,
                is_granted: values.integer()?.map(|granted| granted == 1),
            })
        });
        permissions.collect()
    }

    /// Everything that is in the schema.
    pub(crate) async fn contents(&mut self) -> Result<Vec<Content>, Failure> {
        let rows = self.ask(&self.target.contents()).await?;
        let contents = rows.into_iter().map(|row| {
            let mut values = Values::of(row);
            Ok(Content { name: values.text()?, code: values.text()? })
        });
        contents.collect()
    }

    /// What each table of the schema holds.
    pub(crate) async fn sizes(&mut self) -> Result<Vec<Size>, Failure> {
        let rows = self.ask(&self.target.sizes()).await?;
        let sizes = rows.into_iter().map(|row| {
            let mut values = Values::of(row);
            Ok(Size { table: values.text()?, rows: values.number_if_any()?, bytes: values.number_if_any()? })
        });
        sizes.collect()
    }

    /// The rows that a batch yields.
    pub(crate) async fn ask(&mut self, text: &str) -> Result<Vec<Row>, Failure> {
        Ok(self.link.batch(text).await?.into_iter().flatten().collect())
    }
}

/// Whether it says that an object is not there any more, so that it helps to install again.
pub(crate) fn is_missing(failure: &Failure) -> bool {
    match failure.number() {
        // Invalid object name; no such function; could not find stored procedure.
        Some(208 | 4121 | 2812) => true,
        Some(BABELFISH) => {
            matches!(failure, Failure::Client(ClientError::Server(error)) if error.message().contains("does not exist"))
        }
        _ => false,
    }
}

/// Whether it says that a table of one of our names has other columns than ours.
pub(crate) fn is_other_table(failure: &Failure) -> bool {
    match failure.number() {
        // Invalid column name.
        Some(207) => true,
        Some(BABELFISH) => {
            let says = |error: &TokenError| {
                error.message().contains("column \"") && error.message().contains("does not exist")
            };
            matches!(failure, Failure::Client(ClientError::Server(error)) if says(error))
        }
        _ => false,
    }
}

/// What is not there of what a node needs.
pub(crate) fn absent(schema: &str, missing: &[Missing]) -> Option<Trouble> {
    let names = named(missing, false)?;
    let what = format!("schema {schema} lacks (or this login does not see) {names}");
    Some(Trouble::new(ErrorKind::Config, what).mended_by(HOW_TO_INSTALL))
}

/// What the login may not use of what a node needs.
pub(crate) fn denied(schema: &str, missing: &[Missing]) -> Option<Trouble> {
    let (names, object) = (named(missing, true)?, missing.iter().find(|object| object.is_there)?);
    let trouble = Trouble::new(ErrorKind::Unauthorized, format!("this login may not execute {names}"));
    Some(trouble.mended_by(grant_to_run(schema, &identifier(&object.user))))
}

fn named(missing: &[Missing], is_there: bool) -> Option<String> {
    let objects = missing.iter().filter(|object| object.is_there == is_there);
    let names = objects.map(|object| object.name.as_str()).collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then_some(names)
}

pub(crate) const HOW_TO_INSTALL: &str = "run the script in the database (`scaleout sql` prints it, as does \
                                         SqlServerConfig::script()), or let a node do it by install=create";

/// `SERVERPROPERTY('EngineEdition')` of Azure SQL Database.
pub(crate) const AZURE_SQL_DATABASE: i64 = 5;

/// Babelfish's number for whatever it has no better one for.
const BABELFISH: u32 = 33_557_097;
