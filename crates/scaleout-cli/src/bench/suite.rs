//! All runs of a measurement, one after the other, each in a place of its own in the store.

use std::time::Duration;

use anyhow::Context as _;
use scaleout::{AppName, BackplaneConfig, Role};
use tokio::{sync::watch, time::timeout};

use super::{
    Options,
    case::{Carrier, Case},
    clock::load_average,
    crew::Crew,
    report::{Figures, Line, ratio, speed},
    run::{Meter, Run, run},
    words::Setup,
};
use crate::{
    Global,
    exit::Interrupted,
    output::{Output, Progress, Shown},
    store::{self, Node},
};

/// How long the store may take to answer at all.
const CONNECT: Duration = Duration::from_secs(15);

/// How long the store may take to remove what a run left there.
const CLEANING: Duration = Duration::from_secs(60);

/// A measurement.
pub(super) struct Suite<'a> {
    pub(super) options: &'a Options,
    pub(super) global: &'a Global,
    pub(super) output: &'a Output,
    pub(super) settings: BackplaneConfig,
    pub(super) url: String,
}

impl Suite<'_> {
    /// Runs everything. Each size is reported as soon as it is done.
    pub(super) async fn run(&self) -> anyhow::Result<Vec<Line>> {
        // Also while something else is done than to wait for it.
        let (interrupt, interrupted) = watch::channel(false);
        tokio::spawn(async move {
            store::interrupted().await;
            interrupt.send_replace(true);
        });
        self.reach().await?;
        let carriers = self.carriers();
        let steps = self.options.sizes.len() * self.options.runs * carriers.len();
        let progress = self.output.progress("", Some(steps as u64));
        let mut lines = Vec::new();
        for &size in &self.options.sizes {
            let mut runs = vec![Vec::new(); carriers.len()];
            for round in 0..self.options.runs {
                for turn in 0..carriers.len() {
                    // Who is first changes, so that neither has the better half of what the machine does meanwhile.
                    let index = (turn + round) % carriers.len();
                    let case = self.case(carriers[index], size);
                    let done = self.once(&case, round, &progress, interrupted.clone()).await?;
                    runs[index].push(done);
                    progress.0.inc(1);
                }
            }
            let line = self.line(size, &carriers, &runs);
            self.output.json(&line)?;
            lines.push(line);
        }
        Ok(lines)
    }

    /// Whether the store is there at all, and lets somebody make what a run needs.
    async fn reach(&self) -> anyhow::Result<()> {
        let place = self.settings.apart(self.fresh_app()?);
        let config = scaleout::BusConfig::default().with_role(Role::PublishOnly);
        match Node::connect(&place, config, CONNECT).await {
            Ok(node) => {
                node.close().await;
                self.clean(&place).await
            }
            Err(error) => {
                // Perhaps it made something; where it did not come so far, this fails as well.
                let _ = timeout(CONNECT, place.remove_remnants()).await;
                Err(error)
            }
        }
    }

    fn carriers(&self) -> Vec<Carrier> {
        let baseline = match (self.options.baseline, self.settings.provider()) {
            (false, _) => None,
            (true, "redis") => Some(Carrier::PubSub),
            (true, _) => Some(Carrier::SingleFrames),
        };
        [Carrier::Bus].into_iter().chain(baseline).collect()
    }

    fn case(&self, carrier: Carrier, size: usize) -> Case {
        let options = self.options;
        // One message a frame is confirmed one by one: only many tasks keep all streams busy.
        let publishers = match carrier {
            Carrier::SingleFrames => super::case::Publishers::Awaiting,
            Carrier::Bus | Carrier::PubSub => options.publishers,
        };
        Case {
            carrier,
            publishers,
            in_flight: options.in_flight.unwrap_or(publishers.in_flight(size)),
            pipeline: options.pipeline,
            size,
            rate: options.rate,
            channels: options.channels,
            nodes: options.nodes,
        }
    }

    /// A name that nobody has: of the app that the URL names, so that people see whose it is.
    fn fresh_app(&self) -> anyhow::Result<AppName> {
        let of = self.settings.app().map_or("app", AppName::as_str);
        // A name has 31 characters at most.
        let begin: String = of.chars().take(16).collect();
        Ok(format!("{begin}-bench-{:08x}", fastrand::u32(..)).parse()?)
    }

    /// One run. Whatever becomes of it, its processes are ended and what it left in the store is removed.
    async fn once(
        &self,
        case: &Case,
        round: usize,
        progress: &Progress,
        mut interrupted: watch::Receiver<bool>,
    ) -> anyhow::Result<Run> {
        let what = format!("{} B, {case}, run {} of {}", case.size, round + 1, self.options.runs);
        progress.0.set_message(what.clone());
        let app = self.fresh_app()?;
        let place = self.settings.apart(app.clone());
        let setup = |publishes| Setup {
            url: self.url.clone(),
            url_app: self.global.app.as_ref().map(ToString::to_string),
            app: app.to_string(),
            publishes,
            case: case.clone(),
        };
        let mut crew = Crew::new();
        let done = {
            let measuring = async {
                let mut meter = Server::of(&place).await;
                run(&mut crew, setup, f64::from(self.options.seconds), &mut meter).await
            };
            tokio::select! {
                biased;
                _ = interrupted.wait_for(|interrupted| *interrupted) => Err(Interrupted.into()),
                done = measuring => done.with_context(|| what.clone()),
            }
        };
        crew.kill().await;
        let cleaned = self.clean(&place).await;
        let done = match (done, cleaned) {
            (Ok(done), cleaned) => cleaned.map(|()| done)?,
            (Err(error), Ok(())) => return Err(error),
            // Both, since somebody has to tidy up.
            (Err(error), Err(left)) => return Err(error.context(format!("{left:#}"))),
        };
        if progress.0.is_hidden() {
            let told = match done.is_sound() {
                true => format!("{}/s", speed(done.per_second)),
                false => Figures::of(case, std::slice::from_ref(&done)).wrong().unwrap_or_default(),
            };
            self.output.note(format_args!("{what}: {}", Shown(&told)));
        }
        Ok(done)
    }

    async fn clean(&self, place: &BackplaneConfig) -> anyhow::Result<()> {
        let app = place.app().map_or("", AppName::as_str);
        let hint = || format!("what the run left in the store (app {app}) could not be removed");
        timeout(CLEANING, place.remove_remnants()).await.with_context(hint)?.with_context(hint)?;
        Ok(())
    }

    fn line(&self, size: usize, carriers: &[Carrier], runs: &[Vec<Run>]) -> Line {
        let options = self.options;
        let cases: Vec<Case> = carriers.iter().map(|carrier| self.case(*carrier, size)).collect();
        let figures = Figures::of(&cases[0], &runs[0]);
        let baseline = cases.get(1).zip(runs.get(1)).map(|(case, runs)| Figures::of(case, runs));
        let of_baseline = |figure: fn(&Figures) -> Option<f64>| baseline.as_ref().and_then(figure);
        Line {
            store: self.settings.provider(),
            size,
            mode: cases[0].mode(),
            in_flight: options.rate.is_none().then_some(cases[0].in_flight),
            rate: options.rate,
            seconds: options.seconds,
            runs: options.runs,
            nodes: options.nodes,
            channels: options.channels,
            baseline: baseline.as_ref().map(|of| of.what.clone()),
            baseline_msgs_per_s: of_baseline(|of| of.msgs_per_s),
            baseline_p50_us: of_baseline(|of| of.p50_us),
            baseline_p99_us: of_baseline(|of| of.p99_us),
            baseline_cpu_us_per_msg: baseline.as_ref().map(|of| of.cpu_us_per_msg.clone()),
            baseline_lost: baseline.as_ref().map(|of| of.lost),
            ratio: ratio(figures.msgs_per_s, of_baseline(|of| of.msgs_per_s)),
            p50_ratio: ratio(figures.p50_us, of_baseline(|of| of.p50_us)),
            load_average: load_average(),
            figures,
            baseline_figures: baseline,
        }
    }
}

/// What the processor time of the store is asked of, where it tells.
struct Server {
    #[cfg(feature = "redis")]
    redis: Option<super::server::Server>,
}

impl Server {
    #[cfg(feature = "redis")]
    async fn of(settings: &BackplaneConfig) -> Self {
        Self { redis: super::server::Server::of(settings).await }
    }

    #[cfg(not(feature = "redis"))]
    async fn of(_: &BackplaneConfig) -> Self {
        Self {}
    }
}

impl Meter for Server {
    #[cfg(feature = "redis")]
    async fn cpu(&mut self) -> Option<u64> {
        self.redis.as_mut()?.cpu().await
    }

    #[cfg(not(feature = "redis"))]
    async fn cpu(&mut self) -> Option<u64> {
        None
    }
}
