//! The options that all examples which serve have: which store, for which app, and what is logged.

use std::fmt;

use clap::Args;
use scaleout::{AppName, BackplaneConfig, BusConfig, Error};
use tracing_subscriber::filter::LevelFilter;

/// Where the nodes meet, and what is said of it.
#[derive(Args, Clone)]
pub struct StoreOptions {
    /// The store that connects the nodes: redis://127.0.0.1:6379?app=chat for instance,
    /// sqlserver://user:password@localhost/database?app=chat, or a connection string of Azure Service Bus with App=chat.
    /// `memory:` reaches the nodes of this process only.
    // A string, since clap would show what it cannot parse, password and all.
    #[arg(long, value_name = "URL", default_value = "memory:", env = "SCALEOUT_URL", hide_env_values = true)]
    pub backplane: String,

    /// The application's namespace in the store: 1 to 31 of a-z, 0-9 and '-'. Not needed where --backplane says it.
    #[arg(long, value_name = "NAME")]
    pub app: Option<AppName>,

    /// How much is logged on stderr: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log: LevelFilter,
}

impl StoreOptions {
    /// Where the nodes meet.
    ///
    /// # Errors
    /// Where no provider can read it, or it needs an app and neither says one.
    pub fn backplane_config(&self) -> Result<BackplaneConfig, Error> {
        match &self.app {
            Some(app) => BackplaneConfig::parse_for(app, &self.backplane),
            None => self.backplane.parse(),
        }
    }

    /// The settings of each node's bus.
    #[must_use]
    pub fn bus_config(&self) -> BusConfig {
        BusConfig::default().with_app(self.app.clone().unwrap_or_default())
    }
}

/// Without the backplane, whose URL may hold a password.
impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backplane: _, app, log } = self;
        f.debug_struct("StoreOptions").field("app", app).field("log", log).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        store: StoreOptions,
    }

    fn of(line: &[&str]) -> StoreOptions {
        Line::parse_from([&["example"], line].concat()).store
    }

    #[test]
    fn the_app_of_the_options_is_that_of_the_backplane_unless_it_has_one() {
        let string = "Endpoint=sb://localhost;SharedAccessKeyName=ada;SharedAccessKey=hunter2;UseDevelopmentEmulator=true";
        for (backplane, expected) in
            [(string, "team-1"), ("redis://localhost", "team-1"), ("redis://localhost?app=chat", "chat")]
        {
            let config =
                of(&["--app", "team-1", "--backplane", backplane]).backplane_config().expect(backplane);
            assert_eq!(config.app().map(AppName::as_str), Some(expected), "{backplane}");
        }
        let nameless = of(&["--backplane", string]).backplane_config().unwrap_err();
        assert!(nameless.to_string().contains("app is missing"), "{nameless}");
    }

    #[test]
    fn a_password_is_not_shown_and_a_wrong_app_is_refused() {
        let options = of(&["--backplane", "redis://:hunter2@host", "--app", "team-1"]);
        assert_eq!(options.bus_config().app.as_str(), "team-1");
        assert!(!format!("{options:?}").contains("hunter2"));
        assert!(Line::try_parse_from(["example", "--app", "Not an app"]).is_err());
    }
}
