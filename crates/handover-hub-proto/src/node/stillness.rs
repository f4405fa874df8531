//! When a node stands still: its engine cannot vouch for it, or its partition rule says so.
//!
//! What stands still changes nothing and answers nothing; afterwards each process goes on once its
//! home has confirmed that it is still the one (H12).

use alloc::string::String;

use super::{Effect, HostOrder, Node};
use crate::event::Event;
use crate::message::Item;
use crate::row::Rows;
use handover_proto::moment::Moment;

/// Why nothing may happen here.
#[derive(Default)]
pub(crate) struct Stillness {
    fenced: bool,
    divided: bool,
    /// Others were fenced too, and come back: nobody's shards are taken before this.
    pub(crate) grace_until: Option<Moment>,
}

impl<R: Rows> Node<R> {
    /// Whether nothing may happen here.
    pub(crate) fn is_still(&self) -> bool {
        self.stillness.fenced || self.stillness.divided
    }

    pub(crate) fn why_still(&self) -> &'static str {
        if self.stillness.fenced {
            "its engine has not been heard for a lease's time"
        } else {
            "too few members can be reached"
        }
    }

    pub(crate) fn fenced(&mut self, fenced: bool) {
        let before = self.is_still();
        self.stillness.fenced = fenced;
        if !fenced {
            self.stillness.grace_until = Some(self.now + self.settings.grace);
        }
        self.stillness_changed(before);
    }

    /// The partition rule says whether this part is too small.
    pub(crate) fn divided(&mut self, divided: bool) {
        let before = self.is_still();
        self.stillness.divided = divided;
        self.stillness_changed(before);
    }

    fn stillness_changed(&mut self, before: bool) {
        if before == self.is_still() {
            return;
        }
        if self.is_still() {
            self.hosting.doubt_all();
            self.effects.push_back(Effect::Host(HostOrder::Suspend));
            let reason = String::from(self.why_still());
            self.effects
                .push_back(Effect::Report(Event::Suspended { reason }));
            return;
        }
        self.effects.push_back(Effect::Report(Event::Continued));
        if self.settings.guarantees.exclusive {
            self.confirm_again();
        }
        // Otherwise who owns what by now is still being told: the retry asks.
        self.members_changed();
        self.retry_later();
    }
}

impl Item {
    /// Whether a process may come to a node by it.
    pub(crate) const fn brings(&self) -> bool {
        matches!(self, Self::Grant { .. } | Self::Order(_))
    }

    /// Whether a node that stands still may take it: it only learns or tells what is.
    pub(crate) fn is_harmless(&self) -> bool {
        match self {
            Self::Changed { .. }
            | Self::Held { .. }
            | Self::Digest { .. }
            | Self::Began { .. }
            | Self::Fetch { .. }
            | Self::Whole { .. }
            | Self::Census { .. }
            | Self::Granted { .. }
            | Self::Ended { .. }
            | Self::Noted(_)
            | Self::Told { .. }
            | Self::Emptying(_)
            | Self::Answered { .. }
            | Self::Memory(_)
            | Self::Loads(_)
            | Self::Buried { .. }
            | Self::Unheard
            | Self::Declared { .. }
            | Self::DeclaredPart { .. }
            | Self::Declares { .. }
            | Self::FetchDeclared
            | Self::AskMoves { .. }
            | Self::ToldMoves { .. } => true,
            Self::Report { .. }
            | Self::Grant { .. }
            | Self::End { .. }
            | Self::Departed(_)
            | Self::Confirm { .. }
            | Self::Confirmed { .. }
            | Self::Order(_)
            | Self::Reported(_)
            | Self::Ask { .. }
            | Self::Evacuate { .. }
            | Self::Filled { .. }
            | Self::Board(_)
            | Self::Declare { .. }
            | Self::DeclarePart { .. } => false,
        }
    }
}
