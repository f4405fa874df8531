//! Which node is asked: the only one that listens on this machine, unless one is named.

use super::HubError;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The admin socket of the only node that listens in the runtime directory.
///
/// # Errors
/// [`HubError`]; nothing is changed, stale sockets stay.
pub(crate) fn find(root: &Path) -> Result<PathBuf, HubError> {
    let (mut listening, mut stale) = (Vec::new(), Vec::new());
    for socket in sockets(root)? {
        match UnixStream::connect(&socket) {
            Ok(_) => listening.push(socket),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => stale.push(socket),
            // Just gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(HubError::Connect { socket, source });
            }
        }
    }
    match (listening.pop(), listening.is_empty(), stale.pop()) {
        (Some(only), true, _) => Ok(only),
        (Some(last), false, _) => {
            listening.push(last);
            Err(HubError::Several { sockets: listening })
        }
        (None, _, Some(socket)) => Err(HubError::Stale { socket }),
        (None, _, None) => Err(HubError::NoNode {
            root: root.to_owned(),
        }),
    }
}

/// Files named as admin sockets are, by name.
fn sockets(root: &Path) -> Result<Vec<PathBuf>, HubError> {
    let unreadable = |source| HubError::Unreadable {
        path: root.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(unreadable(source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("hub-") && name.ends_with(".sock") {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitCode;
    use std::os::unix::net::UnixListener;

    fn listen(root: &Path, name: &str) -> UnixListener {
        UnixListener::bind(root.join(name)).unwrap()
    }

    #[test]
    fn the_only_node_is_implied_beside_dead_ones_and_services() {
        let root = tempfile::tempdir().unwrap();
        let _a = listen(root.path(), "hub-sessions-a.sock");
        drop(listen(root.path(), "hub-sessions-b.sock"));
        std::fs::create_dir(root.path().join("web")).unwrap();
        let found = find(root.path()).unwrap();
        assert!(found.ends_with("hub-sessions-a.sock"));
    }

    #[test]
    fn several_nodes_must_be_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let _b = listen(root.path(), "hub-sessions-b.sock");
        let _a = listen(root.path(), "hub-sessions-a.sock");
        let error = find(root.path()).unwrap_err();
        let HubError::Several { sockets } = &error else {
            panic!("{error}")
        };
        assert!(sockets[0].ends_with("hub-sessions-a.sock"));
        assert_eq!(sockets.len(), 2);
        assert_eq!(error.exit_code(), ExitCode::Usage);
    }

    #[test]
    fn nobody_is_no_node() {
        let root = tempfile::tempdir().unwrap();
        for root in [root.path(), Path::new("/nonexistent/handover")] {
            let error = find(root).unwrap_err();
            assert!(matches!(error, HubError::NoNode { .. }), "{error}");
            assert_eq!(error.exit_code(), ExitCode::NobodyServes);
        }
        drop(listen(root.path(), "hub-sessions-b.sock"));
        let error = find(root.path()).unwrap_err();
        assert!(matches!(error, HubError::Stale { .. }), "{error}");
    }
}
