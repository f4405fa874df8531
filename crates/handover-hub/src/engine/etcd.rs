//! Ownership by etcd: at most one owner of a shard, in a divided network too.
//!
//! Every node holds a lease, and its key among the members is under it. A shard's key says who owns
//! it and is under none: it outlives its owner, so that nobody takes a shard by accident. A shard is
//! taken in one transaction: it still has the term that the taker knows, and its owner's key is gone
//! (or the taker is its owner), and the taker's own key is there. The revision of the shard's key is
//! its term.
//!
//! A node stops acting a margin before its lease can have ended, by its own count from the moment
//! at which it *sent* the last request that was answered. Its count is `CLOCK_BOOTTIME`, which
//! nobody steps. It therefore stands still before others can take its shards even if etcd is not
//! reachable, the answer was on its way for long, or the whole node was stopped. The margin, a tenth
//! of the lease, is for clocks that run at different rates and for what was under way at the
//! deadline.
//!
//! When etcd answers again the node goes on under the same [`NodeId`]: it puts its keys under a new
//! lease, reads who owns what, and keeps the shards that nobody took.
//!
//! etcd 3.4 or later. Its revision must not go back: before an etcd is restored from a backup, all
//! nodes of its hubs are to be stopped. Below the prefix only the hub may write.

mod driver;
mod fault;
mod keys;
mod lease;
mod news;
mod seat;
mod store;
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use handover_hub_proto::identity::NodeId;
use handover_hub_proto::node::Agreement;
use handover_hub_proto::view::{Guarantees, Member};
use tokio::sync::mpsc;
use tokio::time::sleep;

use self::driver::Driver;
use self::fault::Fault;
use self::keys::{Key, Keys, Record};
use self::lease::{Lease, LeaseId, RETRY};
use self::seat::Ends;
use self::store::{Access, Joined, Store};
use self::table::{Change, Table};
use super::{
    Boottime, BoxFuture, Charter, Engine, EngineError, Post, SeatHolder, Session, Validity,
};

const LEASE: Duration = Duration::from_secs(10);
/// etcd gives none shorter than one and a half election timeouts, rounded up: with its default of
/// one second, two seconds.
const LEASE_MIN: Duration = Duration::from_secs(2);
const LEASE_MAX: Duration = Duration::from_secs(3600);
/// The margin is this part of the lease.
const MARGIN_PART: u32 = 10;
const CONNECT: Duration = Duration::from_secs(2);
/// What an etcd was asked just before its leader died is lost, and it says so only after seven
/// seconds: asked again sooner, the next leader answers.
const REQUEST_MAX: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(10);
/// Events and orders that may wait for whoever takes them.
const QUEUE: usize = 1024;

/// An etcd, and how to reach it.
///
/// ```no_run
/// # use handover_hub::engine::etcd::Etcd;
/// let engine = Etcd::connect(["https://10.0.0.7:2379", "https://10.0.0.8:2379"])
///     .certificate_authority("/etc/handover/etcd-ca.pem")
///     .certificate("/etc/handover/node.pem", "/etc/handover/node.key")
///     .user("hub", "secret");
/// ```
#[derive(Clone, Debug)]
pub struct Etcd {
    endpoints: Vec<String>,
    prefix: String,
    lease: Duration,
    connect_timeout: Duration,
    request_timeout: Option<Duration>,
    patience: Duration,
    authority: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    server_name: Option<String>,
    user: Option<User>,
}

