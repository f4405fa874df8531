//! What a registry keeps behind its lock.

use handover_hub_proto::identity::{ProcessId, ShardId};
use handover_hub_proto::row::{Host, Rest, Role, Row};

use super::line::Content;

/// The parts of rows that no look-up of a host needs, by place, and which rows a shard has.
#[derive(Debug)]
pub(super) struct Kept {
    rows: Vec<Option<Part>>,
    vacant: Vec<u32>,
    shards: Box<[Vec<u32>]>,
}

#[derive(Debug)]
struct Part {
    rest: Rest,
    /// What does not fit into a line, if anything does not.
    more: Option<Box<More>>,
}

#[derive(Debug)]
struct More {
    /// If it is too long for a line.
    id: Option<ProcessId>,
    /// All of them, unless there is one that answers calls, or none.
    hosts: Vec<Host>,
}

impl Kept {
    pub(super) fn new(shards: u16) -> Self {
        Self {
            rows: Vec::new(),
            vacant: Vec::new(),
            shards: (0..shards).map(|_| Vec::new()).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len() - self.vacant.len()
    }

    /// Places of a shard's rows.
    pub(super) fn of_shard(&self, shard: ShardId) -> &[u32] {
        let places = self.shards.get(usize::from(shard.0));
        places.map_or(&[], Vec::as_slice)
    }

    /// A place for a row that is new.
    pub(super) fn vacant(&mut self) -> u32 {
        self.vacant.pop().unwrap_or_else(|| {
            self.rows.push(None);
            // Lines end before numbers do.
            u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Adds a place to its shard's list; where it is there.
    pub(super) fn list(&mut self, shard: ShardId, place: u32) -> u32 {
        let Some(places) = self.shards.get_mut(usize::from(shard.0)) else {
            return 0;
        };
        places.push(place);
        u32::try_from(places.len() - 1).unwrap_or(u32::MAX)
    }

    /// Keeps what a line does not hold of a row; what was kept there before.
    pub(super) fn put(&mut self, place: u32, row: &Row, long: bool) -> Option<Rest> {
        let simple = match row.hosts() {
            [] => true,
            [host] => host.role == Role::Active,
            _ => false,
        };
        let more = (long || !simple).then(|| {
            Box::new(More {
                id: long.then(|| row.id().clone()),
                hosts: if simple {
                    Vec::new()
                } else {
                    row.hosts().to_vec()
                },
            })
        });
        let rest = row.rest().clone();
        let part = self.rows.get_mut(place as usize)?;
        part.replace(Part { rest, more }).map(|before| before.rest)
    }

    /// Forgets a row. The last of its shard's list takes its position there: which that is.
    pub(super) fn remove(&mut self, shard: ShardId, place: u32, position: u32) -> Option<u32> {
        if let Some(part) = self.rows.get_mut(place as usize) {
            *part = None;
            self.vacant.push(place);
        }
        let places = self.shards.get_mut(usize::from(shard.0))?;
        if (position as usize) < places.len() {
            places.swap_remove(position as usize);
        }
        places.get(position as usize).copied()
    }

    /// The id at a place, if it is too long for a line.
    pub(super) fn long_id(&self, place: u32) -> Option<&ProcessId> {
        let more = self.rows.get(place as usize)?.as_ref()?.more.as_ref()?;
        more.id.as_ref()
    }

    pub(super) fn row(&self, place: u32, content: &Content) -> Option<Row> {
        let part = self.rows.get(place as usize)?.as_ref()?;
        let id = match self.long_id(place) {
            Some(id) => id.clone(),
            None => content.id()?,
        };
        let hosts = match (&part.more, &content.active) {
            (Some(more), _) if !more.hosts.is_empty() => more.hosts.as_slice(),
            (_, Some(host)) => std::slice::from_ref(host),
            (_, None) => &[],
        };
        Some(Row::of(id, hosts, part.rest.clone()))
    }
}
