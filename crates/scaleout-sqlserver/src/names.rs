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
