//! Listeners cross from the instance that serves to the one that is about to start its program.

use super::voice::Voice;
use crate::view::peer::Note;
use handover::container::{Conduct, Crossed, CrossingError};
use handover::supervisor::{ListenerSpec, SharedListener};
use handover_proto::manifest::{ListenerEntry, ListenerKind};
use std::net::ToSocketAddrs;
use std::path::Path;

/// Those of the serving instance that are configured here as well.
pub(super) async fn take(
    conduct: &Conduct,
    wanted: &[ListenerSpec],
    voice: &mut Voice,
) -> Vec<SharedListener> {
    let crossed = match conduct.take_listeners().await {
        Ok(crossed) => crossed,
        // The first one of a service: nothing is missing.
        Err(CrossingError::Nobody) => return Vec::new(),
        Err(error) => {
            let reason = error.to_string();
            voice.note(&Note::ListenersBound { reason });
            return Vec::new();
        }
    };
    let mut shared = Vec::new();
    for Crossed { entry, fd } in crossed {
        let Some(spec) = wanted.iter().find(|spec| is_same(spec, &entry)) else {
            continue;
        };
        match SharedListener::new(spec.clone(), fd) {
            Ok(listener) => shared.push(listener),
            Err(error) => voice.doubt(format!("listener {} is bound anew: {error}", entry.name)),
        }
    }
    let names: Vec<String> = shared.iter().map(|one| one.spec().name.clone()).collect();
    voice.note(&match names.is_empty() {
        false => Note::ListenersShared { names },
        true => Note::ListenersBound {
            reason: "those of the serving instance have other names or addresses".into(),
        },
    });
    shared
}

/// As others get them.
pub(super) fn offered(listeners: Vec<SharedListener>) -> Vec<Crossed> {
    let one = |listener: SharedListener| {
        let (entry, fd) = listener.into_parts();
        Crossed { entry, fd }
    };
    listeners.into_iter().map(one).collect()
}

/// Whether a listener of another container is the one that is configured here.
fn is_same(spec: &ListenerSpec, entry: &ListenerEntry) -> bool {
    if (&spec.name, spec.kind) != (&entry.name, entry.kind) {
        return false;
    }
    match spec.kind {
        // The path of another container's file system leads nowhere here.
        ListenerKind::Unix => spec.address == entry.address && Path::new(&entry.address).exists(),
        ListenerKind::Tcp | ListenerKind::Udp => {
            let Ok(bound) = entry.address.parse::<std::net::SocketAddr>() else {
                return false;
            };
            let mut asked = spec.address.to_socket_addrs().into_iter().flatten();
            asked.any(|one| one == bound || (one.port() == 0 && one.ip() == bound.ip()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(wanted: &str, name: &str, kind: ListenerKind, address: &str) -> bool {
        let entry = ListenerEntry {
            name: name.into(),
            kind,
            address: address.into(),
        };
        is_same(&wanted.parse().unwrap(), &entry)
    }

    #[test]
    fn a_listener_is_the_same_by_name_kind_and_address() {
        let tcp = ListenerKind::Tcp;
        assert!(same("http=127.0.0.1:80", "http", tcp, "127.0.0.1:80"));
        assert!(same("http=127.0.0.1:0", "http", tcp, "127.0.0.1:8080"));
        assert!(!same("http=127.0.0.1:81", "http", tcp, "127.0.0.1:80"));
        assert!(!same("http=0.0.0.0:80", "http", tcp, "127.0.0.1:80"));
        assert!(!same("web=127.0.0.1:80", "http", tcp, "127.0.0.1:80"));
        assert!(!same("http=udp:127.0.0.1:80", "http", tcp, "127.0.0.1:80"));
        let unix = ListenerKind::Unix;
        assert!(!same("a=unix:/no/such/path", "a", unix, "/no/such/path"));
        // Something that is there; what it is was checked when it came.
        assert!(same("a=unix:/proc/self/stat", "a", unix, "/proc/self/stat"));
    }
}
