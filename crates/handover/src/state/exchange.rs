//! One end of a state channel without its I/O: bytes and descriptors in, bytes and descriptors out,
//! and what happened on the way. Shared by all drivers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use handover_proto::state::{
    self as wire, Arrival, Assembly, Budget, Decoded, Frame, ItemSpec, Manifest, Reader, Terms,
    VERSION_OLDEST,
};
use handover_sys::memfd::SealedMemfd;
use xxhash_rust::xxh3::xxh3_64;

use super::outbox::{Outbox, Outgoing};
use super::{State, StateBudget};

/// Descriptors that may arrive before the manifest is read: one read brings at most one.
const MAX_EARLY: usize = 1;

/// Which end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Writes items.
    Incumbent,
    /// Reads items.
    Successor,
}

/// What happened on a channel.
#[derive(Debug)]
pub(crate) enum Event {
    /// Both manifests are known, and fit.
    Agreed(Terms),
    /// They do not fit; the words are for people. Nothing more comes.
    Disagreed(String),
    /// The base is here, whole.
    Base(State),
    /// The delta is here, and everything is as it must be. Nothing more comes.
    Complete(State),
    /// The end was given to the kernel. Nothing more comes.
    Sent,
    /// The other side closed it without a word: it gave up, or it is dead.
    Ended,
    /// The channel is of no use any more.
    Broken(String),
}

/// A frame on its way out.
#[derive(Debug)]
struct Parcel {
    bytes: Vec<u8>,
    sent: usize,
    /// Goes with the first byte.
    descriptor: Option<OwnedFd>,
    last: bool,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Exchange {
    side: Side,
    ours: Manifest,
    budget: Budget,
    reader: Reader,
    assembly: Option<Assembly<SealedMemfd>>,
    /// Descriptors that came before there is an assembly.
    arrived: Vec<SealedMemfd>,
    version: u16,
    outbox: Arc<Outbox>,
    parcel: Option<Parcel>,
    /// Nothing is left to do here.
    over: bool,
}

impl Exchange {
    pub(crate) fn new(
        side: Side,
        items: Vec<ItemSpec>,
        budget: StateBudget,
        outbox: Arc<Outbox>,
    ) -> Self {
        let ours = Manifest::new(items);
        let greeting = Frame::Manifest(ours.clone());
        Self {
            side,
            ours,
            budget: Budget {
                bytes: budget.bytes,
                ..Budget::default()
            },
            reader: Reader::new(),
            assembly: None,
            arrived: Vec::new(),
            version: VERSION_OLDEST,
            outbox,
            parcel: Some(Parcel {
                bytes: wire::encode(&greeting, VERSION_OLDEST),
                sent: 0,
                descriptor: None,
                last: false,
            }),
            over: false,
        }
    }

    /// Whether nothing is left to do here.
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    /// What to send next: bytes, and the descriptor that goes with the first of them.
    pub(crate) fn outgoing(&mut self) -> Option<(&[u8], Option<BorrowedFd<'_>>)> {
        if self.parcel.is_none() {
            let outgoing = self.outbox.pop()?;
            self.parcel = Some(self.pack(outgoing));
        }
        let parcel = self.parcel.as_ref()?;
        let rest = parcel.bytes.get(parcel.sent..)?;
        Some((rest, parcel.descriptor.as_ref().map(AsFd::as_fd)))
    }

    fn pack(&self, outgoing: Outgoing) -> Parcel {
        let Outgoing { frame, descriptor } = outgoing;
        Parcel {
            bytes: wire::encode(&frame, self.version),
            sent: 0,
            descriptor,
            last: matches!(frame, Frame::End { .. } | Frame::Refused { .. }),
        }
    }

    /// So many of the bytes went out, and the descriptor with them.
    pub(crate) fn sent(&mut self, bytes: usize) -> Option<Event> {
        let parcel = self.parcel.as_mut()?;
        parcel.sent += bytes;
        parcel.descriptor = None;
        if parcel.sent < parcel.bytes.len() {
            return None;
        }
        let last = parcel.last;
        self.parcel = None;
        if !last || self.over {
            return None;
        }
        self.over = true;
        Some(Event::Sent)
    }

