//! Requests from within the process that runs the supervisor.

use handover_proto::outcome::Outcome;
use handover_proto::status::{Status, UpgradeRequest};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::driver::Command;

/// What can be asked of a [`Supervisor`](super::Supervisor) from beside it, without its control
/// socket. Cheap to clone; outlives the supervisor, which then answers nothing.
#[derive(Clone, Debug)]
pub struct Requests {
    pub(super) to: UnboundedSender<Command>,
}

impl Requests {
    /// Hands over and waits until that is over. `None` when the supervisor ended before. Dropping
    /// the future does not end the attempt.
    pub async fn upgrade(&self, request: UpgradeRequest) -> Option<Outcome> {
        let (answer, outcome) = oneshot::channel();
        let answer = Some(answer);
        self.to.send(Command::Upgrade { request, answer }).ok()?;
        outcome.await.ok()
    }

    /// Who serves, and what is going on. `None` when the supervisor has ended.
    pub async fn status(&self) -> Option<Status> {
        let (answer, status) = oneshot::channel();
        self.to.send(Command::Status { answer }).ok()?;
        status.await.ok()
    }
}
