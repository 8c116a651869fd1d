//! What is wrong with a store.

mod findings;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use scaleout_core::Finding;

pub(crate) use self::findings::size;
use self::findings::{Base, Clock, Server};
use crate::{
    bell,
    config::{Install, Notifications, SqlServerConfig},
    error::{Failure, LET_A_DBA_INSTALL, Trouble, grant, grant_to_run, user_of},
    health,
    install::outdated,
    link::{Link, Values},
    look::{Doorbell, Look, Missing, Permission, absent, denied, is_other_table},
    names::{Names, objects},
    sql::{SCHEMA_VERSION, identifier},
    store::Layout,
};

impl SqlServerConfig {
    /// Looks at the store as a node of this app would find it: whether it answers, what it is, what this login may do,
    /// and what is there already.
    ///
    /// Nothing is changed. The findings come in the order in which they were made; after a
    /// [problem](scaleout_core::Severity::Problem) that hides the rest, such as a wrong password, no more follow. What the server
    /// does not tell is a finding, too, and hides nothing else.
    ///
    /// # Cancel safety
    /// Nothing is left behind when the future is dropped.
    pub async fn examine(&self) -> Vec<Finding> {
        if let Err(error) = self.check() {
            return vec![Finding::problem("settings", error.to_string(), "change these settings")];
        }
        let mut findings = Vec::new();
        match Box::pin(Link::connect(self)).await {
            Ok(mut link) => {
                findings.push(findings::connected(self));
                let mut examination = Examination {
                    look: Look::new(&mut link, self),
                    findings: &mut findings,
                    user: String::new(),
                    has_reconnected: false,
                };
                // What ended it is among the findings.
                let _ = Box::pin(examination.run()).await;
            }
            Err(failure) => findings.push(findings::not_connected(failure, self)),
        }
        findings
    }
}

/// An examination under way.
struct Examination<'a> {
    look: Look<'a>,
    findings: &'a mut Vec<Finding>,
    /// Who the login is in the database, quoted.
    user: String,
    /// The first connection was given up.
    has_reconnected: bool,
}

/// A problem was found that hides the rest.
struct Hidden;

type Step<T = ()> = Result<T, Hidden>;

/// What there is of the app.
enum Found {
    /// The objects of this app; what is missing of them is told elsewhere.
    Ours(Layout),
    /// Nothing of it.
    Nothing,
    /// What is there is another app's, or nobody knows whose.
    Others,
    /// The server does not tell.
    Unseen,
}

