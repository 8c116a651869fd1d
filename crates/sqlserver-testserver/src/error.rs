//! Errors as SQL Server words and numbers them: [`SqlError`].

use crate::tds::{DoneKind, Tokens};

/// An error of the server: a number, how bad it is, and a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlError {
    pub(crate) number: u32,
    /// From 20 on, the server ends the connection.
    pub(crate) class: u8,
    pub(crate) message: String,
}

impl SqlError {
    pub(crate) fn new(number: u32, message: impl Into<String>) -> Self {
        Self { number, class: 16, message: message.into() }
    }

    pub(crate) fn of_class(number: u32, class: u8, message: impl Into<String>) -> Self {
        Self { class, ..Self::new(number, message) }
    }

    /// What this server says to everything that it has not been taught, so that nothing passes by accident.
    pub(crate) fn not_t_sql(what: impl AsRef<str>) -> Self {
        let start: String = what.as_ref().chars().take(200).collect();
        Self::of_class(102, 15, format!("the test server does not run T-SQL: {start}"))
    }

    pub(crate) fn no_procedure(name: &str) -> Self {
        Self::new(2812, format!("Could not find stored procedure '{name}'."))
    }

    pub(crate) fn no_object(name: &str) -> Self {
        Self::new(208, format!("Invalid object name '{name}'."))
    }

    pub(crate) fn object_exists(name: &str) -> Self {
        Self::new(2714, format!("There is already an object named '{name}' in the database."))
    }

    pub(crate) fn denied(name: &str, schema: &str, database: &str) -> Self {
        let message = format!(
            "The EXECUTE permission was denied on the object '{name}', database '{database}', schema '{schema}'."
        );
        Self::of_class(229, 14, message)
    }

    pub(crate) fn login_failed(user: &str) -> Self {
        Self::of_class(18456, 14, format!("Login failed for user '{user}'."))
    }

    pub(crate) fn no_database(name: &str) -> Self {
        let message = format!("Cannot open database \"{name}\" requested by the login. The login failed.");
        Self::of_class(4060, 11, message)
    }

    /// Nobody gets it: the connection is cut.
    pub(crate) fn shutdown() -> Self {
        Self::of_class(6005, 20, "SHUTDOWN is in progress.")
    }

    pub(crate) fn deadlock() -> Self {
        let message = "Transaction (Process ID 51) was deadlocked on lock resources with another process and has \
                       been chosen as the deadlock victim. Rerun the transaction.";
        Self::of_class(1205, 13, message)
    }

    /// The three ways in which Azure SQL Database says "not now", in turn.
    pub(crate) fn throttled(nth: usize) -> Self {
        match nth % 3 {
            0 => Self::of_class(
                40501,
                20,
                "The service is currently busy. Retry the request after 10 seconds. Code: 131075.",
            ),
            1 => Self::new(
                49918,
                "Cannot process request. Not enough resources to process request. Please retry you request later.",
            ),
            _ => Self::of_class(
                10928,
                20,
                "Resource ID: 1. The request limit for the database is 120 and has been reached.",
            ),
        }
    }

    pub(crate) fn in_transaction(procedure: &str) -> Self {
        Self::new(50001, format!("{procedure} must not run inside a transaction"))
    }

    pub(crate) fn another_epoch() -> Self {
        Self::new(50010, "the store has another epoch")
    }

    pub(crate) fn not_registered() -> Self {
        Self::new(50012, "not registered")
    }

    pub(crate) fn queue_is_off(queue: &str) -> Self {
        Self::new(9617, format!("The service queue \"{queue}\" is currently disabled."))
    }

    /// Ends an answer.
    pub(crate) fn write(&self, tokens: &mut Tokens, procedure: &str, kind: DoneKind) {
        tokens.error(self.number, self.class, &self.message, procedure);
        tokens.failed(kind);
    }
}
