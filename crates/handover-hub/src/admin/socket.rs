//! The socket itself: where it is, who may connect, how it ends.

use std::fs;
use std::future::IntoFuture;
use std::io;
use std::path::{Path, PathBuf};

use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use handover_hub_proto::identity::{HubName, NodeName};
use handover_sys::control::{BindError, MAX_PATH, bind_private, file_at};
use tokio::net::UnixListener;
use tokio::net::unix::UCred;

use super::view::{Complaint, Mishap};
use super::{Desk, routes};
use crate::serving::Serving;

/// Why a node cannot be served to its operators.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The path does not fit into a socket's address.
    #[error(
        "the path {} of the admin socket has {found} bytes, the system takes {MAX_PATH}: give a \
         shorter one", path.display()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length, in bytes.
        found: usize,
    },
    /// The directory is not private, or cannot be made.
    #[error("the directory of the admin socket cannot be used: {0}")]
    Directory(#[source] io::Error),
    /// Somebody else listens there, or the socket cannot be made.
    #[error("the admin socket cannot be made: {0}; if a node of this name runs, stop it first")]
    Bind(#[from] BindError),
    /// The socket was made and cannot be used.
    #[error("the admin socket cannot be served: {0}")]
    Serve(#[source] io::Error),
}

/// Where the admin socket of a node is if nobody said otherwise: `hub-HUB-NODE.sock` in the
/// [directory of services](handover::runtime::root). What cannot be in the name of a file is
/// written as `%` and two hexadecimal digits.
#[must_use]
pub fn socket_path(root: &Path, hub: &HubName, node: &NodeName) -> PathBuf {
    let (hub, node) = (escaped(hub.as_str()), escaped(node.as_str()));
    root.join(format!("hub-{hub}-{node}.sock"))
}

fn escaped(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02x}"));
        }
    }
    text
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
struct Peer(Option<UCred>);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok())
    }
}

/// An admin socket that is served. Its path is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    serving: Serving,
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

impl Server {
    /// Takes no more requests and lets answers under way finish.
    pub(crate) async fn finish(mut self) {
        self.serving.finish().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not that of a successor that took the place.
        if self.inode.is_some() && file_at(&self.path) == self.inode {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Serves a hub's node at `path`. A socket that nobody listens on is replaced.
///
/// # Errors
///
/// [`AdminError`]; nothing is served then, and a live socket of somebody else is left alone.
pub(crate) async fn serve(path: PathBuf, desk: Desk) -> Result<Server, AdminError> {
    let found = path.as_os_str().len();
    if found > MAX_PATH {
        return Err(AdminError::TooLong { path, found });
    }
    let wanted = path.clone();
    let bound = tokio::task::spawn_blocking(move || {
        if let Some(directory) = wanted.parent().filter(|parent| !parent.exists()) {
            handover::runtime::create_private(directory).map_err(AdminError::Directory)?;
        }
        Ok::<_, AdminError>(bind_private(&wanted)?)
    });
    let listener = bound
        .await
        .map_err(|error| AdminError::Serve(io::Error::other(error)))??;
    listener.set_nonblocking(true).map_err(AdminError::Serve)?;
    let listener = UnixListener::from_std(listener).map_err(AdminError::Serve)?;
    let inode = file_at(&path);
    let observer = std::sync::Arc::clone(&desk.observer);
    let router = routes::all()
        .layer(middleware::from_fn(guard))
        .with_state(desk);
    let service = router.into_make_service_with_connect_info::<Peer>();
    let serving = Serving::start("admin socket", |stopped| {
        let server = axum::serve(listener, service).with_graceful_shutdown(async move {
            let _ = stopped.await;
            observer.end();
        });
        server.into_future()
    });
    Ok(Server {
        serving,
        path,
        inode,
    })
}

/// Lets in the node's own user and root.
async fn guard(
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let own = rustix::process::geteuid().as_raw();
    if peer.is_some_and(|peer| peer.uid() == own || peer.uid() == 0) {
        return next.run(request).await;
    }
    let error = format!("this node takes orders from uid {own} and root only; nothing was changed");
    Complaint::new(Mishap::Denied, error).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_the_directory() {
        let path = |hub: &str, node: &str| {
            let hub = HubName::new(hub).unwrap();
            let path = socket_path(Path::new("/run"), &hub, &NodeName::new(node).unwrap());
            path.to_str().unwrap().to_owned()
        };
        assert_eq!(path("sessions", "a"), "/run/hub-sessions-a.sock");
        assert_eq!(path("../x", "é b"), "/run/hub-..%2fx-%c3%a9%20b.sock");
    }
}
