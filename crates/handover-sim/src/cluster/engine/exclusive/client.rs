//! What the client on each node does.

use std::collections::BTreeMap;

use handover_hub_proto::identity::{ShardId, Term};
use handover_hub_proto::view::{EngineEvent, Member, Owner};

use super::{Store, StoreEvent, Wish};
use crate::cluster::agenda::Time;
use crate::cluster::engine::Surroundings;
use crate::cluster::network::RunIndex;
use crate::cluster::world::Event;

/// The client of one run.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) me: Member,
    pub(super) over: bool,
    /// It will read what changed.
    pub(super) watching: bool,
    ready: bool,
    fenced: bool,
    leaving: bool,
    valid: Time,
    /// How many changes it has read.
    read: usize,
    terms: BTreeMap<ShardId, Term>,
    wishes: BTreeMap<u64, Wish>,
    count: u64,
}

impl Session {
    pub(super) fn wished(&self, number: u64) -> Option<Wish> {
        self.wishes.get(&number).cloned()
    }
}

impl Store {
    pub(in crate::cluster::engine) fn valid(&self, run: RunIndex) -> Time {
        match self.sessions.get(run) {
            Some(_) if self.vouches => Time::MAX,
            Some(session) if !session.fenced => session.valid,
            _ => 0,
        }
    }

    /// Whether the lease of a run that had one is over, as its clock says.
    pub(in crate::cluster::engine) fn is_over(&self, run: RunIndex, now: Time) -> bool {
        let session = self.sessions.get(run);
        session.is_some_and(|session| session.ready) && self.valid(run) <= now
    }

    pub(in crate::cluster::engine) fn join(&mut self, around: &mut Surroundings<'_>, me: Member) {
        let run = self.sessions.len();
        self.sessions.push(Session {
            me,
            over: false,
            watching: false,
            ready: false,
            fenced: false,
            leaving: false,
            valid: 0,
            read: 0,
            terms: BTreeMap::new(),
            wishes: BTreeMap::new(),
            count: 0,
        });
        self.beat(around, run);
    }

    pub(in crate::cluster::engine) fn end(&mut self, run: RunIndex) {
        if let Some(session) = self.sessions.get_mut(run) {
            session.over = true;
        }
    }

    /// Three signs of life in each lease. What was not answered is asked again.
    pub(super) fn beat(&mut self, around: &mut Surroundings<'_>, run: RunIndex) {
        let session = &self.sessions[run];
        if session.over {
            return;
        }
        let sent = around.agenda.now();
        let numbers: Vec<u64> = session.wishes.keys().copied().collect();
        let (first, leaving) = (!session.ready, session.leaving);
        let pause = if first { self.ttl / 10 } else { self.ttl / 3 };
        let again = Event::Store(StoreEvent::Beat(run));
        around.agenda.after(pause, again);
        if let Some(way) = self.way(around, run).filter(|_| !leaving) {
            let beat = if first {
                StoreEvent::Registration { run, sent }
            } else {
                StoreEvent::BeatArrived { run, sent }
            };
            around.agenda.after(way, Event::Store(beat));
        }
        for number in numbers {
            self.ask(around, run, number);
        }
        self.watch(around, run);
    }

    pub(super) fn wish(&mut self, around: &mut Surroundings<'_>, run: RunIndex, wishes: Vec<Wish>) {
        for wish in wishes {
            let session = &mut self.sessions[run];
            session.count += 1;
            let number = session.count;
            match &wish {
                Wish::Announce(member) => session.me = member.clone(),
                Wish::Leave => session.leaving = true,
                Wish::Claim(_) | Wish::Transfer(_) => {}
            }
            session.wishes.insert(number, wish);
            self.ask(around, run, number);
        }
    }

    fn ask(&mut self, around: &mut Surroundings<'_>, run: RunIndex, number: u64) {
        if let Some(way) = self.way(around, run) {
            let wished = StoreEvent::Wished { run, number };
            around.agenda.after(way, Event::Store(wished));
        }
    }

