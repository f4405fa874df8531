//! Requests to etcd: each with a time limit, over a connection to one endpoint at a time.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, GetOptions, LeaseGrantOptions, PutOptions, ResponseHeader, Txn,
    TxnOp, TxnOpResponse, TxnResponse, WatchOptions, WatchStream,
};
use handover_hub_proto::identity::{NodeId, ShardId, Term};
use handover_hub_proto::node::Agreement;
use handover_hub_proto::view::{Member, Owner};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::fault::Fault;
use super::keys::{Keys, Record, node};
use super::lease::LeaseId;
use super::table::Change;

/// Largest answer that is read: all keys of a hub of 65,535 shards take a tenth of it.
const ANSWER_MAX: usize = 64 * 1024 * 1024;

/// How to connect.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) endpoints: Vec<String>,
    pub(super) options: etcd_client::ConnectOptions,
    /// For one request, the connection that it may need first included.
    pub(super) limit: Duration,
}

/// A hub's keys in etcd, as one node sees them.
#[derive(Clone, Debug)]
pub(super) struct Store {
    access: Arc<Access>,
    keys: Keys,
    me: NodeId,
    agreement: Agreement,
    line: Arc<Mutex<Line>>,
    /// The number of the connection in use, for who cannot wait.
    number: Arc<AtomicUsize>,
}

/// The connection in use. Its number tells a failure of this one from that of one before.
#[derive(Default)]
struct Line {
    client: Option<Client>,
    number: usize,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// A wish that one shard gets an owner, on conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) shard: ShardId,
    /// The term it must still have; absent: nobody ever owned it.
    pub(super) over: Option<Term>,
    /// Who shall own it.
    pub(super) owner: NodeId,
    /// Whose member key must not be there.
    pub(super) gone: Option<NodeId>,
    /// Whose member key must be there.
    pub(super) there: Option<NodeId>,
}

/// What came of joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// The keys are there.
    Yes,
    /// The name is that of another node.
    Taken(NodeId),
}

impl Store {
    pub(super) fn new(access: Access, keys: Keys, me: NodeId, agreement: Agreement) -> Self {
        Self {
            access: Arc::new(access),
            keys,
            me,
            agreement,
            line: Arc::default(),
            number: Arc::default(),
        }
    }

    /// Runs one request on the connection in use. A failure that may be the connection's ends it,
    /// and the next request goes to the next endpoint.
    async fn ask<T, F>(&self, request: impl FnOnce(Client) -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut number = None;
        let asked = async {
            let (client, of) = self.connect().await?;
            number = Some(of);
            request(client).await.map_err(Fault::from)
        };
        let limit = self.access.limit;
        let outcome = timeout(limit, asked)
            .await
            .unwrap_or_else(|_| Err(Fault::Silent(format!("no answer within {limit:?}"))));
        if let (Err(fault), Some(number)) = (&outcome, number)
            && fault.reconnects()
        {
            self.hang_up(number).await;
        }
        outcome
    }

    async fn connect(&self) -> Result<(Client, usize), Fault> {
        let mut line = self.line.lock().await;
        if let Some(client) = &line.client {
            return Ok((client.clone(), line.number));
        }
        // Counted first: if this is cancelled, the next endpoint is tried.
        line.number = line.number.wrapping_add(1);
        let endpoints = &self.access.endpoints;
        let endpoint = &endpoints[(line.number - 1) % endpoints.len()];
        let options = self.access.options.clone();
        let client = Client::connect([endpoint], Some(options)).await?;
        line.client = Some(client.clone());
        self.number.store(line.number, Ordering::Release);
        Ok((client, line.number))
    }

    async fn hang_up(&self, number: usize) {
        let mut line = self.line.lock().await;
        if line.number == number {
            line.client = None;
        }
    }

    /// The hub's number of shards: this one if none was set before.
    pub(super) async fn shards(&self, wanted: u16) -> Result<u16, Fault> {
        let key = self.keys.shards();
        let txn = Txn::new()
            .when([Compare::create_revision(key.clone(), CompareOp::Equal, 0)])
            .and_then([TxnOp::put(key.clone(), wanted.to_string(), None)])
            .or_else([TxnOp::get(key, None)]);
        let answer = self
            .ask(|mut client| async move { client.txn(txn).await })
            .await?;
        if answer.succeeded() {
            return Ok(wanted);
        }
        let (value, _) = first(&answer).ok_or_else(|| unexpected("no number of shards"))?;
        let text = String::from_utf8_lossy(&value).into_owned();
        text.parse()
            .map_err(|_| Fault::Unexpected(format!("{text:?} is no number of shards")))
    }