#[derive(Clone)]
struct User {
    name: String,
    password: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Etcd {
    /// The members of one etcd, `http://host:port` or `https://host:port`. Requests go to the first
    /// one; whenever it does not answer, to the next.
    ///
    /// Nothing is connected before the hub starts.
    #[must_use]
    pub fn connect<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: "/handover".to_owned(),
            lease: LEASE,
            connect_timeout: CONNECT,
            request_timeout: None,
            patience: PATIENCE,
            authority: None,
            identity: None,
            server_name: None,
            user: None,
        }
    }

    /// What the keys of all hubs begin with; `/handover` unless set.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long the others wait for a node that is not heard before they take its shards; 10 s
    /// unless set. Whole seconds, from 2 to 3,600.
    #[must_use]
    pub fn lease(mut self, time: Duration) -> Self {
        self.lease = time;
        self
    }

    /// How long a connection may take; 2 s unless set.
    #[must_use]
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = time;
        self
    }

    /// How long a request may take; a third of the lease unless set, and 3 s at most.
    #[must_use]
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.request_timeout = Some(time);
        self
    }

    /// How long the start waits for an etcd that does not answer; 10 s unless set.
    #[must_use]
    pub fn start_timeout(mut self, time: Duration) -> Self {
        self.patience = time;
        self
    }

    /// The file (PEM) with the authority that etcd's certificate must come from. Endpoints are then
    /// `https`.
    #[must_use]
    pub fn certificate_authority(mut self, file: impl Into<PathBuf>) -> Self {
        self.authority = Some(file.into());
        self
    }

    /// The files (PEM) with this node's certificate and key, where etcd wants one of its clients.
    #[must_use]
    pub fn certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// The name in etcd's certificate, where it is not the host of the endpoint.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Who this node is to etcd, where etcd asks.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some(User {
            name: name.into(),
            password: password.into(),
        });
        self
    }

    fn margin(life: Duration) -> Duration {
        life / MARGIN_PART
    }

    fn check(&self) -> Result<(), EngineError> {
        let wrong = |setting, found, expected| {
            Err(EngineError::Setting {
                setting,
                found,
                expected,
            })
        };
        if self.endpoints.is_empty() {
            let expected = "at least one is needed, http://host:port or https://host:port";
            return wrong("endpoints of etcd", "none".to_owned(), expected);
        }
        let whole = self.lease.subsec_nanos() == 0;
        if !whole || self.lease < LEASE_MIN || self.lease > LEASE_MAX {
            let expected = "it is whole seconds, from 2 to 3600";
            return wrong("the lease", format!("{:?}", self.lease), expected);
        }
        let secure = self.authority.is_some() || self.identity.is_some();
        let plain = |endpoint: &&String| endpoint.starts_with("http://");
        if let Some(plain) = self.endpoints.iter().find(plain).filter(|_| secure) {
            let expected = "with an authority or a certificate it is https://host:port";
            return wrong("an endpoint of etcd", plain.clone(), expected);
        }
        Ok(())
    }

    async fn access(&self) -> Result<Access, EngineError> {
        self.check()?;
        let usual = (self.lease / 3).min(REQUEST_MAX);
        let limit = self.request_timeout.unwrap_or(usual);
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.connect_timeout)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(User { name, password }) = &self.user {
            options = options.with_user(name, password);
        }
        let secure = |endpoint: &String| endpoint.starts_with("https://");
        if self.endpoints.iter().any(secure) || self.authority.is_some() {
            options = options.with_tls(self.tls().await?);
        }
        Ok(Access {
            endpoints: self.endpoints.clone(),
            options,
            limit,
        })
    }

    async fn tls(&self) -> Result<TlsOptions, EngineError> {
        let mut tls = TlsOptions::new();
        if let Some(file) = &self.authority {
            tls = tls.ca_certificate(Certificate::from_pem(read(file).await?));
        }
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(
                read(certificate).await?,
                read(key).await?,
            ));
        }
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name);
        }
        Ok(tls)
    }

    async fn join(self, me: Member, charter: Charter) -> Result<Session, EngineError> {
        let Charter {
            hub,
            shards,
            agreement,
        } = charter;
        let access = self.access().await?;
        let keys = Keys::new(&self.prefix, &hub);
        let base = keys.base().to_owned();
        let store = Store::new(access, keys.clone(), me.id, agreement);
        let explain = |fault| self.explain(fault, &base);
        let expected = self.reach(&store, shards).await.map_err(explain)?;
        if expected != shards {
            return Err(EngineError::Shards {
                hub,
                expected,
                found: shards,
            });
        }
        let disagrees = |found: Option<(&str, String, String)>| match found {
            Some((setting, found, expected)) => Err(EngineError::Disagreement {
                hub: hub.clone(),
                setting: setting.to_owned(),
                expected,
                found,
            }),
            None => Ok(()),
        };
        let (_, before) = store.read().await.map_err(explain)?;
        disagrees(disagreement(&keys, &me, &agreement, &before))?;
        let sent = Boottime::now();
        let (lease, life) = store.grant(self.lease).await.map_err(explain)?;
        let lease = self.sit(&store, &me, lease, life, sent).await?;
        let (revision, all) = store.read().await.map_err(explain)?;
        // Another one may have come in the same moment.
        let agreed = disagrees(disagreement(&keys, &me, &agreement, &all));
        if let (Err(_), Some(lease)) = (&agreed, lease.current()) {
            // It would end by itself.
            let _ = store.leave(&me, lease).await;
        }
        agreed?;
        let mut table = Table::new(keys, shards);
        let known = table.replace(revision, &all).unwrap_or_default();
        let (session, driver) = self.seated(store, lease, table, me);
        tokio::spawn(driver.run(known));
        Ok(session)
    }

    /// What the hub holds, and what serves it.
    fn seated(&self, store: Store, lease: Lease, table: Table, me: Member) -> (Session, Driver) {
        let until = lease.until().unwrap_or(Boottime(0));
        let valid = Arc::new(Validity::new(until));
        let (events, heard) = mpsc::channel(QUEUE);
        let (orders, asked) = mpsc::channel(QUEUE);
        let (holder, seat) = SeatHolder::new();
        let session = Session {
            events: heard,
            orders,
            valid: valid.clone(),
            seat: holder,
        };
        let ends = Ends {
            events,
            orders: asked,
            seat,
        };
        let driver = Driver::new(store, lease, table, (me, self.lease), valid, ends);
        (session, driver)
    }

    /// Waits until etcd answers; the first answer is the number of shards.
    async fn reach(&self, store: &Store, shards: u16) -> Result<u16, Fault> {
        let start = Boottime::now();
        let mut attempts = 0;
        loop {
            let outcome = store.shards(shards).await;
            attempts += 1;
            let all_tried = attempts >= self.endpoints.len();
            match outcome {
                Err(Fault::Silent(_)) if start.until(Boottime::now()) < self.patience => {
                    sleep(RETRY).await;
                }
                Err(Fault::Untrusted(_)) if !all_tried => {}
                outcome => return outcome,
            }
        }
    }

    /// Puts this node's keys under the lease. Its name may still be that of a run of it that was
    /// killed: until the lease of that one has ended, it is waited for.
    async fn sit(
        &self,
        store: &Store,
        me: &Member,
        lease: LeaseId,
        life: Duration,
        mut sent: Boottime,
    ) -> Result<Lease, EngineError> {
        let explain = |fault| self.explain(fault, "");
        let start = sent;
        loop {
            match store.join(me, lease).await.map_err(explain)? {
                Joined::Yes => return Ok(Lease::held(lease, life, Self::margin(life), sent)),
                Joined::Taken(_) if start.until(Boottime::now()) < life * 2 => {
                    sleep(RETRY).await;
                    let now = Boottime::now();
                    store.keep(lease).await.map_err(explain)?;
                    sent = now;
                }
                Joined::Taken(node) => {
                    let holder = store.member(node).await.map_err(explain)?;
                    // It would end by itself.
                    let _ = store.revoke(lease).await;
                    return Err(taken(me, node, holder));
                }
            }
        }
    }

    fn explain(&self, fault: Fault, base: &str) -> EngineError {
        let endpoints = self.endpoints.join(", ");
        let user = match &self.user {
            Some(user) => format!("user {}", user.name),
            None => "nobody".to_owned(),
        };
        match fault {
            Fault::Silent(mut reason) => {
                if self.authority.is_some() && self.identity.is_none() {
                    reason.push_str("; if etcd wants a certificate of its clients, give it one");
                }
                EngineError::Unreachable {
                    endpoints,
                    waited: self.patience,
                    reason,
                }
            }
            Fault::Untrusted(reason) => EngineError::Untrusted { endpoints, reason },
            Fault::Credentials(reason) => EngineError::Credentials { user, reason },
            Fault::Forbidden(reason) => EngineError::Forbidden {
                user,
                prefix: base.to_owned(),
                reason,
            },
            Fault::Full(reason) => EngineError::Full { reason },
            Fault::Ended => EngineError::Unexpected {
                reason: "the new lease has ended already".to_owned(),
            },
            Fault::Unexpected(reason) => EngineError::Unexpected { reason },
        }
    }
}

