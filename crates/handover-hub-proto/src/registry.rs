//! The copies of the rows: how a home tells them to all others, and how who misses something
//! catches up. Look-ups are with the driver and never leave a node.

mod buried;
mod copies;

pub(crate) use self::buried::{Buried, Stopped};
pub(crate) use self::copies::{Copies, Verdict};

use alloc::collections::btree_set::BTreeSet;
use alloc::vec::Vec;

use handover_proto::moment::Moment;

use crate::event::Event;
use crate::identity::{NodeId, ProcessId, ShardId};
use crate::message::{Change, Item, Position};
use crate::node::{Effect, Node};
use crate::row::{Row, Rows};

/// Rows in one part of a fetched shard.
const ROWS_AT_ONCE: usize = 256;

impl<R: Rows> Node<R> {
    /// A change by another node's home. Whether it was taken.
    pub(crate) fn heard_change(
        &mut self,
        from: NodeId,
        shard: ShardId,
        position: Position,
        change: Change,
    ) -> bool {
        if !self.is_word_of_home(from, shard, position) {
            return false;
        }
        match self.copies.judge(shard, position) {
            Verdict::Apply => {
                self.apply(change);
                true
            }
            Verdict::Known => true,
            Verdict::Behind => {
                self.copies.miss(shard, position);
                self.fetch_missing();
                false
            }
        }
    }

    /// Whether a word about rows may be taken: its speaker is their home, and this node knows no
    /// higher one. It may be ahead of this node's engine.
    fn is_word_of_home(&self, from: NodeId, shard: ShardId, position: Position) -> bool {
        let known = self.table.owner(shard).map_or(0, |owner| owner.term.0);
        self.table.has(shard) && position.home == from && position.term.0 >= known
    }

