//! What an app left in a database, and taking it away.

use scaleout_core::{Error, ErrorKind, Remnant};

use crate::{
    config::SqlServerConfig,
    error::{Failure, grant, user_of},
    examine::size,
    install,
    link::{Call, Link, Values},
    look::{Content, Look, Size, is_other_table},
    names::{Kind, Names, objects},
    sql::identifier,
};

impl SqlServerConfig {
    /// What this app has in the store, whether its nodes run or not; nothing is changed.
    ///
    /// These are the tables, procedures and queues of the schema, the services of the doorbell, and the schema, where
    /// nobody else has something in it and it is not `dbo`. A login sees what it has a permission on: one that may only run does not see
    /// the tables. A schema of another app has nothing of this one.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn remnants(&self) -> Result<Vec<Remnant>, Error> {
        let mut link = self.connect_to_look().await?;
        Ok(Left::look(&mut link, self).await?.map_or(Vec::new(), |left| left.remnants))
    }

    /// Removes what [`remnants`](Self::remnants) lists, all messages included, and returns what was removed.
    ///
    /// Nodes of the app that still run make it anew, and tell their subscriptions of a gap. It is one transaction, but
    /// for the conversations of the doorbell, which are ended before. What others have in the schema stays.
    ///
    /// # Errors
    /// The first thing that could not be removed; the conversations may have been ended by then, and nothing else is
    /// changed. [`Unauthorized`](ErrorKind::Unauthorized) where the login may not drop, or not see, all of it.
    ///
    /// # Cancel safety
    /// When the future is dropped, all of it may be removed, or nothing but the conversations.
    pub async fn remove_remnants(&self) -> Result<Vec<Remnant>, Error> {
        let mut link = self.connect_to_look().await?;
        let Some(left) = Left::look(&mut link, self).await? else { return Ok(Vec::new()) };
        if left.has("janitor") {
            // Whoever waits has not done so in the future, so that this takes out every listener, with both ends of its
            // conversation. Where it fails, the ends go with their services.
            let names = Names::new(&self.schema, self.table_count);
            let ended = link.call(Call::new(&names.janitor).with("@lease_seconds", -DAY)).await;
            if let Err(failure) = ended
                && !link.is_clean()
            {
                return Err(failure.into_error(REMOVING, self));
            }
        }
        let is_removed = Box::pin(install::remove(&mut link, self, left.table_count)).await?;
        if !is_removed {
            let grant =
                grant("CONTROL", Some(&format!("SCHEMA::{}", identifier(&self.schema))), &user_of(self));
            let problem = format!(
                "{REMOVING}: this login does not see the tables of schema {}: {grant}, or let a DBA run \
                 SqlServerConfig::script().uninstall()",
                self.schema
            );
            return Err(Error::new(ErrorKind::Unauthorized, problem));
        }
        Ok(left.remnants)
    }

    async fn connect_to_look(&self) -> Result<Link, Error> {
        self.check()?;
        let link = Box::pin(Link::connect(self)).await;
        link.map_err(|failure| failure.into_error("connecting to SQL Server", self))
    }
}

/// What an app has in its schema.
struct Left {
    /// Of the layout, which may be another one than that of the settings.
    table_count: u16,
    remnants: Vec<Remnant>,
}

impl Left {
    /// `None`: there is nothing of this app.
    async fn look(link: &mut Link, config: &SqlServerConfig) -> Result<Option<Self>, Error> {
        let failed = |failure: Failure| failure.into_error(LOOKING, config);
        let mut look = Look::new(link, config);
        let layout = match look.probe().await {
            Ok(Some(layout)) => Some(layout),
            // A login that does not see the table may still ask.
            Ok(None) => look.layout().await.map_err(failed)?,
            // The table is somebody else's.
            Err(failure) if is_other_table(&failure) => None,
            Err(failure) => return Err(failed(failure)),
        };
        let Some(layout) = layout.filter(|layout| layout.is_of(config)) else { return Ok(None) };
        // More than that no version has made.
        let table_count = u16::try_from(layout.table_count).unwrap_or(u16::MAX).min(MAX_TABLES);
        let contents = look.contents().await.map_err(failed)?;
        let sizes = match look.sizes().await {
            Ok(sizes) => sizes,
            // What there is can be told, and removed, without it.
            Err(_) if look.link.is_clean() => Vec::new(),
            Err(failure) => return Err(failed(failure)),
        };
        let ours = objects(table_count);
        let is_ours = |content: &Content| {
            ours.iter().any(|(kind, name)| kind.code() == content.code && *name == content.name)
        };
        let mut remnants = Vec::new();
        for (kind, name) in &ours {
            if contents.iter().any(|found| found.name == *name && found.code == kind.code()) {
                let size = sizes.iter().find(|size| *kind == Kind::Table && size.table == *name);
                let holds = size.map(holds).unwrap_or_default();
                remnants.push(Remnant::new(kind.name(), format!("{}.{name}", config.schema), holds));
            }
        }
        if contents.iter().any(|content| content.code == Kind::Queue.code() && is_ours(content)) {
            for row in look.ask(&look.target.services()).await.map_err(failed)? {
                let mut values = Values::of(row);
                let service = (|| Ok((values.text()?, values.number()?)))();
                let (name, ends) = service.map_err(failed)?;
                remnants.push(Remnant::new(
                    "service",
                    name,
                    format!("{} of conversations", counted(ends, "end")),
                ));
            }
        }
        if contents.iter().all(is_ours) && !config.schema.eq_ignore_ascii_case(OF_EVERY_DATABASE) {
            remnants.push(Remnant::new("schema", &config.schema, ""));
        }
        Ok(Some(Self { table_count, remnants }))
    }

    fn has(&self, procedure: &str) -> bool {
        let name = |remnant: &Remnant| remnant.name.rsplit('.').next().map(str::to_owned);
        self.remnants
            .iter()
            .any(|remnant| remnant.kind == "procedure" && name(remnant).as_deref() == Some(procedure))
    }
}

/// `1,204 rows, 3.1 MiB`.
fn holds(table: &Size) -> String {
    let rows = table.rows.map(|rows| counted(rows, "row"));
    let bytes = table.bytes.map(size);
    rows.into_iter().chain(bytes).collect::<Vec<_>>().join(", ")
}

/// `1,204 rows`, `1 row`.
fn counted(count: u64, what: &str) -> String {
    let digits = count.to_string();
    let mut told = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    format!("{told} {what}{}", if count == 1 { "" } else { "s" })
}

/// The schema that cannot be dropped.
const OF_EVERY_DATABASE: &str = "dbo";

/// In seconds.
const DAY: i32 = 24 * 3600;

/// Of [`SqlServerConfig::table_count`].
const MAX_TABLES: u16 = 64;

const LOOKING: &str = "looking for what the app has in the store";
const REMOVING: &str = "removing what the app has in the store";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_for_people() {
        assert_eq!(counted(0, "row"), "0 rows");
        assert_eq!(counted(1, "end"), "1 end");
        assert_eq!(counted(999, "row"), "999 rows");
        assert_eq!(counted(1_204, "row"), "1,204 rows");
        assert_eq!(counted(1_000_000, "row"), "1,000,000 rows");
    }
}
