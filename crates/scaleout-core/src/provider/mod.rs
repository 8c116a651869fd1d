//! What providers of backplanes share: the way from the entries of a store to the events of a reception.
//!
//! It is meant for those who write a [`Backplane`](crate::Backplane); an application needs nothing of it. A provider
//! whose store keeps frames as numbered entries has a *reader*, a task that reads streams for all receptions of this
//! node, and for each reception a [`Track`], an [`Outbox`] and the [`Events`] that
//! [`receive`](crate::Backplane::receive) returns:
//!
//! ```text
//!   store ──Entry, Head──→ Track ──Event──→ Outbox ──Event──→ Events ──→ bus
//!         reader asks for 64           128 events, 4 MiB
//!         if the outbox has room  ←────── room again, dropped
//! ```
//!
//! [`Track`] knows no store and no clock: it says when [`Opened`](crate::Event::Opened) is due (rule 6 of
//! the [contract](crate::backplane)), passes nothing on twice (rule 7), and finds out which epochs may hide a loss
//! (rule 8). [`Outbox`] keeps a slow receiver from holding up others, or memory from growing (rule 10).
//!
//! [`Arrivals`] starts the reader with the first reception, and [`Closing`] ends what is under way.
//!
//! Their settings have [`Secret`] and [`settings`] in common; what they find out about a store is a
//! [`Finding`](crate::Finding), and what an app left there a [`Remnant`](crate::Remnant).

mod arrivals;
mod outbox;
mod place;
mod secret;
pub mod settings;
mod track;

pub use self::{
    arrivals::{Arrival, Arrivals, Closing},
    outbox::{Events, Outbox},
    place::Place,
    secret::Secret,
    track::{Body, Entry, Head, Track},
};
