//! The receiving side without its I/O: frames in, sets of items out.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem;

use super::{
    Agreed, Arrival, AssemblyError, Body, Budget, Decoded, Frame, MAX_SEGMENTS, MAX_WAITING, Need,
    Part, Piece, Received,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Base,
    Delta,
    Complete,
}

impl Stage {
    const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Delta | Self::Complete => "delta",
        }
    }
}

/// A stream that has not ended.
#[derive(Clone, Debug)]
struct Stream<D> {
    item: Received<D>,
    /// The segments' checksums, as [`Frame::StreamEnd`] sums them up.
    checksums: Vec<u8>,
    damaged: bool,
}

/// What a successor does with the frames after the manifest.
///
/// Descriptors are handed in as they arrive, before the frames that came with the same bytes; the
/// oldest that waits belongs to the next frame that announces one. After an error it takes nothing
/// more: drop it, and with it all descriptors.
#[derive(Debug)]
pub struct Assembly<D> {
    agreed: BTreeMap<String, (u32, Need)>,
    budget: Budget,
    checksum: fn(&[u8]) -> u64,
    stage: Stage,
    waiting: VecDeque<D>,
    stream: Option<Stream<D>>,
    set: Vec<Received<D>>,
    /// Names in the set, also of what was left out of it.
    names: BTreeSet<String>,
    /// Required items that have not come yet.
    missing: BTreeSet<String>,
    items: u64,
    bytes: u64,
    segments: u64,
}

impl<D> Assembly<D> {
    /// A receiver of what was agreed on. `checksum` is xxh3-64; it is called with inline content
    /// and with the checksums of a stream's segments.
    #[must_use]
    pub fn new(agreed: &[Agreed], budget: Budget, checksum: fn(&[u8]) -> u64) -> Self {
        let required = agreed.iter().filter(|item| item.need == Need::Required);
        Self {
            missing: required.map(|item| item.name.clone()).collect(),
            agreed: agreed
                .iter()
                .map(|item| (item.name.clone(), (item.version, item.need)))
                .collect(),
            budget,
            checksum,
            stage: Stage::Base,
            waiting: VecDeque::new(),
            stream: None,
            set: Vec::new(),
            names: BTreeSet::new(),
            items: 0,
            bytes: 0,
            segments: 0,
        }
    }

    /// Bytes of content so far, as announced.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Items so far, base and delta together.
    #[must_use]
    pub const fn items(&self) -> u64 {
        self.items
    }

