//! The processes of the demo: each counts what it is told to, and cannot be wrong about it.

use super::HubDemoError;
use handover_hub::process::{Context, Process, Stop};
use handover_hub::proto::node::StartOptions;
use handover_hub::{ChildSpec, Hub, Scope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The kind under which nodes know it.
pub(super) const KIND: &str = "counter";

/// How long all may take to start.
const START: Duration = Duration::from_secs(60);

/// A number.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Counter {
    value: u64,
}

/// What a counter is asked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// One more.
    Add,
    /// How many.
    Read,
}

impl Process for Counter {
    type Argument = ();
    type Request = Ask;
    type Reply = u64;

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self { value: 0 })
    }

    async fn handle(&mut self, ask: Ask, _: &mut Context) -> u64 {
        if let Ask::Add = ask {
            self.value += 1;
        }
        self.value
    }
}

/// The id of a counter.
pub(super) fn id(number: u32) -> String {
    format!("counter-{number}")
}

/// Starts as many, and says how long that took.
pub(super) async fn start(hub: &Hub, processes: u32) -> Result<Duration, HubDemoError> {
    let begun = Instant::now();
    let children = (0..processes).map(|number| ChildSpec::new(KIND, &id(number)));
    let options = StartOptions {
        timeout: START,
        ..StartOptions::default()
    };
    let started = hub.start_children(children, options).await;
    let started = started.map_err(|error| HubDemoError::Counters(error.to_string()))?;
    match started.failed.first() {
        None => Ok(begun.elapsed()),
        Some((process, failure)) => Err(HubDemoError::Counters(format!(
            "{} of {processes} did, {process} did not: {failure}",
            started.started.len()
        ))),
    }
}

/// The counters whose active host a node is.
pub(super) fn hosted(hub: &Hub, node: &str) -> BTreeSet<u32> {
    let members = hub.nodes();
    let named = members.iter().find(|member| member.name.as_str() == node);
    let Some(named) = named.map(|member| member.id) else {
        return BTreeSet::new();
    };
    let rows = hub.list(Scope::Hub).into_iter();
    let here = rows.filter(|row| row.active().is_some_and(|host| host.node == named));
    let numbers = here.filter_map(|row| row.id().as_str().strip_prefix("counter-")?.parse().ok());
    numbers.collect()
}