    pub(super) fn granted(
        &mut self,
        around: &mut Surroundings<'_>,
        run: RunIndex,
        number: u64,
        owners: &[(ShardId, Owner)],
    ) {
        if around.network.reaches_servers(run)
            && self.sessions[run].wishes.remove(&number).is_some()
        {
            self.tell_owners(around, run, owners);
        }
    }

    /// A client tells nothing that is older than what it told.
    fn tell_owners(
        &mut self,
        around: &mut Surroundings<'_>,
        run: RunIndex,
        owners: &[(ShardId, Owner)],
    ) {
        let terms = &mut self.sessions[run].terms;
        let mut told = Vec::new();
        for (shard, owner) in owners {
            let known = terms.entry(*shard).or_default();
            if owner.term >= *known {
                *known = owner.term;
                told.push((*shard, *owner));
            }
        }
        if !told.is_empty() {
            around.tells.push((run, EngineEvent::Owners(told)));
        }
    }

    pub(super) fn beat_answered(
        &mut self,
        around: &mut Surroundings<'_>,
        run: RunIndex,
        sent: Time,
        found: bool,
    ) {
        if !around.network.reaches_servers(run) || self.sessions[run].leaving {
            return;
        }
        if found {
            self.vouched(around, run, sent);
            return;
        }
        self.fence(around, run);
        let sent = around.agenda.now();
        if let Some(way) = self.way(around, run) {
            let registration = StoreEvent::Registration { run, sent };
            around.agenda.after(way, Event::Store(registration));
        }
    }

    /// The lease is held, as of when this was sent.
    pub(super) fn vouched(&mut self, around: &mut Surroundings<'_>, run: RunIndex, sent: Time) {
        let valid = sent + self.ttl - self.margin;
        let session = &mut self.sessions[run];
        if session.over || valid <= around.agenda.now() || !around.network.reaches_servers(run) {
            return;
        }
        if session.valid <= around.agenda.now() {
            // Others may have acted meanwhile: no word from the server makes that undone.
            self.fence(around, run);
        }
        let session = &mut self.sessions[run];
        session.valid = session.valid.max(valid);
        let doubt = Event::Store(StoreEvent::Doubt(run));
        around.agenda.at(valid, doubt);
        if !session.ready || session.fenced {
            self.read(around, run);
            let session = &mut self.sessions[run];
            if std::mem::take(&mut session.fenced) {
                around.tells.push((run, EngineEvent::Unfenced));
            }
            if !std::mem::replace(&mut session.ready, true) {
                around.tells.push((run, EngineEvent::Ready));
            }
        }
    }

    pub(super) fn doubt(&mut self, around: &mut Surroundings<'_>, run: RunIndex) {
        if self.sessions[run].valid <= around.agenda.now() && !self.vouches {
            self.fence(around, run);
        }
    }

    fn fence(&mut self, around: &mut Surroundings<'_>, run: RunIndex) {
        let session = &mut self.sessions[run];
        if session.ready && !session.over && !std::mem::replace(&mut session.fenced, true) {
            around.tells.push((run, EngineEvent::Fenced));
        }
    }

    pub(super) fn watch(&mut self, around: &mut Surroundings<'_>, run: RunIndex) {
        self.sessions[run].watching = false;
        if self.sessions[run].ready && !self.down && around.network.reaches_servers(run) {
            self.read(around, run);
        }
    }

    /// The whole table at first, then what changed since.
    fn read(&mut self, around: &mut Surroundings<'_>, run: RunIndex) {
        let session = &mut self.sessions[run];
        let first = std::mem::replace(&mut session.read, self.changes.len());
        let me = session.me.id;
        if !session.ready {
            for registered in self.members.values() {
                let member = EngineEvent::Member(registered.member.clone());
                around.tells.push((run, member));
            }
            let owners: Vec<_> = self.shards.iter().map(|(s, owner)| (*s, *owner)).collect();
            self.tell_owners(around, run, &owners);
            return;
        }
        let changes = self.changes[first..].to_vec();
        for change in changes {
            match change {
                EngineEvent::Gone { node, .. } if node == me => {}
                EngineEvent::Owners(owners) => self.tell_owners(around, run, &owners),
                other => around.tells.push((run, other)),
            }
        }
    }
}
