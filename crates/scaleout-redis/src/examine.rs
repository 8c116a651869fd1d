//! What is wrong with a store, for this app.

mod clock;
mod layout;
mod permissions;
mod retention;

use std::{error::Error as StdError, sync::Arc};

use redis::{RedisError, Value};
use scaleout_core::{Error, Finding, Severity};

use crate::{
    config::{Endpoint, RedisConfig, Topology},
    discover::Target,
    error::{
        from_redis, info_field, minimal_acl, missing_grant, missing_right, server_version, set_user,
        subject_of,
    },
    group::Group,
    link::{Link, check_mode, check_role},
};

impl RedisConfig {
    /// Looks at the store as a node of this app would find it: whether it answers, what it is, what this login may do,
    /// and what is there already.
    ///
    /// Nothing is changed. The findings come in the order in which they were made; after a
    /// [problem](scaleout_core::Severity::Problem) that hides the rest, such as a wrong password, no more follow. In a
    /// Cluster every master that holds keys of the app is looked at, and named.
    ///
    /// # Cancel safety
    /// Nothing is left behind when the future is dropped.
    pub async fn examine(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Err(last) = self.look(&mut findings).await {
            findings.push(last);
        }
        findings
    }

    /// Adds what is found; fails with the finding that hides the rest.
    async fn look(&self, findings: &mut Vec<Finding>) -> Result<(), Finding> {
        if let Err(error) = self.check() {
            return Err(Finding::problem("settings", error.to_string(), "change the settings that it names"));
        }
        let config = Arc::new(self.clone());
        let mut servers = Vec::<(Target, Vec<Group>)>::new();
        for index in 0..self.group_count().get() {
            let group = Group::new(Arc::clone(&config), index);
            let target = match group.places.target(self, &group.keys.meta()).await {
                Ok(target) => target,
                Err(error) => {
                    let is_told = match (&self.topology, missing_grant(&error)) {
                        (Topology::Cluster { seeds }, Some(_)) => {
                            self.lacks_rights(seeds, &group, findings).await
                        }
                        _ => false,
                    };
                    return if is_told { Ok(()) } else { Err(self.finding_of_search(&error)) };
                }
            };
            match servers.iter_mut().find(|(known, _)| known.endpoint == target.endpoint) {
                Some((_, groups)) => groups.push(group),
                None => servers.push((target, vec![group])),
            }
        }
        let is_one = servers.len() == 1;
        for (target, groups) in servers {
            let mut found = Vec::new();
            if let Err(last) = self.look_at(&target, &groups, &mut found).await {
                found.push(last);
            }
            findings.extend(found.into_iter().map(|mut finding| {
                if !is_one {
                    finding.what = format!("{}: {}", target.endpoint, finding.what);
                }
                finding
            }));
        }
        Ok(())
    }

    /// Looks at one server, which holds these groups.
    async fn look_at(
        &self,
        target: &Target,
        groups: &[Group],
        findings: &mut Vec<Finding>,
    ) -> Result<(), Finding> {
        let link = match Link::open(self, target).await {
            Ok(link) => link,
            Err(error) => {
                let at = std::slice::from_ref(&target.endpoint);
                let is_told =
                    missing_grant(&error).is_some() && self.lacks_rights(at, &groups[0], findings).await;
                return if is_told { Ok(()) } else { Err(self.finding_of(&error)) };
            }
        };
        let tls = if self.tls.is_some() { " by TLS" } else { "" };
        findings.push(Finding::ok("connection", format!("the server answers{tls}")));
        let info = Info::ask(&link).await.map_err(|error| {
            self.finding_of(&from_redis(error, "asking Redis for its state (INFO)", self))
        })?;
        // A server that wants a password lets anybody connect, and answers nothing.
        findings.push(Finding::ok(
            "login",
            match (&self.username, &self.password) {
                (Some(user), _) => format!("logged in as {user:?}"),
                (None, Some(_)) => "logged in as the user default".into(),
                (None, None) => "no password is asked for".into(),
            },
        ));
        if let Some(info) = &info {
            let version = server_version(&info.0).map_err(|error| self.finding_of(&error))?;
            findings.push(Finding::ok("version", version));
            check_mode(self, &info.0).map_err(|error| self.finding_of(&error))?;
            check_role(&info.0).map_err(|error| {
                let fix = match self.topology {
                    Topology::Sentinel { .. } => "wait until the sentinels agree on a master: `SENTINEL MASTERS`",
                    _ => "name its master in the URL (INFO replication tells it), or the sentinels that watch it, \
                          by redis+sentinel://",
                };
                Finding::problem("connection", error.to_string(), fix)
            })?;
        }
        // A connection of its own, since a transaction that may not be ended stays open.
        let trials = Link::open(self, target).await.map_err(|error| self.finding_of(&error))?;
        permissions::look(self, &trials, &groups[0], findings)
            .await
            .map_err(|error| self.finding_of(&error))?;
        layout::look(self, &link, groups, findings).await.map_err(|error| self.finding_of(&error))?;
        if let Some(finding) = clock::look(&link).await.map_err(|error| self.finding_of(&error))? {
            findings.push(finding);
        }
        if let Some(info) = &info {
            retention::look(self, info, groups, findings);
        }
        Ok(())
    }

