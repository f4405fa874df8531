//! How a node becomes a member: it asks seeds, then all that they know.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use handover_hub_proto::identity::HubName;
use handover_hub_proto::view::{EngineEvent, Member};
use tokio::sync::oneshot;

use super::Driver;
use crate::engine::EngineError;
use crate::engine::gossip::Gossip;
use crate::transport::Rejection;

/// How long a node waits for the answers of those that its seed knows. Who has not answered by then
/// will be known by gossip.
const ANSWERS: Duration = Duration::from_secs(1);

/// A node that is not yet a member.
pub(super) struct Joining {
    me: Member,
    /// Seeds, and who they know; without oneself.
    unanswered: BTreeSet<String>,
    /// Whether it may serve alone.
    is_seed: bool,
    since: Instant,
    alone_after: Duration,
    patience: Duration,
    rejected_after: Duration,
    welcomed: Option<Instant>,
    rejected: Option<EngineError>,
    joined: Option<oneshot::Sender<Result<(), EngineError>>>,
}

impl Joining {
    pub(super) fn new(
        gossip: &Gossip,
        me: &Member,
        joined: oneshot::Sender<Result<(), EngineError>>,
    ) -> Self {
        let unanswered: BTreeSet<_> = gossip
            .seeds
            .iter()
            .filter(|seed| **seed != me.address)
            .cloned()
            .collect();
        Self {
            me: me.clone(),
            is_seed: unanswered.len() < gossip.seeds.len() || gossip.seeds.is_empty(),
            unanswered,
            since: Instant::now(),
            alone_after: gossip.pace.alone_after,
            patience: gossip.pace.patience,
            rejected_after: gossip.pace.rejected_after,
            welcomed: None,
            rejected: None,
            joined: Some(joined),
        }
    }

    /// Who is to be asked, again.
    pub(super) fn unanswered(&self) -> Vec<String> {
        self.unanswered.iter().cloned().collect()
    }

    pub(super) fn rejected(&mut self, hub: &HubName, address: String, rejection: Rejection) {
        let unexpected = |reason: String| EngineError::Unexpected { reason };
        self.rejected = Some(match rejection {
            Rejection::NameTaken { alive, .. } => EngineError::NameTaken {
                name: self.me.name.clone(),
                node: alive,
                address,
            },
            Rejection::Shards { expected, found } => EngineError::Shards {
                hub: hub.clone(),
                expected,
                found,
            },
            Rejection::Setting {
                setting,
                expected,
                found,
            } => EngineError::Disagreement {
                hub: hub.clone(),
                setting,
                expected,
                found,
            },
            Rejection::Unauthorised { reason } => EngineError::Untrusted {
                endpoints: address,
                reason,
            },
            Rejection::Oneself => {
                // It is listed under another spelling of its address.
                self.is_seed = true;
                self.unanswered.remove(&address);
                return;
            }
            rejection @ (Rejection::Hub { .. }
            | Rejection::Version { .. }
            | Rejection::Superseded { .. }
            | Rejection::Busy
            | Rejection::Garbled) => unexpected(format!("{address}: {rejection}")),
        });
    }

    fn welcomed(&mut self, by: &str, unknown: Vec<String>, now: Instant) {
        self.unanswered.remove(by);
        if self.welcomed.is_none() {
            // From now on only who is known to be there is waited for.
            self.unanswered.clear();
            self.welcomed = Some(now);
        }
        self.unanswered.extend(unknown);
    }

    /// Whether it is over, and how.
    fn outcome(&mut self, now: Instant) -> Option<Result<(), EngineError>> {
        let waited = now.saturating_duration_since(self.since);
        if let Some(welcomed) = self.welcomed {
            let late = now.saturating_duration_since(welcomed) >= ANSWERS;
            return (self.unanswered.is_empty() || late).then_some(Ok(()));
        }
        if self.rejected.is_some() {
            let over = waited >= self.rejected_after;
            return if over {
                self.rejected.take().map(Err)
            } else {
                None
            };
        }
        if self.is_seed && (self.unanswered.is_empty() || waited >= self.alone_after) {
            return Some(Ok(()));
        }
        (waited >= self.patience).then(|| {
            Err(EngineError::Unreachable {
                endpoints: self.unanswered().join(", "),
                waited,
                reason: "no node of the hub answered".to_owned(),
            })
        })
    }
}

impl Driver {
    /// A member says who else there is.
    pub(super) fn welcomed(&mut self, by: &str, addresses: Vec<String>) {
        let known: BTreeSet<_> = self
            .roster
            .others()
            .map(|member| member.address.clone())
            .collect();
        let unknown: Vec<_> = addresses
            .into_iter()
            .filter(|address| !known.contains(address) && *address != self.me.member.address)
            .collect();
        for address in &unknown {
            self.join(address);
        }
        if let Some(joining) = &mut self.joining {
            joining.welcomed(by, unknown, Instant::now());
        }
    }

    /// Ends joining when its time has come. False if it failed.
    pub(super) fn go_on_joining(&mut self) -> bool {
        let Some(joining) = &mut self.joining else {
            return true;
        };
        let Some(outcome) = joining.outcome(Instant::now()) else {
            return true;
        };
        let ok = outcome.is_ok();
        if let Some(joined) = joining.joined.take() {
            let _ = joined.send(outcome);
        }
        self.joining = None;
        self.backlog.push_back(EngineEvent::Ready);
        ok
    }
}
