//! Processes with the library, and the program that the command runs.

use std::os::unix::net::UnixDatagram;
use std::time::SystemTime;

use handover::container::Peer;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};

use super::process::{now, stamp};
use crate::Failure;

/// `peer PORT`: speaks as `bench/peers/handover-lib.js` does, for the port that its environment names.
pub(super) async fn peer(port: u16) -> Result<(), Failure> {
    let peer = Peer::new(SystemTime::now())?;
    peer.listen(move || async move { stamp("entered", port, now()) })
        .await?;
    eprintln!("ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while lines.next_line().await?.is_some() {
        let at = now();
        peer.announce().await?;
        stamp("announced", port, at);
    }
    Ok(())
}

/// `program PORT`: says that it is ready, and when; ends when it is told to, and says when.
pub(super) async fn program(port: u16) -> Result<(), Failure> {
    let mut told = signal(SignalKind::terminate())?;
    let socket = std::env::var_os("NOTIFY_SOCKET").ok_or("nobody wants to know")?;
    let sender = UnixDatagram::unbound()?;
    let at = now();
    sender.send_to(b"READY=1", socket)?;
    stamp("announced", port, at);
    told.recv().await;
    stamp("entered", port, now());
    Ok(())
}
