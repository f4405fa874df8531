//! The machine stands still while the program is replaced by its successor.

use handover_hub_proto::node::{Handed, Input};
use tokio::sync::oneshot;

use super::{Driver, Sources, Stage};

/// What the driver is told about it.
pub(crate) enum Hold {
    /// Stand still, if nothing is under way; here goes what the successor's machine must know, or
    /// why not.
    Rest(oneshot::Sender<Result<Handed, String>>),
    /// Go on.
    GoOn,
}

impl Driver {
    /// Stands still if nothing is under way, until it is told to go on.
    pub(super) async fn rest(&mut self, sources: &mut Sources, hold: Hold) {
        let Hold::Rest(said) = hold else {
            return;
        };
        while let Ok(report) = sources.reports.try_recv() {
            self.occasions.host_says(&report);
            self.handle(Input::Host(report));
        }
        // A successor knows nothing of what is still to be done or said.
        self.finish();
        if let Some(reason) = self.unrest() {
            let _ = said.send(Err(reason));
            return;
        }
        if said.send(Ok(self.node.hand_over())).is_ok() {
            await_go_on(sources).await;
        }
    }

    /// Why it cannot stand still now.
    fn unrest(&self) -> Option<String> {
        let suspended = self.shared.view().suspended.clone();
        if let Some(reason) = suspended {
            return Some(format!("the node is suspended: {reason}"));
        }
        if self.fenced || !self.shared.may_act() {
            return Some("the node may not act: its lease is in doubt".to_owned());
        }
        if *self.stage.borrow() != Stage::Ready {
            return Some("the node is joining or leaving".to_owned());
        }
        let quiet = self.node.is_quiet();
        (!quiet).then(|| "processes are being started, stopped or moved".to_owned())
    }
}

/// Waits until it is told to go on; nothing else is heard meanwhile.
pub(super) async fn await_go_on(sources: &mut Sources) {
    while let Some(hold) = sources.holds.recv().await {
        match hold {
            Hold::GoOn => return,
            // Asked again by somebody who gave up waiting.
            Hold::Rest(said) => drop(said),
        }
    }
}
