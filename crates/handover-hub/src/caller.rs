//! The caller's side of messages to processes: the registry says where to, and it is sent again
//! until it is answered or its time is over.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handover_hub_proto::call::{Call, Effect, Input, Outcome as Ended, Settings};
use handover_hub_proto::identity::{Epoch, NodeId, ProcessId};
use handover_hub_proto::mailbox::Refusal as Why;
use handover_hub_proto::node::{Answer, Command, Failure};
use handover_hub_proto::placement::shard_of;
use handover_hub_proto::row::{Host, Role};
use handover_proto::moment::{Machine, Moment};
use tokio::time::{Instant, timeout_at};

use crate::calls::{Outcome, Pending};
use crate::cell::{Letter, Verdict};
use crate::error::{CallError, CommandError};
use crate::hub::Shared;
use crate::transport::frame::{self, Class, Refusal};
use crate::transport::{Frame, SendError};

/// How often the registry is asked whether the process has another host meanwhile.
const LOOK: Duration = Duration::from_millis(250);

/// A question to the home of a process that is on its way.
type Question<'a> = Pin<Box<dyn Future<Output = Result<Answer, CommandError>> + Send + 'a>>;

/// How long a cast looks for its process.
const CAST: Duration = Duration::from_secs(5);

/// One message on its way.
struct Errand<'a> {
    shared: &'a Arc<Shared>,
    process: &'a ProcessId,
    body: Bytes,
    pending: Option<Pending<'a>>,
    deadline: Instant,
    patience: Duration,
    /// This node's copy of the rows has none for the process, which may be new, or the copy not whole
    /// yet: its home is asked, which knows.
    question: Option<Question<'a>>,
    /// What the home said.
    known: Option<Known>,
    /// What the process said, if it did.
    said: Option<Result<Bytes, CallError>>,
}

/// What the home of a process says of it.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// Nobody runs it, and nobody is to.
    Missing,
    /// This one answers for it, if anybody does.
    Host(Option<Host>),
}

impl Shared {
    pub(crate) async fn call(
        self: &Arc<Self>,
        process: ProcessId,
        body: Bytes,
        patience: Duration,
    ) -> Result<Bytes, CallError> {
        self.admits(&body)?;
        let began = Instant::now();
        let Ok(pending) = tokio::time::timeout(patience, self.calls.begin(&process)).await else {
            let waited = patience;
            return Err(CallError::Deadline { process, waited });
        };
        let left = patience.saturating_sub(began.elapsed());
        let errand = Errand::new(self, &process, body, Some(pending), left);
        errand.run().await
    }

    pub(crate) async fn cast(
        self: &Arc<Self>,
        process: ProcessId,
        body: Bytes,
    ) -> Result<(), CallError> {
        self.admits(&body)?;
        let errand = Errand::new(self, &process, body, None, CAST);
        errand.run().await.map(drop)
    }

    /// Sends a cast on whose process moved away.
    pub(crate) fn cast_on(self: &Arc<Self>, process: ProcessId, body: Bytes) {
        let shared = Arc::clone(self);
        self.spawn(async move {
            if let Err(error) = shared.cast(process, body).await {
                tracing::debug!(%error, "a cast was lost");
            }
        });
    }

    fn admits(&self, body: &Bytes) -> Result<(), CallError> {
        let (limit, found) = (self.message_limit, body.len());
        if found > limit {
            return Err(CallError::TooLarge { limit, found });
        }
        Ok(())
    }

    /// Who answers calls to a process, as the registry of this node says.
    fn host_of(&self, process: &ProcessId) -> Option<Option<Host>> {
        self.registry.active(process)
    }
}

impl<'a> Errand<'a> {
    fn new(
        shared: &'a Arc<Shared>,
        process: &'a ProcessId,
        body: Bytes,
        pending: Option<Pending<'a>>,
        patience: Duration,
    ) -> Self {
        Self {
            shared,
            process,
            body,
            pending,
            deadline: Instant::now() + patience,
            patience,
            question: None,
            known: None,
            said: None,
        }
    }