impl Examination<'_> {
    async fn run(&mut self) -> Step {
        let server = self.server().await?;
        self.clock().await?;
        self.base(&server).await?;
        let permissions = self.look.permissions().await;
        let permissions = self.seen("permissions", "what the user may do", permissions).await?;
        let permissions = permissions.unwrap_or_default();
        let found = self.layout(&permissions).await?;
        if matches!(found, Found::Others) {
            return Ok(());
        }
        let doorbell = match self.look.doorbell().await {
            // Nobody can turn it on.
            Ok(Doorbell::Off) if server.babelfish.is_some() => Some(Doorbell::NoBroker),
            Ok(doorbell) => Some(doorbell),
            // Nodes look at it, too.
            Err(failure) => {
                self.trouble("broker", failure).await?;
                None
            }
        };
        self.permissions(&permissions, &found, doorbell).await?;
        match doorbell {
            Some(doorbell) => self.broker(&found, doorbell).await,
            None => Ok(()),
        }
    }

    async fn server(&mut self) -> Step<Server> {
        let rows = self.look.ask(self.look.target.server()).await;
        let server = rows.and_then(|rows| {
            let mut values = Values::first(vec![rows], "the server")?;
            Ok(Server {
                version: values.text_if_any()?.unwrap_or_default(),
                edition: values.integer()?.unwrap_or_default(),
                edition_name: values.text_if_any()?.unwrap_or_default(),
                babelfish: values.text_if_any()?.filter(|version| !version.is_empty()),
                user: values.text_if_any()?.unwrap_or_default(),
            })
        });
        let Some(server) = self.seen("version", "what the server is, and who asks,", server).await? else {
            self.user = user_of(self.look.config);
            return Ok(Server::default());
        };
        self.user = identifier(&server.user);
        self.findings.push(findings::logged_in(self.look.config, &server.user));
        let (finding, is_hidden) = server.finding();
        self.findings.push(finding);
        if is_hidden { Err(Hidden) } else { Ok(server) }
    }

    async fn clock(&mut self) -> Step {
        let before = now();
        let rows = self.look.ask(self.look.target.clock()).await;
        let after = now();
        let clock = rows.and_then(|rows| {
            Ok(Clock { before, theirs: Values::first(vec![rows], "the clock")?.number()?, after })
        });
        if let Some(clock) = self.seen("clock", "the server's clock", clock).await? {
            self.findings.push(clock.finding());
        }
        Ok(())
    }

    async fn base(&mut self, server: &Server) -> Step {
        let rows = self.look.ask(self.look.target.database()).await;
        let base = rows.and_then(|rows| {
            let mut values = Values::first(vec![rows], "the database")?;
            Ok(Base {
                compatibility: values.integer()?.unwrap_or_default(),
                has_row_versions: values.integer()? == Some(1),
                delayed_durability: values.integer()?.unwrap_or_default(),
            })
        });
        if let Some(base) = self.seen("retention", "what the database is set to", base).await? {
            self.findings.extend(base.findings(self.look.config, server));
        }
        Ok(())
    }

    /// Whose the schema is, and whether it fits.
    async fn layout(&mut self, permissions: &[Permission]) -> Step<Found> {
        let config = self.look.config;
        let layout = match self.look.layout().await {
            Ok(None) => self.look.probe().await,
            found => found,
        };
        let layout = match layout {
            Ok(layout) => layout,
            Err(failure) if is_other_table(&failure) => {
                let what = format!("schema {} has a table layout that is none of scaleout's", config.schema);
                self.findings.push(Finding::problem("layout", what, ANOTHER_SCHEMA));
                return Ok(Found::Others);
            }
            // With the grant there is more to see.
            Err(failure) if failure.is_denied() => {
                self.trouble("permissions", failure).await?;
                return Ok(Found::Others);
            }
            Err(failure) => {
                self.trouble("layout", failure).await?;
                return Ok(Found::Unseen);
            }
        };
        if let Some(layout) = layout {
            return Ok(match layout.trouble(config) {
                Some(trouble) => {
                    self.problem("layout", trouble);
                    Found::Others
                }
                None => Found::Ours(layout),
            });
        }
        let contents = self.look.contents().await;
        let schema = &config.schema;
        let contents = self.seen("layout", &format!("what else is in schema {schema}"), contents).await?;
        let contents = contents.unwrap_or_default();
        let ours = objects(config.table_count.get());
        let taken: Vec<String> = contents
            .iter()
            .filter(|content| content.is_object() && ours.iter().any(|(_, name)| *name == content.name))
            .map(|content| content.name.clone())
            .collect();
        if !taken.is_empty() {
            let what = format!(
                "schema {schema} has {}, which this app's nodes would make, and no layout that says whose they are",
                taken.join(", ")
            );
            self.findings.push(Finding::problem("layout", what, ANOTHER_SCHEMA));
            return Ok(Found::Others);
        }
        if config.install == Install::Create {
            let what = format!("schema {schema} is not installed yet: the first node does it");
            self.findings.push(Finding::ok("layout", what));
            return Ok(Found::Nothing);
        }
        self.findings.extend(outdated(schema, None).map(|trouble| findings::problem("layout", trouble)));
        let may_execute = permissions.iter().find(|permission| permission.is("EXECUTE"));
        if may_execute.is_some_and(|permission| permission.is_granted == Some(false)) {
            let what = format!("{} may not execute what is in schema {schema}", self.user);
            let fix = grant_to_run(schema, &self.user);
            self.findings.push(Finding::problem("permissions", what, fix));
        }
        Ok(Found::Others)
    }

    /// What a node of these settings may not do, and what it would then miss.
    async fn permissions(
        &mut self,
        permissions: &[Permission],
        found: &Found,
        doorbell: Option<Doorbell>,
    ) -> Step {
        let config = self.look.config;
        // Whether a node would is not known where nobody knows what is there.
        let mut is_seen = !matches!(found, Found::Unseen);
        let mut installs = config.install == Install::Create && is_seen;
        if let Found::Ours(layout) = found {
            match self.look.missing().await {
                Ok(missing) => installs = self.objects(layout, &missing, installs),
                // Nodes look at it, too.
                Err(failure) => {
                    self.trouble("layout", failure).await?;
                    (is_seen, installs) = (false, false);
                }
            }
        }
        let has_schema = permissions.iter().any(|held| held.is_of_schema && held.is_granted.is_some());
        if installs {
            for held in permissions.iter().filter(|held| held.is_needed_to_install(has_schema)) {
                self.lacks(held, Finding::problem, "it cannot install");
            }
        }
        let rings = config.install == Install::Create && config.notifications == Notifications::Auto;
        if rings && doorbell == Some(Doorbell::NotInstalled) {
            let needs = |held: &&Permission| match installs {
                true => ["CREATE QUEUE", "CREATE SERVICE"].contains(&held.name.as_str()),
                false => held.is_needed_for_doorbell(),
            };
            for held in permissions.iter().filter(needs) {
                self.lacks(held, Finding::warning, "it cannot install the doorbell, and nodes poll");
            }
        }
        if rings && doorbell == Some(Doorbell::Off) && config.enable_broker {
            for held in permissions.iter().filter(|held| !held.is_of_schema && held.name == "ALTER") {
                self.lacks(held, Finding::warning, "it cannot turn Service Broker on, and nodes poll");
            }
        }
        if is_seen && self.findings.iter().all(|finding| finding.subject != "permissions") {
            let what = format!("{} may do all that a node needs", self.user);
            self.findings.push(Finding::ok("permissions", what));
        }
        Ok(())
    }

    /// What is to be said of this app's objects; whether a node would make them, if that `installs` at all.
    fn objects(&mut self, layout: &Layout, missing: &[Missing], installs: bool) -> bool {
        let schema = &self.look.config.schema;
        let version = layout.schema_version;
        let is_old = version < SCHEMA_VERSION;
        let lacks = absent(schema, missing);
        let is_complete = !is_old && lacks.is_none();
        match (is_complete, installs) {
            (true, _) => {
                let what = format!(
                    "schema {schema} has the {} message tables of the app {}, version {version}",
                    layout.table_count, layout.app
                );
                self.findings.push(Finding::ok("layout", what));
            }
            (false, true) if is_old => {
                let what = format!("schema {schema} has version {version}: the next node upgrades it");
                self.findings.push(Finding::ok("layout", what));
            }
            (false, true) => {
                let what = lacks.map(|trouble| trouble.what).unwrap_or_default();
                let fix = "start a node, which makes it anew";
                self.findings.push(Finding::warning("layout", what, fix));
            }
            (false, false) => {
                for trouble in outdated(schema, Some(version)).into_iter().chain(lacks) {
                    self.problem("layout", trouble);
                }
            }
        }
        if let Some(trouble) = denied(schema, missing) {
            self.problem("permissions", trouble);
        }
        installs && !is_complete
    }

    /// Tells that a permission is missing, if it is.
    fn lacks(&mut self, held: &Permission, finding: fn(&'static str, String, String) -> Finding, so: &str) {
        if held.is_granted == Some(true) {
            return;
        }
        let Permission { is_of_schema, name, .. } = held;
        let schema = format!("SCHEMA::{}", identifier(&self.look.config.schema));
        let (place, on) = match is_of_schema {
            true => (format!("on schema {}", self.look.config.schema), Some(schema)),
            false if name == "ALTER" => {
                let database = identifier(&self.look.config.database);
                ("on the database".to_owned(), Some(format!("DATABASE::{database}")))
            }
            false => (format!("in the database {}", identifier(&self.look.config.database)), None),
        };
        let what = format!("{} lacks {name} {place}: {so}; grant it, or {LET_A_DBA_INSTALL}", self.user);
        let fix = grant(name, on.as_deref(), &self.user);
        self.findings.push(finding("permissions", what, fix));
    }

    /// Whether publishers can wake nodes.
    async fn broker(&mut self, found: &Found, doorbell: Doorbell) -> Step {
        let config = self.look.config;
        let finding = match doorbell {
            _ if config.notifications == Notifications::PollOnly => {
                Finding::ok("broker", "the settings say that nodes poll")
            }
            Doorbell::NoBroker => Finding::ok("broker", bell::missing(config, doorbell).what),
            Doorbell::NotInstalled if config.install == Install::Create => {
                Finding::ok("broker", "Service Broker is on, and a node installs the doorbell")
            }
            Doorbell::Off if config.enable_broker => {
                let Trouble { fix, .. } = bell::missing(config, doorbell);
                let what = "Service Broker is off in this database, and a node turns it on if nobody else is connected";
                Finding::warning("broker", what, fix)
            }
            Doorbell::Off | Doorbell::NotInstalled => {
                findings::warning("broker", bell::missing(config, doorbell))
            }
            Doorbell::Installed => {
                if !matches!(found, Found::Ours(_)) {
                    // Procedures of those names, which are told of elsewhere.
                    return Ok(());
                }
                let procedure = Names::new(&config.schema, config.table_count).doorbell_health;
                match health::ask(self.look.link, &procedure).await {
                    Ok(health) => findings::of_broker(&health, config),
                    Err(failure) => {
                        let subject = if failure.is_denied() { "permissions" } else { "broker" };
                        if !self.goes_on(&failure).await {
                            return Err(self.lost(failure));
                        }
                        let trouble = failure.into_trouble(config);
                        findings::warning(subject, trouble)
                    }
                }
            }
        };
        self.findings.push(finding);
        Ok(())
    }

    /// What was answered; what failed is told, and hides nothing but itself unless the connection is gone with it.
    async fn seen<T>(
        &mut self,
        subject: &'static str,
        what: &str,
        answer: Result<T, Failure>,
    ) -> Step<Option<T>> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) if self.goes_on(&failure).await => {
                self.findings.push(findings::unseen(subject, what, failure, self.look.config));
                Ok(None)
            }
            Err(failure) => Err(self.lost(failure)),
        }
    }

    /// What failed that nodes need; the rest is hidden where the connection is gone with it.
    async fn trouble(&mut self, subject: &'static str, failure: Failure) -> Step {
        if !self.goes_on(&failure).await {
            return Err(self.lost(failure));
        }
        self.findings.push(findings::failed(subject, failure, self.look.config));
        Ok(())
    }

    /// Whether there is a connection to look on with.
    ///
    /// One look may wait for longer than a node would, such as for an installation under way. More, and whoever waits for
    /// the findings would have none at all.
    async fn goes_on(&mut self, failure: &Failure) -> bool {
        if self.look.link.is_clean() {
            return true;
        }
        if !matches!(failure, Failure::TimedOut { .. }) || self.has_reconnected {
            return false;
        }
        self.has_reconnected = true;
        match Box::pin(Link::connect(self.look.config)).await {
            Ok(link) => {
                *self.look.link = link;
                true
            }
            Err(_) => false,
        }
    }

    fn lost(&mut self, failure: Failure) -> Hidden {
        self.findings.push(findings::failed("connection", failure, self.look.config));
        Hidden
    }

    fn problem(&mut self, subject: &'static str, trouble: Trouble) {
        self.findings.push(findings::problem(subject, trouble));
    }
}

impl Permission {
    /// Whether it is this one on the schema.
    fn is(&self, name: &str) -> bool {
        self.is_of_schema && self.name == name
    }

    /// Of the permissions that are asked for, those without which a node cannot make or upgrade the objects.
    fn is_needed_to_install(&self, has_schema: bool) -> bool {
        match self.is_of_schema {
            true => has_schema,
            false => match self.name.as_str() {
                "CREATE SCHEMA" => !has_schema,
                "CREATE TABLE" | "CREATE PROCEDURE" | "CREATE FUNCTION" => true,
                _ => false,
            },
        }
    }

    /// The same for the doorbell, where the other objects are there.
    fn is_needed_for_doorbell(&self) -> bool {
        match self.is_of_schema {
            true => self.name == "ALTER",
            false => ["CREATE PROCEDURE", "CREATE QUEUE", "CREATE SERVICE"].contains(&self.name.as_str()),
        }
    }
}

const ANOTHER_SCHEMA: &str = "set schema to another one";

/// This machine's clock.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
