//! Carries out what the [lease](super::lease) and the hub want, and passes on what etcd says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{WatchResponse, WatchStream};
use handover_hub_proto::identity::{NodeId, ShardId};
use handover_hub_proto::view::{Claim, EngineEvent, EngineOrder, Member, Owner, Transfer};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::fault::Fault;
use super::lease::{Answer, Ask, Deed, Lease, LeaseId, RETRY};
use super::news::{Watch, change};
use super::seat::{End, Ends};
use super::store::{Joined, Store, Wish};
use super::table::{Change, Table};
use crate::engine::{Boottime, Validity};

/// Shards in one transaction. etcd takes 128 operations unless set lower.
const BATCH: usize = 60;
/// Transactions under way at once.
const PIPELINE: usize = 16;
/// Events that wait for the hub before nothing more is read from etcd.
const BACKLOG: usize = 256;
/// Longest sleep: a moment of `CLOCK_BOOTTIME` is looked at again after the machine slept.
const NAP: Duration = Duration::from_secs(1);

pub(super) struct Driver {
    pub(super) ends: Option<Ends>,
    store: Store,
    pub(super) lease: Lease,
    table: Table,
    me: Member,
    life: Duration,
    valid: Arc<Validity>,
    /// How often this node was fenced: answers to what was asked before count no more.
    era: u64,
    /// What the hub is told next.
    backlog: VecDeque<EngineEvent>,
    /// Transactions that wait for their turn.
    waiting: VecDeque<Vec<Wish>>,
    /// Transactions under way.
    running: usize,
    work: JoinSet<Done>,
    watch: Watch,
    /// Something is new about this node and not yet written.
    pub(super) unsaid: bool,
    announcing: bool,
    /// The last request for the lease failed, and that was said.
    failing: bool,
}

/// What came of something that was under way.
enum Done {
    Lease(Ask, Result<Answer, Fault>, Option<(i64, Vec<Change>)>),
    Owned {
        era: u64,
        wishes: Vec<Wish>,
        outcome: Result<Vec<(ShardId, Owner)>, Fault>,
    },
    Announced(Result<(), Fault>),
    Watching(Result<(WatchStream, usize), Fault>),
    Read(Result<(i64, Vec<Change>), Fault>),
}

impl Driver {
    pub(super) fn new(
        store: Store,
        lease: Lease,
        table: Table,
        (me, life): (Member, Duration),
        valid: Arc<Validity>,
        ends: Ends,
    ) -> Self {
        Self {
            ends: Some(ends),
            store,
            lease,
            table,
            me,
            life,
            valid,
            era: 0,
            backlog: VecDeque::new(),
            waiting: VecDeque::new(),
            running: 0,
            work: JoinSet::new(),
            watch: Watch::None,
            unsaid: false,
            announcing: false,
            failing: false,
        }
    }

    /// Runs until the node leaves or nobody gives orders any more.
    pub(super) async fn run(mut self, known: Vec<EngineEvent>) {
        self.backlog.extend(known);
        self.backlog.push_back(EngineEvent::Ready);
        let Some(mut ends) = self.ends.take() else {
            return;
        };
        let end = self.serve(&mut ends).await;
        self.go(&end).await;
    }

    async fn serve(&mut self, ends: &mut Ends) -> End {
        loop {
            self.work_on();
            let nap = Boottime::now().until(self.lease.wake()).min(NAP);
            let open = self.backlog.len() < BACKLOG;
            let room = open && self.waiting.is_empty() && self.running < PIPELINE;
            tokio::select! {
                biased;
                () = sleep(nap) => {}
                Some(done) = self.work.join_next(), if !self.work.is_empty() => {
                    // Nothing is cancelled before the end, and requests do not panic.
                    if let Ok(done) = done {
                        self.done(done);
                    }
                }
                Some(order) = ends.seat.recv() => if !self.rest(&mut ends.seat, order).await {
                    return End::Succeeded;
                },
                place = ends.events.reserve(), if !self.backlog.is_empty() => {
                    let (Ok(place), Some(event)) = (place, self.backlog.pop_front()) else {
                        return End::Dropped;
                    };
                    place.send(event);
                }
                news = self.watch.next(), if open && self.watch.is_open() => self.heard(news),
                order = ends.orders.recv(), if room => match order {
                    None => return End::Dropped,
                    Some(EngineOrder::Leave) => return End::Left,
                    Some(order) => self.obey(order),
                },
            }
        }
    }

    /// Does what the lease wants and starts what can be started.
    fn work_on(&mut self) {
        let now = Boottime::now();
        while let Some(deed) = self.lease.poll(now) {
            match deed {
                Deed::Ask(ask) => self.ask(ask),
                Deed::Fence => self.fence(),
                Deed::Renew(until) => {
                    if !self.valid.renew(until) {
                        // The clock has passed the deadline since it was looked at.
                        self.lease.unseated(now);
                    }
                }
                Deed::Restore(until) => {
                    self.backlog
                        .push_back(EngineEvent::Owners(self.table.all()));
                    self.valid.restore(until);
                    self.backlog.push_back(EngineEvent::Unfenced);
                    tracing::info!("the lease is held again");
                }
            }
        }
        self.send_waiting();
        self.announce();
        if matches!(self.watch, Watch::None) && self.lease.current().is_some() {
            self.watch = Watch::Opening;
            let (store, from) = (self.store.clone(), self.table.revision() + 1);
            self.work
                .spawn(async move { Done::Watching(store.watch(from).await) });
        }
    }

