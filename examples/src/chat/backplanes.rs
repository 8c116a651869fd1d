//! From the URL of a backplane to the connections of this process's nodes.

use std::{error::Error, str::FromStr, sync::Arc};

use scaleout_core::{Backplane, MemoryStore};

/// The schemes that [`Backplanes`] understands.
const SCHEMES: &str = "memory:";

/// A store, by its URL; every node of the process gets a connection of its own.
#[derive(Debug, Clone)]
pub enum Backplanes {
    /// `memory:`, a store inside this process; nodes of other processes are not reached.
    Memory(MemoryStore),
}

impl Backplanes {
    /// A connection for one node.
    #[must_use]
    pub fn connection(&self) -> Arc<dyn Backplane> {
        match self {
            Self::Memory(store) => Arc::new(store.backplane()),
        }
    }
}

impl FromStr for Backplanes {
    type Err = Box<dyn Error>;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(format!("not a URL: it has no scheme; compiled in: {SCHEMES}").into());
        };
        match scheme {
            "memory" if rest.is_empty() || rest == "//" => Ok(Self::Memory(MemoryStore::default())),
            "memory" => Err("memory: takes nothing behind the colon".into()),
            // The rest of the URL may hold a password, so it is not shown.
            _ => Err(format!(
                "no backplane for the scheme {scheme:?}; compiled in: {SCHEMES} (providers for stores are not there yet)"
            )
            .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scheme_names_the_known_ones_and_no_secret() {
        let error = "redis://:hunter2@localhost".parse::<Backplanes>().unwrap_err().to_string();
        assert!(error.contains("\"redis\"") && error.contains("memory:"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        for wrong in ["", "memory", "memory:x", "memory://host"] {
            assert!(wrong.parse::<Backplanes>().is_err(), "{wrong}");
        }
        assert!("memory:".parse::<Backplanes>().is_ok() && "memory://".parse::<Backplanes>().is_ok());
    }
}
