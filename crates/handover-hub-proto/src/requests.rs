//! What is asked on this node: passed on to the homes it concerns, collected, answered once.

mod passed;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use handover_proto::moment::Moment;

use self::passed::Passed;
use crate::event::Event;
use crate::home::Asker;
use crate::identity::{NodeId, ProcessId, RequestId, ShardId};
use crate::message::{Ask, Item, Told};
use crate::node::{
    Answer, Command, Effect, Failure, Node, OnFailure, StartOptions, Started, Stopped, Timer,
};
use crate::row::Rows;
use crate::spec::ChildSpec;

/// How long a command that names no time may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What was asked about one process and not answered.
struct Open {
    ask: Ask,
    /// Of whom, and when.
    asked: Option<(NodeId, Moment)>,
    /// It was asked before.
    again: bool,
    /// The home that was asked last.
    home: Option<NodeId>,
}

/// What is collected.
enum Form {
    Start {
        on_failure: OnFailure,
        /// Those that started are being stopped again.
        rolling_back: bool,
    },
    Stop,
    /// The answer of one home is the answer.
    One,
    /// That node's answer is the answer.
    Passed(Passed),
}

/// A command that has not been answered.
struct Request {
    id: RequestId,
    form: Form,
    open: BTreeMap<ShardId, BTreeMap<ProcessId, Open>>,
    count: usize,
    started: Vec<Started>,
    stopped: Vec<Stopped>,
    failed: Vec<(ProcessId, Failure)>,
    timeout: Duration,
}

/// All commands that have not been answered.
#[derive(Default)]
pub(crate) struct Requests {
    all: BTreeMap<u64, Request>,
    last: u64,
}

impl Requests {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

impl<R: Rows> Node<R> {
    /// Takes a command.
    pub(crate) fn command(&mut self, request: RequestId, command: Command) {
        // Those who are here may be said to be all there are.
        let resets = matches!(command, Command::ResetClusterSize { .. });
        let looks = matches!(command, Command::Moves { .. });
        if self.is_still() && !resets && !looks {
            let reason = self.why_still().into();
            self.answer(request, Answer::Failed(Failure::Suspended { reason }));
            return;
        }
        match command {
            Command::Start { children, options } => self.command_start(request, children, options),
            Command::Stop { processes, timeout } => {
                let asks = processes.into_iter().map(|id| (id, Ask::Stop)).collect();
                self.open(request, Form::Stop, asks, Vec::new(), timeout);
            }
            Command::Move { process, to } => match self.members.named(&to) {
                None => self.answer(request, Answer::Failed(Failure::UnknownNode(to))),
                Some(member) => {
                    let ask = Ask::Move { to: member.id };
                    self.open(
                        request,
                        Form::One,
                        [(process, ask)].into(),
                        Vec::new(),
                        PATIENCE,
                    );
                }
            },
            Command::Pin { process, placing } => {
                let asks = [(process, Ask::Pin(placing))].into();
                self.open(request, Form::One, asks, Vec::new(), PATIENCE);
            }
            Command::ReadyToMove { process } => {
                let asks = [(process, Ask::ReadyToMove)].into();
                self.open(request, Form::One, asks, Vec::new(), PATIENCE);
            }
            Command::Locate { process, timeout } => {
                let asks = [(process, Ask::Locate)].into();
                self.open(request, Form::One, asks, Vec::new(), timeout);
            }
            Command::Evacuate(evacuation) => self.command_evacuate(request, evacuation),
            Command::AbortEvacuation { node } => self.command_abort_evacuation(request, &node),
            Command::Leave { timeout } => self.command_leave(request, timeout),
            Command::Declare { children } => self.command_declare(request, children),
            Command::ResetClusterSize { .. } => self.command_reset_size(request),
            Command::Moves { others } => self.look(request, others),
        }
    }

    fn command_start(
        &mut self,
        request: RequestId,
        children: Vec<Arc<ChildSpec>>,
        options: StartOptions,
    ) {
        let mut asks = BTreeMap::new();
        let mut failed = Vec::new();
        for spec in children {
            let id = spec.id.clone();
            let check_existing = options.check_existing;
            let ask = Ask::Start {
                spec,
                check_existing,
            };
            if asks.insert(id.clone(), ask).is_some() && check_existing {
                failed.push((id.clone(), Failure::AlreadyStarted(id)));
            }
        }
        let form = Form::Start {
            on_failure: options.on_failure,
            rolling_back: false,
        };
        self.open(request, form, asks, failed, options.timeout);
    }