    /// A new lease, and how long it lives.
    pub(super) async fn grant(&self, life: Duration) -> Result<(LeaseId, Duration), Fault> {
        let seconds = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
        let options = Some(LeaseGrantOptions::new());
        let grant = |mut client: Client| async move { client.lease_grant(seconds, options).await };
        let answer = self.ask(grant).await?;
        let life = u64::try_from(answer.ttl()).unwrap_or_default();
        Ok((LeaseId(answer.id()), Duration::from_secs(life)))
    }

    pub(super) async fn keep(&self, lease: LeaseId) -> Result<(), Fault> {
        let keep = |mut client: Client| async move { client.lease_keep_alive(lease.0).await };
        self.ask(keep).await.map(drop)
    }

    pub(super) async fn revoke(&self, lease: LeaseId) -> Result<(), Fault> {
        let revoke = |mut client: Client| async move { client.lease_revoke(lease.0).await };
        self.ask(revoke).await.map(drop)
    }

    /// Puts this node's keys under a lease, if its name is free or its own.
    pub(super) async fn join(&self, me: &Member, lease: LeaseId) -> Result<Joined, Fault> {
        let name = self.keys.name(&me.name);
        let id = self.me.to_string();
        let under = Some(PutOptions::new().with_lease(lease.0));
        let put = [
            TxnOp::put(name.clone(), id.clone(), under.clone()),
            TxnOp::put(self.keys.member(self.me), self.record(me, false)?, under),
        ];
        let own = Txn::new()
            .when([Compare::value(name.clone(), CompareOp::Equal, id)])
            .and_then(put.clone())
            .or_else([TxnOp::get(name.clone(), None)]);
        let txn = Txn::new()
            .when([Compare::create_revision(name, CompareOp::Equal, 0)])
            .and_then(put)
            .or_else([TxnOp::txn(own)]);
        let answer = self
            .ask(|mut client| async move { client.txn(txn).await })
            .await?;
        if answer.succeeded() {
            return Ok(Joined::Yes);
        }
        let inner = answer.op_responses().into_iter().next();
        let Some(TxnOpResponse::Txn(inner)) = inner else {
            return Err(unexpected("no answer about the name"));
        };
        if inner.succeeded() {
            return Ok(Joined::Yes);
        }
        let holder = first(&inner).and_then(|(value, _)| node(&value));
        let holder = holder.ok_or_else(|| unexpected("a name without a member"))?;
        Ok(Joined::Taken(holder))
    }

    /// Writes what is new about this node, while its key is under this lease.
    pub(super) async fn announce(&self, me: &Member, lease: LeaseId) -> Result<(), Fault> {
        let key = self.keys.member(self.me);
        let under = Some(PutOptions::new().with_lease(lease.0));
        let txn = Txn::new()
            .when([Compare::lease(key.clone(), CompareOp::Equal, lease.0)])
            .and_then([TxnOp::put(key, self.record(me, false)?, under)]);
        self.ask(|mut client| async move { client.txn(txn).await })
            .await
            .map(drop)
    }

    /// Says that this node leaves in order, then takes its keys away with its lease.
    pub(super) async fn leave(&self, me: &Member, lease: LeaseId) -> Result<(), Fault> {
        let key = self.keys.member(self.me);
        let under = Some(PutOptions::new().with_lease(lease.0));
        let txn = Txn::new()
            .when([Compare::lease(key.clone(), CompareOp::Equal, lease.0)])
            .and_then([TxnOp::put(key, self.record(me, true)?, under)]);
        let said = self
            .ask(|mut client| async move { client.txn(txn).await })
            .await;
        self.revoke(lease).await.and(said.map(drop))
    }

    /// The member at a key, if there is one.
    pub(super) async fn member(&self, node: NodeId) -> Result<Option<Member>, Fault> {
        let key = self.keys.member(node);
        let answer = self
            .ask(|mut client| async move { client.get(key, None).await })
            .await?;
        let kv = answer.kvs().first();
        Ok(kv
            .and_then(|kv| Record::read(kv.value()))
            .map(|record| record.member))
    }

    /// Everything there is, and the revision at which it was.
    pub(super) async fn read(&self) -> Result<(i64, Vec<Change>), Fault> {
        let base = self.keys.base().to_owned();
        let options = Some(GetOptions::new().with_prefix());
        let read = |client: Client| async move {
            let mut kv = client.kv_client().max_decoding_message_size(ANSWER_MAX);
            kv.get(base, options).await
        };
        let mut answer = self.ask(read).await?;
        let revision = revision(answer.header())?;
        let changes = answer.take_kvs().into_iter().map(|kv| Change {
            created: kv.create_revision(),
            changed: kv.mod_revision(),
            key: kv.key().to_vec(),
            value: Some(kv.value().to_vec()),
        });
        Ok((revision, changes.collect()))
    }

