//! Follows the consumers of a Secret from one content to the next: whose template to mark and when, until the last old pod is gone.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::board::Turn;
use super::change::Change;
use super::pods::{self, PodFacts};
use super::targets::Workloads;
use super::usage::Usage;
use super::workload::Workload;
use super::{Rollouts, estimate};
use crate::api::condition::whole_seconds;
use crate::api::names::RESTARTER;
use crate::api::restart::{Restart, RestartStatus};
use crate::base::{Timestamp, clock};
use crate::operator::error::{self, Error};

/// The shortest and the longest time between two looks at a rollout, whole seconds.
const LOOKS: (u64, u64) = (2, 15);

/// What a look at the consumers has come to.
#[derive(Debug)]
pub struct Outcome {
    /// How far they are.
    pub status: RestartStatus,
    /// What is wrong: reasons with messages.
    pub problems: Vec<(&'static str, String)>,
    /// Workloads whose template was changed just now.
    pub begun: Vec<String>,
    /// When to look again; `None`: all is done.
    pub look: Option<Timestamp>,
}

/// One look at the consumers of one content.
struct Look<'a> {
    rollouts: &'a Rollouts,
    workloads: Workloads<'a>,
    change: &'a Change<'a>,
    now: Timestamp,
    outcome: Outcome,
    waiting: Vec<String>,
    rolling: Vec<String>,
}

/// Brings the consumers one step further. `known` is what the last look said, also of an earlier content.
///
/// # Errors
/// When the pods cannot be listed; what goes wrong with single workloads is a problem in the outcome.
pub async fn follow(
    (kube, rollouts): (&kube::Client, &Rollouts),
    spec: Option<&Restart>,
    change: &Change<'_>,
    known: Option<&RestartStatus>,
    now: Timestamp,
) -> Result<Outcome, Error> {
    let now = whole_seconds(now);
    let current = known.filter(|status| status.hash == change.hash).cloned();
    let status = current.unwrap_or_else(|| RestartStatus {
        hash: change.hash.to_owned(),
        started: Time(change.written),
        urgent: change.urgent,
        begun: None,
        moved: None,
        finished: None,
        waiting_for: Vec::new(),
        rolling: Vec::new(),
        last_duration: known.and_then(|status| status.last_duration),
    });
    let outcome = Outcome { status, problems: Vec::new(), begun: Vec::new(), look: None };
    if outcome.status.finished.is_some() {
        return Ok(outcome);
    }
    let workloads = Workloads { kube, kinds: &rollouts.kinds, namespace: change.namespace };
    let look = Look { rollouts, workloads, change, now, outcome, waiting: Vec::new(), rolling: Vec::new() };
    look.take(spec).await
}

