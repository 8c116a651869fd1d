//! A connection string of ADO.NET: `Server=host;Database=app;User ID=…;Password=…`.
//!
//! Sources: "SqlConnection.ConnectionString Property" in the documentation of Microsoft.Data.SqlClient for the keywords and
//! their synonyms, "Connection String Syntax" for the quoting.

use std::str::Chars;

use scaleout_core::{Error, provider::settings::boolean};

use crate::config::{Authentication, SqlServerConfig, options::Options};

pub(super) fn parse(text: &str, given: Option<Authentication>) -> Result<SqlServerConfig, Error> {
    let mut options = Options::new(given);
    let mut after_password = false;
    let mut items = Items { rest: text.chars() };
    while let Some(item) = items.next_item() {
        let (name, value) = match item {
            Ok(item) => item,
            Err(problem) => {
                // What follows cannot be told apart.
                options.reading.refuse(problem);
                return options.abandon();
            }
        };
        let meaning = Meaning::of(&name);
        // Where a `;` of a password was not quoted, the rest of it looks like an option.
        if matches!(meaning, Meaning::Unknown) && after_password {
            options.reading.refuse(
                "an option after the password is unknown (not shown): quote a password that holds a ';'",
            );
        } else {
            take(&mut options, &meaning, &name, &value);
        }
        after_password |= matches!(meaning, Meaning::Option("password"));
    }
    options.finish()
}

/// What a keyword is for.
enum Meaning {
    /// The server, in a form of its own.
    Server,
    /// An option of ours.
    Option(&'static str),
    /// `Integrated Security`.
    Integrated,
    /// Which account of which service logs in.
    Authentication,
    /// `Application Intent`.
    Intent,
    /// `Network Library`.
    Library,
    /// It may be there if it is `false`.
    MustBeFalse(&'static str, &'static str),
    /// It cannot be done here, and why.
    Refused(&'static str, &'static str),
    /// How that client pools, retries, and so on: nothing that would be asked for here.
    Nothing,
    Unknown,
}

impl Meaning {
    /// Of a keyword, in any case and with or without its spaces.
    fn of(name: &str) -> Self {
        let plain: String = name.chars().filter(|char| !char.is_whitespace()).collect();
        match plain.to_lowercase().as_str() {
            "server" | "datasource" | "address" | "addr" | "networkaddress" => Self::Server,
            "database" | "initialcatalog" => Self::Option("database"),
            "userid" | "uid" | "user" => Self::Option("user"),
            "password" | "pwd" => Self::Option("password"),
            "encrypt" => Self::Option("encryption"),
            "hostnameincertificate" => Self::Option("host_name_in_certificate"),
            "maxpoolsize" => Self::Option("max_connections"),
            "connecttimeout" | "connectiontimeout" | "timeout" => Self::Option("connect_timeout"),
            "commandtimeout" => Self::Option("command_timeout"),
            "integratedsecurity" | "trusted_connection" => Self::Integrated,
            "authentication" => Self::Authentication,
            "applicationintent" => Self::Intent,
            "networklibrary" | "network" | "net" => Self::Library,
            "contextconnection" => Self::MustBeFalse("Context Connection", "there is no server around this"),
            "replication" => Self::MustBeFalse("Replication", "nothing is replicated"),
            "userinstance" => Self::MustBeFalse("User Instance", "instances are not started"),
            "attachdbfilename" | "extendedproperties" | "initialfilename" => {
                Self::Refused("AttachDBFilename", "attach the database, and name it by Database")
            }
            "failoverpartner" => {
                Self::Refused("Failover Partner", "mirroring is not followed, use a listener")
            }
            "failoverpartnerspn" => Self::Refused("Failover Partner SPN", "mirroring is not followed"),
            "serverspn" => Self::Refused("Server SPN", "the name is always MSSQLSvc/<host>:<port>"),
            "servercertificate" => Self::Refused(
                "Server Certificate",
                "name the authority that signed it by ca, and its host by HostNameInCertificate",
            ),
            "driver" | "dsn" | "provider" => {
                Self::Refused("Driver, DSN or Provider", "this is a string of ODBC or OLE DB")
            }
            plain if WITHOUT_MEANING.contains(&plain) => Self::Nothing,
            plain => Options::canonical(plain).map_or(Self::Unknown, Self::Option),
        }
    }
}

fn take(options: &mut Options, meaning: &Meaning, name: &str, value: &str) {
    // There, an empty value is one that is not given.
    if value.is_empty() && !matches!(meaning, Meaning::Unknown) {
        return;
    }
    match *meaning {
        Meaning::Server => take_server(options, value),
        Meaning::Option(name) => {
            options.set(name, value);
        }
        Meaning::Integrated => {
            if options.reading.first("Integrated Security") {
                match boolean(value) {
                    _ if value.eq_ignore_ascii_case("sspi") => integrated(options),
                    Ok(true) => integrated(options),
                    Ok(false) => {}
                    Err(problem) => options.reading.refuse(format!("Integrated Security {problem}")),
                }
            }
        }
        Meaning::Authentication => take_authentication(options, value),
        Meaning::Intent => {
            if options.reading.first("Application Intent") && !value.eq_ignore_ascii_case("readwrite") {
                options
                    .reading
                    .refuse("Application Intent is not ReadWrite: a readable secondary takes no messages");
            }
        }
        Meaning::Library => {
            if options.reading.first("Network Library") && !value.eq_ignore_ascii_case("dbmssocn") {
                options.reading.refuse("Network Library is not dbmssocn: servers are reached by TCP");
            }
        }
        Meaning::MustBeFalse(name, why) => {
            if options.reading.first(name) && boolean(value) != Ok(false) {
                options.reading.refuse(format!("{name} is not false: {why}"));
            }
        }
        Meaning::Refused(name, why) => options.reading.refuse(format!("{name} has no meaning here: {why}")),
        Meaning::Nothing => {}
        Meaning::Unknown => options.reading.refuse_unknown(name),
    }
}

fn integrated(options: &mut Options) {
    options.set("authentication", "integrated");
}

fn take_authentication(options: &mut Options, value: &str) {
    let plain: String = value.chars().filter(|char| !matches!(char, ' ' | '_')).collect();
    match plain.to_lowercase().as_str() {
        // The first two are ours.
        "sqllogin" | "integrated" => {
            options.set("authentication", &value.replace(' ', "_"));
        }
        "sqlpassword" | "notspecified" => {}
        plain if plain.starts_with("activedirectory") => options.reading.refuse(
            "Authentication is one of Microsoft Entra ID (Active Directory …): leave it out, and give a TokenProvider by \
             SqlServerConfig::parse_with",
        ),
        _ => options.reading.refuse("Authentication is not Sql Password"),
    }
}

/// Reads `tcp:host\instance,port` and its shorter forms, without telling a word of it.
fn take_server(options: &mut Options, value: &str) {
    let server = match value.split_once(':') {
        Some((protocol, server)) if protocol.trim().eq_ignore_ascii_case("tcp") => server.trim(),
        Some((protocol, _))
            if ["np", "lpc", "admin"].iter().any(|other| protocol.trim().eq_ignore_ascii_case(other)) =>
        {
            options.reading.refuse("Server begins with np:, lpc: or admin:, and servers are reached by TCP");
            options.reading.first("host");
            return;
        }
        _ => value,
    };
    let (server, port) = match server.split_once(',') {
        Some((server, port)) => (server.trim(), Some(port.trim())),
        None => (server, None),
    };
    let (host, instance) = match server.split_once('\\') {
        Some((host, instance)) => (host.trim(), Some(instance.trim())),
        None => (server, None),
    };
    let host = match host.to_ascii_lowercase().as_str() {
        "." | "(local)" => "localhost",
        "(localdb)" => {
            options.reading.refuse("Server is a LocalDB, which has no TCP");
            options.reading.first("host");
            return;
        }
        _ => host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host),
    };
    options.set("host", host);
    if let Some(port) = port {
        options.set("port", port);
    }
    // The default one goes by this name, too.
    if let Some(instance) = instance.filter(|instance| !instance.eq_ignore_ascii_case("MSSQLSERVER")) {
        options.set("instance", instance);
    }
}

