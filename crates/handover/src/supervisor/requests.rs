//! Requests from within the process that runs the supervisor.

use std::io;

use handover_proto::outcome::Outcome;
use handover_proto::settings::Stop;
use handover_proto::status::{Status, UpgradeRequest};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::driver::Command;
use super::duplicates::SharedListener;

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

    /// Stops the service: [`Supervisor::run`](super::Supervisor::run) returns when the last process
    /// has gone. A more urgent way may follow a less urgent one. Without effect when the supervisor
    /// has ended.
    pub fn stop(&self, how: Stop) {
        let _ = self.to.send(Command::Stop { how });
    }

    /// Duplicates of the listeners as the present version has them. From here on the paths of Unix
    /// sockets among them stay when the supervisor ends.
    ///
    /// # Errors
    /// Out of descriptors, or the supervisor has ended.
    pub async fn listeners(&self) -> io::Result<Vec<SharedListener>> {
        let (answer, listeners) = oneshot::channel();
        let ended = || io::Error::other("the supervisor has ended");
        let asked = self.to.send(Command::Listeners { answer });
        asked.map_err(|_| ended())?;
        listeners.await.map_err(|_| ended())?
    }

    /// Who serves, and what is going on. `None` when the supervisor has ended.
    pub async fn status(&self) -> Option<Status> {
        let (answer, status) = oneshot::channel();
        self.to.send(Command::Status { answer }).ok()?;
        status.await.ok()
    }
}