impl Look<'_> {
    async fn take(mut self, spec: Option<&Restart>) -> Result<Outcome, Error> {
        if let Some(later) = self.nothing_before() {
            self.outcome.look = Some(later);
            return Ok(self.outcome);
        }
        let change = self.change;
        let pods = pods::list(self.workloads.kube, change.namespace, change.secrets, change.annotation).await?;
        let auto = spec.is_some_and(|restart| restart.auto);
        let marked = |pod: &&PodFacts| pod.mark.as_deref() == Some(change.hash);
        let users = pods.iter().filter(|pod| auto && pod.usage.is_some());
        let users = users.filter(|pod| change.is_old(pod, &self.outcome.status) || marked(pod));
        let found = self.workloads.find(spec.map_or(&[][..], |restart| &restart.targets), users).await;
        self.outcome.problems.extend(found.problems);

        let mut old: Vec<&PodFacts> = Vec::new();
        let (mut all, mut left) = (0, 0);
        for workload in &found.workloads {
            let own = workload.own(&pods);
            let before: Vec<&PodFacts> =
                own.iter().copied().filter(|pod| change.is_old(pod, &self.outcome.status)).collect();
            all += own.len().max(usize::try_from(workload.wanted()).unwrap_or(0));
            left += before.len();
            self.workload(workload, &before).await;
            old.extend(before);
        }
        // Who reads the Secret's files has seen it change by the end of the grace; who was started with it has not.
        let stays = |pod: &&PodFacts| pod.usage == Some(Usage::Frozen) || (auto && pod.usage.is_some());
        let others: Vec<&PodFacts> = pods
            .iter()
            .filter(stays)
            .filter(|pod| change.is_old(pod, &self.outcome.status) && !old.iter().any(|known| known.name == pod.name))
            .collect();
        self.warn(&others, all, left);
        Ok(self.conclude(old.is_empty() && others.is_empty(), found.incomplete))
    }

    /// The next moment at which a look is of any use, when that is known without asking Kubernetes.
    fn nothing_before(&self) -> Option<Timestamp> {
        let status = &self.outcome.status;
        if !status.rolling.is_empty() || status.waiting_for.is_empty() || self.change.is_urgent(self.now) {
            return None;
        }
        let waits = |name: &String| self.rollouts.board.waits(&self.key(name), self.change.uid, self.now);
        let turns: Option<Vec<Timestamp>> = status.waiting_for.iter().map(waits).collect();
        let turn = turns.and_then(|turns| turns.into_iter().min());
        let closed = Some(self.change.open_from).filter(|open| *open > self.now);
        let later = turn.max(closed)?;
        Some(self.change.latest().map_or(later, |latest| later.min(latest)))
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.change.namespace)
    }

    /// Brings one workload one step further.
    async fn workload(&mut self, workload: &Workload, old: &[&PodFacts]) {
        let name = workload.reference.to_string();
        let key = self.key(&name);
        let status = &self.outcome.status;
        let marked = workload.marks().get(self.change.annotation).is_some_and(|hash| hash == self.change.hash);
        // What was marked once is not marked again: somebody has taken the annotation away on purpose.
        if marked || status.rolling.contains(&name) {
            if workload.is_complete() && old.is_empty() {
                self.rollouts.board.over(&key, self.change.uid);
                return;
            }
            let wish = self.change.wish(status);
            self.rollouts.board.wish(&key, self.change.uid, wish);
            // Another object's pass may have begun it, for both.
            let begun = self.outcome.status.begun.get_or_insert(Time(self.now)).0;
            self.rollouts.board.rolling(&key, begun);
            if let Some(trouble) = workload.trouble() {
                self.problem("RolloutStuck", format!("{name} does not get on: {trouble}"));
            } else if !marked && !old.is_empty() {
                self.problem(
                    "RestartReverted",
                    format!("somebody has removed annotation {} from {name}", self.change.annotation),
                );
            }
            self.rolling.push(name.clone());
            self.waiting.push(name);
            return;
        }
        // Pods that were started since have the new content.
        if old.is_empty() {
            self.rollouts.board.over(&key, self.change.uid);
            return;
        }
        self.waiting.push(name.clone());
        if !workload.has_template() {
            self.problem(
                "RestartTargetUnfit",
                format!("{name} has no spec.template: name what holds its pods' template"),
            );
            return;
        }
        self.rollouts.board.wish(&key, self.change.uid, self.change.wish(&self.outcome.status));
        if workload.is_paused() {
            if let Some(end) = self.change.warns(self.now) {
                self.problem(
                    "RestartPaused",
                    format!("{name} is paused: resume it before its pods' user ends at {end}"),
                );
            }
            return;
        }
        let urgent = self.change.is_urgent(self.now);
        if !urgent && (self.change.open_from > self.now || workload.is_rolling()) {
            return;
        }
        if !workload.is_rolling() {
            self.rollouts.board.idle(&key, self.now);
        }
        if let Turn::Now(marks) = self.rollouts.board.turn(&key, self.now, urgent) {
            self.begin(workload, &name, &key, marks).await;
        }
    }

    /// Marks the template of a workload.
    async fn begin(&mut self, workload: &Workload, name: &str, key: &str, marks: BTreeMap<String, String>) {
        match self.mark(workload, marks).await {
            Ok(true) => {
                self.outcome.status.begun.get_or_insert(Time(self.now));
                self.outcome.begun.push(name.to_owned());
                self.rolling.push(name.to_owned());
            }
            // It has changed since it was read, or is gone: the next look tells.
            Ok(false) => self.rollouts.board.give_back(key),
            Err(error) => {
                self.rollouts.board.give_back(key);
                self.problem("RestartFailing", error.story());
            }
        }
    }

    /// Applies the annotations, those of other Secrets included, since an apply takes away what it leaves out.
    async fn mark(&self, workload: &Workload, marks: BTreeMap<String, String>) -> Result<bool, Error> {
        let reference = &workload.reference;
        let mut annotations = workload.marks();
        annotations.extend(marks);
        let metadata = workload.object.meta();
        let patch: Value = json!({
            "apiVersion": reference.api_version,
            "kind": reference.kind,
            "metadata": { "name": reference.name, "uid": metadata.uid, "resourceVersion": metadata.resource_version },
            "spec": { "template": { "metadata": { "annotations": annotations } } },
        });
        let api = self.workloads.api(&reference.api_version, &reference.kind).await?;
        let params = PatchParams::apply(RESTARTER).force();
        match api.patch(&reference.name, &params, &Patch::Apply(&patch)).await {
            Ok(_) => Ok(true),
            Err(error) if error::is_conflict(&error) || error::is_not_found(&error) => Ok(false),
            Err(error) => {
                let what = format!(
                    "spec.restart: cannot restart {} {}/{}",
                    reference.kind, self.change.namespace, reference.name
                );
                Err(Error::kube(what)(error))
            }
        }
    }

    fn problem(&mut self, reason: &'static str, message: String) {
        self.outcome.problems.push((reason, message));
    }

    /// Says in time what will lose its user before it has moved.
    fn warn(&mut self, others: &[&PodFacts], all: usize, left: usize) {
        let Some(deadline) = self.change.deadline else { return };
        if let Some(begun) = self.outcome.status.begun.as_ref().filter(|_| left > 0) {
            let end = estimate::projected_end(self.now, begun.0, all.saturating_sub(left), all, self.change.expected);
            if end > deadline.end {
                let message = format!(
                    "the rollout of {} will go on until about {end}, but {left} of its pods have a user that must end at {}",
                    self.rolling.join(", "),
                    deadline.end
                );
                self.problem("RolloutTooSlow", message);
            }
        }
        if let Some(end) = self.change.warns(self.now).filter(|_| !others.is_empty()) {
            let names: Vec<&str> = others.iter().take(5).map(|pod| pod.name.as_str()).collect();
            let message = format!(
                "{} pods that nothing here restarts were started with a user that must end at {end}: {}{}",
                others.len(),
                names.join(", "),
                if others.len() > names.len() { ", …" } else { "" }
            );
            self.problem("ConsumersRemain", message);
        }
    }

    fn conclude(mut self, moved: bool, incomplete: bool) -> Outcome {
        let status = &mut self.outcome.status;
        if moved && !incomplete {
            status.moved.get_or_insert(Time(self.now));
        }
        status.waiting_for = self.waiting;
        status.rolling = self.rolling;
        if status.moved.is_some() && status.waiting_for.is_empty() {
            status.finished = Some(Time(self.now));
            let took = status.begun.as_ref().map(|begun| clock::seconds_between(begun.0, self.now));
            status.last_duration = took.and_then(|took| i64::try_from(took).ok()).or(status.last_duration);
            self.rollouts.board.forget(self.change.uid);
        } else {
            let since = status.begun.as_ref().unwrap_or(&status.started).0;
            let pause = (clock::seconds_between(since, self.now) / 60).clamp(LOOKS.0, LOOKS.1);
            self.outcome.look = Some(clock::add_seconds(self.now, pause));
        }
        self.outcome
    }
}

/// How long a rollout of all that `spec` means will take, whole seconds, as far as its pods let one guess.
///
/// # Errors
/// What Kubernetes says.
pub async fn guess(
    (kube, rollouts): (&kube::Client, &Rollouts),
    spec: &Restart,
    namespace: &str,
    secrets: &[&str],
) -> Result<Option<u64>, Error> {
    let pods = pods::list(kube, namespace, secrets, "").await?;
    let workloads = Workloads { kube, kinds: &rollouts.kinds, namespace };
    let users = pods.iter().filter(|pod| spec.auto && pod.usage.is_some());
    let found = workloads.find(&spec.targets, users).await;
    Ok(found.workloads.iter().filter_map(|workload| estimate::estimate(workload, &workload.own(&pods))).max())
}
