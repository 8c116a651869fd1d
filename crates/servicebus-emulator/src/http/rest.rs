//! The data operations of the REST API.

use super::{Call, Cut, answer::Answer};
use crate::context::Context;

/// What a request is about.
#[derive(Debug)]
pub(crate) enum Operation {}

impl Operation {
    /// `None`: it is no data operation.
    pub(crate) fn of(_call: &Call) -> Option<Self> {
        None
    }
}

/// Does what a request asks for.
pub(crate) async fn answer(operation: Operation, _call: &Call, _context: &Context) -> Result<Answer, Cut> {
    match operation {}
}
