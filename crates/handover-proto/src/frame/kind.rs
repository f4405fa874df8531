//! Kinds of frames, both directions in one space of numbers. A number, once used, is never used
//! for anything else.

/// Set in a frame's kind by a writer that must not be ignored: a reader that does not know the
/// kind fails instead of skipping it. Readers of known kinds disregard it.
pub const MUST_UNDERSTAND: u16 = 0x8000;

/// [`FromInstance::Hello`](crate::message::FromInstance::Hello)
pub const HELLO: u16 = 0x0001;
/// [`FromInstance::Warmed`](crate::message::FromInstance::Warmed)
pub const WARMED: u16 = 0x0002;
/// [`FromInstance::Ready`](crate::message::FromInstance::Ready)
pub const READY: u16 = 0x0003;
/// [`FromInstance::Drained`](crate::message::FromInstance::Drained)
pub const DRAINED: u16 = 0x0004;
/// [`FromInstance::SealProgress`](crate::message::FromInstance::SealProgress)
pub const SEAL_PROGRESS: u16 = 0x0005;
/// [`FromInstance::Sealed`](crate::message::FromInstance::Sealed)
pub const SEALED: u16 = 0x0006;
/// [`FromInstance::SealFailed`](crate::message::FromInstance::SealFailed)
pub const SEAL_FAILED: u16 = 0x0007;
/// [`FromInstance::Resumed`](crate::message::FromInstance::Resumed)
pub const RESUMED: u16 = 0x0008;
/// [`FromInstance::Failed`](crate::message::FromInstance::Failed)
pub const FAILED: u16 = 0x0009;
/// [`FromInstance::Status`](crate::message::FromInstance::Status)
pub const STATUS: u16 = 0x000a;
/// [`FromInstance::Extend`](crate::message::FromInstance::Extend)
pub const EXTEND: u16 = 0x000b;
/// [`FromInstance::Connections`](crate::message::FromInstance::Connections)
pub const CONNECTIONS: u16 = 0x000c;
/// [`FromInstance::Retired`](crate::message::FromInstance::Retired)
pub const RETIRED: u16 = 0x000d;

/// [`ToInstance::Welcome`](crate::message::ToInstance::Welcome)
pub const WELCOME: u16 = 0x0101;
/// [`ToInstance::Activate`](crate::message::ToInstance::Activate)
pub const ACTIVATE: u16 = 0x0102;
/// [`ToInstance::Commit`](crate::message::ToInstance::Commit)
pub const COMMIT: u16 = 0x0103;
/// [`ToInstance::Drain`](crate::message::ToInstance::Drain)
pub const DRAIN: u16 = 0x0104;
/// [`ToInstance::Seal`](crate::message::ToInstance::Seal)
pub const SEAL: u16 = 0x0105;
/// [`ToInstance::Resume`](crate::message::ToInstance::Resume)
pub const RESUME: u16 = 0x0106;
/// [`ToInstance::Retire`](crate::message::ToInstance::Retire)
pub const RETIRE: u16 = 0x0107;
/// [`ToInstance::Introduce`](crate::message::ToInstance::Introduce)
pub const INTRODUCE: u16 = 0x0108;
/// [`ToInstance::Dismiss`](crate::message::ToInstance::Dismiss)
pub const DISMISS: u16 = 0x0109;