/// The names and values of a connection string.
struct Items<'a> {
    rest: Chars<'a>,
}

impl Items<'_> {
    /// The next name and its value, or what is wrong without a word of either.
    fn next_item(&mut self) -> Option<Result<(String, String), &'static str>> {
        let text = self.rest.as_str().trim_start_matches(|char: char| char == ';' || char.is_whitespace());
        self.rest = text.chars();
        if text.is_empty() {
            return None;
        }
        Some(self.name().and_then(|name| Ok((name, self.value()?))))
    }

    /// Up to `=`, where `==` stands for one in a name.
    fn name(&mut self) -> Result<String, &'static str> {
        let mut name = String::new();
        loop {
            match self.rest.next() {
                Some('=') if self.rest.as_str().starts_with('=') => {
                    self.rest.next();
                    name.push('=');
                }
                Some('=') => break,
                Some(';') | None => {
                    return Err(
                        "a part of the text is not name=value (a value that holds a ';' is put in quotes; a \
                                URL begins with sqlserver://)",
                    );
                }
                Some(char) => name.push(char),
            }
        }
        Ok(name.trim().to_owned())
    }

    /// Up to `;`, unless it is quoted.
    fn value(&mut self) -> Result<String, &'static str> {
        let text = self.rest.as_str().trim_start();
        self.rest = text.chars();
        let Some(quote) = text.chars().next().filter(|char| matches!(char, '"' | '\'')) else {
            let end = text.find(';').unwrap_or(text.len());
            self.rest = text[end..].chars();
            return Ok(text[..end].trim_end().to_owned());
        };
        self.rest.next();
        let mut value = String::new();
        loop {
            match self.rest.next() {
                Some(char) if char == quote && self.rest.as_str().starts_with(quote) => {
                    self.rest.next();
                    value.push(quote);
                }
                Some(char) if char == quote => break,
                Some(char) => value.push(char),
                None => return Err("a value begins with a quote, and does not end with it"),
            }
        }
        let rest = self.rest.as_str().trim_start();
        if !rest.is_empty() && !rest.starts_with(';') {
            return Err("something follows a quoted value (a quote in it is doubled)");
        }
        self.rest = rest.chars();
        Ok(value)
    }
}

/// Keywords, in lower case and without spaces, about how that client pools, retries, finds addresses, decrypts columns,
/// enlists in transactions or names itself.
const WITHOUT_MEANING: [&str; 25] = [
    "async",
    "asynchronousprocessing",
    "attestationprotocol",
    "columnencryptionsetting",
    "connectionlifetime",
    "connectionreset",
    "connectretrycount",
    "connectretryinterval",
    "currentlanguage",
    "enclaveattestationurl",
    "enlist",
    "ipaddresspreference",
    "language",
    "loadbalancetimeout",
    "minpoolsize",
    "multipleactiveresultsets",
    "multisubnetfailover",
    "persistsecurityinfo",
    "poolblockingperiod",
    "pooling",
    "transactionbinding",
    "transparentnetworkipresolution",
    "typesystemversion",
    "workstationid",
    "wsid",
];