    /// Adds the rights that are missing where not even the server of the app can be reached for want of them; whether
    /// any is. Any member of a Cluster will do: it checks rights before slots.
    async fn lacks_rights(&self, at: &[Endpoint], group: &Group, findings: &mut Vec<Finding>) -> bool {
        // To choose another one is a right, too.
        let login = self.clone().with_database(0);
        for endpoint in at {
            let target = Target { endpoint: endpoint.clone(), asking: false };
            let Ok(link) = Link::open(&login, &target).await else { continue };
            if permissions::look(self, &link, group, findings).await.is_ok() {
                return findings.iter().any(|finding| finding.severity == Severity::Problem);
            }
        }
        false
    }

    /// What an error means that came while sentinels or a Cluster were asked for the server.
    fn finding_of_search(&self, error: &Error) -> Finding {
        let mut finding = self.finding_of(error);
        if matches!(self.topology, Topology::Sentinel { .. }) {
            if finding.subject == "version" {
                // It has no such command.
                let fix = "name sentinels, which listen on 26379 unless told otherwise; or the server itself, by \
                           redis://";
                return Finding::problem("settings", finding.what, fix);
            }
            let user = self.sentinel_username.as_deref().unwrap_or("default");
            finding.fix = match finding.subject {
                "login" => {
                    Some("set sentinel_username and sentinel_password to what the sentinels ask for".into())
                }
                "permissions" => {
                    Some(format!("at each sentinel: `ACL SETUSER {user} +sentinel|get-master-addr-by-name`"))
                }
                "settings" => Some("name a master that `SENTINEL MASTERS` lists".into()),
                _ => finding.fix,
            };
        }
        finding
    }

    /// What an error means that hides the rest, and what to do about it.
    fn finding_of(&self, error: &Error) -> Finding {
        if let Some(why) = missing_grant(error) {
            return Finding::problem("permissions", one_line(&why), minimal_acl(self));
        }
        let subject = subject_of(error);
        let mut what = error.to_string();
        if let Some(source) = StdError::source(error) {
            what = format!("{what}: {source}");
        }
        Finding::problem(subject, one_line(&what), self.fix_of(subject, &what))
    }

    fn fix_of(&self, subject: &str, what: &str) -> String {
        match subject {
            "login" if self.password.is_none() => {
                "set password, and username where it is not default: `:password@host` in a URL".into()
            }
            "login" => format!(
                "set username and password to those of a user of the server, or let them be that: `{} on >PASSWORD`",
                set_user(self)
            ),
            "version" => "run Redis 7.0 or later, or Valkey 7.2 or later".into(),
            "settings" if what.contains("redis+sentinel://") => {
                "begin the URL with `redis+sentinel://`, and name the master behind the hosts: `SENTINEL MASTERS` \
                 lists it"
                    .into()
            }
            "settings" if what.contains("no database") => {
                "set database to one that it has: `CONFIG GET databases` tells how many".into()
            }
            "settings" if what.contains("redis+cluster://") => self.other_scheme("redis+cluster", "rediss+cluster"),
            "settings" if what.contains("redis://") => self.other_scheme("redis", "rediss"),
            "settings" => "change the setting that it names".into(),
            _ if what.contains("certificate") => {
                "set ca (and client_cert, client_key), or connect by a name that the server's certificate holds".into()
            }
            _ => {
                let endpoint = match &self.topology {
                    Topology::Standalone(endpoint) => Some(endpoint),
                    Topology::Sentinel { sentinels, .. } => sentinels.first(),
                    Topology::Cluster { seeds } => seeds.first(),
                };
                let tls = if self.tls.is_some() { " --tls" } else { "" };
                let ping = match endpoint {
                    Some(Endpoint::Tcp { host, port }) => format!("`redis-cli{tls} -h {host} -p {port} PING`"),
                    Some(Endpoint::Unix(path)) => format!("`redis-cli -s {} PING`", path.display()),
                    None => "redis-cli".into(),
                };
                format!(
                    "check host and port, that the server runs, whether it wants TLS, and what stands between: {ping}"
                )
            }
        }
    }

    fn other_scheme(&self, plain: &str, tls: &str) -> String {
        format!("begin the URL with `{}://`", if self.tls.is_some() { tls } else { plain })
    }
}

/// What a server says of itself.
struct Info(String);

impl Info {
    /// Asks for it; `None` where the user may not, which is found with the other permissions.
    async fn ask(link: &Link) -> Result<Option<Self>, RedisError> {
        let mut asks = redis::pipe();
        for section in ["server", "replication", "memory", "persistence"] {
            asks.cmd("INFO").arg(section);
        }
        let mut text = String::new();
        for answer in link.run(&asks).await? {
            match answer.extract_error() {
                Ok(answer) => text.push_str(&redis::from_redis_value::<String>(answer)?),
                Err(error) if missing_right(&error).is_some() => return Ok(None),
                Err(error) => return Err(error),
            }
            text.push('\n');
        }
        Ok(Some(Self(text)))
    }

    fn field(&self, name: &str) -> Option<&str> {
        info_field(&self.0, name)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }
}

/// What came of a command whose refusal is told elsewhere.
fn if_permitted(answer: Value) -> Result<Option<Value>, RedisError> {
    match answer.extract_error() {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if missing_right(&error).is_some() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Text of a server, as one line without what steers a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
