//! Listeners that a service manager passed, held against those that are configured (I8).
//!
//! A listener of a socket unit is taken by its name, wherever it is bound: whoever wrote the unit has
//! chosen the address. One without a name of its own is taken by its address. One that an earlier
//! supervisor left in the descriptor store is taken if it is still the one that is configured.

use std::net::ToSocketAddrs;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use handover_proto::manifest::{ListenerEntry, ListenerKind, check_name};
use handover_sys::inherited::Inherited;
use handover_sys::socket::{Family, Kind, SocketFacts};

use super::store::{Found, Store};
use super::{Reporter, Unit};
use crate::pool::is_unnamed;
use crate::supervisor::config::ListenerSpec;
use crate::supervisor::error::ListenError;
use crate::supervisor::sockets::{Listeners, OpenListener};

/// What came of it.
pub(in crate::supervisor) struct Activation {
    pub(in crate::supervisor) listeners: Listeners,
    /// What was passed and is not used, for people.
    pub(in crate::supervisor) unused: Vec<String>,
    pub(in crate::supervisor) reporter: Reporter,
}

/// Takes what `specs` ask for. Without any, everything that socket units passed is taken, and
/// `specs` says what that is.
///
/// # Errors
/// Something else was passed under the name of a listener. Everything that was passed is closed;
/// the service manager keeps its own copies.
pub(in crate::supervisor) fn activate(
    unit: Unit,
    specs: &mut Vec<ListenerSpec>,
) -> Result<Activation, ListenError> {
    let Unit {
        listeners: mut passed,
        files,
        notify,
        watchdog,
    } = unit;
    let found = Found::among(files);
    if specs.is_empty() {
        let units = passed.iter();
        let units = units.filter(|entry| found.noted(entry.fd.as_fd()).is_none());
        specs.extend(units.filter_map(|entry| described(entry, &entry.name)));
    }
    let mut listeners: Listeners = Vec::new();
    for spec in specs.iter() {
        if let Some((entry, left)) = claim(spec, &mut passed, &found)? {
            listeners.push(Arc::new(opened(spec, entry, left)));
        }
    }
    let what = |entry: Inherited| match found.noted(entry.fd.as_fd()) {
        // It is no longer configured, and is removed from the store.
        Some(_) => None,
        None => Some(format!(
            "listener {} ({}) was passed by the service manager and is not configured; closed. \
             Name it with -l, or remove it from its socket unit",
            entry.name,
            entry.facts.local.as_deref().unwrap_or("unbound")
        )),
    };
    let unused = passed.into_iter().filter_map(what).collect();
    Ok(Activation {
        listeners,
        unused,
        reporter: Reporter::new(notify, watchdog, Store::new(found)),
    })
}

/// The listener of this name, and whether an earlier supervisor left it.
fn claim(
    spec: &ListenerSpec,
    passed: &mut Vec<Inherited>,
    found: &Found,
) -> Result<Option<(Inherited, bool)>, ListenError> {
    let left = |entry: &Inherited| {
        let noted = found.noted(entry.fd.as_fd())?;
        Some((
            noted.spec.name == spec.name,
            noted.spec.address == spec.address,
        ))
    };
    let units = |entry: &Inherited| left(entry).is_none() && entry.name == spec.name;
    let unnamed = |entry: &Inherited| {
        left(entry).is_none()
            && is_unnamed(&entry.name)
            && is_kind(spec, &entry.facts)
            && is_at(spec, &entry.facts)
    };
    let stored = |entry: &Inherited| {
        is_kind(spec, &entry.facts)
            && is_reachable(spec)
            && left(entry).is_some_and(|(_, as_written)| as_written || is_at(spec, &entry.facts))
    };
    let stored_by_name =
        |entry: &Inherited| stored(entry) && left(entry).is_some_and(|left| left.0);
    let at = |holds: &dyn Fn(&Inherited) -> bool| passed.iter().position(holds);
    let place = at(&units).or_else(|| at(&stored_by_name));
    let Some(at) = place.or_else(|| at(&unnamed)).or_else(|| at(&stored)) else {
        return Ok(None);
    };
    let was_left = passed.get(at).is_some_and(|entry| left(entry).is_some());
    let entry = passed.remove(at);
    if !is_kind(spec, &entry.facts) {
        return Err(ListenError::WrongKind {
            name: spec.name.clone(),
            expected: spec.kind,
            found: entry.facts.local.unwrap_or_default(),
        });
    }
    Ok(Some((entry, was_left)))
}

fn opened(spec: &ListenerSpec, passed: Inherited, left: bool) -> OpenListener {
    let entry = ListenerEntry {
        name: spec.name.clone(),
        kind: spec.kind,
        address: passed.facts.local.unwrap_or_else(|| spec.address.clone()),
    };
    match left {
        true => OpenListener::adopted(spec.clone(), entry, passed.fd),
        false => OpenListener::units(spec.clone(), entry, passed.fd),
    }
}

/// What was passed, as if it had been configured.
fn described(passed: &Inherited, name: &str) -> Option<ListenerSpec> {
    check_name(name).ok()?;
    let kind = match (passed.facts.kind, passed.facts.family) {
        (Kind::Stream, Family::Inet4 | Family::Inet6) => ListenerKind::Tcp,
        (Kind::Datagram, Family::Inet4 | Family::Inet6) => ListenerKind::Udp,
        (Kind::Stream, Family::Unix) => ListenerKind::Unix,
        _ => return None,
    };
    Some(ListenerSpec {
        name: name.to_owned(),
        kind,
        address: passed.facts.local.clone()?,
    })
}

fn is_kind(spec: &ListenerSpec, facts: &SocketFacts) -> bool {
    let inet = matches!(facts.family, Family::Inet4 | Family::Inet6);
    match spec.kind {
        ListenerKind::Tcp => inet && facts.kind == Kind::Stream,
        ListenerKind::Udp => inet && facts.kind == Kind::Datagram,
        ListenerKind::Unix => facts.family == Family::Unix && facts.kind == Kind::Stream,
    }
}

fn is_at(spec: &ListenerSpec, facts: &SocketFacts) -> bool {
    match spec.kind {
        ListenerKind::Unix => facts.local.as_deref() == Some(&spec.address),
        ListenerKind::Tcp | ListenerKind::Udp => {
            let mut asked = spec.address.to_socket_addrs().into_iter().flatten();
            facts
                .inet
                .is_some_and(|bound| asked.any(|one| one == bound))
        }
    }
}

/// A Unix socket whose path is gone can be reached by nobody.
fn is_reachable(spec: &ListenerSpec) -> bool {
    spec.kind != ListenerKind::Unix || Path::new(&spec.address).exists()
}
