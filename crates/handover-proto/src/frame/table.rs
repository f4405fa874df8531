//! Which message has which kind, and which fields by which tags: written once, read by both the
//! encoder and the decoder. A message or field missing here does not compile.

use alloc::string::String;
use alloc::vec::Vec;

use super::fields::{Fields, Writer};
use super::{FrameError, cut, fitting, kind};
use crate::event::DrainReport;
use crate::identity::{Epoch, HandoverId, InstanceId, InstancePid};
use crate::message::{FromInstance, Role, ToInstance};
use crate::phase::Mode;
use crate::settings::Ladder;

/// The messages of one direction.
pub(crate) trait Wire: Sized {
    /// The messages of the other direction.
    type Opposite: Wire;
    /// Who sends them.
    const SENDER: &'static str;

    /// The row of a kind, if it is of this direction.
    fn row(kind: u16) -> Option<Row<Self>>;
    /// This message's kind.
    fn kind(&self) -> u16;
    /// Writes all fields.
    fn write(&self, writer: &mut Writer);
    /// The message with its words cut, so that they take no more than `room` bytes.
    fn shortened(&self, room: usize) -> Self;
}

/// How one kind is read.
pub(crate) struct Row<M> {
    /// The message's name.
    pub(crate) name: &'static str,
    /// The message from its fields.
    pub(crate) read: fn(&Fields<'_>) -> Result<M, FrameError>,
}

macro_rules! table {
    (
        $message:ident from $sender:literal, opposite $opposite:ident, shortened by $shortened:path;
        $( $kind:ident $variant:ident { $( $tag:literal $need:ident $field:ident: $type:ty, )* } )*
    ) => {
        impl Wire for $message {
            type Opposite = $opposite;
            const SENDER: &'static str = $sender;

            fn row(kind: u16) -> Option<Row<Self>> {
                match kind {
                    $( kind::$kind => Some(Row {
                        name: stringify!($variant),
                        read: |_fields| Ok(Self::$variant {
                            $( $field: _fields.$need::<$type>(
                                $tag, stringify!($field), stringify!($type),
                            )?, )*
                        }),
                    }), )*
                    _ => None,
                }
            }

            fn kind(&self) -> u16 {
                match self {
                    $( Self::$variant { .. } => kind::$kind, )*
                }
            }

            fn write(&self, writer: &mut Writer) {
                match self {
                    $( Self::$variant { $( $field, )* } => {
                        $( writer.field::<$type>($tag, $field); )*
                    } )*
                }
            }

            fn shortened(&self, room: usize) -> Self {
                $shortened(self, room)
            }
        }
    };
}

pub(crate) use table;

table! {
    FromInstance from "an instance", opposite ToInstance, shortened by shortened;
    HELLO Hello {
        1 required instance: InstanceId,
        2 required pid: InstancePid,
        3 required role: Role,
        4 required oldest: u16,
        5 required newest: u16,
        6 defaulted lease: Option<Epoch>,
    }
    WARMED Warmed {}
    READY Ready { 1 defaulted claimed: Vec<String>, 2 defaulted lease: Option<Epoch>, }
    DRAINED Drained { 1 required id: HandoverId, 2 defaulted report: DrainReport, }
    SEAL_PROGRESS SealProgress {
        1 required id: HandoverId,
        2 required done: u64,
        3 required total: u64,
    }
    SEALED Sealed { 1 required id: HandoverId, }
    SEAL_FAILED SealFailed { 1 required id: HandoverId, 2 required reason: String, }
    RESUMED Resumed { 1 required id: HandoverId, 2 defaulted lease: Option<Epoch>, }
    FAILED Failed { 1 required reason: String, }
    STATUS Status { 1 required text: String, }
    EXTEND Extend { 1 required millis: u64, }
    CONNECTIONS Connections { 1 required open: u64, }
    RETIRED Retired { 1 defaulted report: DrainReport, }
}

table! {
    ToInstance from "a coordinator", opposite FromInstance, shortened by worded;
    WELCOME Welcome {
        1 required version: u16,
        2 required mode: Mode,
        3 required incumbent: bool,
        4 defaulted introduced: bool,
    }
    ACTIVATE Activate { 1 required id: HandoverId, 2 required sealed: bool, }
    COMMIT Commit { 1 required id: HandoverId, }
    DRAIN Drain { 1 required id: HandoverId, 2 required within_ms: u64, }
    SEAL Seal { 1 required id: HandoverId, }
    RESUME Resume { 1 required id: HandoverId, }
    RETIRE Retire { 1 required ladder: Ladder, }
    INTRODUCE Introduce { 1 required id: HandoverId, }
    DISMISS Dismiss { 1 required reason: String, }
}

/// Every message is listed, so that one with new words is not forgotten.
fn shortened(message: &FromInstance, room: usize) -> FromInstance {
    match message {
        FromInstance::Ready { claimed, lease } => FromInstance::Ready {
            claimed: fitting(claimed, room),
            lease: *lease,
        },
        FromInstance::SealFailed { id, reason } => FromInstance::SealFailed {
            id: *id,
            reason: cut(reason, room),
        },
        FromInstance::Failed { reason } => FromInstance::Failed {
            reason: cut(reason, room),
        },
        FromInstance::Status { text } => FromInstance::Status {
            text: cut(text, room),
        },
        FromInstance::Hello { .. }
        | FromInstance::Warmed
        | FromInstance::Drained { .. }
        | FromInstance::SealProgress { .. }
        | FromInstance::Sealed { .. }
        | FromInstance::Resumed { .. }
        | FromInstance::Extend { .. }
        | FromInstance::Connections { .. }
        | FromInstance::Retired { .. } => message.clone(),
    }
}

/// See above; the other direction.
fn worded(message: &ToInstance, room: usize) -> ToInstance {
    match message {
        ToInstance::Dismiss { reason } => ToInstance::Dismiss {
            reason: cut(reason, room),
        },
        ToInstance::Welcome { .. }
        | ToInstance::Activate { .. }
        | ToInstance::Commit { .. }
        | ToInstance::Drain { .. }
        | ToInstance::Seal { .. }
        | ToInstance::Resume { .. }
        | ToInstance::Retire { .. }
        | ToInstance::Introduce { .. } => message.clone(),
    }
}
