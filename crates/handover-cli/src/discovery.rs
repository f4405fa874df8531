//! Which supervisor is meant: one running service is implied, several must be told apart.

use crate::exit::ExitCode;
use handover::runtime;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

pub(crate) use handover::supervisor::runtime::CONTROL_SOCKET as SOCKET;

/// How alike two names must be for one to be suggested for the other; below this a guess annoys
/// more than it helps.
const ALIKE: f64 = 0.6;

/// Where services keep their runtime directories: what was asked for, else by who runs this.
pub(crate) fn root(asked: Option<&Path>) -> PathBuf {
    asked.map_or_else(runtime::root, Path::to_owned)
}

/// A service whose supervisor listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) service: String,
    pub(crate) socket: PathBuf,
}

/// Why no supervisor was found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    #[error(
        "no supervisor runs: there is none in {root}; start one with \
         `handover run -l http=127.0.0.1:8080 -- ./server`, or say with --runtime-dir where it is"
    )]
    None { root: PathBuf },
    #[error(
        "no supervisor of `{service}` runs: {socket} is stale, nobody listens on it; its server may \
         still serve: start `handover run --name {service}` again and it takes charge of it"
    )]
    Stale { service: String, socket: PathBuf },
    #[error("several services run, name one with --service: {}", .names.join(", "))]
    Several { names: Vec<String> },
    #[error("no supervisor of `{name}` runs in {root}{}", others(.known, .suggestion.as_deref()))]
    Unknown {
        name: String,
        root: PathBuf,
        known: Vec<String>,
        suggestion: Option<String>,
    },
    #[error(
        "{socket} is not a socket but a {found}; somebody replaced it: move it away and restart the \
         supervisor of `{service}`"
    )]
    NotASocket {
        service: String,
        socket: PathBuf,
        found: &'static str,
    },
    #[error(
        "{path} may not be opened: {source}; run this as the user who runs the supervisor, or as \
         root"
    )]
    Denied {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn others(known: &[String], suggestion: Option<&str>) -> String {
    match (suggestion, known) {
        (Some(name), _) => format!("; did you mean `{name}`?"),
        (None, []) => "; none runs there at all".to_owned(),
        (None, known) => format!("; these do: {}", known.join(", ")),
    }
}

impl DiscoveryError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Several { .. } => ExitCode::Usage,
            Self::None { .. } | Self::Stale { .. } | Self::Unknown { .. } => ExitCode::NobodyServes,
            Self::NotASocket { .. } | Self::Denied { .. } | Self::Unreadable { .. } => {
                ExitCode::Unexpected
            }
        }
    }
}

/// Finds the supervisor of `service`, or the only one there is.
///
/// # Errors
/// [`DiscoveryError`]; nothing is changed, stale sockets stay.
pub(crate) fn find(root: &Path, service: Option<&str>) -> Result<Found, DiscoveryError> {
    match service {
        Some(name) => find_named(root, name),
        None => find_only(root),
    }
}

fn find_named(root: &Path, name: &str) -> Result<Found, DiscoveryError> {
    let socket = root.join(name).join(SOCKET);
    if !name.contains('/') && probe(name, &socket)? == Probe::Listens {
        return Ok(Found {
            service: name.to_owned(),
            socket,
        });
    }
    let known: Vec<String> = running(root)?.into_iter().map(|f| f.service).collect();
    Err(DiscoveryError::Unknown {
        suggestion: closest(name, known.iter().map(String::as_str)).map(str::to_owned),
        name: name.to_owned(),
        root: root.to_owned(),
        known,
    })
}

fn find_only(root: &Path) -> Result<Found, DiscoveryError> {
    let mut found = running(root)?;
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            found.push(last);
            let names = found.into_iter().map(|f| f.service).collect();
            Err(DiscoveryError::Several { names })
        }
        (None, _) => Err(why_none(root)?),
    }
}

/// Whoever listens, by name.
fn running(root: &Path) -> Result<Vec<Found>, DiscoveryError> {
    let mut found = Vec::new();
    for service in names(root)? {
        let socket = root.join(&service).join(SOCKET);
        if let Ok(Probe::Listens) = probe(&service, &socket) {
            found.push(Found { service, socket });
        }
    }
    Ok(found)
}

/// The most telling reason why nobody listens.
fn why_none(root: &Path) -> Result<DiscoveryError, DiscoveryError> {
    for service in names(root)? {
        let socket = root.join(&service).join(SOCKET);
        if let Err(error) = probe(&service, &socket) {
            return Ok(error);
        }
    }
    Ok(DiscoveryError::None {
        root: root.to_owned(),
    })
}

