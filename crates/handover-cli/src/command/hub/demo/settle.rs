//! When a redistribution is over.

use handover_hub::proto::identity::NodeId;
use handover_hub::{Hub, Scope};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Nothing has moved for so long: nothing will.
const STILL: Duration = Duration::from_millis(800);

/// After so long it is not waited for any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until exactly these nodes are members and run everything, and nothing moves any more.
/// Says when the last thing moved; nothing if that was never so.
pub(super) async fn settled(hub: &Hub, nodes: &BTreeSet<String>) -> Option<Instant> {
    still(|| look(hub, nodes)).await
}

/// Waits until each of these nodes is home of shards and nobody else is, and that stays so.
pub(super) async fn gathered(hub: &Hub, nodes: &BTreeSet<String>) -> bool {
    let homes = || {
        let others = others(hub, nodes)?;
        let homes = hub.homes();
        let owners: BTreeSet<NodeId> = homes.iter().map(|(_, owner)| owner.node).collect();
        let all = homes.len() == usize::from(hub.status().shards);
        (all && owners.iter().eq(others.keys())).then_some(homes)
    };
    still(homes).await.is_some()
}

/// Waits until what is seen does not change any more, and says since when.
async fn still<T: PartialEq>(look: impl Fn() -> Option<T>) -> Option<Instant> {
    let patience = Instant::now() + PATIENCE;
    let (mut last, mut changed) = (None, Instant::now());
    while Instant::now() < patience {
        let seen = look();
        if seen != last {
            (last, changed) = (seen, Instant::now());
        }
        if last.is_some() && changed.elapsed() >= STILL {
            return Some(changed);
        }
        tokio::time::sleep(LOOK).await;
    }
    None
}

/// The members besides this process, if they are just these.
fn others(hub: &Hub, nodes: &BTreeSet<String>) -> Option<BTreeMap<NodeId, String>> {
    let members = hub.nodes().into_iter();
    let others = members.filter(|member| member.id != hub.node());
    let others: BTreeMap<NodeId, String> = others.map(|m| (m.id, m.name.to_string())).collect();
    let names: BTreeSet<&String> = others.values().collect();
    names.into_iter().eq(nodes).then_some(others)
}

/// A digest of who runs what, if only these nodes run anything and each runs something.
fn look(hub: &Hub, nodes: &BTreeSet<String>) -> Option<u64> {
    let others = others(hub, nodes)?;
    if hub
        .homes()
        .iter()
        .any(|(_, owner)| !others.contains_key(&owner.node))
    {
        return None;
    }
    let mut busy = BTreeSet::new();
    let mut digest = 0_u64;
    for row in hub.list(Scope::Hub) {
        let active = row.active()?;
        if !others.contains_key(&active.node) {
            return None;
        }
        busy.insert(active.node);
        let mut hasher = DefaultHasher::new();
        (row.id().as_str(), active.node).hash(&mut hasher);
        // In no order.
        digest ^= hasher.finish();
    }
    (busy.len() == others.len()).then_some(digest)
}