    /// What arrived.
    pub(crate) fn feed(&mut self, bytes: &[u8], descriptors: Vec<OwnedFd>) -> Vec<Event> {
        let mut events = Vec::new();
        if let Err(reason) = self.take(bytes, descriptors, &mut events) {
            self.refuse(&reason);
            events.push(Event::Broken(reason));
        }
        events
    }

    fn take(
        &mut self,
        bytes: &[u8],
        descriptors: Vec<OwnedFd>,
        events: &mut Vec<Event>,
    ) -> Result<(), String> {
        for descriptor in descriptors {
            // Checked before anything believes it to be what was announced (I8).
            self.arrived
                .push(SealedMemfd::from_fd(descriptor).map_err(text)?);
        }
        self.reader.push(bytes).map_err(text)?;
        while !self.over {
            self.pass_descriptors()?;
            let Some(decoded) = self.reader.next_frame().map_err(text)? else {
                break;
            };
            events.extend(self.decoded(decoded)?);
        }
        Ok(())
    }

    /// One can arrive in one read with the manifest that comes before its frame.
    fn pass_descriptors(&mut self) -> Result<(), String> {
        match &mut self.assembly {
            Some(assembly) => self
                .arrived
                .drain(..)
                .try_for_each(|memory| assembly.descriptor(memory).map_err(text)),
            None if self.arrived.len() > MAX_EARLY => {
                Err("descriptors came that nobody expects".into())
            }
            None => Ok(()),
        }
    }

    fn decoded(&mut self, decoded: Decoded) -> Result<Option<Event>, String> {
        if let Decoded::Frame(Frame::Manifest(theirs)) = decoded {
            return Ok(Some(self.agree(&theirs)));
        }
        if let Some(assembly) = &mut self.assembly {
            return match assembly.accept(decoded).map_err(text)? {
                Arrival::More => Ok(None),
                Arrival::LeftOut { name } => {
                    tracing::warn!(item = name, "arrived damaged; going on without it");
                    Ok(None)
                }
                Arrival::Base(items) => Ok(Some(Event::Base(State::new(items, false)))),
                Arrival::Complete(items) => {
                    self.over = true;
                    Ok(Some(Event::Complete(State::new(items, true))))
                }
            };
        }
        match decoded {
            Decoded::Frame(Frame::Refused { reason }) => Err(format!("it refused: {reason}")),
            Decoded::Frame(frame) => Err(format!(
                "a successor may only say Manifest or Refused, but said {}",
                frame.name()
            )),
            Decoded::Unknown { .. } => Ok(None),
        }
    }

    fn agree(&mut self, theirs: &Manifest) -> Event {
        let terms = match self.side {
            Side::Incumbent => Terms::between(&self.ours, theirs),
            Side::Successor => Terms::between(theirs, &self.ours),
        };
        match terms {
            Ok(terms) => {
                self.version = terms.version;
                if self.side == Side::Successor {
                    self.assembly = Some(Assembly::new(&terms.items, self.budget, xxh3_64));
                }
                Event::Agreed(terms)
            }
            Err(disagreement) => {
                let reason = disagreement.to_string();
                self.refuse(&reason);
                Event::Disagreed(reason)
            }
        }
    }

    /// Says no, as far as there is still room to say it, and is over.
    fn refuse(&mut self, reason: &str) {
        self.over = true;
        self.outbox.close(reason);
        let frame = Frame::Refused {
            reason: reason.to_owned(),
        };
        let descriptor = None;
        // Half a frame on its way must be ended first; the other side finds the end of the channel
        // where this does not get through.
        if self.parcel.as_ref().is_none_or(|parcel| parcel.sent == 0) {
            self.parcel = Some(self.pack(Outgoing { frame, descriptor }));
        }
    }

    /// The other side has closed.
    pub(crate) fn ended(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        self.over = true;
        self.outbox.close("the other instance is gone");
        Some(Event::Ended)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