/// Services that have a directory, running or not, sorted.
fn names(root: &Path) -> Result<Vec<String>, DiscoveryError> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(unreadable(root, source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| unreadable(root, source))?;
        if entry.path().is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[derive(Debug, PartialEq, Eq)]
enum Probe {
    Listens,
    Absent,
}

/// Connects and hangs up: the only test that cannot be fooled by a leftover path.
fn probe(service: &str, socket: &Path) -> Result<Probe, DiscoveryError> {
    match std::fs::symlink_metadata(socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Probe::Absent),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Probe::Absent),
        Err(source) => return Err(unreadable(socket, source)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(DiscoveryError::NotASocket {
                service: service.to_owned(),
                socket: socket.to_owned(),
                found: if metadata.is_dir() {
                    "directory"
                } else if metadata.is_symlink() {
                    "symbolic link"
                } else {
                    "file"
                },
            });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(socket) {
        Ok(_) => Ok(Probe::Listens),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(DiscoveryError::Stale {
                service: service.to_owned(),
                socket: socket.to_owned(),
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Probe::Absent),
        Err(source) => Err(unreadable(socket, source)),
    }
}

fn unreadable(path: &Path, source: io::Error) -> DiscoveryError {
    let path = path.to_owned();
    if source.kind() == io::ErrorKind::PermissionDenied {
        DiscoveryError::Denied { path, source }
    } else {
        DiscoveryError::Unreadable { path, source }
    }
}

/// The known name most like `name`, if one is like it at all.
pub(crate) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(name, candidate),
                candidate,
            )
        })
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A runtime directory with `names` listening.
    fn world(names: &[&str]) -> (tempfile::TempDir, Vec<UnixListener>) {
        let root = tempfile::tempdir().unwrap();
        let listeners = names.iter().map(|name| serve(root.path(), name)).collect();
        (root, listeners)
    }

    fn serve(root: &Path, name: &str) -> UnixListener {
        std::fs::create_dir(root.join(name)).unwrap();
        UnixListener::bind(root.join(name).join(SOCKET)).unwrap()
    }

    #[test]
    fn the_only_service_is_implied_beside_dead_ones() {
        let (root, _listeners) = world(&["web"]);
        drop(serve(root.path(), "dead"));
        std::fs::create_dir(root.path().join("empty")).unwrap();
        assert_eq!(find(root.path(), None).unwrap().service, "web");
        assert_eq!(find(root.path(), Some("web")).unwrap().service, "web");
    }

    #[test]
    fn several_services_must_be_told_apart() {
        let (root, _listeners) = world(&["web", "api"]);
        let error = find(root.path(), None).unwrap_err();
        let DiscoveryError::Several { names } = &error else {
            panic!("{error}")
        };
        assert_eq!(names, &["api", "web"]);
        assert_eq!(error.exit_code(), ExitCode::Usage);
        assert_eq!(find(root.path(), Some("api")).unwrap().service, "api");
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_right_one() {
        let (root, _listeners) = world(&["web"]);
        let error = find(root.path(), Some("wbe")).unwrap_err();
        assert!(matches!(
            &error,
            DiscoveryError::Unknown { suggestion: Some(name), .. } if name == "web"
        ));
        let error = find(root.path(), Some("../web")).unwrap_err();
        assert!(matches!(error, DiscoveryError::Unknown { .. }), "{error}");
    }

    #[test]
    fn a_socket_nobody_listens_on_is_stale() {
        let (root, listeners) = world(&["web"]);
        drop(listeners);
        for name in [None, Some("web")] {
            let error = find(root.path(), name).unwrap_err();
            assert!(matches!(error, DiscoveryError::Stale { .. }), "{error}");
            assert_eq!(error.exit_code(), ExitCode::NobodyServes);
        }
    }

    #[test]
    fn a_file_in_place_of_the_socket_is_said_to_be_one() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("web")).unwrap();
        std::fs::write(root.path().join("web").join(SOCKET), "").unwrap();
        let error = find(root.path(), None).unwrap_err();
        assert!(
            matches!(error, DiscoveryError::NotASocket { .. }),
            "{error}"
        );
    }

    #[test]
    fn no_directory_at_all_is_no_supervisor() {
        let root = Path::new("/nonexistent/handover");
        let error = find(root, None).unwrap_err();
        assert!(matches!(error, DiscoveryError::None { .. }), "{error}");
        assert_eq!(error.exit_code(), ExitCode::NobodyServes);
    }
}
