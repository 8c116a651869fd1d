//! Requests of a run, and what must become of them.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use scaleout_cluster::{Cluster, Collected, Missing, Target};
use scaleout_core::NodeId;
use tokio::time::Instant;

/// Timers are this exact.
const EXACT: Duration = Duration::from_millis(5);

pub(crate) struct Asked {
    pub(crate) subject: &'static str,
    /// The parts of a whole answer.
    pub(crate) parts: usize,
    pub(crate) target: Target,
    pub(crate) payload: Bytes,
    pub(crate) deadline: Duration,
}

/// What came of a request.
pub(crate) enum Ended {
    /// It was refused at the call.
    Refused,
    Collected(Collected),
}

/// Makes a request, waits for its end, and tells what is wrong with it.
pub(crate) async fn ask(cluster: Cluster, asked: Asked) -> (Ended, Vec<String>) {
    let before = cluster.members();
    let began = Instant::now();
    let replies = match cluster.request(asked.subject, &asked.payload, asked.target, asked.deadline) {
        Ok(replies) => replies,
        Err(_) => return (Ended::Refused, Vec::new()),
    };
    let count = replies.asked();
    let collected = replies.collect().await;
    let (took, after) = (began.elapsed(), cluster.members());
    let mut problems = Vec::new();
    let mut wrong =
        |problem: String| problems.push(format!("{} {:?}: {problem}", asked.subject, asked.target));
    if took > asked.deadline + EXACT {
        wrong(format!("it took {took:?} of {:?}", asked.deadline));
    }
    if collected.complete != (collected.missing.is_empty() && collected.members_known) {
        wrong(format!("complete: {}, with {:?}", collected.complete, collected.missing));
    }
    if collected.replies.iter().any(|reply| reply.payload != asked.payload) {
        wrong("an answer is another one".into());
    }
    let missing: BTreeSet<_> = collected.missing.iter().map(|(node, _)| *node).collect();
    if missing.len() != collected.missing.len() {
        wrong(format!("a node is missing twice: {:?}", collected.missing));
    }
    let answered: BTreeSet<_> = collected.replies.iter().map(|reply| reply.node).collect();
    for node in &answered {
        let came = collected.replies.iter().filter(|reply| reply.node == *node).count();
        if came > asked.parts || came < asked.parts && !missing.contains(node) {
            wrong(format!("{node} answered in {came} parts of {}", asked.parts));
        }
    }
    let told: BTreeSet<NodeId> = answered.union(&missing).copied().collect();
    if told.len() < count {
        wrong(format!("{count} were asked, and of {} it is told what became", told.len()));
    }
    if asked.parts == 0 && !answered.is_empty() {
        wrong("an answer to what nobody answers".into());
    }
    for (node, why) in &collected.missing {
        let was_life = before.get(*node).map(|member| member.incarnation());
        let is_life = after.get(*node).map(|member| member.incarnation());
        // One that was no member then was asked by a node that was joining. A cluster that is closed sees nobody.
        let waited_in_vain = matches!(why, Missing::Deadline)
            && was_life.is_some()
            && was_life != is_life
            && !after.is_empty();
        if waited_in_vain && *node != cluster.node() {
            wrong(format!("it waited for {node} until the deadline, who is gone"));
        }
    }
    let only_gone = !collected.missing.is_empty() && collected.missing.iter().all(|(_, why)| why.is_gone());
    if only_gone && took + EXACT >= asked.deadline && asked.parts > 0 {
        wrong("it ended at the deadline, and those who are missing had gone".into());
    }
    (Ended::Collected(collected), problems)
}
