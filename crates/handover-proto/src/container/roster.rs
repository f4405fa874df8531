//! What a watcher believes of each service, from nothing but the status messages it heard.
//!
//! | heard | believed |
//! |---|---|
//! | UP | the instance is up for [`Settings::silence`] from now |
//! | DOWN | it is down at once |
//! | nothing for that long | one that was up is silent: it may be dead, or cannot be heard |
//! | nothing for as long again | forgotten |
//!
//! Of the instances that are up, the one that started last is [the one to route to](Service::serving),
//! as the sender of handover-lib 0.2.3 means it. The wire has no identity of an instance: here it is
//! its start time together with any one of its addresses, so that two containers of one millisecond
//! are two. On the device's own network they share their addresses too, and cannot be told apart.
//!
//! Nothing in a status message is authenticated, so memory is bounded whatever is heard.

#[cfg(test)]
mod tests;

use super::status::{MOST_ADDRESSES, State, StatusDatagram};
use crate::moment::Moment;
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::Ipv4Addr;
use core::time::Duration;

/// How long a watcher believes, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long an instance counts as up after it was heard. handover-lib repeats UP every 10 s.
    pub silence: Duration,
    /// The most services that are remembered.
    pub services: usize,
    /// The most instances of one service that are remembered.
    pub instances: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Three repeats may be lost, and the fourth be late.
            silence: Duration::from_secs(35),
            // More than a device runs, and under a megabyte when strangers fill it.
            services: 256,
            // Two are usual, three when a release follows hard upon another.
            instances: 16,
        }
    }
}

/// What is believed of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It said so, not long ago.
    Up,
    /// It said so.
    Down,
    /// It said that it was up, and nothing since.
    Silent,
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    started_ms: i64,
    addresses: Vec<Ipv4Addr>,
    address: Ipv4Addr,
    standing: Standing,
    heard: Moment,
}

impl Instance {
    /// When it started, in milliseconds of its wall clock since the Unix epoch.
    #[must_use]
    pub fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// Its addresses, in the order it named them; where it was heard from, if it named none.
    #[must_use]
    pub fn addresses(&self) -> &[Ipv4Addr] {
        &self.addresses
    }

    /// Where to reach it: the first of its addresses that one of its messages came from, for
    /// as long as it has that address. The watcher is on that network too.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// What is believed of it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// When it was last heard.
    #[must_use]
    pub fn heard(&self) -> Moment {
        self.heard
    }

    fn new(now: Moment, from: Ipv4Addr, heard: &StatusDatagram) -> Self {
        let mut instance = Self {
            started_ms: heard.started_ms,
            addresses: Vec::new(),
            address: from,
            standing: Standing::Down,
            heard: now,
        };
        instance.hear(now, from, heard);
        instance
    }

    /// Whether the message is of this instance.
    fn sent(&self, from: Ipv4Addr, heard: &StatusDatagram) -> bool {
        self.started_ms == heard.started_ms
            && (named(heard).iter().any(|a| self.addresses.contains(a))
                || self.addresses.contains(&from))
    }

    fn hear(&mut self, now: Moment, from: Ipv4Addr, heard: &StatusDatagram) {
        self.addresses.clear();
        self.addresses.extend_from_slice(named(heard));
        if self.addresses.is_empty() {
            self.addresses.push(from);
        }
        if !self.addresses.contains(&self.address) {
            let here = self.addresses.contains(&from);
            self.address = if here { from } else { self.addresses[0] };
        }
        self.standing = match heard.status {
            State::Up => Standing::Up,
            State::Down => Standing::Down,
        };
        self.heard = now;
    }

    /// The youngest first; what else is compared only makes the order one.
    fn rank(&self) -> (Reverse<i64>, &[Ipv4Addr]) {
        (Reverse(self.started_ms), &self.addresses)
    }

    /// The moment at which it is something else, unless it is heard.
    fn until(&self, silence: Duration) -> Moment {
        match self.standing {
            Standing::Up | Standing::Down => self.heard + silence,
            Standing::Silent => self.heard + silence + silence,
        }
    }
}

/// Its addresses; no more than a datagram has room for, whoever made this one.
fn named(heard: &StatusDatagram) -> &[Ipv4Addr] {
    &heard.addresses[..heard.addresses.len().min(MOST_ADDRESSES)]
}

/// All instances of a service that are remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Ordered by [`Instance::rank`].
    instances: Vec<Instance>,
}

impl Service {
    /// The youngest first.
    #[must_use]
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// The youngest that is up.
    #[must_use]
    pub fn serving(&self) -> Option<&Instance> {
        self.instances.iter().find(|i| i.standing == Standing::Up)
    }

    /// Where requests go, for telling whether that has changed.
    fn route(&self) -> Option<(i64, Ipv4Addr)> {
        self.serving().map(|i| (i.started_ms, i.address))
    }

    /// Makes room for one more: the oldest that is not up goes, or, for a younger one that is up, the
    /// oldest of all. Neither is routed to.
    fn displace(&mut self, heard: &StatusDatagram) -> bool {
        let gone = |i: &Instance| i.standing != Standing::Up;
        let older = |i: &Instance| heard.status == State::Up && i.started_ms < heard.started_ms;
        let instances = self.instances.iter();
        let worst = instances
            .clone()
            .rposition(gone)
            .or_else(|| instances.clone().rposition(older));
        worst.map(|at| self.instances.remove(at)).is_some()
    }
}

