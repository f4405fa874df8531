//! Where requests of a service go, as commands and templates are told.

use crate::view::peers::word;
use handover_proto::container::roster::{Change, Instance, Service, Standing};
use serde::Serialize;
use std::net::Ipv4Addr;

/// What is known of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Member {
    pub(crate) started_ms: i64,
    pub(crate) status: &'static str,
    pub(crate) address: Ipv4Addr,
    pub(crate) addresses: Vec<Ipv4Addr>,
}

impl From<&Instance> for Member {
    fn from(instance: &Instance) -> Self {
        Self {
            started_ms: instance.started_ms(),
            status: word(instance.standing()),
            address: instance.address(),
            addresses: instance.addresses().to_vec(),
        }
    }
}

/// Where requests of a service go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Route {
    /// The service.
    pub(crate) name: String,
    /// The instance to route to, if its status is UP; the youngest otherwise.
    #[serde(flatten)]
    pub(crate) to: Member,
    /// One address of each instance that is up, the youngest first.
    pub(crate) up: Vec<Ipv4Addr>,
}

impl Route {
    /// `None` for a service without any instance.
    pub(crate) fn of(name: &str, service: &Service) -> Option<Self> {
        let instances = service.instances();
        let up = instances.iter().filter(|i| i.standing() == Standing::Up);
        Some(Self {
            name: name.to_owned(),
            to: service.serving().or(instances.first())?.into(),
            up: up.map(Instance::address).collect(),
        })
    }

    /// Of a service whose last instance was forgotten.
    pub(crate) fn forgotten(change: &Change) -> Self {
        Self {
            name: change.service.clone(),
            to: Member::from(&change.instance),
            up: Vec::new(),
        }
    }

    /// As the environment of a command.
    pub(crate) fn variables(&self) -> [(&'static str, String); 6] {
        [
            ("HANDOVER_SERVICE", self.name.clone()),
            ("HANDOVER_STATUS", self.to.status.to_owned()),
            ("HANDOVER_ADDRESS", self.to.address.to_string()),
            ("HANDOVER_ADDRESSES", spaced(&self.to.addresses)),
            ("HANDOVER_STARTED_MS", self.to.started_ms.to_string()),
            ("HANDOVER_UP", spaced(&self.up)),
        ]
    }
}

fn spaced(addresses: &[Ipv4Addr]) -> String {
    let texts: Vec<String> = addresses.iter().map(Ipv4Addr::to_string).collect();
    texts.join(" ")
}

/// Whether a name from the network can be put into files and variables: a line end in it could add
/// a line to a configuration.
pub(super) fn is_plain(name: &str) -> bool {
    !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn a_name_stays_on_its_line() {
        assert!(is_plain("api"));
        assert!(is_plain("größe 2"));
        assert!(!is_plain("api\nserver evil 10.0.0.1:80"));
        assert!(!is_plain("\u{1b}[2J"));
    }
}