    /// Whether the end was received and everything was in order.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Complete)
    }

    /// A descriptor arrived, attached to bytes that are not read as frames yet.
    ///
    /// # Errors
    /// [`AssemblyError::TooManyDescriptors`] if more than [`MAX_WAITING`] wait; it is dropped.
    pub fn descriptor(&mut self, descriptor: D) -> Result<(), AssemblyError> {
        if self.waiting.len() >= MAX_WAITING {
            return Err(AssemblyError::TooManyDescriptors);
        }
        self.waiting.push_back(descriptor);
        Ok(())
    }

    /// The next frame that was read. With one of unknown kind goes the descriptor it announces.
    ///
    /// # Errors
    /// Why it is not what was agreed on.
    pub fn accept(&mut self, decoded: Decoded) -> Result<Arrival<D>, AssemblyError> {
        match decoded {
            Decoded::Frame(frame) => self.frame(frame),
            Decoded::Unknown {
                has_descriptor: true,
                kind,
            } => match self.waiting.pop_front() {
                Some(_) => Ok(Arrival::More),
                None => Err(AssemblyError::NoDescriptor {
                    name: format!("a frame of kind {kind:#06x}"),
                }),
            },
            Decoded::Unknown { .. } => Ok(Arrival::More),
        }
    }

    fn frame(&mut self, frame: Frame) -> Result<Arrival<D>, AssemblyError> {
        let found = frame.name();
        if let Frame::Refused { reason } = frame {
            return Err(AssemblyError::Refused { reason });
        }
        if self.stage == Stage::Complete {
            return Err(AssemblyError::OutOfOrder {
                expected: "nothing after End",
                found,
            });
        }
        self.undisturbed(&frame)?;
        match frame {
            Frame::Item {
                name,
                version,
                length,
                checksum,
                body,
            } => self.item(name, version, length, checksum, body),
            Frame::Segment {
                name,
                version,
                seq,
                length,
                checksum,
                body,
            } => {
                self.open(name, version, seq)?;
                self.segment(seq, length, checksum, body)
            }
            Frame::StreamEnd {
                name,
                version,
                length,
                checksum,
            } => {
                self.open(name, version, 0)?;
                self.stream_end(length, checksum)
            }
            Frame::BaseEnd if self.stage == Stage::Base => {
                self.stage = Stage::Delta;
                self.names.clear();
                Ok(Arrival::Base(mem::take(&mut self.set)))
            }
            Frame::End { items, bytes } if self.stage == Stage::Delta => self.end(items, bytes),
            Frame::End { .. } | Frame::BaseEnd => Err(AssemblyError::OutOfOrder {
                expected: match self.stage {
                    Stage::Base => "an item or BaseEnd",
                    Stage::Delta | Stage::Complete => "an item or End",
                },
                found,
            }),
            Frame::Manifest(_) | Frame::Refused { .. } => Err(AssemblyError::OutOfOrder {
                expected: "an item, BaseEnd or End",
                found,
            }),
        }
    }

    /// To be asked when the channel has ended.
    ///
    /// # Errors
    /// [`AssemblyError::Ended`] unless it is complete.
    pub fn ended(&self) -> Result<(), AssemblyError> {
        if self.is_complete() {
            return Ok(());
        }
        let items = self.items;
        Err(AssemblyError::Ended { items })
    }

    /// Within a stream nothing comes but its own.
    fn undisturbed(&self, frame: &Frame) -> Result<(), AssemblyError> {
        let Some(stream) = &self.stream else {
            return Ok(());
        };
        let found = match frame {
            Frame::Segment { name, .. } | Frame::StreamEnd { name, .. }
                if *name == stream.item.name =>
            {
                return Ok(());
            }
            Frame::Item { name, .. }
            | Frame::Segment { name, .. }
            | Frame::StreamEnd { name, .. } => {
                format!("{} of {name:?}", frame.name())
            }
            Frame::Manifest(_) | Frame::BaseEnd | Frame::End { .. } | Frame::Refused { .. } => {
                frame.name().to_string()
            }
        };
        Err(AssemblyError::WithinStream {
            name: stream.item.name.clone(),
            expected: stream.item.pieces.len() as u64,
            found,
        })
    }

    /// An item begins: agreed on, in its version, for the first time in this set, and not too many.
    fn admit(&mut self, name: &str, version: u32) -> Result<Need, AssemblyError> {
        let Some(&(expected, need)) = self.agreed.get(name) else {
            let name = name.to_string();
            return Err(AssemblyError::NotAgreed { name });
        };
        if version != expected {
            return Err(AssemblyError::WrongVersion {
                name: name.to_string(),
                expected,
                found: version,
            });
        }
        if !self.names.insert(name.to_string()) {
            return Err(AssemblyError::Twice {
                name: name.to_string(),
                set: self.stage.name(),
            });
        }
        let budget = self.budget.items;
        if self.items >= budget {
            return Err(AssemblyError::TooManyItems { budget });
        }
        self.items += 1;
        Ok(need)
    }

    fn spend(&mut self, length: u64) -> Result<(), AssemblyError> {
        let (budget, found) = (self.budget.bytes, self.bytes.saturating_add(length));
        if found > budget {
            return Err(AssemblyError::TooMuch { budget, found });
        }
        self.bytes = found;
        Ok(())
    }

    fn part(&mut self, name: &str, body: Body) -> Result<Part<D>, AssemblyError> {
        match body {
            Body::Inline(bytes) => Ok(Part::Inline(bytes)),
            Body::Descriptor => match self.waiting.pop_front() {
                Some(descriptor) => Ok(Part::Descriptor(descriptor)),
                None => Err(AssemblyError::NoDescriptor {
                    name: name.to_string(),
                }),
            },
        }
    }

    /// Whether inline content is what was sent. A descriptor's is verified where it is read.
    fn intact(&self, name: &str, need: Need, piece: &Piece<D>) -> Result<bool, AssemblyError> {
        let (Part::Inline(bytes), Some(expected)) = (&piece.part, piece.checksum) else {
            return Ok(true);
        };
        self.compare(name, need, expected, (self.checksum)(bytes))
    }

    fn compare(
        &self,
        name: &str,
        need: Need,
        expected: u64,
        found: u64,
    ) -> Result<bool, AssemblyError> {
        if found != expected && need == Need::Required {
            return Err(AssemblyError::Damaged {
                name: name.to_string(),
                expected,
                found,
            });
        }
        Ok(found == expected)
    }

    fn item(
        &mut self,
        name: String,
        version: u32,
        length: u64,
        checksum: Option<u64>,
        body: Body,
    ) -> Result<Arrival<D>, AssemblyError> {
        let need = self.admit(&name, version)?;
        self.spend(length)?;
        let part = self.part(&name, body)?;
        let piece = Piece {
            part,
            length,
            checksum,
        };
        let intact = self.intact(&name, need, &piece)?;
        let pieces = Vec::from([piece]);
        let item = Received {
            name,
            version,
            need,
            length,
            pieces,
        };
        Ok(self.keep(item, intact))
    }

    fn keep(&mut self, item: Received<D>, intact: bool) -> Arrival<D> {
        if !intact {
            return Arrival::LeftOut { name: item.name };
        }
        self.missing.remove(&item.name);
        self.set.push(item);
        Arrival::More
    }

    /// Begins a stream if none runs; [`Self::undisturbed`] saw to it that one that runs is this.
    fn open(&mut self, name: String, version: u32, seq: u64) -> Result<(), AssemblyError> {
        if let Some(stream) = &self.stream {
            if version == stream.item.version {
                return Ok(());
            }
            return Err(AssemblyError::WrongVersion {
                name,
                expected: stream.item.version,
                found: version,
            });
        }
        let need = self.admit(&name, version)?;
        if seq != 0 {
            return Err(AssemblyError::WrongSegment {
                name,
                expected: 0,
                found: seq,
            });
        }
        self.stream = Some(Stream {
            item: Received {
                name,
                version,
                need,
                length: 0,
                pieces: Vec::new(),
            },
            checksums: Vec::new(),
            damaged: false,
        });
        Ok(())
    }

    fn segment(
        &mut self,
        seq: u64,
        length: u64,
        checksum: u64,
        body: Body,
    ) -> Result<Arrival<D>, AssemblyError> {
        let Some(mut stream) = self.stream.take() else {
            return Ok(Arrival::More);
        };
        let (name, need) = (stream.item.name.as_str(), stream.item.need);
        let expected = stream.item.pieces.len() as u64;
        if seq != expected {
            return Err(AssemblyError::WrongSegment {
                name: name.to_string(),
                expected,
                found: seq,
            });
        }
        if self.segments >= MAX_SEGMENTS {
            return Err(AssemblyError::TooManySegments);
        }
        self.segments += 1;
        self.spend(length)?;
        let part = self.part(name, body)?;
        let piece = Piece {
            part,
            length,
            checksum: Some(checksum),
        };
        stream.damaged |= !self.intact(name, need, &piece)?;
        stream.checksums.extend(checksum.to_le_bytes());
        // Cannot overflow: the budget counts it too.
        stream.item.length = stream.item.length.saturating_add(length);
        stream.item.pieces.push(piece);
        self.stream = Some(stream);
        Ok(Arrival::More)
    }

    fn stream_end(&mut self, length: u64, checksum: u64) -> Result<Arrival<D>, AssemblyError> {
        let Some(Stream {
            item,
            checksums,
            damaged,
        }) = self.stream.take()
        else {
            return Ok(Arrival::More);
        };
        if length != item.length {
            return Err(AssemblyError::WrongLength {
                what: format!("the stream of {:?}", item.name),
                expected: length,
                found: item.length,
            });
        }
        let found = (self.checksum)(&checksums);
        let intact = self.compare(&item.name, item.need, checksum, found)?;
        Ok(self.keep(item, intact && !damaged))
    }

    fn end(&mut self, items: u64, bytes: u64) -> Result<Arrival<D>, AssemblyError> {
        if !self.waiting.is_empty() {
            let found = self.waiting.len();
            return Err(AssemblyError::StrayDescriptors { found });
        }
        if items != self.items {
            return Err(AssemblyError::WrongCount {
                expected: items,
                found: self.items,
            });
        }
        if bytes != self.bytes {
            return Err(AssemblyError::WrongLength {
                what: "everything".to_string(),
                expected: bytes,
                found: self.bytes,
            });
        }
        if !self.missing.is_empty() {
            let names = mem::take(&mut self.missing).into_iter().collect();
            return Err(AssemblyError::Missing { names });
        }
        self.stage = Stage::Complete;
        Ok(Arrival::Complete(mem::take(&mut self.set)))
    }
}
