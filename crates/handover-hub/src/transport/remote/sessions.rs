//! All connections that other nodes made to this one.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use handover_hub_proto::identity::NodeId;

use super::session::Session;
use super::settings::{CONNECTIONS, GREETING, OF_ONE_NODE};
use crate::transport::{Introduction, Rejection};

#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    all: HashMap<u64, Arc<Session>>,
    /// Those that have not greeted, oldest first.
    greeting: VecDeque<u64>,
    closed: bool,
}

/// What comes of a greeting.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// Nodes that were at its address and are gone therefore.
    pub(super) replaced: Vec<NodeId>,
}

impl Sessions {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for a connection. None if there is none; says how many were closed for it.
    pub(super) fn enter(&self, remote: SocketAddr) -> (Option<Arc<Session>>, u64) {
        let mut inner = self.inner();
        let mut evicted = 0;
        while inner.greeting.len() >= GREETING {
            let oldest = inner.greeting.pop_front();
            if let Some(session) = oldest.and_then(|number| inner.all.get(&number)) {
                session.end();
                evicted += 1;
            }
        }
        if inner.all.len() >= CONNECTIONS || inner.closed {
            return (None, evicted);
        }
        inner.last += 1;
        let session = Arc::new(Session::new(inner.last, remote));
        inner.greeting.push_back(session.number);
        inner.all.insert(session.number, Arc::clone(&session));
        (Some(session), evicted)
    }

    /// A connection is closed.
    pub(super) fn leave(&self, session: &Session) {
        let mut inner = self.inner();
        inner.all.remove(&session.number);
        inner.greeting.retain(|number| *number != session.number);
    }

    /// Decides about a node that greeted.
    pub(super) fn admit(
        &self,
        session: &Session,
        who: Introduction,
    ) -> Result<Admission, Rejection> {
        let mut inner = self.inner();
        let mut admission = Admission::default();
        let mut of_it: Vec<_> = Vec::new();
        for other in inner.all.values() {
            let Some(there) = other.who().filter(|_| !other.is_over()) else {
                continue;
            };
            if there.node == who.node {
                if there.instance > who.instance {
                    return Err(Rejection::Superseded {
                        alive: there.instance,
                    });
                }
                of_it.push((there.instance, Arc::clone(other)));
            } else if there.name == who.name {
                // Two nodes cannot listen on one address: the one that came later is there.
                if there.address != who.address {
                    return Err(Rejection::NameTaken {
                        name: who.name.to_string(),
                        alive: there.node,
                    });
                }
                admission.replaced.push(there.node);
                other.end();
            }
        }
        for (_, older) in of_it
            .iter()
            .filter(|(instance, _)| *instance < who.instance)
        {
            older.end();
        }
        of_it.sort_by_key(|(_, session)| session.number);
        if of_it.len() >= OF_ONE_NODE {
            of_it[0].1.end();
        }
        if !session.greeted(who) {
            return Err(Rejection::Garbled);
        }
        inner.greeting.retain(|number| *number != session.number);
        admission.replaced.sort_unstable();
        admission.replaced.dedup();
        Ok(admission)
    }

    /// Whether that node has a connection to this one.
    pub(super) fn has(&self, node: NodeId) -> bool {
        self.inner()
            .all
            .values()
            .any(|session| !session.is_over() && session.who().is_some_and(|who| who.node == node))
    }

    /// Closes those of one node.
    pub(super) fn end(&self, node: NodeId) {
        for session in self.inner().all.values() {
            if session.who().is_some_and(|who| who.node == node) {
                session.end();
            }
        }
    }

    /// Takes some again.
    pub(super) fn open(&self) {
        self.inner().closed = false;
    }

    /// Closes all and takes no more until [`open`](Self::open).
    pub(super) fn close(&self) {
        let mut inner = self.inner();
        inner.closed = true;
        for session in inner.all.values() {
            session.end();
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.inner().all.len()
    }
}
