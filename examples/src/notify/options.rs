//! The command line of the notifications.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

use crate::{notify::User, store::StoreOptions};

/// Tells users that their jobs are done, on whatever node they are.
///
/// Without options: two nodes in this process, on 127.0.0.1:8091 and 127.0.0.1:8092, and a worker that makes up jobs, over a
/// store in memory. Open both as the same user, and go offline on one for a while.
#[derive(Debug, Parser)]
#[command(name = "notify")]
pub struct Options {
    /// What this process does.
    #[arg(long, value_name = "PART", default_value = "all")]
    pub part: Part,

    /// Address of a node of this process; repeat it for more. Port 0 takes a free one.
    #[arg(long = "node", value_name = "ADDR", default_values = ["127.0.0.1:8091", "127.0.0.1:8092"])]
    pub nodes: Vec<SocketAddr>,

    /// Address of a node elsewhere, to which pages may reconnect; repeat it for more.
    #[arg(long = "peer", value_name = "HOST:PORT")]
    pub peers: Vec<String>,

    /// Where worker and nodes meet.
    #[command(flatten)]
    pub store: StoreOptions,

    /// A user for whom the worker makes up jobs; repeat it for more.
    #[arg(long = "user", value_name = "NAME", default_values = ["ada", "grace"])]
    pub users: Vec<User>,

    /// Seconds from one job that the worker makes up to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    pub every: u64,

    /// The worker makes up nothing: each line of stdin is a user, a space, and what became of a job. It ends with stdin.
    #[arg(long, conflicts_with_all = ["users", "every"])]
    pub stdin: bool,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Both.
    All,
    /// Serves pages and their events.
    Web,
    /// Finishes jobs, and publishes that.
    Worker,
}

impl Part {
    /// Whether it serves.
    #[must_use]
    pub fn serves(self) -> bool {
        self != Self::Worker
    }

    /// Whether it finishes jobs.
    #[must_use]
    pub fn works(self) -> bool {
        self != Self::Web
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn everything_in_one_process_is_the_default() {
        Options::command().debug_assert();
        let options = Options::parse_from(["notify"]);
        assert!(options.part.serves() && options.part.works());
        assert_eq!((options.nodes.len(), options.users.len(), options.stdin), (2, 2, false));
        let worker = Options::parse_from(["notify", "--part", "worker", "--stdin"]);
        assert!(!worker.part.serves() && worker.stdin);
        for wrong in [["--every", "0"], ["--user", "a b"], ["--part", "some"]] {
            assert!(Options::try_parse_from([&["notify"][..], &wrong].concat()).is_err(), "{wrong:?}");
        }
    }
}