    async fn run(mut self) -> Result<Bytes, CallError> {
        let mut call = Call::new(self.shared.now() + self.patience, Settings::default());
        loop {
            while let Some(effect) = call.poll_effect() {
                let input = match effect {
                    Effect::LookUp => Some(Input::Row(self.row())),
                    Effect::Send { to, epoch } => self.send(to, epoch).await,
                    Effect::Finish(ended) => return self.finish(ended),
                };
                if let Some(input) = input {
                    call.handle(self.shared.now(), input);
                }
            }
            if self.shared.gone.load(std::sync::atomic::Ordering::Acquire) {
                return Err(CallError::Left);
            }
            let input = self.wait(call.next_deadline()).await;
            call.handle(self.shared.now(), input);
        }
    }

    fn finish(self, ended: Ended) -> Result<Bytes, CallError> {
        match (ended, self.said) {
            (_, Some(said)) => said,
            (Ended::Answered, None) => Ok(Bytes::new()),
            (Ended::Unknown, None) => Err(CallError::Unknown(self.process.clone())),
            (Ended::TimedOut, None) => Err(CallError::Deadline {
                process: self.process.clone(),
                waited: self.patience,
            }),
        }
    }

    fn row(&mut self) -> Option<Option<Host>> {
        if let Some(host) = self.shared.host_of(self.process) {
            return Some(host);
        }
        match self.known.take() {
            Some(Known::Missing) => None,
            Some(Known::Host(host)) => Some(host),
            None => {
                self.ask();
                // It may run there, and answer before the question is.
                Some(self.home())
            }
        }
    }

    /// Asks the home of the process who runs it, unless it has been asked.
    fn ask(&mut self) {
        let (shared, process) = (self.shared, self.process);
        let timeout = self.deadline.saturating_duration_since(Instant::now());
        self.question.get_or_insert_with(|| {
            let process = process.clone();
            Box::pin(shared.command(Command::Locate { process, timeout }))
        });
    }

    /// The home answered, or could not be asked; then it is asked again at the next look.
    fn answered(&mut self, answer: Result<Answer, CommandError>) -> Input {
        self.question = None;
        let active = |host: &Host| host.role == Role::Active;
        self.known = match answer {
            Ok(Answer::Located(hosts)) => Some(Known::Host(hosts.into_iter().find(active))),
            Ok(Answer::Failed(Failure::Unknown(_))) => Some(Known::Missing),
            _ => None,
        };
        match self.known {
            Some(_) => Input::Row(self.row()),
            None => Input::Tick,
        }
    }

    fn home(&self) -> Option<Host> {
        let shard = shard_of(self.process, self.shared.registry.shards());
        let owner = self.shared.view().owners.get(&shard).copied()?;
        (owner.node != self.shared.me).then_some(Host {
            node: owner.node,
            epoch: Epoch::default(),
            role: Role::Active,
            filled: true,
        })
    }

    /// Sends it. Returns what is known of it at once.
    async fn send(&mut self, to: NodeId, epoch: Epoch) -> Option<Input> {
        if to == self.shared.me {
            return self.deliver(epoch);
        }
        let frame = match &self.pending {
            Some(pending) => {
                pending.sent_to(to);
                let ticket = pending.ticket();
                let left = self.deadline.saturating_duration_since(Instant::now());
                Frame::Call(frame::Call {
                    id: ticket.call,
                    floor: ticket.floor,
                    process: self.process.clone(),
                    epoch,
                    patience_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
                    body: self.body.clone(),
                })
            }
            None => Frame::Cast(frame::Cast {
                id: self.shared.calls.number(),
                process: self.process.clone(),
                epoch,
                body: self.body.clone(),
            }),
        };
        loop {
            match self.shared.transport.send(to, frame.clone()) {
                // Nobody answers a cast: whoever took it has it.
                Ok(()) if self.pending.is_none() => return Some(Input::Answered),
                Ok(()) => return None,
                Err(SendError::Full(_)) => {
                    let room = self.shared.transport.room(to, Class::Calls);
                    if timeout_at(self.deadline, room).await.is_err() {
                        return Some(Input::Tick);
                    }
                }
                Err(SendError::Unreachable(_)) => return Some(Input::Disconnected(to)),
                Err(SendError::TooLarge { limit, found }) => {
                    self.said = Some(Err(CallError::TooLarge { limit, found }));
                    return Some(Input::Answered);
                }
            }
        }
    }