    fn open(
        &mut self,
        id: RequestId,
        form: Form,
        asks: BTreeMap<ProcessId, Ask>,
        failed: Vec<(ProcessId, Failure)>,
        timeout: Duration,
    ) {
        self.requests.last += 1;
        let number = self.requests.last;
        let mut request = Request {
            id,
            form,
            open: BTreeMap::new(),
            count: 0,
            started: Vec::new(),
            stopped: Vec::new(),
            failed,
            timeout,
        };
        for (process, ask) in asks {
            let shard = self.shard_of(&process);
            request.add(shard, process, ask);
        }
        self.timers.set(Timer::Request(number), self.now + timeout);
        let shards: Vec<ShardId> = request.open.keys().copied().collect();
        self.requests.all.insert(number, request);
        for shard in shards {
            self.ask_home(number, shard);
        }
        self.retry_later();
        self.may_be_answered(number);
    }

    /// Asks the home of a shard whatever it has not been asked yet.
    fn ask_home(&mut self, number: u64, shard: ShardId) {
        let Some(home) = self.table.owner(shard).map(|owner| owner.node) else {
            return;
        };
        if !self.members.has(home) {
            return;
        }
        let now = self.now;
        let open = self.requests.all.get_mut(&number);
        let Some(open) = open.and_then(|request| request.open.get_mut(&shard)) else {
            return;
        };
        for (process, open) in open {
            if open.asked.is_some() {
                continue;
            }
            open.asked = Some((home, now));
            if *open.home.get_or_insert(home) != home && matches!(open.ask, Ask::Start { .. }) {
                open.home = Some(home);
                let (process, to) = (process.clone(), home);
                let event = Event::Forwarded { process, to };
                self.effects.push_back(Effect::Report(event));
            }
            let item = Item::Ask {
                request: number,
                process: process.clone(),
                ask: open.ask.clone(),
                again: mem::replace(&mut open.again, true),
            };
            self.outbox.say(home, item);
        }
    }

    /// A shard has another home: it is asked instead.
    pub(crate) fn ask_new_home(&mut self, shard: ShardId) {
        let numbers: Vec<u64> = self.requests.all.keys().copied().collect();
        for number in numbers {
            let request = self.requests.all.get_mut(&number);
            let Some(open) = request.and_then(|request| request.open.get_mut(&shard)) else {
                continue;
            };
            for open in open.values_mut() {
                open.asked = None;
            }
            self.ask_home(number, shard);
        }
    }

    /// What was asked of a node may not have come there, or its answer not here.
    pub(crate) fn asks_lost(&mut self, node: NodeId) {
        for request in self.requests.all.values_mut() {
            for open in request.open.values_mut().flat_map(BTreeMap::values_mut) {
                if open.asked.is_some_and(|(home, _)| home == node) {
                    open.asked = None;
                }
            }
        }
        self.retry_later();
    }

    /// Asks again what was never asked, or of somebody who said nothing for long.
    pub(crate) fn ask_again(&mut self) -> bool {
        let patience = self.settings.retry * 4;
        let now = self.now;
        let mut due = Vec::new();
        for (&number, request) in &mut self.requests.all {
            for (&shard, processes) in &mut request.open {
                let mut any = false;
                for open in processes.values_mut() {
                    if open.asked.is_some_and(|(_, at)| now.since(at) >= patience) {
                        open.asked = None;
                    }
                    any |= open.asked.is_none();
                }
                if any {
                    due.push((number, shard));
                }
            }
            if let Form::Passed(passed) = &mut request.form {
                passed.say_again(now, patience, &mut self.outbox);
            }
        }
        for (number, shard) in due {
            self.ask_home(number, shard);
        }
        self.requests.len() > 0
    }

    /// A home answers.
    pub(crate) fn heard_told(&mut self, number: u64, process: ProcessId, told: Told) {
        let shard = self.shard_of(&process);
        let Some(request) = self.requests.all.get_mut(&number) else {
            return;
        };
        if matches!(told, Told::NotHome) {
            if let Some(open) = request.find(shard, &process) {
                open.asked = None;
            }
            self.retry_later();
            return;
        }
        if !request.take(shard, &process) {
            return;
        }
        if matches!(request.form, Form::One) {
            let (id, answer) = (request.id, one_answer(process, told));
            self.close(number);
            self.answer(id, answer);
            return;
        }
        request.note(process, told);
        self.may_be_answered(number);
    }

    /// A request's time is over: what has not been answered has failed.
    pub(crate) fn request_due(&mut self, number: u64) {
        let Some(request) = self.requests.all.get_mut(&number) else {
            return;
        };
        let open = mem::take(&mut request.open);
        request.count = 0;
        if matches!(request.form, Form::One | Form::Passed(_)) {
            let (id, emptied) = (request.id, request.empties());
            self.close(number);
            let failure = emptied.map_or(Failure::TimedOut, |node| self.evacuation_due(node));
            self.answer(id, Answer::Failed(failure));
            return;
        }
        let rolling_back = request.is_rolling_back();
        for process in open.into_values().flat_map(BTreeMap::into_keys) {
            if !rolling_back {
                request.failed.push((process, Failure::TimedOut));
            }
        }
        self.may_be_answered(number);
    }

