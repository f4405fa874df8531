//! A container that has handed over and is started again, by a restart policy most likely.

use super::marker::{Marker, Place};
use super::options::Options;
use super::signals::{Signalled, Signals};
use super::voice::Voice;
use crate::error::CliError;
use crate::view::peer::{Note, Serves};
use handover::container::Successor;
use std::time::Duration;

/// How long whoever serves may take to answer: the question is repeated meanwhile.
const ASK_FOR: Duration = Duration::from_secs(3);

/// How long a peer of handover-lib is listened for, which cannot be asked: it announces itself every
/// ten seconds.
const LISTEN_FOR: Duration = Duration::from_secs(12);

/// What a container is to do that is started.
pub(super) enum Revival {
    /// Serve: it has not handed over, or nobody serves whom it handed over to.
    Serves,
    /// Nothing; its successor serves, or the platform wants it gone.
    Quiet,
}

/// Finds out, and if it is to be quiet, is so until the platform wants it gone.
///
/// # Errors
/// Nobody could be asked.
pub(super) async fn revive(
    options: &Options,
    place: &Place,
    signals: &mut Signals,
    voice: &mut Voice,
) -> Result<Revival, CliError> {
    let marker = match place.read() {
        Ok(Some(marker)) => marker,
        Ok(None) => return Ok(Revival::Serves),
        Err(reason) => {
            voice.doubt(reason);
            return Ok(Revival::Serves);
        }
    };
    let waits = match marker.by {
        Successor::Legacy { .. } => LISTEN_FOR,
        Successor::Peer { .. } | Successor::Nobody => ASK_FOR,
    };
    let found = tokio::select! {
        found = successor(options, &marker) => found?,
        () = stopped(signals) => return Ok(Revival::Quiet),
    };
    let Some(serves) = found else {
        voice.note(&Note::ServesAgain { waited: waits });
        place.remove();
        return Ok(Revival::Serves);
    };
    let exits = options.exit_when_done;
    voice.serves(serves);
    voice.note(&Note::StaysRetired { serves, exits });
    // The platform may have missed it, or have removed it.
    if let Err(error) = options.complete.write() {
        voice.doubt(error);
    }
    if !exits {
        stopped(signals).await;
    }
    Ok(Revival::Quiet)
}

/// Who serves, if they came after this container let go.
async fn successor(options: &Options, marker: &Marker) -> Result<Option<Serves>, CliError> {
    let ask = || options.builder.clone();
    if let Successor::Legacy { time_ms } = marker.by {
        let heard = ask().legacy_serves(time_ms, LISTEN_FOR).await?;
        return Ok(heard.map(|_| Serves::Legacy));
    }
    let found = ask().who_serves(ASK_FOR).await?;
    let mut later = found.iter().rev();
    let later = later.find(|one| one.order.came_after(&marker.order));
    Ok(later.map(|one| Serves::Peer(one.peer)))
}

async fn stopped(signals: &mut Signals) {
    while signals.next().await == Signalled::ChildEnded {}
}
