//! What an error means, by its number.
//!
//! Source of the numbers: "Database engine events and errors" and "Troubleshoot connection errors" in the documentation of
//! SQL Server, and "Troubleshoot transient connection errors" in that of Azure SQL Database.

use std::io;

use scaleout_core::{Error, ErrorKind};
use tiberius::error::{Error as ClientError, TokenError};

use crate::{
    config::{Authentication, SqlServerConfig},
    error::wording::{Wording, identifier},
};

/// What is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) kind: ErrorKind,
    /// In a few words; empty where the source says it all.
    pub(crate) what: String,
    /// The statement or the setting that mends it; empty where nobody can do anything, or where that is part of `what`.
    pub(crate) fix: String,
}

impl Trouble {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), fix: String::new() }
    }

    pub(crate) fn mended_by(self, fix: impl Into<String>) -> Self {
        Self { fix: fix.into(), ..self }
    }

    /// The error, without a source.
    pub(crate) fn into_error(self) -> Error {
        Error::new(self.kind, self.in_one_line())
    }

    /// The error of what was being done, without its source.
    pub(super) fn into_error_of(self, doing: &str) -> Error {
        let told = self.in_one_line();
        Error::new(self.kind, if told.is_empty() { doing.to_owned() } else { format!("{doing}: {told}") })
    }

    pub(crate) fn in_one_line(&self) -> String {
        let Self { what, fix, .. } = self;
        if fix.is_empty() { what.clone() } else { format!("{what}: {fix}") }
    }

    /// Of what the client reports.
    pub(super) fn of(error: &ClientError, config: &SqlServerConfig) -> Self {
        match error {
            ClientError::Server(answer) => Self::of_answer(answer, config),
            ClientError::Io { kind: io::ErrorKind::NotFound, message }
                if message.contains("certificates") =>
            {
                Self::new(
                    ErrorKind::Config,
                    "the operating system knows no authority to check the server's certificate by",
                )
                .mended_by("install its certificates (ca-certificates), or set ca")
            }
            ClientError::Io { kind, .. } => Self::of_io(*kind),
            ClientError::Tls(_) => {
                Self::new(ErrorKind::Config, "the server's certificate is not trusted for this host")
                    .mended_by("set ca, or host_name_in_certificate where it holds another name")
            }
            ClientError::Protocol(text) if text.contains("encryption level") => {
                Self::new(ErrorKind::Config, "the server has no TLS, and encryption is required")
                    .mended_by("give it a certificate, or set encryption=not_supported")
            }
            ClientError::Conversion(text) if text.to_ascii_lowercase().contains("sql browser") => Self::new(
                ErrorKind::Unavailable,
                "the SQL Browser of the host does not tell the port of the instance",
            )
            .mended_by("open its UDP port 1434, or set port"),
            #[cfg(all(unix, feature = "kerberos"))]
            ClientError::Gssapi(_) => {
                Self::new(ErrorKind::Unauthorized, "Kerberos has no ticket for the server")
                    .mended_by("run kinit, and look whether MSSQLSvc/<host>:<port> is registered (setspn -Q)")
            }
            _ => Self::new(ErrorKind::Unavailable, ""),
        }
    }

    /// Of trouble with the connection.
    pub(super) fn of_io(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::TimedOut => Self::new(ErrorKind::Timeout, "no answer in time"),
            _ => Self::new(ErrorKind::Unavailable, ""),
        }
    }

    /// Of an answer of the server.
    fn of_answer(answer: &TokenError, config: &SqlServerConfig) -> Self {
        let number = answer.code();
        if number == BABELFISH {
            return Self::of_text(answer.message(), config);
        }
        if let Some((_, why)) = TRANSIENT.iter().find(|(numbers, _)| numbers.contains(&number)) {
            return Self::new(ErrorKind::Unavailable, *why);
        }
        if let Some((_, why)) = UNSUPPORTED.iter().find(|(numbers, _)| numbers.contains(&number)) {
            return Self::new(ErrorKind::Unsupported, *why);
        }
        let wording = Wording::of(answer.message());
        Self::of_login(number, config)
            .or_else(|| Self::of_missing_grant(number, &wording, config))
            .or_else(|| Self::of_settings(number, &wording, config))
            // What this code does not know may pass, and where it does not, the source tells what it is. Errors of
            // class 14 are about permissions.
            .unwrap_or_else(|| match answer.class() {
                14 => Self::new(ErrorKind::Unauthorized, "the user lacks a permission"),
                _ => Self::new(ErrorKind::Unavailable, ""),
            })
    }

    /// Of a refused login.
    fn of_login(number: u32, config: &SqlServerConfig) -> Option<Self> {
        let who = login_of(config);
        let login = user_of(config);
        let database = identifier(&config.database);
        let (why, fix): (String, String) = match number {
            18456 => match config.authentication {
                Authentication::SqlLogin { .. } => (
                    format!(
                        "the server refuses {who}, or its password, or does not let it open the database {database}"
                    ),
                    format!(
                        "set user and password right, or ALTER LOGIN {login} WITH PASSWORD = N'…'; the server's error \
                         log says which it is"
                    ),
                ),
                Authentication::AccessToken(_) => (
                    "the server refuses the access token".into(),
                    format!("in the database {database}, CREATE USER [<name>] FROM EXTERNAL PROVIDER"),
                ),
                #[cfg(any(windows, all(unix, feature = "kerberos")))]
                Authentication::Integrated => (
                    "the server refuses the account of the process".into(),
                    "CREATE LOGIN [<domain>\\<name>] FROM WINDOWS".into(),
                ),
            },
            18450 | 18452 => (
                "the server takes no such logins".into(),
                "one of SQL Server needs the mixed mode (SQL Server and Windows Authentication), an account of Windows \
                 a domain that the server trusts"
                    .into(),
            ),
            18451 => {
                ("only administrators may connect now".into(), "wait, or start the server normally".into())
            }
            18470 => (format!("{who} is disabled"), format!("ALTER LOGIN {login} ENABLE")),
            18486 => (
                format!("{who} is locked out after wrong passwords"),
                format!("ALTER LOGIN {login} WITH PASSWORD = N'…' UNLOCK"),
            ),
            18487 => (
                format!("the password of {who} has expired"),
                format!("ALTER LOGIN {login} WITH PASSWORD = N'…'"),
            ),
            18488 => (
                format!("the password of {who} must be changed"),
                format!("ALTER LOGIN {login} WITH PASSWORD = N'…'"),
            ),
            18463..=18468 | 18471 => (
                format!("the password of {who} cannot be taken"),
                format!("ALTER LOGIN {login} WITH PASSWORD = N'…'"),
            ),
            4064 => (
                format!("{who} has a default database that cannot be opened"),
                format!("ALTER LOGIN {login} WITH DEFAULT_DATABASE = {database}"),
            ),
            40532 => (
                format!("there is no such server in Azure SQL, or it does not know {who}"),
                "look at host and user".into(),
            ),
            40615 | 40914 | 47073 => (
                "the firewall of Azure SQL does not let this address in".into(),
                "add a rule to the server (az sql server firewall-rule create, or a private endpoint)".into(),
            ),
            _ => return None,
        };
        Some(Self::new(ErrorKind::Unauthorized, why).mended_by(fix))
    }

    /// Of a missing permission, with the statement that grants it.
    fn of_missing_grant(number: u32, wording: &Wording<'_>, config: &SqlServerConfig) -> Option<Self> {
        let user = user_of(config);
        let (why, fix) = match number {
            // The EXECUTE permission was denied on the object 'publish_0', database 'app', schema 'scaleout'.
            229 => Self::denied(wording, wording.name(0), wording.name(2), config),
            // The SELECT permission was denied on the column 'payload' of the object 'messages_0', database …, schema ….
            230 => Self::denied(wording, wording.name(1), wording.name(3), config),
            // CREATE TABLE permission denied in database 'app'.
            262 => {
                let permission = wording.permission().unwrap_or("CREATE TABLE");
                let database = identifier(wording.name(0).unwrap_or(&config.database));
                (
                    format!("the user lacks {permission} in the database {database}"),
                    format!("{}, or {LET_A_DBA_INSTALL}", grant(permission, None, &user)),
                )
            }
            // VIEW SERVER STATE permission was denied on object 'server', database 'master'.
            300 => {
                let permission = wording.permission().unwrap_or("VIEW SERVER STATE");
                let grant = grant(permission, None, &user);
                (format!("the user lacks {permission}"), format!("in master, {grant}"))
            }
            // Cannot find the schema 'scaleout', because it does not exist or you do not have permission.
            15151 => match (wording.missing(), wording.name(0)) {
                (Some("schema"), Some(name)) => {
                    let name = identifier(name);
                    (
                        format!("there is no schema {name}, or the user may not use it"),
                        grant("ALTER", Some(&format!("SCHEMA::{name}")), &user),
                    )
                }
                (Some(what), Some(name)) => (
                    format!("there is no {what} {}, or the user may not use it", identifier(name)),
                    grant("CONTROL", Some("it"), &user),
                ),
                _ => (
                    "something is not there, or the user may not use it".into(),
                    grant("CONTROL", Some("it"), &user),
                ),
            },
            // Cannot drop the table 'scaleout.layout', because it does not exist or you do not have permission.
            3701 => {
                let what = wording.name(0).unwrap_or("something");
                (
                    format!("{what} is not there, or the user may not drop it"),
                    grant("CONTROL", Some(&format!("SCHEMA::{}", identifier(&config.schema))), &user),
                )
            }
            297 | 5011 | 15247 => {
                let database = format!("DATABASE::{}", identifier(&config.database));
                ("the user lacks ALTER on the database".into(), grant("ALTER", Some(&database), &user))
            }
            // The server principal "chat" is not able to access the database "app" under the current security context.
            916 => {
                let database = identifier(wording.name(1).unwrap_or(&config.database));
                (
                    format!("the login has no user in the database {database}"),
                    format!("there, CREATE USER {user} FOR LOGIN {user}"),
                )
            }
            _ => return None,
        };
        Some(Self::new(ErrorKind::Unauthorized, why).mended_by(fix))
    }

    fn denied(
        wording: &Wording<'_>,
        object: Option<&str>,
        schema: Option<&str>,
        config: &SqlServerConfig,
    ) -> (String, String) {
        let user = user_of(config);
        let permission = wording.permission().unwrap_or("EXECUTE");
        let (Some(object), Some(schema)) = (object, schema) else {
            return ("the user lacks a permission".into(), grant_to_run(&config.schema, &user));
        };
        let object = format!("{}.{}", identifier(schema), identifier(object));
        let why = format!("the user lacks {permission} on {object}");
        if permission == "EXECUTE" && schema == config.schema {
            return (why, grant_to_run(schema, &user));
        }
        let there = if schema == "sys" { "in master, " } else { "" };
        (why, format!("{there}{}", grant(permission, Some(&object), &user)))
    }

    /// Of what is not there, or not as it should be.
    fn of_settings(number: u32, wording: &Wording<'_>, config: &SqlServerConfig) -> Option<Self> {
        let user = user_of(config);
        let database = identifier(&config.database);
        let (why, fix): (String, String) = match number {
            // Invalid object name 'scaleout.layout'. · Could not find stored procedure 'scaleout.positions'.
            208 | 2812 => {
                let what = wording.name(0).map_or(String::new(), |name| format!(" {name}"));
                (
                    format!("the object{what} is not in the database {database}, or the user may not see it"),
                    INSTALL.into(),
                )
            }
            // Invalid column name. · Procedure expects parameter, has too many arguments, is not a parameter of it.
            121 | 201 | 207 | 213 | 8144 | 8145 | 8146 => {
                ("the objects in the database are of another version, or somebody's".into(), INSTALL.into())
            }
            // Cannot open database "app" requested by the login. The login failed.
            4060 => (
                format!("there is no database {database}, or {} may not open it", login_of(config)),
                format!("CREATE DATABASE {database}, and there CREATE USER {user} FOR LOGIN {user}"),
            ),
            911 => (format!("there is no database {database}"), format!("CREATE DATABASE {database}")),
            // The specified schema name "scaleout" either does not exist or you do not have permission to use it.
            2760 => {
                let schema = identifier(wording.name(0).unwrap_or(&config.schema));
                let grant = grant("ALTER", Some(&format!("SCHEMA::{schema}")), &user);
                (
                    format!("there is no schema {schema}, or the user may not use it"),
                    format!("CREATE SCHEMA {schema}, and {grant}"),
                )
            }
            50001 => (
                "the server begins a transaction by itself".into(),
                "take IMPLICIT_TRANSACTIONS out of its user options (sp_configure 'user options')".into(),
            ),
            9772 => (
                "Service Broker of another database has the same identity, as of a copy".into(),
                format!("ALTER DATABASE {database} SET NEW_BROKER"),
            ),
            1468 => (
                "Service Broker cannot be switched on in an availability group".into(),
                format!(
                    "take {database} out of it, ALTER DATABASE {database} SET ENABLE_BROKER, and add it again"
                ),
            ),
            _ => return None,
        };
        Some(Self::new(ErrorKind::Config, why).mended_by(fix))
    }

    /// Of an answer of Babelfish for PostgreSQL, which has one number for all errors that SQL Server does not have, and
    /// PostgreSQL's words.
    fn of_text(text: &str, config: &SqlServerConfig) -> Self {
        let lower = text.to_ascii_lowercase();
        let says = |part: &str| lower.contains(part);
        if says("permission denied for table") {
            // It has no ownership chaining: EXECUTE is not enough.
            let schema = format!("SCHEMA::{}", identifier(&config.schema));
            Self::new(ErrorKind::Unauthorized, "the user lacks a permission on a table").mended_by(grant(
                "SELECT, INSERT, UPDATE, DELETE",
                Some(&schema),
                &user_of(config),
            ))
        } else if says(DENIED) {
            Self::new(ErrorKind::Unauthorized, "the user lacks a permission")
                .mended_by(grant_to_run(&config.schema, &user_of(config)))
        } else if says(OWNERS_ALONE) {
            Self::new(ErrorKind::Unauthorized, "the user does not own what is in the schema")
                .mended_by("log in as the owner of the schema, or of the database")
        } else if says("does not exist") || says("could not find") {
            Self::new(ErrorKind::Config, "something is not in the database").mended_by(INSTALL)
        } else if says("not currently supported") || says("not supported") || says("syntax error") {
            Self::new(ErrorKind::Unsupported, "the server does not know a statement")
        } else {
            Self::new(ErrorKind::Unavailable, "")
        }
    }
}

