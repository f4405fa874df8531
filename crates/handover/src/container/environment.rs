//! The variables of handover-lib, and ours beside them.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;

use handover_proto::container::{GROUP_V4, LEGACY_PORT, PEER_PORT, STATUS_PORT};

use super::network::{DEFAULT_INTERFACE, Network};

/// What a container's environment says about handing over.
///
/// | variable | meaning | by default |
/// |---|---|---|
/// | `BALENA_SERVICE_NAME` | the service | the program's name |
/// | `HANDOVER_NETWORK_MODE` | `bridge` or `host` | `bridge` |
/// | `NETWORK_INTERFACE` | the only interface in host mode | `supervisor0` |
/// | `SHUTDOWN_BROADCAST_ADDRESS` | group of the peer datagrams, version 3 too | 239.192.16.16 |
/// | `SHUTDOWN_PORT` | port of the legacy peer datagrams | 1536 |
/// | `HANDOVER_STATUS_BROADCAST_ADDRESS` | group of the status datagrams | 239.192.16.16 |
/// | `HANDOVER_STATUS_PORT` | port of the status datagrams | 1537 |
/// | `HANDOVER_PEER_PORT` | port of version 3 | 1538 |
/// | `BALENA_SERVICE_HANDOVER_COMPLETE_PATH`, `RESIN_SERVICE_KILL_ME_PATH` | see [`CompleteFile`](super::CompleteFile) | |
///
/// All but `HANDOVER_PEER_PORT` are those of handover-lib 0.0.10 and 0.2.3. An empty variable
/// counts as none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The service, if named.
    pub service: Option<String>,
    /// Which interfaces.
    pub network: Network,
    /// The group of peer datagrams.
    pub group: Ipv4Addr,
    /// The port of legacy peer datagrams.
    pub legacy_port: u16,
    /// The group of status datagrams.
    pub status_group: Ipv4Addr,
    /// The port of status datagrams.
    pub status_port: u16,
    /// The port of version 3.
    pub peer_port: u16,
    /// Where the platform wants the handover-complete file, if it says so.
    pub complete: Option<PathBuf>,
}

impl Default for Environment {
    /// That of no variables at all.
    fn default() -> Self {
        Self {
            service: None,
            network: Network::Bridge,
            group: GROUP_V4,
            legacy_port: LEGACY_PORT,
            status_group: GROUP_V4,
            status_port: STATUS_PORT,
            peer_port: PEER_PORT,
            complete: None,
        }
    }
}

/// A variable that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is {found:?}, expected {expected}; set it right, or unset it")]
pub struct EnvironmentError {
    /// Its name.
    pub variable: &'static str,
    /// Its value; bytes that are no text are shown as U+FFFD.
    pub found: String,
    /// What can be read.
    pub expected: &'static str,
}

impl Environment {
    /// That of this process.
    ///
    /// # Errors
    /// The first variable that cannot be read.
    pub fn read() -> Result<Self, EnvironmentError> {
        Self::read_from(std::env::var_os)
    }

    /// That of `variables`.
    ///
    /// # Errors
    /// The first variable that cannot be read.
    pub fn read_from(
        variables: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Self, EnvironmentError> {
        let usual = Self::default();
        let from = Variables(variables);
        Ok(Self {
            service: from.text("BALENA_SERVICE_NAME")?,
            network: from.network()?,
            group: from.group("SHUTDOWN_BROADCAST_ADDRESS", usual.group)?,
            legacy_port: from.port("SHUTDOWN_PORT", usual.legacy_port)?,
            status_group: from.group("HANDOVER_STATUS_BROADCAST_ADDRESS", usual.status_group)?,
            status_port: from.port("HANDOVER_STATUS_PORT", usual.status_port)?,
            peer_port: from.port("HANDOVER_PEER_PORT", usual.peer_port)?,
            complete: from
                .set("BALENA_SERVICE_HANDOVER_COMPLETE_PATH")
                .or_else(|| from.set("RESIN_SERVICE_KILL_ME_PATH"))
                .map(PathBuf::from),
        })
    }
}

struct Variables<F>(F);

impl<F: Fn(&'static str) -> Option<OsString>> Variables<F> {
    fn set(&self, variable: &'static str) -> Option<OsString> {
        (self.0)(variable).filter(|value| !value.is_empty())
    }

    fn text(&self, variable: &'static str) -> Result<Option<String>, EnvironmentError> {
        let text = self.set(variable).map(OsString::into_string).transpose();
        text.map_err(|value| EnvironmentError {
            variable,
            found: value.to_string_lossy().into_owned(),
            expected: "text in UTF-8",
        })
    }

    fn parsed<T: FromStr>(
        &self,
        variable: &'static str,
        expected: &'static str,
        accept: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, EnvironmentError> {
        let Some(text) = self.text(variable)? else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(value) if accept(&value) => Ok(Some(value)),
            Ok(_) | Err(_) => Err(EnvironmentError {
                variable,
                found: text,
                expected,
            }),
        }
    }

    fn port(&self, variable: &'static str, usual: u16) -> Result<u16, EnvironmentError> {
        let port = self.parsed(variable, "a port from 1 to 65535", |port| *port != 0)?;
        Ok(port.unwrap_or(usual))
    }

    fn group(&self, variable: &'static str, usual: Ipv4Addr) -> Result<Ipv4Addr, EnvironmentError> {
        let expected = "an IPv4 multicast group (224.0.0.0 to 239.255.255.255)";
        let group = self.parsed(variable, expected, Ipv4Addr::is_multicast)?;
        Ok(group.unwrap_or(usual))
    }

    fn network(&self) -> Result<Network, EnvironmentError> {
        let variable = "HANDOVER_NETWORK_MODE";
        let interface = self.text("NETWORK_INTERFACE")?;
        let mode = self.text(variable)?;
        match mode.as_deref().unwrap_or("bridge").trim() {
            "bridge" => Ok(Network::Bridge),
            "host" => Ok(Network::Host {
                interface: interface.unwrap_or_else(|| DEFAULT_INTERFACE.to_owned()),
            }),
            found => Err(EnvironmentError {
                variable,
                found: found.to_owned(),
                expected: "bridge or host",
            }),
        }
    }
}