/// What happened to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// It is up, and was not.
    Up,
    /// It is down, and was not.
    Down,
    /// It was up and is silent.
    Silent,
    /// It has other addresses than before.
    Moved,
    /// It was down or silent and is no longer remembered.
    Forgotten,
}

/// A belief that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The service.
    pub service: String,
    /// What happened to the instance.
    pub cause: Cause,
    /// The instance, as it is now; as it was, if it was forgotten.
    pub instance: Instance,
    /// Who is to be routed to now.
    pub serving: Option<Instance>,
    /// Whether that is another one than before, or at another address.
    pub rerouted: bool,
}

/// Why a message was not taken in. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// As many services as there is room for, and each has an instance that is up.
    #[error("more than {most} services; restrict the watch to those that matter")]
    Services {
        /// How many there is room for.
        most: usize,
    },
    /// As many younger instances as there is room for are up.
    #[error("more than {most} instances of one service are up")]
    Instances {
        /// How many there is room for.
        most: usize,
    },
}

/// What is believed of every service. Told what was heard and the time; asked for changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    settings: Settings,
    services: BTreeMap<String, Service>,
}

impl Roster {
    /// Knows nobody.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            services: BTreeMap::new(),
        }
    }

    /// Every service that is known, by name.
    pub fn services(&self) -> impl Iterator<Item = (&str, &Service)> {
        self.services.iter().map(|(name, s)| (name.as_str(), s))
    }

    /// One service.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(name)
    }

    /// Takes in a message that came from this address. `None` when it says what was believed already.
    ///
    /// # Errors
    /// [`Full`], where there is no room; nothing has changed.
    pub fn hear(
        &mut self,
        now: Moment,
        from: Ipv4Addr,
        heard: &StatusDatagram,
    ) -> Result<Option<Change>, Full> {
        if !self.services.contains_key(&heard.service) {
            self.make_room()?;
        }
        // With no room for a single instance the new entry would stay empty.
        let most = self.settings.instances.max(1);
        let service = self.services.entry(heard.service.clone()).or_default();
        let before = service.route();
        let known = service.instances.iter_mut().find(|i| i.sent(from, heard));
        let (cause, instance) = if let Some(known) = known {
            let was = known.clone();
            known.hear(now, from, heard);
            (difference(&was, known), known.clone())
        } else {
            if service.instances.len() >= most && !service.displace(heard) {
                return Err(Full::Instances { most });
            }
            let new = Instance::new(now, from, heard);
            service.instances.push(new.clone());
            let cause = match heard.status {
                State::Up => Cause::Up,
                State::Down => Cause::Down,
            };
            (Some(cause), new)
        };
        service.instances.sort_by(|a, b| a.rank().cmp(&b.rank()));
        Ok(cause.map(|cause| Change {
            service: heard.service.clone(),
            cause,
            instance,
            serving: service.serving().cloned(),
            rerouted: service.route() != before,
        }))
    }

    /// The next change that passing time made, the earliest first; to be called until there is none.
    pub fn expire(&mut self, now: Moment) -> Option<Change> {
        let (until, name, at) = self.soonest()?;
        if now < until {
            return None;
        }
        let name = name.to_owned();
        let service = self.services.get_mut(&name)?;
        let before = service.route();
        let instance = service.instances.get_mut(at)?;
        let (cause, instance) = if instance.standing == Standing::Up {
            instance.standing = Standing::Silent;
            (Cause::Silent, instance.clone())
        } else {
            (Cause::Forgotten, service.instances.remove(at))
        };
        let serving = service.serving().cloned();
        let rerouted = service.route() != before;
        if service.instances.is_empty() {
            self.services.remove(&name);
        }
        Some(Change {
            service: name,
            cause,
            instance,
            serving,
            rerouted,
        })
    }

    /// From this moment on [`expire`](Self::expire) has something to say, unless more is heard.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.soonest().map(|(until, ..)| until)
    }

    fn soonest(&self) -> Option<(Moment, &str, usize)> {
        let silence = self.settings.silence;
        let each = self.services.iter().flat_map(|(name, service)| {
            let instances = service.instances.iter().enumerate();
            instances.map(move |(at, i)| (i.until(silence), name.as_str(), at))
        });
        each.min()
    }

    /// Before a new service is known: forgets the one longest unheard of those that nobody serves.
    fn make_room(&mut self) -> Result<(), Full> {
        let most = self.settings.services.max(1);
        if self.services.len() < most {
            return Ok(());
        }
        let unserved = self.services.iter().filter(|(_, s)| s.serving().is_none());
        let last_heard = |s: &Service| s.instances.iter().map(|i| i.heard).max();
        let oldest = unserved.min_by_key(|(_, s)| last_heard(s));
        let Some(name) = oldest.map(|(name, _)| name.clone()) else {
            return Err(Full::Services { most });
        };
        self.services.remove(&name);
        Ok(())
    }
}

/// What a message changed in what is believed of an instance, the weightiest only.
fn difference(was: &Instance, is: &Instance) -> Option<Cause> {
    match (was.standing == is.standing, is.standing) {
        (false, Standing::Up) => Some(Cause::Up),
        (false, Standing::Down) => Some(Cause::Down),
        (false, Standing::Silent) => Some(Cause::Silent),
        (true, _) if was.addresses != is.addresses => Some(Cause::Moved),
        (true, _) => None,
    }
}