/// The statement that gives a permission, `on` what is written as in a statement, to a quoted `user`.
pub(crate) fn grant(permission: &str, on: Option<&str>, user: &str) -> String {
    match on {
        Some(on) => format!("GRANT {permission} ON {on} TO {user}"),
        None => format!("GRANT {permission} TO {user}"),
    }
}

/// The statement that gives a quoted `user` all that a node needs at run time.
pub(crate) fn grant_to_run(schema: &str, user: &str) -> String {
    grant("EXECUTE", Some(&format!("SCHEMA::{}", identifier(schema))), user)
}

/// What makes the objects.
const INSTALL: &str = "set install=create, or let a DBA run the script";

/// For those whose account is not to create anything.
pub(crate) const LET_A_DBA_INSTALL: &str = "let a DBA run the script and set install=verify";

/// Whether an error of this number says that nobody gets in as this login, whoever the server is.
pub(crate) fn is_of_login(number: u32) -> bool {
    matches!(
        number,
        18450 | 18452 | 18456 | 18463..=18468 | 18470 | 18471 | 18486..=18488 | 4060 | 4064 | 911 | 916 | 40532
    )
}

/// Who logs in, in words.
pub(crate) fn login_of(config: &SqlServerConfig) -> String {
    match &config.authentication {
        Authentication::SqlLogin { user, .. } => format!("the login {}", identifier(user)),
        _ => "the account".into(),
    }
}

