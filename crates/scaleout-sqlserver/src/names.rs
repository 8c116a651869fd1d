//! The quoted names of the procedures in a schema.

use std::num::NonZeroU16;

use crate::sql::identifier;

/// What is called at run time; the files of `sql/` say what each does.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) positions: String,
    pub(crate) open_epoch: String,
    pub(crate) held: String,
    pub(crate) read: String,
    pub(crate) renew: String,
    /// By stream.
    pub(crate) publish: Box<[String]>,
    /// By stream.
    pub(crate) trim: Box<[String]>,
    /// The parameters of `read`, by stream.
    pub(crate) after: Box<[String]>,
    pub(crate) register: String,
    pub(crate) unregister: String,
    pub(crate) arm: String,
    pub(crate) wait: String,
    pub(crate) janitor: String,
    pub(crate) doorbell_health: String,
}

impl Names {
    pub(crate) fn new(schema: &str, table_count: NonZeroU16) -> Self {
        let name = |procedure: &str| format!("{}.{}", identifier(schema), identifier(procedure));
        let each = |procedure: &str| -> Box<[String]> {
            (0..table_count.get()).map(|stream| name(&format!("{procedure}_{stream}"))).collect()
        };
        Self {
            positions: name("positions"),
            open_epoch: name("open_epoch"),
            held: name("held"),
            read: name("read"),
            renew: name("renew"),
            publish: each("publish"),
            trim: each("trim"),
            after: (0..table_count.get()).map(|stream| format!("@after_{stream}")).collect(),
            register: name("register"),
            unregister: name("unregister"),
            arm: name("arm"),
            wait: name("wait"),
            janitor: name("janitor"),
            doorbell_health: name("doorbell_health"),
        }
    }
}

/// All objects that an app has in its schema, as kind and name; those of the doorbell last.
pub(crate) fn objects(table_count: u16) -> Vec<(Kind, String)> {
    let fixed = |kind: Kind, names: &[&str]| -> Vec<(Kind, String)> {
        names.iter().map(|name| (kind, (*name).to_owned())).collect()
    };
    let mut objects = Vec::new();
    for stream in 0..table_count {
        objects.push((Kind::Table, format!("messages_{stream}")));
    }
    objects.extend(fixed(Kind::Table, &["layout", "streams", "epochs", "senders", "listeners"]));
    objects.extend(fixed(Kind::Function, &["store_identity"]));
    objects.extend(fixed(Kind::Procedure, &["positions", "held", "renew", "open_epoch", "read"]));
    for stream in 0..table_count {
        objects.extend(["publish", "read", "trim"].map(|name| (Kind::Procedure, format!("{name}_{stream}"))));
    }
    objects.extend(fixed(
        Kind::Procedure,
        &["collect", "unregister", "register", "arm", "wait", "ring", "janitor", "doorbell_health"],
    ));
    objects.extend(fixed(Kind::Queue, &["ears", "bells"]));
    objects
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Table,
    Procedure,
    Function,
    Queue,
}

impl Kind {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Procedure => "procedure",
            Self::Function => "function",
            Self::Queue => "queue",
        }
    }

    /// As `sys.objects` has it.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Table => "U",
            Self::Procedure => "P",
            Self::Function => "FN",
            Self::Queue => "SQ",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Target;

    #[test]
    fn the_objects_are_those_that_the_script_creates() {
        let target = Target { app: "chat".into(), schema: "scaleout".into(), table_count: 2 };
        let mut created = Vec::new();
        for text in [target.install(), target.install_doorbell()].concat() {
            for line in text.lines() {
                for kind in [Kind::Table, Kind::Procedure, Kind::Function, Kind::Queue] {
                    let create = format!("CREATE {} [scaleout].", kind.name().to_uppercase());
                    if let Some(rest) = line.trim_start().strip_prefix(&create) {
                        let name = rest.split([' ', '(']).next().unwrap_or_default();
                        created.push((kind, name.trim_matches(['[', ']']).to_owned()));
                    }
                }
            }
        }
        let by_name = |objects: &mut Vec<(Kind, String)>| objects.sort_by(|a, b| a.1.cmp(&b.1));
        let mut known = objects(2);
        by_name(&mut created);
        by_name(&mut known);
        assert_eq!(created, known);
    }
}
