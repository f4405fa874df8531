//! Why bytes are no frame, and frames no state.

use alloc::string::String;
use alloc::vec::Vec;

use super::{
    Disagreement, ItemError, MAGIC, MAX_FRAME, MAX_INLINE, MAX_SEGMENTS, MAX_WAITING,
    VERSION_NEWEST, VERSION_OLDEST,
};
use crate::frame::buffer::Fault;
use crate::frame::{self, HEADER_BYTES};

/// Why bytes are not a frame of the state channel. After any of them the channel is of no use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FrameError {
    /// A frame announces more than [`MAX_FRAME`] bytes.
    #[error(
        "a frame of {found} bytes is announced, at most {MAX_FRAME} are allowed; \
         the peer does not speak this protocol"
    )]
    TooLong {
        /// The announced length.
        found: u32,
    },
    /// A frame has no room for its version and kind.
    #[error("a frame of {found} bytes cannot hold its header of {HEADER_BYTES}")]
    TooShort {
        /// The announced length.
        found: u32,
    },
    /// More bytes were pushed than there is room for.
    #[error("{pushed} bytes pushed onto {buffered}; read the frames before pushing more")]
    Backlog {
        /// Bytes that wait already.
        buffered: usize,
        /// Bytes that were refused.
        pushed: usize,
    },
    /// The channel ended within a frame.
    #[error("the channel ended after {found} of a frame's {expected} bytes; the peer died writing")]
    CutOff {
        /// Bytes of the frame with its length word; of the length word alone if that is cut.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// A known frame, other than the manifest, names a version this build does not speak.
    #[error(
        "{frame} in version {found} of the state channel, this build speaks \
         {VERSION_OLDEST} to {VERSION_NEWEST}; the peer must use the one both manifests have"
    )]
    UnsupportedVersion {
        /// The frame.
        frame: &'static str,
        /// The version in its header.
        found: u16,
    },
    /// A frame of unknown kind must not be skipped.
    #[error("frame of unknown kind {kind:#06x} must be understood; upgrade this side first")]
    MustUnderstand {
        /// Its kind, without [`super::kind::MUST_UNDERSTAND`].
        kind: u16,
    },
    /// The first frame is no manifest.
    #[error("the channel begins with {found}, expected Manifest; the peer is faulty")]
    NoManifest {
        /// What it begins with.
        found: &'static str,
    },
    /// A manifest came twice.
    #[error("expected what the manifest announced, found a second Manifest; the peer is faulty")]
    SecondManifest,
    /// The manifest does not begin with [`MAGIC`].
    #[error(
        "the channel begins with {found:02x?}, expected {:02x?}; \
         the peer speaks another protocol", MAGIC.to_le_bytes()
    )]
    NotOurs {
        /// Up to eight bytes of what is there instead.
        found: Vec<u8>,
    },
    /// An item of a manifest cannot be read.
    #[error(
        "item {position} of the manifest is no name with versions ({found} bytes are left); \
         the peer is faulty"
    )]
    BadItem {
        /// Which, counted from 0.
        position: usize,
        /// Bytes left where it should be.
        found: usize,
    },
    /// Names or versions are not what they must be.
    #[error("{0}")]
    Items(#[from] ItemError),
    /// Content is both in the frame and attached to it.
    #[error("{frame} has content and a descriptor, expected one of them; the peer is faulty")]
    TwoBodies {
        /// The frame.
        frame: &'static str,
    },
    /// Content is neither in the frame nor attached to it.
    #[error("{frame} has no content, expected bytes or a descriptor; the peer is faulty")]
    NoBody {
        /// The frame.
        frame: &'static str,
    },
    /// There is more content in the frame than may be.
    #[error(
        "{frame} has {found} bytes of content, at most {MAX_INLINE} are allowed; \
         the peer must attach a descriptor instead"
    )]
    LongBody {
        /// The frame.
        frame: &'static str,
        /// How many.
        found: usize,
    },
    /// Content is longer or shorter than announced.
    #[error("{frame} announces {expected} bytes of content and has {found}; the peer is faulty")]
    WrongLength {
        /// The frame.
        frame: &'static str,
        /// What it announces.
        expected: u64,
        /// What it has.
        found: usize,
    },
    /// Content in the frame comes without a checksum.
    #[error("{frame} has content and no checksum, expected both; the peer is faulty")]
    NoChecksum {
        /// The frame.
        frame: &'static str,
    },
    /// A field is not what it must be.
    #[error("{0}")]
    Field(#[from] frame::FrameError),
}

