//! Becoming the incumbent that coordinates itself, where the program may be taken over.

use handover_proto::phase::Mode;

use super::{Conduct, Surroundings};
use crate::link::LinkEvent;

impl<S: Surroundings> Conduct<S> {
    /// Looks for a coordinator: begins to be one, or knocks where a new one will be.
    pub(super) fn reconnect(&mut self) {
        let Some(host) = self.core.host.clone() else {
            if self.supervised || self.surroundings.is_beyond() {
                self.surroundings.seek();
            }
            return;
        };
        self.enthrone();
        let mode = match &self.owner {
            Some(_) => Mode::Exclusive,
            None => Mode::Overlap,
        };
        let begun = host.start(mode);
        match begun.and_then(|channel| self.surroundings.attach(channel)) {
            Ok(()) => self.hear(LinkEvent::Connected),
            Err(error) => tracing::error!(
                %error,
                "this process serves, but cannot be taken over: it needs a thread and descriptors"
            ),
        }
    }

    /// This process serves from here on: says so where nobody else does.
    pub(super) fn enthrone(&mut self) {
        let Some(host) = &self.core.host else { return };
        if std::mem::replace(&mut self.enthroned, true) {
            return;
        }
        // From here on this process answers for itself, to systemd too.
        self.supervised = false;
        if let Some(file) = &host.pid_file {
            file.name(std::process::id());
        }
        if host.within {
            // Not before: systemd listens to the main process only, which we are by now.
            self.notice.promise("READY=1");
        }
    }

    /// Our own instance goes, on request of the program or of a person.
    pub(super) fn abdicate(&self) {
        if let Some(host) = &self.core.host {
            host.terminate();
        }
    }

    /// No listener accepts any more.
    pub(super) fn close_listeners(&mut self) {
        if let Some(host) = &self.core.host {
            host.leave();
        }
        self.surroundings.close();
    }

    /// Nothing of the service is left in this process.
    pub(super) fn vacate(&self) {
        if let Some(host) = &self.core.host
            && let Some(file) = &host.pid_file
        {
            file.remove();
        }
    }

    /// Whether the end of this process is not the end of the service for systemd.
    pub(super) fn is_replaced(&self) -> bool {
        self.core
            .host
            .as_ref()
            .is_some_and(|host| host.is_replaced())
    }
}
