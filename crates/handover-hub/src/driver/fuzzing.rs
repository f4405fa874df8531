//! What drivers tell each other.

use handover_hub_proto::message::Message;

use super::wires::Control;

/// A control frame, which is the same when it is written and read again; and what it says to the
/// machine.
#[must_use]
pub fn control(bytes: &[u8]) -> Option<Message> {
    let control: Control = postcard::from_bytes(bytes).ok()?;
    let written = postcard::to_allocvec(&control).expect("it can be written");
    let again: Control = postcard::from_bytes(&written).expect("reads what was written");
    match (control, again) {
        (Control::Machine(message), Control::Machine(again)) => {
            assert_eq!(message, again);
            Some(message)
        }
        (Control::Kinds(kinds), Control::Kinds(again)) => {
            assert_eq!(kinds, again);
            None
        }
        _ => panic!("written as something else"),
    }
}