    /// The process is on this node.
    fn deliver(&mut self, epoch: Epoch) -> Option<Input> {
        let me = self.shared.me;
        let Some(cell) = self.shared.cells.get(self.process) else {
            return Some(refused(me, Why::NotHere));
        };
        let letter = Letter {
            ticket: self.pending.as_ref().map(Pending::ticket),
            own: false,
            body: self.body.clone(),
        };
        if let Some(pending) = &self.pending {
            pending.sent_to(me);
        }
        match cell.receive(self.shared, letter, epoch) {
            Verdict::Taken if self.pending.is_none() => Some(Input::Answered),
            Verdict::Taken => None,
            Verdict::Reply(_, reply) => self.heard(me, Outcome::Reply(reply)),
            Verdict::Refused(refusal) => self.heard(me, Outcome::Refused(refusal)),
            Verdict::Redirect(to, epoch) => self.heard(me, Outcome::Redirect(to, epoch)),
            Verdict::Settled => None,
        }
    }

    /// Something was said about it.
    fn heard(&mut self, from: NodeId, outcome: Outcome) -> Option<Input> {
        let process = || self.process.clone();
        let (said, input) = match outcome {
            Outcome::Reply(reply) => (Some(Ok(reply)), Input::Answered),
            Outcome::Refused(Refusal::Failed(reason)) => {
                let process = process();
                let error = CallError::Request { process, reason };
                (Some(Err(error)), Input::Answered)
            }
            Outcome::Refused(Refusal::Crashed(reason)) => {
                let process = process();
                let error = CallError::Crashed { process, reason };
                (Some(Err(error)), Input::Answered)
            }
            Outcome::Refused(Refusal::Full) => (None, refused(from, Why::Full)),
            Outcome::Refused(Refusal::NotHere | Refusal::Epoch { .. } | Refusal::Suspended) => {
                (None, refused(from, Why::NotHere))
            }
            Outcome::Redirect(to, epoch) => (None, Input::Redirected { from, to, epoch }),
            Outcome::Disconnected => (None, Input::Disconnected(from)),
        };
        self.said = said;
        Some(input)
    }

    /// Waits for what happens next.
    async fn wait(&mut self, deadline: Option<Moment>) -> Input {
        let now = self.shared.now();
        let until_deadline = deadline.map_or(LOOK, |deadline| deadline.since(now));
        let wait = until_deadline.min(LOOK);
        let (pending, question) = (&self.pending, &mut self.question);
        let heard = async {
            match pending {
                Some(pending) => tokio::time::timeout(wait, pending.outcome()).await.ok(),
                None => {
                    tokio::time::sleep(wait).await;
                    None
                }
            }
        };
        let answer = async {
            match question {
                Some(question) => question.await,
                None => std::future::pending().await,
            }
        };
        let heard = tokio::select! {
            biased;
            heard = heard => heard,
            answer = answer => return self.answered(answer),
        };
        match heard {
            Some((from, outcome)) => self.heard(from, outcome).unwrap_or(Input::Tick),
            None if wait < until_deadline => Input::Row(self.row()),
            None => Input::Tick,
        }
    }
}

fn refused(from: NodeId, why: Why) -> Input {
    Input::Refused { from, why }
}
