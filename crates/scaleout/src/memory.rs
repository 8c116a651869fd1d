//! `memory:`, with the stores of this process that have a name.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use scaleout_core::{AppName, MemoryStore};

use crate::BackplaneConfig;

/// Reads what follows the scheme: `[name][?app=…]`.
pub(crate) fn parse(rest: &str) -> Result<BackplaneConfig, String> {
    let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut app = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        // Neither name nor value is shown: a URL of something else may hold a password there.
        let Some(value) = pair.strip_prefix("app=") else {
            return Err("memory: has no option but app".into());
        };
        let value =
            value.parse().map_err(|_| "app is not 1 to 31 of a-z, 0-9 and '-', not beginning with '-'")?;
        if app.replace(value).is_some() {
            return Err("app is given twice".into());
        }
    }
    let store =
        match name {
            "" => MemoryStore::default(),
            _ if is_name(name) => named(name, app.as_ref()),
            _ => return Err(
                "what follows memory: is a name of 1 to 64 of A-Z, a-z, 0-9, '_', '.' and '-', or nothing"
                    .into(),
            ),
        };
    Ok(BackplaneConfig::memory(store, app))
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

fn named(name: &str, app: Option<&AppName>) -> MemoryStore {
    let key = (name.to_owned(), app.cloned());
    STORES.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
}

/// The stores that have a name, one for each app.
type Stores = HashMap<(String, Option<AppName>), MemoryStore>;

/// Held for one look-up at a time. Nothing is ever removed: nodes come and go, and a store outlives them.
static STORES: LazyLock<Mutex<Stores>> = LazyLock::new(Mutex::default);
