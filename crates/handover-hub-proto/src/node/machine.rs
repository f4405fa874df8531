//! The parts of a node, and how they are driven.

use alloc::collections::BTreeMap;
use alloc::collections::VecDeque;
use alloc::collections::btree_set::BTreeSet;

use handover_proto::moment::{Machine, Moment};

use super::declared::Declared;
use super::emptying::{Evacuations, Leaving};
use super::flights::Flights;
use super::hosting::Hosting;
use super::loads::Loads;
use super::outbox::Outbox;
use super::settings::Settings;
use super::stillness::Stillness;
use super::timers::{Timer, Timers};
use super::{Effect, Input};
use crate::home::Home;
use crate::identity::{NodeId, ProcessId, ShardId};
use crate::members::{Members, Table};
use crate::message::{Emptying, Item, Message};
use crate::migration::Terminal;
use crate::pace::Pace;
use crate::partition::Judge;
use crate::placement;
use crate::registry::{Buried, Copies};
use crate::requests::Requests;
use crate::row::Rows;
use crate::view::Member;

/// Nodes that are kept in mind as not heard; of more than that, what some said is repaired later.
const UNHEARD: usize = 1024;

/// What one node of a hub decides. Told what happens and the time, it answers with effects.
///
/// It is told of members and owners by an engine, and tells other nodes [`Message`]s, which may be
/// lost only with their connection and come in their order until then.
pub struct Node<R> {
    pub(crate) settings: Settings,
    pub(crate) me: Member,
    pub(crate) now: Moment,
    pub(crate) rows: R,
    pub(crate) effects: VecDeque<Effect<Message>>,
    pub(crate) outbox: Outbox,
    pub(crate) timers: Timers,
    pub(crate) members: Members,
    pub(crate) table: Table,
    pub(crate) copies: Copies,
    pub(crate) buried: Buried,
    pub(crate) homes: BTreeMap<ShardId, Home>,
    pub(crate) hosting: Hosting,
    pub(crate) requests: Requests,
    /// Moves that this node takes part in as source or target.
    pub(crate) terminal: Terminal,
    pub(crate) pace: Pace,
    /// Moves that this node ordered.
    pub(crate) moves: u64,
    /// Processes that moved away from here.
    pub(crate) moved_away: u64,
    /// How nodes are emptied, as they said.
    pub(crate) emptying: BTreeMap<NodeId, Emptying>,
    /// Who waits for this node to be empty.
    pub(crate) leaving: Option<Leaving>,
    pub(crate) evacuations: Evacuations,
    pub(crate) declared: Declared,
    pub(crate) judge: Judge,
    pub(crate) loads: Loads,
    pub(crate) flights: Flights,
    pub(crate) stillness: Stillness,
    /// Shards whose children are to be looked at.
    pub(crate) sweep: BTreeSet<ShardId>,
    /// Those that said something which was not heard, since they are no members here.
    pub(crate) unheard: BTreeSet<NodeId>,
    /// The engine has said all it knew at the start.
    pub(crate) ready: bool,
    /// Members came or went, and shards have not been placed since.
    pub(crate) settling: bool,
    /// It was said that a redistribution begins, and not that nothing of it is left.
    pub(crate) redistributing: bool,
}

impl<R: Rows> Node<R> {
    /// A node that knows nobody yet and runs nothing. It acts once the engine is
    /// [ready](crate::view::EngineEvent::Ready).
    #[must_use]
    pub fn new(settings: Settings, me: Member, rows: R, now: Moment) -> Self {
        let (shards, migration) = (settings.shards, settings.migration);
        let judge = Judge::new(settings.partition, me.name.clone());
        let loads = Loads::new(me.id, &settings);
        let pace = Pace::new(&settings.moves);
        let mut timers = Timers::default();
        timers.set(Timer::Digest, now + settings.digest);
        Self {
            outbox: Outbox::new(me.id, settings.batch),
            settings,
            me,
            now,
            rows,
            effects: VecDeque::new(),
            timers,
            members: Members::default(),
            table: Table::new(shards),
            copies: Copies::new(shards),
            buried: Buried::default(),
            homes: BTreeMap::new(),
            hosting: Hosting::default(),
            requests: Requests::default(),
            terminal: Terminal::new(migration),
            pace,
            moves: 0,
            moved_away: 0,
            emptying: BTreeMap::new(),
            leaving: None,
            evacuations: Evacuations::new(),
            declared: Declared::default(),
            judge,
            loads,
            flights: Flights::new(now),
            stillness: Stillness::default(),
            sweep: BTreeSet::new(),
            unheard: BTreeSet::new(),
            ready: false,
            settling: true,
            redistributing: false,
        }
    }

