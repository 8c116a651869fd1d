//! The worker: a process without clients, that finishes jobs and says so.

use std::{io, pin::pin, time::Duration};

use futures_util::{
    Stream, StreamExt,
    stream::{self, FuturesUnordered},
};
use scaleout::{Bus, Error};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::{
    http::CLOSE_DEADLINE,
    notify::{Job, User, job::Done},
};

/// Jobs that may wait for the store to have what is told of them; no more is finished until one has.
const MAX_UNTOLD: usize = 1_000;
/// Lines of stdin that may wait to become jobs; no more is read then.
const MAX_LINES: usize = 64;

/// What the jobs were about that are made up.
const MADE_UP: [&str; 5] = [
    "Your export is ready",
    "Invoice 2041 was paid",
    "Your parcel is on its way",
    "The backup of last night is complete",
    "Your report has 12 pages",
];

/// Publishes on the channel of each job's user that it is done, until there are no more jobs, or `stop` resolves.
///
/// A store that is away holds up nothing: what is told waits in the bus's queue, up to a thousand jobs. Each job is said
/// on stdout when it is finished, and when the store has what its user is told. In the end the bus is closed.
///
/// # Errors
/// Where the store does not have all of it in the end.
pub async fn work(
    bus: Bus,
    jobs: impl Stream<Item = Job> + Send,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let (mut jobs, mut stop) = (pin!(jobs), pin!(stop));
    let (mut more, mut failed) = (true, 0);
    let mut telling = FuturesUnordered::new();
    let mut told = |(Job { user, text }, outcome): (Job, Result<(), Error>)| match outcome {
        Ok(()) => println!("told {user}: {text}"),
        Err(error) => {
            tracing::error!(%user, %error, "not told");
            failed += 1;
        }
    };
    while more || !telling.is_empty() {
        tokio::select! {
            () = &mut stop => break,
            job = jobs.next(), if more && telling.len() < MAX_UNTOLD => match job {
                // Published here, in the order of the jobs; only the answer is awaited later.
                Some(job) => {
                    println!("finished for {}: {}", job.user, job.text);
                    let publish = bus.publish(job.user.channel(), Done::now(job.text.clone()).encode());
                    telling.push(async { (job, publish.await.map(drop)) });
                }
                None => more = false,
            },
            Some(outcome) = telling.next() => told(outcome),
        }
    }
    // What waits gets its time; the rest is known to be lost.
    bus.close(CLOSE_DEADLINE).await;
    while let Some(outcome) = telling.next().await {
        told(outcome);
    }
    if failed > 0 {
        return Err(io::Error::other(format!("{failed} finished jobs were not told to their users")));
    }
    Ok(())
}

/// Jobs of users in turn, one every so often, for ever.
pub fn made_up(users: Vec<User>, every: Duration) -> impl Stream<Item = Job> + Send {
    let mut pace = interval_at(Instant::now() + every, every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold((pace, users, 0), |(mut pace, users, number)| async move {
        pace.tick().await;
        let user = users.get(number % users.len().max(1))?.clone();
        let text = MADE_UP[number / users.len() % MADE_UP.len()];
        let job = Job { user, text: format!("{text} (job {})", number + 1) };
        Some((job, (pace, users, number + 1)))
    })
}

/// A job in each line of stdin, to its end. Lines that are none are told in the log, and passed over.
pub fn from_stdin() -> impl Stream<Item = Job> + Send {
    let (lines, read) = mpsc::channel(MAX_LINES);
    // A thread of its own, that nobody waits for: a read from a terminal cannot be given up.
    std::thread::spawn(move || {
        for line in io::stdin().lines() {
            let Ok(line) = line else { break };
            let taken = match line.parse::<Job>() {
                Ok(job) => lines.blocking_send(job).is_ok(),
                Err(error) => {
                    tracing::warn!(%error, "a line that is no job");
                    true
                }
            };
            if !taken {
                break;
            }
        }
    });
    stream::unfold(read, |mut read| async { read.recv().await.map(|job| (job, read)) })
}
