//! `Deserialize`, for applications that keep the settings in a file of their own.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

use crate::BusConfig;

/// A map of the fields that are not to have their default. Needs the feature `serde`.
///
/// Values are numbers or text, in the forms of [`set`](BusConfig::set). Unknown fields are refused, and so is one that
/// comes twice. [`check`](BusConfig::check) is left to the start of the bus.
impl<'de> Deserialize<'de> for BusConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ConfigVisitor)
    }
}

struct ConfigVisitor;

impl<'de> Visitor<'de> for ConfigVisitor {
    type Value = BusConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of the settings of a bus")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BusConfig, A::Error> {
        let mut config = BusConfig::default();
        let mut seen = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            config.set(&name, &value.into_text()).map_err(A::Error::custom)?;
            if seen.contains(&name) {
                return Err(A::Error::custom(format!("bus settings: {name} comes twice")));
            }
            seen.push(name);
        }
        Ok(config)
    }
}

/// What a setting can be.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a number, or text")]
enum Value {
    Whole(u64),
    Number(f64),
    Text(String),
}

impl Value {
    fn into_text(self) -> String {
        match self {
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}
