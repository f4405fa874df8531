//! Readiness as the user writes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How an instance is found to be ready: `auto`, `native`, `notify`, `accepts`, `http:PATH`,
/// `http://HOST:PORT/PATH`, `tcp:HOST:PORT` or `command:SHELL COMMAND`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ReadinessSpec {
    /// Whichever comes first of native, notify and accepts; a program that greets on its native
    /// channel is expected to say when it is ready.
    #[default]
    Auto,
    /// It says so with the library.
    Native,
    /// It sends `READY=1`.
    Notify,
    /// It accepts a connection on its first TCP listener.
    Accepts,
    /// It answers `GET PATH` on its first TCP listener with 2xx.
    HttpPath(String),
    /// It answers `GET` of this URL with 2xx.
    HttpUrl {
        /// `HOST:PORT`.
        authority: String,
        /// The path.
        path: String,
    },
    /// It accepts a connection at this address.
    Tcp(String),
    /// This command exits with 0. It finds the instance's process id in `HANDOVER_PROBE_PID`.
    Command(String),
}

/// Why a readiness is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "readiness {found:?}: expected auto, native, notify, accepts, http:/PATH, \
     http://HOST:PORT/PATH, tcp:HOST:PORT or command:COMMAND"
)]
pub struct ReadinessSpecError {
    /// What was written.
    pub found: String,
}

impl FromStr for ReadinessSpec {
    type Err = ReadinessSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ReadinessSpecError { found: text.into() };
        match text.split_once(':') {
            None => match text {
                "auto" => Ok(Self::Auto),
                "native" => Ok(Self::Native),
                "notify" => Ok(Self::Notify),
                "accepts" => Ok(Self::Accepts),
                _ => Err(wrong()),
            },
            Some(("http", rest)) => match rest.strip_prefix("//") {
                Some(url) => {
                    let (authority, path) = url.split_once('/').unwrap_or((url, ""));
                    let authority = if authority
                        .rsplit(':')
                        .next()
                        .is_some_and(|port| port.parse::<u16>().is_ok())
                    {
                        authority.to_owned()
                    } else {
                        format!("{authority}:80")
                    };
                    Ok(Self::HttpUrl {
                        authority,
                        path: format!("/{path}"),
                    })
                }
                None if rest.starts_with('/') => Ok(Self::HttpPath(rest.into())),
                None => Err(wrong()),
            },
            Some(("tcp", address)) if address.contains(':') => Ok(Self::Tcp(address.into())),
            Some(("command", command)) if !command.trim().is_empty() => {
                Ok(Self::Command(command.into()))
            }
            Some(_) => Err(wrong()),
        }
    }
}

impl fmt::Display for ReadinessSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Native => f.write_str("native"),
            Self::Notify => f.write_str("notify"),
            Self::Accepts => f.write_str("accepts"),
            Self::HttpPath(path) => write!(f, "http:{path}"),
            Self::HttpUrl { authority, path } => write!(f, "http://{authority}{path}"),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Command(command) => write!(f, "command:{command}"),
        }
    }
}

impl TryFrom<String> for ReadinessSpec {
    type Error = ReadinessSpecError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ReadinessSpec> for String {
    fn from(spec: ReadinessSpec) -> Self {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_reads_and_prints_alike() {
        let texts = [
            "auto",
            "native",
            "notify",
            "accepts",
            "http:/healthz",
            "http://127.0.0.1:9000/ok",
            "tcp:127.0.0.1:9000",
            "command:curl -f localhost",
        ];
        for text in texts {
            assert_eq!(text.parse::<ReadinessSpec>().expect(text).to_string(), text);
        }
        for text in ["ready", "http:", "http:path", "tcp:9000", "command:"] {
            text.parse::<ReadinessSpec>().expect_err(text);
        }
    }
}
