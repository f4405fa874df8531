//! What hosts of a process send each other.

use bytes::Bytes;

use super::letter::Letter;
use super::pack::Pack;
use super::replicas::Update;

/// A process that moves.
pub fn moved(bytes: &[u8]) {
    let Ok(pack) = Pack::decode(&Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let written = pack.encode().expect("it can be written");
    let again = Pack::decode(&written).expect("reads what was written");
    let again = again.encode().expect("it can be written");
    assert_eq!(again, written);
}

/// What keeps a replica up to date.
pub fn replicated(bytes: &[u8]) {
    if let Ok(update) = postcard::from_bytes::<Update>(bytes) {
        let written = postcard::to_allocvec(&update).expect("it can be written");
        assert_eq!(postcard::from_bytes::<Update>(&written), Ok(update));
    }
}

/// A message that came too late for the state.
pub fn forwarded(bytes: &[u8]) {
    if let Ok(letter) = postcard::from_bytes::<Letter>(bytes) {
        let written = postcard::to_allocvec(&letter).expect("it can be written");
        assert_eq!(postcard::from_bytes::<Letter>(&written), Ok(letter));
    }
}
