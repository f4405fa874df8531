//! Which children have which tag.

use std::collections::{HashMap, HashSet};
use std::sync::RwLock;

use foldhash::fast::RandomState;
use handover_hub_proto::identity::ProcessId;

use super::{read, write};

/// Children that have a tag, by tag. Those without one take no room here.
#[derive(Debug, Default)]
pub(super) struct Tags(RwLock<HashMap<Box<str>, HashSet<ProcessId, RandomState>, RandomState>>);

impl Tags {
    pub(super) fn get(&self, tag: &str) -> Vec<ProcessId> {
        let tags = read(&self.0);
        tags.get(tag)
            .map_or_else(Vec::new, |ids| ids.iter().cloned().collect())
    }

    /// A child had one tag and has another now, or none. Nothing is locked if they are the same.
    pub(super) fn change(&self, id: &ProcessId, before: Option<&str>, after: Option<&str>) {
        if before == after {
            return;
        }
        let mut tags = write(&self.0);
        if let Some(before) = before
            && let Some(ids) = tags.get_mut(before)
        {
            ids.remove(id);
            if ids.is_empty() {
                tags.remove(before);
            }
        }
        if let Some(after) = after {
            tags.entry(after.into()).or_default().insert(id.clone());
        }
    }
}
