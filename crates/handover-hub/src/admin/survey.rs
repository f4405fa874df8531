//! What a node knows, as views.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use handover_hub_proto::identity::{NodeId, ProcessId, ShardId};
use handover_hub_proto::row::Row;
use handover_hub_proto::spec::Placing;
use handover_hub_proto::view::{Member, Standing};

use super::view::{EvacuationView, HostView, NodeView, ProcessView, Shards, Status};
use super::{Desk, Flights, unix_ms};

/// How old a count of all rows may be: many who watch cost no more than one.
const FRESH: Duration = Duration::from_millis(500);

/// The last count of all rows.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    last: Mutex<Option<(Instant, Arc<Census>)>>,
}

/// All rows, counted.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// Children.
    pub(super) processes: u64,
    /// Children a node runs.
    pub(super) hosted: HashMap<NodeId, u64>,
}

/// Which processes are listed.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) prefix: Option<String>,
    pub(super) node: Option<NodeId>,
    pub(super) kind: Option<String>,
    pub(super) tag: Option<String>,
}

impl Wanted {
    fn fits(&self, row: &Row) -> bool {
        self.prefix
            .as_ref()
            .is_none_or(|prefix| row.id().as_str().starts_with(prefix.as_str()))
            && self.kind.as_ref().is_none_or(|kind| row.kind() == kind)
            && self
                .tag
                .as_ref()
                .is_none_or(|tag| row.tag() == Some(tag.as_str()))
            && self
                .node
                .is_none_or(|node| row.hosts().iter().any(|host| host.node == node))
    }
}

impl Desk {
    /// Walks all rows unless that was just done. Blocks for some milliseconds per 10,000 rows.
    pub(super) fn census(&self) -> Arc<Census> {
        let mut last = self
            .survey
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((at, census)) = &*last
            && at.elapsed() < FRESH
        {
            return Arc::clone(census);
        }
        let mut census = Census::default();
        self.hub.each(&mut |row| {
            census.processes += 1;
            for host in row.hosts() {
                *census.hosted.entry(host.node).or_default() += 1;
            }
        });
        let census = Arc::new(census);
        *last = Some((Instant::now(), Arc::clone(&census)));
        census
    }

    /// The members, whose names are remembered.
    pub(super) fn members(&self) -> Vec<Member> {
        let mut members = self.hub.members();
        self.observer.learn(&members);
        members.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        members
    }

    pub(crate) fn status(&self, flights: &Flights) -> Status {
        let members = self.members();
        let census = self.census();
        let now = Instant::now();
        let me = self.hub.id();
        let uptime = self.observer.read(|tally| tally.uptime(now));
        let version = members.iter().find(|member| member.id == me);
        let emptied = members
            .iter()
            .filter(|member| member.standing != Standing::Serving);
        Status {
            hub: self.hub.hub(),
            node: self.hub.name(),
            id: me.to_string(),
            version: version.map_or_else(String::new, |member| member.version.clone()),
            pid: std::process::id(),
            unix_ms: unix_ms(),
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            exclusive: self.hub.exclusive(),
            suspended: self.hub.suspended(),
            shards: self.shards().0,
            processes: census.processes,
            moves: self.moves(flights),
            evacuations: emptied
                .map(|member| EvacuationView {
                    node: member.name.clone(),
                    left: census.hosted.get(&member.id).copied().unwrap_or(0),
                })
                .collect(),
        }
    }

    fn shards(&self) -> (Shards, HashMap<NodeId, u32>) {
        let mut owned: HashMap<NodeId, u32> = HashMap::new();
        let mut vacant = 0;
        for shard in 0..self.hub.shards() {
            match self.hub.owner(ShardId(shard)) {
                Some(owner) => *owned.entry(owner.node).or_default() += 1,
                None => vacant += 1,
            }
        }
        let shards = Shards {
            total: u32::from(self.hub.shards()),
            here: owned.get(&self.hub.id()).copied().unwrap_or(0),
            vacant,
        };
        (shards, owned)
    }

    pub(crate) fn nodes(&self) -> Vec<NodeView> {
        let members = self.members();
        let census = self.census();
        let (_, owned) = self.shards();
        let leader = members.iter().min_by_key(|m| (m.joined_ms, m.id));
        let leader = leader.map(|member| member.id);
        let nodes = members.into_iter().map(|member| NodeView {
            id: member.id.to_string(),
            shards: owned.get(&member.id).copied().unwrap_or(0),
            processes: census.hosted.get(&member.id).copied().unwrap_or(0),
            leader: leader == Some(member.id),
            here: member.id == self.hub.id(),
            name: member.name,
            address: member.address,
            version: member.version,
            joined_ms: member.joined_ms,
            standing: member.standing,
            weight: member.weight,
            load: member.load,
        });
        nodes.collect()
    }

    pub(super) fn process(&self, id: &ProcessId) -> Option<ProcessView> {
        self.members();
        self.hub.row(id).map(|row| self.view(&row))
    }

    /// The wanted ones of a shard, by id: no more than a shard is ever held.
    pub(super) fn processes(&self, shard: ShardId, wanted: &Wanted) -> Vec<ProcessView> {
        let rows = self.hub.rows(shard);
        let wanted = rows.iter().filter(|row| wanted.fits(row));
        let mut views: Vec<ProcessView> = wanted.map(|row| self.view(row)).collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }

    fn view(&self, row: &Row) -> ProcessView {
        let spec = row.spec();
        let shard = self.hub.shard(&spec.id);
        let hosts = row.hosts().iter();
        let hosts = hosts.map(|host| HostView {
            node: self.named(host.node),
            epoch: host.epoch.to_string(),
            role: host.role,
        });
        ProcessView {
            id: spec.id.clone(),
            kind: spec.kind.clone(),
            shard: shard.0,
            home: self.hub.owner(shard).map(|owner| self.named(owner.node)),
            hosts: hosts.collect(),
            pinned: match &spec.placing {
                Placing::Strategy => Vec::new(),
                Placing::Pinned(nodes) => nodes.clone(),
            },
            restart: spec.restart,
            declared: spec.declared,
            tag: spec.metadata.tag.clone(),
            fields: spec.metadata.fields.clone(),
        }
    }
}
