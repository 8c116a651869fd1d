//! What is wrong with a store, and what an app left there.

mod links;
mod service;
mod topics;

use std::sync::Arc;

use scaleout_core::{Error, Finding, Remnant, Severity};

use tokio::{net::lookup_host, time::timeout};

use crate::{
    ServiceBusConfig,
    config::NodeTls,
    entities::Entities,
    error::{Failure, said},
    management::Management,
    token::Tokens,
    wire::{self, Wire},
};

impl ServiceBusConfig {
    /// Looks at the store as a node of this app would find it: whether it answers, what it is, what this login may do,
    /// and what is there already.
    ///
    /// Nothing is changed, and no message is sent or received. The findings come in the order in which they were made;
    /// after a [problem](scaleout_core::Severity::Problem) that hides the rest, such as a wrong key, no more follow.
    /// Topics are looked at by HTTPS where the login has the right Manage, and else by links that are attached to them,
    /// which do not tell how a topic is set up.
    ///
    /// # Cancel safety
    /// Nothing is left behind when the future is dropped.
    pub async fn examine(&self) -> Vec<Finding> {
        if let Err(error) = self.check() {
            return vec![Finding::problem("settings", said(&error), "correct the settings that are named")];
        }
        let mut examination = match Examination::new(self) {
            Ok(examination) => examination,
            Err(error) => {
                let fix = "install the certificates of the operating system (ca-certificates), or set ca";
                return vec![Finding::problem("connection", said(&error), fix)];
            }
        };
        // What hides the rest is among the findings.
        let _ = examination.look().await;
        examination.wire.close().await;
        examination.findings
    }

    /// What this app has in the store, whether its nodes run or not; nothing is changed.
    ///
    /// These are the topics of the app, whatever their number, and their subscriptions. It needs the right Manage.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn remnants(&self) -> Result<Vec<Remnant>, Error> {
        let (entities, management) = self.asking()?;
        let mut remnants = Vec::new();
        for index in entities.indices(&management).await? {
            remnants.extend(self.remnants_of(&entities, &management, index).await?);
        }
        Ok(remnants)
    }

    /// Removes what [`remnants`](Self::remnants) lists, all messages included, and returns what was removed.
    ///
    /// Nodes of the app that still run make it anew, and tell their subscriptions of a gap.
    ///
    /// # Errors
    /// The first thing that could not be removed; what was removed before stays removed.
    /// [`Config`](scaleout_core::ErrorKind::Config) with `create_entities = false`: what is there is
    /// somebody else's.
    ///
    /// # Cancel safety
    /// When the future is dropped, some of it may be removed.
    pub async fn remove_remnants(&self) -> Result<Vec<Remnant>, Error> {
        if !self.create_entities {
            return Err(Entities::made_by_others());
        }
        let (entities, management) = self.asking()?;
        let mut removed = Vec::new();
        for index in entities.indices(&management).await? {
            let remnants = self.remnants_of(&entities, &management, index).await?;
            let Some(topic) = remnants.first() else { continue };
            // Its subscriptions go with it.
            if entities.delete_topic(&management, &topic.name).await? {
                removed.extend(remnants);
            }
        }
        Ok(removed)
    }

    /// What asks about entities, whether nodes may do so or not.
    fn asking(&self) -> Result<(Entities, Management), Error> {
        self.check()?;
        let config = Arc::new(self.clone());
        let (tokens, tls) = (Arc::new(Tokens::new(&config)), NodeTls::of(&config));
        let management = Management::new(&config, Arc::clone(&tokens), &tls)?;
        Ok((Entities::new(Arc::clone(&config), tokens, &tls)?, management))
    }
}

/// An examination under way.
struct Examination {
    config: Arc<ServiceBusConfig>,
    tokens: Arc<Tokens>,
    entities: Entities,
    management: Management,
    wire: Box<dyn Wire>,
    findings: Vec<Finding>,
}

/// A problem that hides the rest was found.
struct Hidden;

/// What the right Manage lets be seen.
enum Sight {
    /// The topics of the app that are there, by index.
    Topics(Vec<usize>),
    /// Nothing.
    Nothing,
}

impl Examination {
    fn new(config: &ServiceBusConfig) -> Result<Self, Error> {
        let (entities, management) = config.asking()?;
        let config = Arc::new(config.clone());
        let (tokens, tls) = (Arc::new(Tokens::new(&config)), NodeTls::of(&config));
        let wire = wire::new(&config, Arc::clone(&tokens), &tls)?;
        Ok(Self { config, tokens, entities, management, wire, findings: Vec::new() })
    }

    async fn look(&mut self) -> Result<(), Hidden> {
        let answers = self.look_for_service().await?;
        let manages = answers && self.look_at_login().await?;
        let sight = if manages { Sight::Topics(self.look_at_topics().await?) } else { Sight::Nothing };
        self.look_at_links(answers, sight).await
    }

    /// Looks for a name, and says so where it is not found.
    async fn look_up(&mut self, host: &str, port: u16) -> Result<(), Hidden> {
        let failure = match timeout(self.config.connect_timeout, lookup_host((host, port))).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("nobody answered within {:?}", self.config.connect_timeout),
        };
        let fix = "set host to the host name that the portal shows (<namespace>.servicebus.windows.net), and look at the \
                   DNS of this machine";
        self.problem("connection", format!("the name {host} is not found: {failure}"), fix);
        Err(Hidden)
    }

    fn ok(&mut self, subject: &'static str, what: impl Into<String>) {
        self.findings.push(Finding::ok(subject, what));
    }

    fn warning(&mut self, subject: &'static str, what: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding::warning(subject, what, fix));
    }

    fn problem(&mut self, subject: &'static str, what: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding::problem(subject, what, fix));
    }

    /// A problem of which only a failure is known; `otherwise` mends it where the failure does not say what does.
    fn failed(&mut self, subject: &'static str, doing: &str, failure: Failure, otherwise: &str) {
        let (what, fix) = failure.told(doing, &self.config);
        self.problem(subject, what, fix.unwrap_or_else(|| otherwise.to_owned()));
    }

    /// Whether there is nothing but good news of this so far.
    fn is_well(&self, subject: &str) -> bool {
        self.findings.iter().all(|finding| finding.subject != subject || finding.severity == Severity::Ok)
    }
}

#[cfg(test)]
mod tests;