    /// The rows that this node knows.
    #[must_use]
    pub const fn rows(&self) -> &R {
        &self.rows
    }

    /// The next effects are all that this node has to say, also what it holds back for a moment to
    /// say it together with more. To be called before it ends or is handed over.
    pub fn speak_out(&mut self) {
        self.outbox.hurry();
    }

    pub(crate) fn shard_of(&self, process: &ProcessId) -> ShardId {
        placement::shard_of(process, self.settings.shards)
    }

    /// Something is open: look again whether it was answered.
    pub(crate) fn retry_later(&mut self) {
        let at = self.now + self.settings.retry;
        self.timers.set_unless(Timer::Retry, at);
    }

    fn take_message(&mut self, from: NodeId, message: Message) {
        // Whoever is no member any more has nothing to say: the engine has buried it, and what it
        // ran is run by others (H2). Whoever is none yet says it again.
        if !self.members.has(from) {
            // Some were never members, or are none any more: they must not keep others out.
            if self.unheard.insert(from) && self.unheard.len() > UNHEARD {
                self.unheard.pop_first();
            }
            return;
        }
        let mut changed = BTreeSet::new();
        for item in message.items {
            self.take(from, item, &mut changed);
        }
        for shard in changed {
            self.say_held(shard, from);
        }
    }

    fn take_own(&mut self) {
        while let Some(item) = self.outbox.own() {
            self.take(self.me.id, item, &mut BTreeSet::new());
        }
    }

    fn take_due(&mut self) {
        while let Some(timer) = self.timers.due(self.now) {
            match timer {
                Timer::Debounce => self.settle(),
                Timer::Digest => {
                    self.say_digests(None);
                    self.buried.forget(self.now, self.settings.ends_kept);
                    self.say_declares();
                    self.review_all_declared();
                    let at = self.now + self.settings.digest;
                    self.timers.set(Timer::Digest, at);
                }
                Timer::Retry => self.retry(),
                Timer::Review(_) => self.review_due(&timer),
                Timer::Request(number) => self.request_due(number),
                Timer::Move(shard, process) => self.move_due(shard, &process),
                // Moves are begun after all that is due.
                Timer::Pace => {}
                Timer::Terminal => self.terminal_due(),
                Timer::Leave => self.leave_due(),
                Timer::Board => self.board_due(),
                Timer::Flights => self.flights_due(),
            }
        }
    }

    /// Asks again whatever was not answered, as long as anything is.
    fn retry(&mut self) {
        self.announce_again();
        let mut open = self.census_again();
        open |= self.work_again();
        open |= self.ask_again();
        open |= self.confirm_again();
        open |= self.filled_again();
        open |= self.is_emptied_by_now();
        self.fetch_again(self.now);
        open |= self.copies.busy();
        self.redistribute();
        open |= self.table.waits();
        if open {
            self.retry_later();
        }
    }

    /// One thing that a node said.
    fn take(&mut self, from: NodeId, item: Item, changed: &mut BTreeSet<ShardId>) {
        if (self.is_still() && !item.is_harmless()) || (self.has_gone() && item.brings()) {
            return;
        }
        match item {
            Item::Changed {
                shard,
                position,
                change,
            } => {
                if self.heard_change(from, shard, position, change) {
                    changed.insert(shard);
                }
            }
            Item::Held { shard, position } => self.heard_held(from, shard, position),
            Item::Digest { shard, position } => self.heard_digest(from, shard, position),
            Item::Began {
                shard,
                position,
                base,
            } => self.heard_began(from, shard, position, base),
            Item::Fetch { shard } => self.heard_fetch(from, shard),
            Item::Whole {
                shard,
                position,
                rows,
                last,
            } => self.heard_whole(from, shard, position, rows, last),
            Item::Census { shard, term } => self.heard_census(from, shard, term),
            Item::Report {
                shard,
                term,
                report,
            } => self.heard_report(from, shard, term, report),
            Item::Grant {
                spec,
                epoch,
                role,
                replica,
                term,
            } => self.heard_grant(from, term, spec, (epoch, role, replica)),
            Item::Granted {
                process,
                epoch,
                result,
            } => self.heard_granted(from, &process, epoch, result),
            other => self.take_rest(from, other),
        }
    }

