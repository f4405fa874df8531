//! All that a node serves to people: its admin socket and its page.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use handover_hub_proto::view::Guarantees;
use tokio::task::AbortHandle;

use super::{AdminError, Desk, Node, Observer, Server, serve};
use crate::dashboard::{self, Dashboard, DashboardError};
use crate::hub::Shared;

/// What a node is to serve to people.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Where its admin socket is.
    pub(crate) admin: Option<PathBuf>,
    /// Where its page is.
    pub(crate) dashboard: Option<Dashboard>,
}

/// Why a node cannot be served to people.
#[derive(Debug, thiserror::Error)]
pub enum OperationsError {
    /// Its admin socket.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Its page.
    #[error(transparent)]
    Dashboard(#[from] DashboardError),
}

/// What is served; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Operations {
    socket: Option<Server>,
    page: Option<dashboard::Server>,
    watcher: AbortHandle,
}

impl Wanted {
    /// Serves what is wanted; nothing is made if nothing is.
    ///
    /// # Errors
    ///
    /// [`OperationsError`]; nothing is served then.
    pub(crate) async fn serve(
        self,
        shared: &Arc<Shared>,
        guarantees: Guarantees,
    ) -> Result<Option<Operations>, OperationsError> {
        if self.admin.is_none() && self.dashboard.is_none() {
            return Ok(None);
        }
        let node = Node::new(Arc::clone(shared), guarantees);
        let observer = Arc::new(Observer::default());
        let watcher = tokio::spawn(node.watch(Arc::clone(&observer)));
        let mut operations = Operations {
            socket: None,
            page: None,
            watcher: watcher.abort_handle(),
        };
        let desk = Desk::new(Arc::new(node), observer);
        if let Some(path) = self.admin {
            operations.socket = Some(serve(path, desk.clone()).await?);
        }
        if let Some(wanted) = self.dashboard {
            operations.page = Some(dashboard::serve(wanted, desk).await?);
        }
        Ok(Some(operations))
    }
}

impl Operations {
    /// Where the page is served, if it is.
    pub(crate) fn page(&self) -> Option<SocketAddr> {
        self.page.as_ref().map(dashboard::Server::address)
    }

    /// Takes no more requests, and lets answers under way finish.
    pub(crate) async fn finish(mut self) {
        if let Some(socket) = self.socket.take() {
            socket.finish().await;
        }
        if let Some(page) = self.page.take() {
            page.finish().await;
        }
    }
}

impl Drop for Operations {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}