    fn ask(&mut self, ask: Ask) {
        let (store, me, life) = (self.store.clone(), self.me.clone(), self.life);
        self.work.spawn(async move {
            let outcome = match ask {
                Ask::Grant => {
                    let granted = store.grant(life).await;
                    granted.map(|(lease, life)| Answer::Granted(lease, life))
                }
                Ask::Keep(lease) => store.keep(lease).await.map(|()| Answer::Kept),
                Ask::Join(lease) => join(&store, &me, lease).await,
                Ask::Read => match store.read().await {
                    Ok(all) => return Done::Lease(ask, Ok(Answer::Read), Some(all)),
                    Err(fault) => Err(fault),
                },
            };
            Done::Lease(ask, outcome, None)
        });
    }

    fn fence(&mut self) {
        self.valid.fence();
        self.era += 1;
        self.waiting.clear();
        self.backlog.push_back(EngineEvent::Fenced);
        tracing::warn!("the lease cannot be vouched for; this node stands still");
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Lease(ask, outcome, all) => self.answered(ask, outcome, all),
            Done::Owned {
                era,
                wishes,
                outcome,
            } => {
                self.running -= 1;
                if era == self.era {
                    self.owned(wishes, outcome);
                }
            }
            Done::Announced(outcome) => {
                self.announcing = false;
                if let Err(fault) = outcome {
                    tracing::warn!(%fault, "etcd did not take what is new about this node");
                    self.unsaid = true;
                }
            }
            Done::Watching(Ok((stream, number))) => {
                self.watch = Watch::Open(Box::new(stream), number);
            }
            Done::Watching(Err(fault)) => {
                tracing::warn!(%fault, "etcd tells no news");
                self.watch_later();
            }
            Done::Read(Ok((revision, all))) => {
                self.learn(revision, &all);
                self.watch = Watch::None;
            }
            Done::Read(Err(fault)) => {
                tracing::warn!(%fault, "etcd does not say what there is");
                self.read_later();
            }
        }
    }

    fn answered(
        &mut self,
        ask: Ask,
        outcome: Result<Answer, Fault>,
        all: Option<(i64, Vec<Change>)>,
    ) {
        let mut answer = match outcome {
            Ok(answer) => answer,
            Err(Fault::Ended) => Answer::Ended,
            Err(fault) => {
                if !self.failing {
                    tracing::warn!(?ask, %fault, "etcd does not do what the lease needs; asked again");
                }
                Answer::Failed
            }
        };
        if let Some((revision, all)) = all {
            // Older than what the watch has told: read again. An etcd whose revision went back
            // for good has lost what made owners exclusive; this node then stands still.
            if !self.learn(revision, &all) {
                answer = Answer::Failed;
            }
            self.watch = Watch::None;
        }
        self.failing = answer == Answer::Failed;
        if self.failing {
            // What does not keep a lease may have stopped telling the news as well.
            self.watch = Watch::None;
        }
        self.watch.follow(self.store.number());
        self.lease.answer(Boottime::now(), answer);
    }

    /// Takes note of all that there is. False if more is known already.
    fn learn(&mut self, revision: i64, all: &[Change]) -> bool {
        match self.table.replace(revision, all) {
            Some(events) => {
                self.pass_on(events);
                true
            }
            None => false,
        }
    }

    /// Tells the hub what happened to others; to oneself that is what the lease says.
    fn pass_on(&mut self, events: Vec<EngineEvent>) {
        let me = self.me.id;
        if events.iter().any(|event| is_gone(event, me)) {
            self.lease.unseated(Boottime::now());
        }
        let others = events.into_iter().filter(|event| !is_gone(event, me));
        self.backlog.extend(others);
    }

    /// Opens the watch again, a moment later.
    fn watch_later(&mut self) {
        self.watch = Watch::Opening;
        let (store, from) = (self.store.clone(), self.table.revision() + 1);
        self.work.spawn(async move {
            sleep(RETRY).await;
            Done::Watching(store.watch(from).await)
        });
    }

    /// Reads everything: the news in between are not kept any more.
    fn read_later(&mut self) {
        self.watch = Watch::Opening;
        let store = self.store.clone();
        self.work.spawn(async move {
            sleep(RETRY).await;
            Done::Read(store.read().await)
        });
    }

    fn heard(&mut self, news: Result<WatchResponse, Fault>) {
        let news = match news {
            Ok(news) => news,
            Err(fault) => {
                tracing::warn!(%fault, "the news from etcd broke off");
                return self.watch_later();
            }
        };
        if news.canceled() {
            let reason = news.cancel_reason();
            tracing::info!(reason, "the news from etcd are not kept any more");
            return self.read_later();
        }
        let changes = news.events().iter().filter_map(change).collect();
        let events = self.table.news(changes);
        self.pass_on(events);
    }

    fn obey(&mut self, order: EngineOrder) {
        match order {
            EngineOrder::Leave => {}
            EngineOrder::Announce(member) => {
                self.me = member;
                self.unsaid = true;
            }
            EngineOrder::Claim(claims) => {
                let wishes = claims.iter().map(|claim| self.claim(claim)).collect();
                self.wish(wishes);
            }
            EngineOrder::Transfer(transfers) => {
                let wishes = transfers.iter().map(transfer).collect();
                self.wish(wishes);
            }
        }
    }

    fn claim(&self, claim: &Claim) -> Wish {
        let owner = self.table.owner(claim.shard);
        let known = owner.filter(|owner| Some(owner.term) == claim.over);
        Wish {
            shard: claim.shard,
            over: claim.over,
            owner: self.me.id,
            gone: known
                .map(|owner| owner.node)
                .filter(|node| *node != self.me.id),
            there: None,
        }
    }

    /// Queues transactions for what can be; answers the rest with what is known.
    fn wish(&mut self, wishes: Vec<Wish>) {
        let possible = |wish: &Wish| {
            let known = self.table.owner(wish.shard).map(|owner| owner.term);
            known == wish.over
        };
        let (possible, not): (Vec<Wish>, Vec<Wish>) = wishes.into_iter().partition(possible);
        if !not.is_empty() {
            let shards = not.iter().map(|wish| wish.shard);
            let owners = self.table.owned(shards);
            self.backlog.push_back(EngineEvent::Owners(owners));
        }
        if self.lease.current().is_some() {
            let batches = possible.chunks(BATCH).map(<[Wish]>::to_vec);
            self.waiting.extend(batches);
        }
    }

    fn send_waiting(&mut self) {
        let Some(lease) = self.lease.current() else {
            return;
        };
        while self.running < PIPELINE {
            let Some(wishes) = self.waiting.pop_front() else {
                return;
            };
            self.running += 1;
            let (store, era) = (self.store.clone(), self.era);
            self.work.spawn(async move {
                let outcome = store.own(lease, &wishes).await;
                if outcome.is_err() {
                    sleep(RETRY).await;
                }
                Done::Owned {
                    era,
                    wishes,
                    outcome,
                }
            });
        }
    }

    fn owned(&mut self, wishes: Vec<Wish>, outcome: Result<Vec<(ShardId, Owner)>, Fault>) {
        match outcome {
            Ok(owners) => {
                for (shard, owner) in owners {
                    self.table.learn(shard, owner);
                }
            }
            Err(fault @ (Fault::Full(_) | Fault::Forbidden(_) | Fault::Unexpected(_))) => {
                tracing::warn!(%fault, "etcd gives no shards");
            }
            // Whether it was done is not known. Done again it changes nothing more: a shard that
            // was given has another term by now.
            Err(fault) => {
                tracing::warn!(%fault, "etcd did not say who owns the shards; asked again");
                return self.waiting.push_back(wishes);
            }
        }
        let owners = self.table.owned(wishes.iter().map(|wish| wish.shard));
        self.backlog.push_back(EngineEvent::Owners(owners));
    }

    fn announce(&mut self) {
        let Some(lease) = self.lease.current() else {
            return;
        };
        if !self.unsaid || self.announcing {
            return;
        }
        self.unsaid = false;
        self.announcing = true;
        let (store, me) = (self.store.clone(), self.me.clone());
        self.work.spawn(async move {
            let outcome = store.announce(&me, lease).await;
            if outcome.is_err() {
                sleep(RETRY).await;
            }
            Done::Announced(outcome)
        });
    }

    /// Goes: first nothing acts here any more, then others may.
    async fn go(mut self, end: &End) {
        self.valid.fence();
        self.work.shutdown().await;
        let in_order = match end {
            End::Left => true,
            End::Dropped => false,
            // The lease is the successor's.
            End::Succeeded => return,
        };
        let Some(lease) = self.lease.last() else {
            return;
        };
        let said = if in_order {
            self.store.leave(&self.me, lease).await
        } else {
            self.store.revoke(lease).await
        };
        if let Err(fault) = said {
            tracing::warn!(%fault, "etcd was not told that this node goes; its lease ends by itself");
        }
    }
}

async fn join(store: &Store, me: &Member, lease: LeaseId) -> Result<Answer, Fault> {
    match store.join(me, lease).await? {
        Joined::Yes => Ok(Answer::Joined),
        Joined::Taken(node) => {
            let name = &me.name;
            tracing::error!(%name, %node, "another node has this one's name; it stands still");
            Ok(Answer::Failed)
        }
    }
}

fn transfer(transfer: &Transfer) -> Wish {
    Wish {
        shard: transfer.shard,
        over: Some(transfer.term),
        owner: transfer.to,
        gone: None,
        there: Some(transfer.to),
    }
}

fn is_gone(event: &EngineEvent, me: NodeId) -> bool {
    matches!(event, EngineEvent::Gone { node, .. } if *node == me)
}
