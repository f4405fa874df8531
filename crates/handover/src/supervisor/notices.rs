//! `NOTIFY_SOCKET` of the instances: `READY=1` and friends, from programs that never heard of us.

use std::sync::Arc;

use handover_sys::notify::{Notification, NotifySocket};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

use super::driver::Command;
use crate::readable::readable;

/// Notices that may wait for the driver; then the socket is not read, and its senders wait.
const WAITING: usize = 64;

/// Forwards what arrives, with the sender's process id as the kernel vouches for it.
pub(super) fn serve(socket: NotifySocket, to: UnboundedSender<Command>) -> std::io::Result<()> {
    let socket = readable(socket)?;
    let places = Arc::new(Semaphore::new(WAITING));
    tokio::spawn(async move {
        loop {
            let Ok(mut ready) = socket.readable().await else {
                return;
            };
            match socket.get_ref().receive() {
                Ok(Some((sender, notices))) => {
                    for notice in notices {
                        if let Notification::Malformed(reason) = &notice {
                            tracing::warn!(pid = sender.pid, reason, "notify message");
                        }
                        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                            return;
                        };
                        let noticed = Command::Noticed {
                            pid: sender.pid,
                            notice,
                            place,
                        };
                        if to.send(noticed).is_err() {
                            return;
                        }
                    }
                }
                Ok(None) => ready.clear_ready(),
                Err(error) => tracing::warn!(%error, "notify socket"),
            }
        }
    });
    Ok(())
}
