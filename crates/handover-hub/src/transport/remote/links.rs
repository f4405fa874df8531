//! All ways from this node to others.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use handover_hub_proto::identity::{NodeId, NodeName};

use super::Shared;
use super::link::Link;
use super::settings::CONNECTIONS;
use crate::transport::Introduction;

#[derive(Debug, Default)]
pub(super) struct Links(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_address: HashMap<String, Arc<Link>>,
    by_node: HashMap<NodeId, Arc<Link>>,
    /// None is made now.
    closed: bool,
    /// Who was known when all were closed for a while.
    resting: Vec<(NodeId, String)>,
}

impl Links {
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to a node that was learnt.
    pub(super) fn to(&self, node: NodeId) -> Option<Arc<Link>> {
        self.read().by_node.get(&node).cloned()
    }

    /// The way to an address, made if there is none; none if there are too many.
    pub(super) fn at(&self, shared: &Arc<Shared>, address: &str) -> Option<Arc<Link>> {
        if let Some(link) = self.read().by_address.get(address) {
            return Some(Arc::clone(link));
        }
        self.write().at(shared, address)
    }

    /// Knows a node under an address from now on.
    pub(super) fn learn(&self, shared: &Arc<Shared>, node: NodeId, address: &str) {
        let mut inner = self.write();
        if inner
            .by_node
            .get(&node)
            .is_some_and(|link| link.address == address)
        {
            return;
        }
        let Some(link) = inner.at(shared, address) else {
            return;
        };
        if let Some(elsewhere) = inner.by_node.insert(node, Arc::clone(&link)) {
            elsewhere.expect(None);
        }
        if let Some(before) = link.expect(Some(node)).filter(|before| *before != node) {
            inner.by_node.remove(&before);
        }
    }

    /// Leaves a node alone.
    pub(super) fn forget(&self, node: NodeId) {
        let mut inner = self.write();
        let Some(link) = inner.by_node.remove(&node) else {
            return;
        };
        link.expect(None);
        if !link.is_posted_to() {
            inner.by_address.remove(&link.address);
            link.stop();
        }
    }

    /// A node was found to be gone. Its address is kept, for somebody else is there.
    pub(super) fn lose(&self, node: NodeId) {
        if let Some(link) = self.write().by_node.remove(&node) {
            link.expect(None);
        }
    }

    /// Removes a way that nobody needs. False if somebody does.
    pub(super) fn reap(&self, link: &Arc<Link>) -> bool {
        let mut inner = self.write();
        let needed = link.expected().is_some() || link.is_posted_to();
        if !needed {
            inner.by_address.remove(&link.address);
        }
        !needed
    }

    /// That node can be tried at once: it connected, or a connection of it ended.
    pub(super) fn hint(&self, who: &Introduction) {
        let inner = self.read();
        if let Some(link) = inner.by_node.get(&who.node) {
            link.hint();
        }
        if let Some(link) = inner.by_address.get(&who.address) {
            link.hint();
        }
    }

    /// The node of that name to which there is a connection.
    pub(super) fn named(&self, name: &NodeName) -> Option<(NodeId, String)> {
        self.read().by_address.values().find_map(|link| {
            let who = link.who()?;
            (who.name == *name).then_some((who.node, who.address))
        })
    }

    /// All of them; none is made until [`open`](Self::open).
    pub(super) fn rest(&self) -> Vec<Arc<Link>> {
        let mut inner = self.write();
        let known = inner.by_node.iter();
        inner.resting = known
            .map(|(node, link)| (*node, link.address.clone()))
            .collect();
        inner.shut()
    }

    /// They can be made again. Returns who was known before.
    pub(super) fn open(&self) -> Vec<(NodeId, String)> {
        let mut inner = self.write();
        inner.closed = false;
        std::mem::take(&mut inner.resting)
    }

    /// All of them; none is made from now on.
    pub(super) fn close(&self) -> Vec<Arc<Link>> {
        self.write().shut()
    }
}

impl Inner {
    fn shut(&mut self) -> Vec<Arc<Link>> {
        self.closed = true;
        self.by_node.clear();
        self.by_address.drain().map(|(_, link)| link).collect()
    }

    fn at(&mut self, shared: &Arc<Shared>, address: &str) -> Option<Arc<Link>> {
        if let Some(link) = self.by_address.get(address) {
            return Some(Arc::clone(link));
        }
        if self.closed || self.by_address.len() >= CONNECTIONS {
            return None;
        }
        let link = Link::start(shared, address);
        self.by_address
            .insert(address.to_owned(), Arc::clone(&link));
        Some(link)
    }
}