/// What a member that came before this node has otherwise: of two that come at the same time, the
/// later one finds the earlier one. A run of this node that was killed does not count.
fn disagreement(
    keys: &Keys,
    me: &Member,
    agreement: &Agreement,
    all: &[Change],
) -> Option<(&'static str, String, String)> {
    let is_member = |change: &&Change| matches!(keys.parse(&change.key), Key::Member(_));
    let members = all.iter().filter(is_member);
    let mine = keys.member(me.id).into_bytes();
    let mine = members.clone().find(|change| change.key == mine);
    let mine = mine.map_or(i64::MAX, |mine| mine.created);
    let before = members.filter(|change| change.created < mine);
    let records = before.filter_map(|change| Record::read(change.value.as_deref()?));
    let others = records.filter(|record| !record.left && record.member.name != me.name);
    let mut agreed = others.filter_map(|record| record.agreement);
    agreed.find_map(|found| agreement.differs(&found))
}

fn taken(me: &Member, node: NodeId, holder: Option<Member>) -> EngineError {
    EngineError::NameTaken {
        name: me.name.clone(),
        node,
        address: holder.map_or_else(|| "an unknown address".to_owned(), |holder| holder.address),
    }
}

async fn read(file: &PathBuf) -> Result<Vec<u8>, EngineError> {
    let outcome = tokio::fs::read(file).await;
    outcome.map_err(|error| EngineError::File {
        path: file.display().to_string(),
        reason: error.to_string(),
    })
}

impl Engine for Etcd {
    fn guarantees(&self) -> Guarantees {
        Guarantees {
            exclusive: true,
            lease: Some(self.lease),
        }
    }

    fn start(
        self: Box<Self>,
        me: Member,
        hub: Charter,
        _post: Post,
    ) -> BoxFuture<Result<Session, EngineError>> {
        Box::pin(self.join(me, hub))
    }

    fn resume(
        self: Box<Self>,
        me: Member,
        hub: Charter,
        _post: Post,
        seat: Vec<u8>,
    ) -> BoxFuture<Result<Session, EngineError>> {
        Box::pin(self.take_over(me, hub, seat))
    }
}
