//! Inherited listeners until they are claimed by name (I8).

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use handover_sys::inherited::{Inherited, InheritedFile, UNNAMED};
use handover_sys::socket::{Family, Kind, SocketFacts};

use crate::error::ListenError;

/// What a program asks for under a name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    /// TCP at one of these addresses; none: whatever address.
    Tcp(&'a [SocketAddr]),
    /// UDP at one of these addresses.
    Udp(&'a [SocketAddr]),
    /// A Unix stream socket at this path.
    Unix(&'a Path),
}

/// An inherited listener that the program has not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclaimed {
    /// Its name; `unknown` if it has none.
    pub name: String,
    /// What it is and where it is bound, for people: `tcp 127.0.0.1:8080`.
    pub what: String,
}

/// What was inherited and what has become of it.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    waiting: Vec<Inherited>,
    /// What is no socket.
    files: Vec<InheritedFile>,
    /// Names handed out, inherited or bound.
    used: Vec<String>,
    /// Those of them that were inherited.
    claimed: Vec<String>,
}

impl Pool {
    pub(crate) fn new(inherited: Vec<Inherited>) -> Self {
        Self {
            waiting: inherited,
            ..Self::default()
        }
    }

    pub(crate) fn with_files(mut self, files: Vec<InheritedFile>) -> Self {
        self.files = files;
        self
    }

    /// Takes what is no socket and was inherited under exactly this name.
    pub(crate) fn take_file(&mut self, name: &str) -> Option<OwnedFd> {
        let at = self.files.iter().position(|file| file.name == name)?;
        Some(self.files.remove(at).fd)
    }

    /// Takes what was inherited for `name`: by the name; else an unnamed one with the very same
    /// address. `None`: the program has to bind.
    ///
    /// # Errors
    /// Something else was inherited under the name, or it is used up; the pool is unchanged.
    pub(crate) fn claim(
        &mut self,
        name: &str,
        wanted: Wanted<'_>,
    ) -> Result<Option<Inherited>, ListenError> {
        handover_proto::manifest::check_name(name)?;
        if let Some(at) = self.waiting.iter().position(|entry| entry.name == name) {
            if let Some(entry) = self.waiting.get(at) {
                wanted.check(name, &entry.facts)?;
            }
            return Ok(Some(self.take(at, name)));
        }
        if self.used.iter().any(|used| used == name) {
            return Err(ListenError::NameTaken {
                name: name.to_owned(),
            });
        }
        let same = |entry: &Inherited| is_unnamed(&entry.name) && wanted.is_at(&entry.facts);
        match self.waiting.iter().position(same) {
            Some(at) => Ok(Some(self.take(at, name))),
            None => Ok(None),
        }
    }

    /// Takes whatever was inherited under exactly this name.
    pub(crate) fn take_named(&mut self, name: &str) -> Option<Inherited> {
        let at = self.waiting.iter().position(|entry| entry.name == name)?;
        Some(self.take(at, name))
    }

    fn take(&mut self, at: usize, name: &str) -> Inherited {
        let entry = self.waiting.remove(at);
        self.used.push(name.to_owned());
        self.claimed.push(entry.name.clone());
        entry
    }

    /// Notes a name that was bound rather than inherited.
    pub(crate) fn bound(&mut self, name: &str) {
        self.used.push(name.to_owned());
    }

    /// Inherited names that were claimed, in order.
    pub(crate) fn claimed(&self) -> Vec<String> {
        self.claimed.clone()
    }

    /// What nobody asked for.
    pub(crate) fn unclaimed(&self) -> Vec<Unclaimed> {
        let unclaimed = |entry: &Inherited| Unclaimed {
            name: entry.name.clone(),
            what: describe(&entry.facts),
        };
        self.waiting.iter().map(unclaimed).collect()
    }

    /// Closes what nobody asked for and says what it was.
    pub(crate) fn close_unclaimed(&mut self) -> Vec<Unclaimed> {
        let unclaimed = self.unclaimed();
        self.waiting.clear();
        // Nobody can have meant to pass a listener by it, so there is nothing to warn of.
        self.files.clear();
        unclaimed
    }
}

/// Whether a name is one that nobody chose: systemd names a descriptor after its socket unit
/// unless `FileDescriptorName=` says otherwise (systemd.socket(5)).
pub(crate) fn is_unnamed(name: &str) -> bool {
    name.is_empty() || name == UNNAMED || name.ends_with(".socket")
}

fn describe(facts: &SocketFacts) -> String {
    let kind = match (facts.kind, facts.family) {
        (Kind::Stream, Family::Inet4 | Family::Inet6) => "tcp",
        (Kind::Datagram, Family::Inet4 | Family::Inet6) => "udp",
        (Kind::Stream, Family::Unix) => "unix",
        (Kind::Datagram, Family::Unix) => "unix datagram",
        (Kind::SeqPacket, Family::Unix) => "unix seqpacket",
        _ => "another kind of socket",
    };
    format!("{kind} {}", facts.local.as_deref().unwrap_or("(unbound)"))
}

impl Wanted<'_> {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Udp(_) => "udp",
            Self::Unix(_) => "a Unix stream socket",
        }
    }

    fn is_kind(&self, facts: &SocketFacts) -> bool {
        match self {
            Self::Tcp(_) => facts.kind == Kind::Stream && facts.family != Family::Unix,
            Self::Udp(_) => facts.kind == Kind::Datagram && facts.family != Family::Unix,
            Self::Unix(_) => facts.kind == Kind::Stream && facts.family == Family::Unix,
        }
    }

    /// The name decides which listener it is; kind and family must fit, the address may differ:
    /// whoever holds the listener has chosen it.
    fn check(&self, name: &str, facts: &SocketFacts) -> Result<(), ListenError> {
        if !self.is_kind(facts) {
            return Err(ListenError::WrongKind {
                name: name.to_owned(),
                expected: self.kind(),
                found: describe(facts),
            });
        }
        let (Self::Tcp(asked) | Self::Udp(asked)) = self else {
            return Ok(());
        };
        let fits = |address: &SocketAddr| match facts.family {
            Family::Inet4 => address.is_ipv4(),
            Family::Inet6 => address.is_ipv6() || facts.dual_stack,
            Family::Unix | Family::Other(_) => false,
        };
        if asked.is_empty() || asked.iter().any(fits) {
            return Ok(());
        }
        let expected: Vec<_> = asked.iter().map(SocketAddr::to_string).collect();
        Err(ListenError::WrongFamily {
            name: name.to_owned(),
            expected: expected.join(" or "),
            found: facts.local.clone().unwrap_or_default(),
        })
    }

    /// Whether a socket is bound to the very address asked for.
    fn is_at(&self, facts: &SocketFacts) -> bool {
        self.is_kind(facts)
            && match self {
                Self::Tcp(asked) | Self::Udp(asked) => {
                    facts.inet.is_some_and(|bound| asked.contains(&bound))
                }
                Self::Unix(path) => facts.local.as_deref().map(Path::new) == Some(path),
            }
    }
}
