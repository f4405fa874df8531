//! Orders: looked at before they are begun, so that a mistake is told and not tried.

use std::time::Duration;

use handover_hub_proto::identity::{NodeId, NodeName, ProcessId};
use handover_hub_proto::node::{Answer, Command, Evacuation, Failure};
use handover_hub_proto::spec::Placing;
use handover_hub_proto::view::{Member, Standing};

use super::view::{
    AbortRequest, Complaint, EvacuateRequest, LeftBehind, Mishap, MoveRequest, Outcome, PinRequest,
};
use super::{Desk, describe};

/// Processes left behind that are named in an answer; the rest are in the list of processes.
const NAMED: usize = 100;

impl Desk {
    /// Moves one child.
    pub(super) async fn move_child(&self, request: MoveRequest) -> Result<Outcome, Complaint> {
        let MoveRequest { process, to } = request;
        let target = self.member(&to)?;
        let view = self.process(&process).ok_or_else(|| unknown(&process))?;
        if !view.pinned.is_empty() && !view.pinned.contains(&to) {
            return Err(Complaint::refused(format!(
                "{process} is pinned to {} and stays there; pin it to {to}, or free it with \
                 `handover hub pin {process} --free`, then ask again",
                names(&view.pinned)
            )));
        }
        if view.hosts.iter().any(|host| host.node == to.as_str()) {
            return Err(Complaint::refused(format!(
                "{process} runs on node {to} already and serves there; nothing was moved"
            )));
        }
        if target.standing != Standing::Serving {
            return Err(Complaint::refused(format!(
                "node {to} is being emptied and takes nothing new; {process} serves where it was: \
                 choose another node, or end that with `handover hub evacuate {to} --abort`"
            )));
        }
        let command = Command::Move {
            process: process.clone(),
            to,
        };
        let answer = self.hub.execute(command).await;
        self.outcome(answer, Some(&process), None)
    }

    /// Pins a child, or frees it.
    pub(super) async fn pin(&self, request: PinRequest) -> Result<Outcome, Complaint> {
        let PinRequest { process, nodes } = request;
        for (index, node) in nodes.iter().enumerate() {
            self.member(node)?;
            if nodes[..index].contains(node) {
                return Err(Complaint::usage(format!(
                    "node {node} is named twice; nothing was changed"
                )));
            }
        }
        if self.hub.row(&process).is_none() {
            return Err(unknown(&process));
        }
        let command = Command::Pin {
            process: process.clone(),
            placing: match nodes.is_empty() {
                true => Placing::Strategy,
                false => Placing::Pinned(nodes),
            },
        };
        let answer = self.hub.execute(command).await;
        self.outcome(answer, Some(&process), None)
    }

    /// Empties a node; answers when it is as empty as it can be made.
    pub(super) async fn evacuate(&self, request: EvacuateRequest) -> Result<Outcome, Complaint> {
        let EvacuateRequest {
            node,
            to,
            rate,
            timeout_ms,
        } = request;
        if timeout_ms == Some(0) {
            return Err(Complaint::usage(
                "in no time nothing ends; give at least 1 ms, or leave the time out for 24 h",
            ));
        }
        if rate == Some(0) {
            return Err(Complaint::usage(
                "at a rate of 0 nothing would ever move; give at least 1/s, or leave it out for \
                 the hub's own pace",
            ));
        }
        let leaving = self.member(&node)?;
        if leaving.standing != Standing::Serving {
            return Err(Complaint::refused(format!(
                "node {node} is being emptied already; watch it with `handover hub top`, or end \
                 that with `handover hub evacuate {node} --abort`"
            )));
        }
        if to.contains(&node) {
            return Err(Complaint::usage(format!(
                "node {node} cannot be emptied into itself; nothing was moved"
            )));
        }
        for target in &to {
            if self.member(target)?.standing != Standing::Serving {
                return Err(Complaint::refused(format!(
                    "node {target} is being emptied itself and takes nothing; nothing was moved: \
                     name other nodes"
                )));
            }
        }
        let takes = |member: &&Member| member.name != node && member.standing == Standing::Serving;
        if self.members().iter().find(takes).is_none() {
            return Err(Complaint::refused(format!(
                "node {node} is the only one that takes processes, so there is nowhere to move \
                 them; they serve on there: start another node, then ask again"
            )));
        }
        let command = Command::Evacuate(Evacuation {
            node: node.clone(),
            to,
            rate,
            timeout: timeout_ms.map_or(Evacuation::TIMEOUT, Duration::from_millis),
        });
        let answer = self.hub.execute(command).await;
        self.outcome(answer, None, Some(node))
    }