impl From<Fault> for FrameError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLong { found } => Self::TooLong { found },
            Fault::Backlog { buffered, pushed } => Self::Backlog { buffered, pushed },
            Fault::CutOff { expected, found } => Self::CutOff { expected, found },
        }
    }
}

/// Why frames are not the state that was agreed on. The receiver drops what it has and fails; the
/// incumbent still has everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AssemblyError {
    /// The manifests do not fit.
    #[error(transparent)]
    Disagreement(#[from] Disagreement),
    /// An item was not agreed on.
    #[error("item {name:?} arrived and was not agreed on; the peer is faulty")]
    NotAgreed {
        /// Its name.
        name: String,
    },
    /// An item has another version than agreed.
    #[error("item {name:?} arrived in version {found}, expected {expected}; the peer is faulty")]
    WrongVersion {
        /// Its name.
        name: String,
        /// What was agreed.
        expected: u32,
        /// What came.
        found: u32,
    },
    /// An item came twice in the base, or twice in the delta.
    #[error("item {name:?} arrived twice in the {set}, expected once; the peer is faulty")]
    Twice {
        /// Its name.
        name: String,
        /// `base` or `delta`.
        set: &'static str,
    },
    /// Something came in the middle of a stream.
    #[error(
        "{found} arrived within the stream of {name:?}, expected its segment {expected} or its end"
    )]
    WithinStream {
        /// The stream's item.
        name: String,
        /// The segment that was to come.
        expected: u64,
        /// What came.
        found: String,
    },
    /// A segment is missing, or came twice.
    #[error("segment {found} of {name:?} arrived, expected {expected}; the peer is faulty")]
    WrongSegment {
        /// The stream's item.
        name: String,
        /// The segment that was to come.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// There are too many segments.
    #[error("more than {MAX_SEGMENTS} segments arrived; the peer must write larger ones")]
    TooManySegments,
    /// A stream, or everything, has another length than was said at its end.
    #[error("{what}: {found} bytes arrived, its end says {expected}; the peer is faulty")]
    WrongLength {
        /// The stream's item, or that it is everything.
        what: String,
        /// What its end says.
        expected: u64,
        /// What arrived.
        found: u64,
    },
    /// Another number of items arrived than was said at the end.
    #[error("{found} items arrived, the end says {expected}; the peer is faulty")]
    WrongCount {
        /// What the end says.
        expected: u64,
        /// What arrived.
        found: u64,
    },
    /// Content is not what it was when it was sent.
    #[error("{name:?} is damaged: its checksum is {found:016x}, expected {expected:016x}")]
    Damaged {
        /// The item.
        name: String,
        /// What the sender computed.
        expected: u64,
        /// What was computed here.
        found: u64,
    },
    /// There is more than the receiver wants to hold.
    #[error("the state has more than the {budget} bytes of the budget ({found}); raise the budget")]
    TooMuch {
        /// What is allowed.
        budget: u64,
        /// What it would be with what came last.
        found: u64,
    },
    /// There are more items than the receiver wants to hold.
    #[error("the state has more than the {budget} items of the budget; raise the budget")]
    TooManyItems {
        /// What is allowed.
        budget: u64,
    },
    /// A frame came without the descriptor it announces.
    #[error("{name:?} arrived without its descriptor; the peer must attach it to the first byte")]
    NoDescriptor {
        /// The item.
        name: String,
    },
    /// Descriptors came that no frame announces.
    #[error("{found} descriptors arrived that belong to no frame; the peer is faulty")]
    StrayDescriptors {
        /// How many.
        found: usize,
    },
    /// Descriptors pile up.
    #[error("more than {MAX_WAITING} descriptors wait for their frames; read the frames first")]
    TooManyDescriptors,
    /// A frame came where it may not be.
    #[error("{found} arrived, expected {expected}; the peer is faulty")]
    OutOfOrder {
        /// What may come.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// The other side will send nothing more.
    #[error("the other side refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// Everything arrived but what must not be missing.
    #[error("the state is whole, and these required items are not in it: {names:?}")]
    Missing {
        /// Their names.
        names: Vec<String>,
    },
    /// The channel ended before the end was said.
    #[error("the channel ended after {items} items, expected End; the peer died or gave up")]
    Ended {
        /// How many items had arrived.
        items: u64,
    },
}
