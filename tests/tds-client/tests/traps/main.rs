//! What happens to requests that do not end as they should: in the client library, and in the backplane that is built on it.
//!
//! The server is Microsoft's own for tests of clients, which gives canned answers. It is no SQL Server, and knows nothing of
//! T-SQL.

mod backplane;
mod client;
mod support;