    /// What changes from this revision on, and the number of the connection that tells it.
    pub(super) async fn watch(&self, from: i64) -> Result<(WatchStream, usize), Fault> {
        let base = self.keys.base().to_owned();
        let options = WatchOptions::new().with_prefix().with_start_revision(from);
        let number = self.connect_in_time().await?;
        let watch = |client: Client| async move {
            let mut watch = client.watch_client().max_decoding_message_size(ANSWER_MAX);
            watch.watch(base, Some(options)).await
        };
        Ok((self.ask(watch).await?, number))
    }

    /// The number of the connection in use.
    pub(super) fn number(&self) -> usize {
        self.number.load(Ordering::Acquire)
    }

    async fn connect_in_time(&self) -> Result<usize, Fault> {
        let limit = self.access.limit;
        let connected = timeout(limit, self.connect()).await;
        let silent = |_| Fault::Silent(format!("no connection within {limit:?}"));
        connected.map_err(silent)?.map(|(_, number)| number)
    }

    /// Gives shards owners, each on its own conditions, all while this node's key is under this
    /// lease. Answers with the owners that the shards have then; those that have none are left
    /// out.
    pub(super) async fn own(
        &self,
        lease: LeaseId,
        wishes: &[Wish],
    ) -> Result<Vec<(ShardId, Owner)>, Fault> {
        let each = wishes.iter().map(|wish| TxnOp::txn(self.wish(wish)));
        let alive = Compare::lease(self.keys.member(self.me), CompareOp::Equal, lease.0);
        let look = wishes
            .iter()
            .map(|wish| TxnOp::get(self.keys.shard(wish.shard), None));
        let txn = Txn::new()
            .when([alive])
            .and_then(each.collect::<Vec<_>>())
            .or_else(look.collect::<Vec<_>>());
        let answer = self
            .ask(|mut client| async move { client.txn(txn).await })
            .await?;
        let revision = revision(answer.header())?;
        let mut owners = Vec::with_capacity(wishes.len());
        for (wish, outcome) in wishes.iter().zip(answer.op_responses()) {
            let owner = match outcome {
                TxnOpResponse::Txn(inner) if inner.succeeded() => Some(Owner {
                    node: wish.owner,
                    term: term(revision),
                }),
                TxnOpResponse::Txn(inner) => first(&inner).and_then(owner),
                TxnOpResponse::Get(found) => {
                    let kv = found.kvs().first();
                    kv.and_then(|kv| owner((kv.value().to_vec(), kv.mod_revision())))
                }
                TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) => None,
            };
            owners.extend(owner.map(|owner| (wish.shard, owner)));
        }
        Ok(owners)
    }

    fn record(&self, member: &Member, left: bool) -> Result<Vec<u8>, Fault> {
        let record = Record {
            member: member.clone(),
            agreement: Some(self.agreement),
            left,
        };
        serde_json::to_vec(&record).map_err(|error| Fault::Unexpected(error.to_string()))
    }

    fn wish(&self, wish: &Wish) -> Txn {
        let key = self.keys.shard(wish.shard);
        let over = i64::try_from(wish.over.map_or(0, |term| term.0)).unwrap_or(i64::MAX);
        let mut when = vec![Compare::mod_revision(key.clone(), CompareOp::Equal, over)];
        if let Some(gone) = wish.gone {
            let member = self.keys.member(gone);
            when.push(Compare::create_revision(member, CompareOp::Equal, 0));
        }
        if let Some(there) = wish.there {
            let member = self.keys.member(there);
            when.push(Compare::create_revision(member, CompareOp::Greater, 0));
        }
        Txn::new()
            .when(when)
            .and_then([TxnOp::put(key.clone(), wish.owner.to_string(), None)])
            .or_else([TxnOp::get(key, None)])
    }
}

/// The value and revision of the key that a transaction read.
fn first(answer: &TxnResponse) -> Option<(Vec<u8>, i64)> {
    match answer.op_responses().into_iter().next()? {
        TxnOpResponse::Get(found) => {
            let kv = found.kvs().first()?;
            Some((kv.value().to_vec(), kv.mod_revision()))
        }
        _ => None,
    }
}

fn owner((value, revision): (Vec<u8>, i64)) -> Option<Owner> {
    Some(Owner {
        node: node(&value)?,
        term: term(revision),
    })
}

fn term(revision: i64) -> Term {
    Term(u64::try_from(revision).unwrap_or_default())
}

fn revision(header: Option<&ResponseHeader>) -> Result<i64, Fault> {
    let header = header.ok_or_else(|| unexpected("an answer without a header"))?;
    Ok(header.revision())
}

fn unexpected(what: &str) -> Fault {
    Fault::Unexpected(what.to_owned())
}
