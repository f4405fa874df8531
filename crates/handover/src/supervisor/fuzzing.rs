//! Decoders of bytes that others wrote, opened for `fuzz/`. Only with `--cfg fuzzing`; no part of
//! the API.

use super::record::Envelope;

/// A file of the journal, as a new supervisor reads it: what is accepted survives being written
/// and read again.
pub fn journal(text: &[u8]) {
    let Ok(envelope) = serde_json::from_slice::<Envelope>(text) else {
        return;
    };
    let text = serde_json::to_vec(&envelope).expect("a record has a JSON form");
    let again: Envelope = serde_json::from_slice(&text).expect("reads what was written");
    assert_eq!(again.record, envelope.record);
}
