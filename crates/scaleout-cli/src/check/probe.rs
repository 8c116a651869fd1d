//! Round trips: a message of this node until it comes back to it.

use std::time::{Duration, Instant};

use scaleout::{Bus, Finding, Received, StreamIndex, Subscription};
use serde::Serialize;
use tokio::time::timeout;

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct RoundTrips {
    pub(super) probes: u32,
    /// Those that did not come back in time, or that the store refused.
    pub(super) lost: u32,
    /// Over how many streams.
    pub(super) streams: usize,
    pub(super) p50_us: Option<u64>,
    pub(super) p99_us: Option<u64>,
    pub(super) max_us: Option<u64>,
    /// Why the first one was lost.
    pub(super) first_loss: Option<String>,
}

impl RoundTrips {
    /// What it means.
    pub(super) fn finding(&self) -> Finding {
        let Self { probes, lost, streams, .. } = self;
        let over = if *streams == 1 { "1 stream".to_owned() } else { format!("{streams} streams") };
        let times = match (self.p50_us, self.p99_us) {
            (Some(p50), Some(p99)) => format!("p50 {}, p99 {}", millis(p50), millis(p99)),
            _ => "none came back".to_owned(),
        };
        let what = format!("{times} of {probes} probes over {over}");
        match &self.first_loss {
            None => Finding::ok("round trip", what),
            Some(why) => Finding::problem(
                "round trip",
                format!("{lost} of {probes} probes did not come back: {why}; {what}"),
                "see what the store's log says, and whether something between cuts connections",
            ),
        }
    }
}

fn millis(micros: u64) -> String {
    format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10)
}

/// Sends probes one by one, to each stream in its turn, on channels that only this node has.
pub(super) async fn measure(
    bus: &Bus,
    probes: u32,
    deadline: Duration,
    mut progress: impl FnMut(u32),
) -> RoundTrips {
    let channels = channels(bus, probes as usize);
    let mut subscriptions: Vec<_> = channels.iter().map(|channel| bus.subscribe([channel])).collect();
    let (mut times, mut first_loss) = (Vec::with_capacity(probes as usize), None);
    let mut lost = 0;
    // The first one on a stream opens what the store keeps open from then on.
    for (number, (channel, subscription)) in (0..).zip(channels.iter().zip(&mut subscriptions)) {
        let _ = round_trip(bus, channel, subscription, u64::MAX - number, deadline).await;
    }
    for number in 0..probes {
        let at = number as usize % channels.len();
        match round_trip(bus, &channels[at], &mut subscriptions[at], number.into(), deadline).await {
            Ok(time) => times.push(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            Err(why) => {
                first_loss.get_or_insert(why);
                lost += 1;
                // Where one waits in vain for so long, hundreds would.
                if lost >= MAX_LOST {
                    lost = probes - u32::try_from(times.len()).unwrap_or(probes);
                    break;
                }
            }
        }
        progress(number + 1);
    }
    times.sort_unstable();
    let at = |percent: usize| {
        let rank = (times.len() * percent).div_ceil(100).max(1);
        times.get(rank - 1).copied()
    };
    RoundTrips {
        probes,
        lost,
        streams: channels.len(),
        p50_us: at(50),
        p99_us: at(99),
        max_us: times.last().copied(),
        first_loss,
    }
}

/// After that many losses no further probe is sent.
const MAX_LOST: u32 = 3;

/// A channel of this node on each stream, but no more than there are probes.
fn channels(bus: &Bus, most: usize) -> Vec<String> {
    let streams = usize::from(bus.stream_count().get()).min(most.max(1));
    let mut of_streams = vec![None; usize::from(bus.stream_count().get())];
    let mut found = 0;
    for name in (0_u64..).map(|n| format!("$check/{}/{n}", bus.node())) {
        let StreamIndex(stream) = bus.stream_of(&name);
        let place = &mut of_streams[usize::from(stream)];
        if place.is_none() {
            *place = Some(name);
            found += 1;
        }
        if found == streams {
            break;
        }
    }
    of_streams.into_iter().flatten().collect()
}

async fn round_trip(
    bus: &Bus,
    channel: &str,
    subscription: &mut Subscription,
    number: u64,
    deadline: Duration,
) -> Result<Duration, String> {
    let began = Instant::now();
    let back = async {
        bus.publish(channel, number.to_le_bytes().to_vec()).await.map_err(|error| error.to_string())?;
        loop {
            match subscription.recv().await {
                Some(Received::Message(message)) if message.payload()[..] == number.to_le_bytes() => {
                    return Ok(began.elapsed());
                }
                // One that was late, after it was given up.
                Some(Received::Message(_)) => {}
                Some(Received::Gap(gap)) => return Err(format!("a gap was told instead: {}", gap.reason())),
                None => return Err("the node was closed".to_owned()),
            }
        }
    };
    timeout(deadline, back).await.unwrap_or_else(|_| Err(format!("not within {deadline:?}")))
}
