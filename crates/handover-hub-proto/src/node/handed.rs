//! What a node hands to its successor on the same host, which goes on under the same id.
//!
//! The engine is to see one member all the while, and the hosts keep the processes: the successor
//! adopts them under the epochs they have. What was under way between nodes is said again by those
//! who wait for it, so a node is best handed over while it [is quiet](Node::is_quiet).

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use handover_proto::moment::Moment;
use serde::{Deserialize, Serialize};

use super::hosting::{Here, Phase};
use super::{Node, Settings};
use crate::home::{Census, Home, Stage};
use crate::identity::{Epoch, ShardId, Term};
use crate::message::Position;
use crate::registry::Stopped;
use crate::row::{Role, Row, Rows};
use crate::spec::ChildSpec;
use crate::view::{Member, Owner};

/// All that a successor must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    me: Member,
    shards: Vec<HandedShard>,
    hosted: Vec<HandedProcess>,
    rows: Vec<Row>,
    moves: u64,
    declared: (u64, Vec<Arc<ChildSpec>>),
}

/// What is known of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HandedShard {
    shard: ShardId,
    owner: Option<Owner>,
    /// The home of the highest term that was heard of (H7).
    obeyed: Option<Owner>,
    position: Position,
    /// Its children that ended.
    buried: Vec<Stopped>,
    /// Of a home that decides: its term, and what it has granted.
    home: Option<(Term, u64)>,
}

/// A process that goes on under its epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HandedProcess {
    spec: Arc<ChildSpec>,
    epoch: Epoch,
    role: Role,
    filled: bool,
}

impl Handed {
    /// The member that goes on.
    #[must_use]
    pub const fn member(&self) -> &Member {
        &self.me
    }

    /// The successor's program says this of the member from now on; it stays the same one.
    pub fn describe(&mut self, version: String, weight: u32) {
        self.me.version = version;
        self.me.weight = weight;
    }

    /// The processes that the successor's hosts must have: what they are, and under which epoch.
    pub fn processes(&self) -> impl Iterator<Item = (&Arc<ChildSpec>, Epoch, Role)> {
        let hosted = self.hosted.iter();
        hosted.map(|process| (&process.spec, process.epoch, process.role))
    }
}

impl<R: Rows> Node<R> {
    /// Whether nothing is under way that a handover would disturb: no process here is being
    /// started, stopped or moved, and no command waits.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let settled = self.hosting.all().all(|here| here.phase == Phase::Active);
        settled
            && self.terminal.processes().next().is_none()
            && self
                .homes
                .values()
                .all(|home| home.work.is_empty() && home.is_live())
            && self.requests.len() == 0
    }

    /// What the successor must know. Nothing may be given to this node afterwards.
    #[must_use]
    pub fn hand_over(&self) -> Handed {
        let shards = self.table.shards().map(|shard| HandedShard {
            shard,
            owner: self.table.owner(shard),
            obeyed: self.hosting.obeyed(shard),
            position: self.copies.position(shard),
            buried: self.buried.of(shard),
            home: self
                .homes
                .get(&shard)
                .filter(|home| home.is_live())
                .map(Home::granted),
        });
        let active = self
            .hosting
            .all()
            .filter(|here| here.phase == Phase::Active);
        let hosted = active.map(|here| HandedProcess {
            spec: here.spec.clone(),
            epoch: here.epoch,
            role: here.role,
            filled: here.filled,
        });
        Handed {
            me: self.me.clone(),
            hosted: hosted.collect(),
            rows: self
                .table
                .shards()
                .flat_map(|shard| self.rows.shard(shard))
                .collect(),
            shards: shards.collect(),
            moves: self.moves,
            declared: self.declared(),
        }
    }

    /// Goes on where a predecessor on this host stopped. `rows` is empty; the engine says the
    /// members and owners anew.
    #[must_use]
    pub fn handed(settings: Settings, handed: Handed, rows: R, now: Moment) -> Self {
        let mut node = Self::new(settings, handed.me, rows, now);
        node.moves = handed.moves;
        for row in handed.rows {
            node.rows.put(row);
        }
        for known in handed.shards {
            node.copies.set(known.shard, known.position);
            node.heard_buried(known.shard, known.buried);
            if let Some(owner) = known.obeyed {
                node.hosting.obeys(known.shard, owner.node, owner.term);
            }
            let Some(owner) = known.owner.filter(|_| node.table.has(known.shard)) else {
                continue;
            };
            match known.home {
                Some((term, grants)) if owner.term == term => {
                    node.table.own(known.shard, owner);
                    let mut home = Home::new(term, Census::new(Default::default()));
                    home.stage = Stage::Live;
                    home.went_on(known.position.sequence, grants);
                    node.homes.insert(known.shard, home);
                }
                // A home that took its census takes it again when the engine says that it is one.
                None if owner.node == node.me.id => {}
                Some(_) | None => {
                    node.table.own(known.shard, owner);
                }
            }
        }
        for process in handed.hosted {
            let shard = node.shard_of(&process.spec.id);
            let here = Here {
                spec: process.spec,
                epoch: process.epoch,
                role: process.role,
                phase: Phase::Active,
                unconfirmed: false,
                filled: process.filled,
            };
            let (id, epoch) = (here.spec.id.clone(), here.epoch);
            node.hosting.insert(shard, here);
            node.replicate_arrived(&id, epoch);
        }
        let (version, children) = handed.declared;
        node.declare_kept(version, children);
        node
    }
}