    /// Writes a change into this node's copy.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Put(row) => {
                let before = self.rows.get(row.id());
                let known = before.as_ref().map_or(&[][..], Row::hosts);
                for host in row.hosts() {
                    if !known.contains(host) {
                        self.effects.push_back(Effect::Report(Event::Registered {
                            process: row.id().clone(),
                            node: host.node,
                            epoch: host.epoch,
                        }));
                    }
                }
                self.row_of_mine(&row, known);
                self.rows.put(row);
            }
            Change::Remove { process, ended } => {
                let shard = self.shard_of(&process);
                let stopped = (process.clone(), ended);
                self.remember_end(shard, stopped);
                self.unregister(process);
            }
        }
    }

    fn unregister(&mut self, process: ProcessId) {
        if self.rows.remove(&process).is_some() {
            let event = Event::Unregistered { process };
            self.effects.push_back(Effect::Report(event));
        }
    }

    /// Another node knows of children that ended.
    pub(crate) fn heard_buried(&mut self, shard: ShardId, buried: Vec<Stopped>) {
        for stopped in buried {
            if self.shard_of(&stopped.0) == shard {
                self.remember_end(shard, stopped);
            }
        }
    }

    fn remember_end(&mut self, shard: ShardId, stopped: Stopped) {
        self.buried.put(shard, stopped, self.now);
        self.buried.forget(self.now, self.settings.ends_kept);
    }

    /// A home says how far it is.
    pub(crate) fn heard_digest(&mut self, from: NodeId, shard: ShardId, position: Position) {
        if !self.is_word_of_home(from, shard, position) {
            return;
        }
        if position > self.copies.position(shard) {
            self.copies.miss(shard, position);
            self.fetch_missing();
        } else {
            self.say_held(shard, position.home);
        }
    }

    /// A new home begins with the rows that `base` had.
    pub(crate) fn heard_began(
        &mut self,
        from: NodeId,
        shard: ShardId,
        position: Position,
        base: Position,
    ) {
        if !self.is_word_of_home(from, shard, position) {
            return;
        }
        if self.copies.position(shard) == base {
            self.copies.set(shard, position);
            self.say_held(shard, from);
        } else {
            self.heard_digest(from, shard, position);
        }
    }

    /// Tells a home how far this copy of its rows is.
    pub(crate) fn say_held(&mut self, shard: ShardId, home: NodeId) {
        let position = self.copies.position(shard);
        if position.home == home {
            self.outbox.say(home, Item::Held { shard, position });
        }
    }

    /// Asks for shards that are behind, a bounded number at a time.
    pub(crate) fn fetch_missing(&mut self) {
        while let Some(shard) = self.copies.next() {
            let source = self.fetch_source(shard);
            let Some(from) = source.filter(|node| *node != self.me.id) else {
                self.copies.fetched(shard, None, |_| false);
                continue;
            };
            self.copies.fetch(shard, from, self.now);
            self.outbox.say(from, Item::Fetch { shard });
            // Who is asked may not know this node yet.
            self.retry_later();
        }
    }

    /// Of whom a shard is asked: of whom its new home found ahead, or of the home that said to be, or
    /// of the one that the engine says.
    fn fetch_source(&self, shard: ShardId) -> Option<NodeId> {
        if let Some(home) = self.homes.get(&shard) {
            return home.source();
        }
        let said = self.copies.wanted(shard).map(|wanted| wanted.home);
        if let Some(home) = said.filter(|node| self.members.has(*node)) {
            return Some(home);
        }
        let owner = self.table.owner(shard).map(|owner| owner.node);
        owner.filter(|node| self.members.has(*node))
    }

    /// Answers with the whole shard, as this node has it.
    pub(crate) fn heard_fetch(&mut self, from: NodeId, shard: ShardId) {
        if !self.table.has(shard) || !self.members.has(from) {
            return;
        }
        let mut buried = self.buried.of(shard);
        while !buried.is_empty() {
            let rest = buried.split_off(buried.len().min(ROWS_AT_ONCE));
            self.outbox.say(from, Item::Buried { shard, buried });
            buried = rest;
        }
        let position = self.copies.position(shard);
        let mut rows = self.rows.shard(shard);
        loop {
            let rest = rows.split_off(rows.len().min(ROWS_AT_ONCE));
            let last = rest.is_empty();
            let item = Item::Whole {
                shard,
                position,
                rows,
                last,
            };
            self.outbox.say(from, item);
            if last {
                return;
            }
            rows = rest;
        }
    }

    /// A fetched shard, or a part of it. It replaces this node's copy with its last part.
    pub(crate) fn heard_whole(
        &mut self,
        from: NodeId,
        shard: ShardId,
        position: Position,
        rows: Vec<Row>,
        last: bool,
    ) {
        let Some(rows) = self.copies.part(shard, from, rows, last) else {
            return;
        };
        if position > self.copies.position(shard) {
            self.replace(shard, position, rows);
            self.say_held(shard, position.home);
        }
        let members = &self.members;
        self.copies
            .fetched(shard, Some(from), |node| members.has(node));
        if self.homes.contains_key(&shard) {
            self.rows_arrived(shard);
        }
        self.fetch_missing();
    }

    fn replace(&mut self, shard: ShardId, position: Position, rows: Vec<Row>) {
        let kept: BTreeSet<_> = rows.iter().map(|row| row.id().clone()).collect();
        for row in self.rows.shard(shard) {
            if !kept.contains(row.id()) {
                self.unregister(row.id().clone());
            }
        }
        for row in rows {
            if self.shard_of(row.id()) == shard {
                self.apply(Change::Put(row));
            }
        }
        self.copies.set(shard, position);
    }

    /// Tells all others, or one, how far this node's shards are.
    pub(crate) fn say_digests(&mut self, to: Option<NodeId>) {
        let to = to.map_or_else(|| self.members.others(self.me.id), |node| alloc::vec![node]);
        for (&shard, home) in &self.homes {
            if !home.is_live() {
                continue;
            }
            let position = self.copies.position(shard);
            for &node in &to {
                self.outbox.say(node, Item::Digest { shard, position });
            }
        }
    }

    /// Asks again for what did not come.
    pub(crate) fn fetch_again(&mut self, now: Moment) {
        let (retry, members) = (self.settings.retry, &self.members);
        self.copies
            .again(|from, asked| now.since(asked) >= retry * 4 || !members.has(from));
        self.fetch_missing();
    }
}
