//! `NOTIFY_SOCKET` of the instances: `READY=1` and friends, from programs that never heard of us.

use handover_sys::notify::{Notification, NotifySocket};
use tokio::sync::mpsc::UnboundedSender;

use super::driver::Command;
use super::readable::readable;

/// Forwards what arrives, with the sender's process id as the kernel vouches for it.
pub(super) fn serve(socket: NotifySocket, to: UnboundedSender<Command>) -> std::io::Result<()> {
    let socket = readable(socket)?;
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
                        if to
                            .send(Command::Noticed {
                                pid: sender.pid,
                                notice,
                            })
                            .is_err()
                        {
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