    /// Lets an emptied node take processes again.
    pub(super) async fn abort(&self, request: AbortRequest) -> Result<Outcome, Complaint> {
        let AbortRequest { node } = request;
        match self.member(&node)?.standing {
            Standing::Evacuating => {}
            Standing::Serving => {
                return Err(Complaint::refused(format!(
                    "node {node} is not being emptied; it serves, and nothing was changed"
                )));
            }
            Standing::Leaving => {
                return Err(Complaint::refused(format!(
                    "node {node} is leaving since its program ends; that cannot be undone: its \
                     processes serve on where they are moved to"
                )));
            }
        }
        let command = Command::AbortEvacuation { node: node.clone() };
        let answer = self.hub.execute(command).await;
        self.outcome(answer, None, Some(node))
    }

    /// A member by name; the newest if a restarted one is there twice.
    pub(super) fn member(&self, name: &NodeName) -> Result<Member, Complaint> {
        let members = self.members();
        let named = members.iter().filter(|member| member.name == *name);
        match named.max_by_key(|member| member.joined_ms) {
            Some(member) => Ok(member.clone()),
            None => Err(Complaint::refused(format!(
                "no node is called {name}; these are: {}; nothing was changed",
                names(members.iter().map(|member| &member.name))
            ))),
        }
    }

    fn outcome(
        &self,
        answer: Answer,
        process: Option<&ProcessId>,
        node: Option<NodeName>,
    ) -> Result<Outcome, Complaint> {
        match answer {
            Answer::Moved {
                process,
                node,
                pause_ns,
            } => Ok(Outcome::Moved {
                process,
                node: self.named(node),
                pause_ns,
            }),
            Answer::Evacuated { moved, left } => {
                let named = left.into_iter().take(NAMED);
                let left = named.map(|(process, failure)| LeftBehind {
                    process,
                    reason: self.words(&failure),
                });
                Ok(Outcome::Evacuated {
                    node: node.unwrap_or_else(|| self.hub.name()),
                    moved,
                    left: left.collect(),
                })
            }
            Answer::Failed(Failure::StillEmptying { node, left }) => {
                Ok(Outcome::Evacuating { node, left })
            }
            Answer::Failed(failure) => Err(self.failed(&failure, process)),
            Answer::Done
            | Answer::Started { .. }
            | Answer::Stopped { .. }
            | Answer::Located(_)
            | Answer::Moves(_) => Ok(Outcome::Done),
        }
    }

    fn failed(&self, failure: &Failure, process: Option<&ProcessId>) -> Complaint {
        let kind = match failure {
            Failure::NotMoved { .. } => Mishap::NotMoved,
            Failure::TimedOut | Failure::Gone => Mishap::TimedOut,
            Failure::Replicas { .. } => Mishap::Usage,
            _ => Mishap::Refused,
        };
        let words = self.words(failure);
        let about = match process {
            Some(process) if !words.contains(process.as_str()) => format!("{process}: {words}"),
            _ => words,
        };
        Complaint::new(kind, about)
    }

    fn words(&self, failure: &Failure) -> String {
        describe::failure(failure, &|node: NodeId| self.named(node))
    }
}

/// What is said of a child that nobody knows.
pub(super) fn unknown(process: &ProcessId) -> Complaint {
    Complaint::refused(format!(
        "no process is called {process}; `handover hub ps` lists those there are"
    ))
}

fn names<'a>(names: impl IntoIterator<Item = &'a NodeName>) -> String {
    let names: Vec<&str> = names.into_iter().map(NodeName::as_str).collect();
    names.join(", ")
}
