//! Who serves, if not this container.

use super::Container;
use crate::command::peer::voice::Voice;
use crate::exit::ExitCode;
use crate::view::peer::{Note, Serves};
use std::time::Duration;

/// How long to ask who serves, before a container that failed calls it nobody.
const ASK_FOR: Duration = Duration::from_secs(1);

impl Container {
    /// The program failed for good, and no older instance waits for it.
    pub(super) async fn give_up(&mut self, code: ExitCode, voice: &mut Voice) {
        let own = self.conduct.standing().peer;
        let asked = self.builder.clone().who_serves(ASK_FOR).await;
        let found = asked.unwrap_or_default();
        let other = found.iter().rev().find(|one| one.peer != own);
        let other = other.map(|one| one.peer);
        if let Some(peer) = other {
            voice.serves(Serves::Peer(peer));
        }
        voice.note(&Note::GaveUp { serves: other });
        let code = match other {
            Some(_) => ExitCode::RolledBack,
            None => code,
        };
        self.end(code, Duration::ZERO).await;
    }
}