    /// Answers a start or a stop of which nothing is open; or first rolls it back.
    fn may_be_answered(&mut self, number: u64) {
        let Some(request) = self.requests.all.get_mut(&number) else {
            return;
        };
        if request.count > 0 || matches!(request.form, Form::One | Form::Passed(_)) {
            return;
        }
        if request.must_roll_back() {
            self.roll_back(number);
            return;
        }
        let Some(request) = self.close(number) else {
            return;
        };
        let answer = match request.form {
            Form::Start { rolling_back, .. } => Answer::Started {
                started: request.started,
                failed: request.failed,
                rolled_back: rolling_back,
            },
            Form::Stop | Form::One | Form::Passed(_) => Answer::Stopped {
                stopped: request.stopped,
                failed: request.failed,
            },
        };
        self.answer(request.id, answer);
    }

    fn roll_back(&mut self, number: u64) {
        let shards = self.settings.shards;
        let Some(request) = self.requests.all.get_mut(&number) else {
            return;
        };
        let Form::Start { rolling_back, .. } = &mut request.form else {
            return;
        };
        *rolling_back = true;
        let mut ids: Vec<ProcessId> = Vec::new();
        for started in mem::take(&mut request.started) {
            if ids.last() != Some(&started.process) {
                ids.push(started.process.clone());
            }
        }
        for id in ids {
            request.failed.push((id.clone(), Failure::RolledBack));
            let shard = crate::placement::shard_of(&id, shards);
            request.add(shard, id, Ask::Stop);
        }
        let timeout = request.timeout;
        let due: Vec<ShardId> = request.open.keys().copied().collect();
        self.timers.set(Timer::Request(number), self.now + timeout);
        for shard in due {
            self.ask_home(number, shard);
        }
        self.may_be_answered(number);
    }

    fn close(&mut self, number: u64) -> Option<Request> {
        self.timers.clear(&Timer::Request(number));
        self.requests.all.remove(&number)
    }

    pub(crate) fn answer(&mut self, request: RequestId, answer: Answer) {
        self.effects.push_back(Effect::Answer { request, answer });
    }

    /// Who asks, for a home.
    pub(crate) const fn asker(node: NodeId, request: u64) -> Asker {
        Asker { node, request }
    }
}

impl Request {
    fn add(&mut self, shard: ShardId, process: ProcessId, ask: Ask) {
        let open = Open {
            ask,
            asked: None,
            again: false,
            home: None,
        };
        let before = self.open.entry(shard).or_default().insert(process, open);
        self.count += usize::from(before.is_none());
    }

    fn find(&mut self, shard: ShardId, process: &ProcessId) -> Option<&mut Open> {
        self.open.get_mut(&shard)?.get_mut(process)
    }

    fn take(&mut self, shard: ShardId, process: &ProcessId) -> bool {
        let Some(processes) = self.open.get_mut(&shard) else {
            return false;
        };
        let taken = processes.remove(process).is_some();
        if processes.is_empty() {
            self.open.remove(&shard);
        }
        self.count -= usize::from(taken);
        taken
    }

    /// The node that it was to empty.
    const fn empties(&self) -> Option<NodeId> {
        match &self.form {
            Form::Passed(passed) => passed.empties(),
            Form::Start { .. } | Form::Stop | Form::One => None,
        }
    }

    fn is_rolling_back(&self) -> bool {
        let Form::Start { rolling_back, .. } = self.form else {
            return false;
        };
        rolling_back
    }

    fn must_roll_back(&self) -> bool {
        let Form::Start {
            on_failure,
            rolling_back,
        } = self.form
        else {
            return false;
        };
        on_failure == OnFailure::Rollback && !rolling_back && !self.failed.is_empty()
    }

    fn note(&mut self, process: ProcessId, told: Told) {
        match told {
            Told::Started(hosts) => self.started.extend(hosts.into_iter().map(|host| Started {
                process: process.clone(),
                node: host.node,
                epoch: host.epoch,
            })),
            Told::Stopped(_) if self.is_rolling_back() => {}
            Told::Stopped(nodes) => self.stopped.push(Stopped { process, nodes }),
            Told::Failed(_) if self.is_rolling_back() => {}
            Told::Failed(failure) => self.failed.push((process, failure)),
            Told::Moved { .. } | Told::Done | Told::NotHome | Told::Located(_) => {}
        }
    }
}

fn one_answer(process: ProcessId, told: Told) -> Answer {
    match told {
        Told::Moved { node, pause_ns } => Answer::Moved {
            process,
            node,
            pause_ns,
        },
        Told::Failed(failure) => Answer::Failed(failure),
        Told::Located(hosts) => Answer::Located(hosts),
        Told::Started(_) | Told::Stopped(_) | Told::Done | Told::NotHome => Answer::Done,
    }
}