/// The user to grant something to, as in a statement.
pub(crate) fn user_of(config: &SqlServerConfig) -> String {
    match &config.authentication {
        // Azure SQL Database knows a login `user@server`, too, of which the user is the first part.
        Authentication::SqlLogin { user, .. } => identifier(user.split('@').next().unwrap_or(user)),
        _ => "[<user>]".into(),
    }
}

/// Whether a permission is missing.
pub(super) fn is_denied(answer: &TokenError) -> bool {
    match answer.code() {
        229 | 230 | 262 | 300 | 15_151 => true,
        BABELFISH => {
            let text = answer.message().to_ascii_lowercase();
            text.contains(DENIED) || text.contains(OWNERS_ALONE)
        }
        _ => false,
    }
}

/// What Babelfish says of a permission.
const DENIED: &str = "permission denied";

/// What Babelfish says of what no permission gives.
const OWNERS_ALONE: &str = "must be owner";

/// What Babelfish sends for whatever has no number in SQL Server.
const BABELFISH: u32 = 33_557_097;

/// What may pass without anybody's help, or does no harm while it lasts.
const TRANSIENT: &[(&[u32], &str)] = &[
    (&[1205], "the server chose this request as the victim of a deadlock"),
    (&[1222], "somebody holds a lock for longer than the lock time-out"),
    (&[2601, 2627], "another node wrote the same row"),
    (&[2714, 2759], "another node creates the same object, or something else has its name"),
    (&[3958, 3960, 3961], "another node changed the same row"),
    (&[64, 233, 10_053, 10_054, 10_060, 11_001], "the connection is gone"),
    (&[596, 6002, 6005, 6006, 17_188], "the server shuts down, or an administrator ended the session"),
    (&[17_142, 17_187, 18_401, 18_461], "the server takes no connections now"),
    (&[17_189, 17_300, 17_809], "the server has as many connections as it can take"),
    (&[701, 802, 1204, 8628, 8645, 8651], "the server is short of memory or locks"),
    (&[1101, 1105], "the database's files are full: no message can be stored until there is room"),
    (
        &[9002],
        "the database's transaction log is full: no message can be stored until it is backed up or has room",
    ),
    (&[40_544], "the database has reached its largest size: no message can be stored until there is room"),
    (&[921, 922, 927, 942, 945, 952, 955], "the database is not online (yet)"),
    (&[926], "the database is marked suspect: it has to be repaired or restored"),
    (
        &[976, 978, 979, 982, 983, 988, 989],
        "this replica of the availability group cannot be used: connect to its listener",
    ),
    (&[3906, 3908], "the database is read-only, as a secondary replica is: connect to the listener"),
    (&[4221], "this replica is not ready after a failover"),
    (&[40_143, 40_166, 40_197, 40_540, 40_613], "the database is moved or fails over"),
    (&[40_501, 49_918, 49_919, 49_920], "Azure SQL is busy, and throttles"),
    (&[10_928, 10_929, 10_930, 10_936], "the limit of sessions or requests of the database is reached"),
    (&[40_549, 40_550, 40_551, 40_552, 40_553], "Azure SQL ended the session for its use of resources"),
    (&[50_010], "the store has another epoch"),
    (&[50_012], "the node is not registered for notifications"),
    (&[50_020], "another node is installing"),
    (&[9617], "a queue of Service Broker is off: ALTER QUEUE … WITH STATUS = ON"),
    (&[8426, 8429], "a conversation of Service Broker has been ended"),
    (
        &[15_517],
        "the owner of the database is unknown to this server, as after a restore: ALTER AUTHORIZATION ON DATABASE::[<name>] \
         TO [sa]",
    ),
    (
        &[5061, 5070],
        "the database cannot be changed while others use it: stop them, and ALTER DATABASE CURRENT SET ENABLE_BROKER",
    ),
];

/// What this server cannot do at all.
const UNSUPPORTED: &[(&[u32], &str)] = &[
    (
        &[102, 156, 170, 195, 319, 343, 2715, 2755],
        "the server does not know a statement: SQL Server 2016 or later is needed, at compatibility level 130",
    ),
    (
        &[40_510, 40_512, 40_514, 40_515, 40_517, 40_518, 40_520, 41_902, 41_906],
        "this edition of Azure SQL does not have it",
    ),
];
