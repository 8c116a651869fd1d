//! `scaleout sql`: what a database administrator runs.

use std::num::NonZeroU16;

use scaleout::{
    BackplaneConfig,
    sqlserver::{Script, SqlServerConfig},
};
use serde::Serialize;

use crate::{
    Global,
    exit::{Exit, usage},
    output::Output,
    store,
};

/// Print the T-SQL that makes a database ready for an app, without connecting to anything.
///
/// It creates what is not there and brings to this version what is older; messages stay. Nodes of the database then
/// need no right but the one that --grants gives, with `install=verify` or `install=none` in their settings.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// A store on SQL Server, of which app, schema and tables are taken. Without it --app is needed, or SCALEOUT_URL.
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// How many message tables, which is how many streams. Defaults to 4, or what the URL says.
    #[arg(long, value_name = "N")]
    tables: Option<NonZeroU16>,
    /// The schema. Defaults to `scaleout`, or what the URL says.
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// Add the grants that this user or role of the database needs to run.
    #[arg(long, value_name = "USER")]
    grants: Option<String>,
    /// Print only what --grants, --installer-grants or --enable-broker add.
    #[arg(long)]
    only: bool,
    /// Add the grants that this user or role needs to install by itself.
    #[arg(long, value_name = "USER")]
    installer_grants: Option<String>,
    /// Give the objects an owner of their own, a user without a login.
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Turn Service Broker on in the database; it fails while others are connected.
    #[arg(long)]
    enable_broker: bool,
    /// Leave out what needs Service Broker: nodes poll.
    #[arg(long, conflicts_with = "enable_broker")]
    no_broker: bool,
    /// Print the removal of everything instead, messages included.
    #[arg(long, conflicts_with_all = ["grants", "installer_grants", "owner", "enable_broker", "only"])]
    uninstall: bool,
}

const EXAMPLES: &str = "\
Examples:
  scaleout sql --app chat --grants web > install.sql
  scaleout sql --app chat --schema chat_live --tables 8 --no-broker
  scaleout sql 'sqlserver://user:password@host/database?app=chat&table_count=8'
  scaleout sql --app chat --only --enable-broker
  sqlcmd -S host -d database -b -I -i install.sql";

/// What was asked for, as JSON.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    app: &'a str,
    schema: &'a str,
    tables: u16,
    script: String,
}

pub(crate) fn run(options: Options, global: &Global, output: &Output) -> anyhow::Result<Exit> {
    let config = config(&options, global)?;
    if options.only
        && options.grants.is_none()
        && options.installer_grants.is_none()
        && !options.enable_broker
    {
        return Err(usage("--only: of what? Say --grants, --installer-grants or --enable-broker"));
    }
    let script = text(&options, &config.script());
    output.text(script.trim_end())?;
    let (app, tables) = (config.app.as_str(), config.table_count.get());
    output.json(&Printed { app, schema: &config.schema, tables, script })?;
    Ok(Exit::Done)
}

fn config(options: &Options, global: &Global) -> anyhow::Result<SqlServerConfig> {
    let given = options.url.clone();
    // With --app, a variable that is about another kind of store says nothing here.
    let is_meant = |url: &String| match &global.app {
        Some(app) => BackplaneConfig::parse_for(app, url).is_ok_and(|it| it.as_sqlserver().is_some()),
        None => true,
    };
    let url = given.clone().or_else(|| std::env::var(store::URL_VARIABLE).ok().filter(is_meant));
    let settings = url.map(|url| store::settings(&url, global)).transpose()?;
    let of_url = settings.as_ref().and_then(BackplaneConfig::as_sqlserver);
    let mut config = match (of_url, &global.app) {
        (Some(config), _) => config.clone(),
        (None, _) if given.is_some() => {
            return Err(usage("only a store on SQL Server has a script, and the URL is one of another kind"));
        }
        // Nothing of it is in the script but the app.
        (None, Some(app)) => format!("sqlserver://user:password@localhost/database?app={app}").parse()?,
        (None, None) => return Err(usage("which app? Give --app, or the URL of a store on SQL Server")),
    };
    if let Some(tables) = options.tables {
        config = config.with_table_count(tables);
    }
    if let Some(schema) = &options.schema {
        config = config.with_schema(schema.as_str());
    }
    config.check()?;
    Ok(config)
}

/// The parts that were asked for, in the order in which they are to be run.
fn text(options: &Options, script: &Script) -> String {
    if options.uninstall {
        return script.uninstall();
    }
    let mut parts = Vec::new();
    if options.enable_broker {
        parts.push(script.enable_broker());
    }
    if !options.only {
        parts.extend(options.owner.as_deref().map(|owner| script.owner(owner)));
        parts.push(script.install());
        if !options.no_broker {
            parts.push(script.install_doorbell());
            parts.extend(options.owner.as_deref().map(|owner| script.service_owner(owner)));
        }
    }
    parts.extend(options.installer_grants.as_deref().map(|user| script.installer_grants(user)));
    parts.extend(options.grants.as_deref().map(|user| script.grants(user)));
    parts.concat()
}