    fn take_rest(&mut self, from: NodeId, item: Item) {
        match item {
            Item::End {
                process,
                epoch,
                term,
            } => self.heard_end(from, term, process, epoch),
            Item::Ended { process, epoch } => self.heard_ended(from, &process, epoch),
            Item::Departed(gone) => self.departed(from, gone),
            Item::Noted(gone) => self.heard_noted(&gone),
            Item::Confirm { process, epoch } => self.heard_confirm(from, &process, epoch),
            Item::Confirmed {
                process,
                epoch,
                term,
            } => self.heard_confirmed(from, term, process, epoch),
            Item::Order(order) => self.heard_order(from, order),
            Item::Reported(report) => self.heard_reported(from, report),
            Item::Ask {
                request,
                process,
                ask,
                again,
            } => self.asked(Self::asker(from, request), process, ask, again),
            Item::Told {
                request,
                process,
                told,
            } => self.heard_told(request, process, told),
            Item::Emptying(emptying) => self.heard_emptying(from, emptying),
            Item::Evacuate { request, emptying } => {
                self.heard_evacuate(Self::asker(from, request), emptying);
            }
            Item::Answered { request, answer } => self.passed_back(request, answer),
            Item::Declare { request, children } => {
                self.heard_declare(Self::asker(from, request), children);
            }
            Item::Declared { version, children } => self.take_declared(version, children),
            Item::DeclarePart { request, part } => {
                self.heard_declare_part(Self::asker(from, request), part);
            }
            Item::DeclaredPart { version, part } => self.heard_declared_part(from, version, part),
            Item::Declares { version } => self.heard_declares(from, version),
            Item::FetchDeclared => self.say_declared(from),
            Item::Memory(memory) => self.heard_memory(memory),
            Item::Unheard => {
                self.greet(from);
                self.say_memory(from);
            }
            Item::Filled { process, epoch } => self.heard_filled(from, &process, epoch),
            Item::Loads(loads) => self.heard_loads(loads),
            Item::Board(board) => self.heard_board(from, board),
            Item::Buried { shard, buried } => self.heard_buried(shard, buried),
            Item::AskMoves { question } => self.asked_moves(from, question),
            Item::ToldMoves { question, ordered } => self.told_moves(from, question, ordered),
            Item::Changed { .. }
            | Item::Held { .. }
            | Item::Digest { .. }
            | Item::Began { .. }
            | Item::Fetch { .. }
            | Item::Whole { .. }
            | Item::Census { .. }
            | Item::Report { .. }
            | Item::Grant { .. }
            | Item::Granted { .. } => {}
        }
    }
}

impl<R: Rows> Machine for Node<R> {
    type Input = Input<Message>;
    type Effect = Effect<Message>;

    fn handle(&mut self, now: Moment, input: Self::Input) {
        self.now = self.now.max(now);
        match input {
            Input::Engine(event) => self.engine_says(event),
            Input::Heard { from, message } => self.take_message(from, message),
            Input::Disconnected(node) => self.disconnected(node),
            Input::Command { request, command } => self.command(request, command),
            Input::Host(report) => self.host_reports(report),
            Input::Load(load) => self.measured(load),
            Input::Tick => {}
        }
        self.take_own();
        self.take_due();
        self.review_some();
        self.begin_moves();
        self.take_own();
        self.depart_in_turn();
        self.take_own();
        self.may_be_settled();
        self.may_be_empty();
    }

    /// What is to be said to other nodes comes last: whoever gives several inputs before it asks for
    /// effects has what they led to said together.
    fn poll_effect(&mut self) -> Option<Self::Effect> {
        if self.effects.is_empty() {
            self.outbox.flush(self.now, &mut self.effects);
        }
        self.effects.pop_front()
    }

    fn next_deadline(&self) -> Option<Moment> {
        let review =
            (!self.sweep.is_empty() && !self.settling && !self.is_still()).then_some(self.now);
        let sends = self.outbox.deadline();
        [self.timers.next(), sends, review]
            .into_iter()
            .flatten()
            .min()
    }
}
