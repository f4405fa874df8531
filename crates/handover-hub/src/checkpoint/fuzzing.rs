//! Files of a directory of checkpoints.

use std::io::ErrorKind;

use handover_hub_proto::identity::{Epoch, ProcessId, Term};
use sha2::{Digest as _, Sha256};

use super::{Directory, File, Store as _};
use crate::process::Handed;

/// A file as it is found, with its digest put right if `body` says that this is missing. What can be
/// read can be written and read again; what is damaged is moved aside, and the process begins anew.
pub fn checkpoint(directory: &Directory, content: &[u8], body: bool) {
    let bytes = match body {
        true => [Sha256::digest(content).as_slice(), content].concat(),
        false => content.to_vec(),
    };
    let (id, epoch) = match File::decode(&bytes) {
        Ok(file) => {
            let written = file.encode().expect("it can be written");
            let again = File::decode(&written).expect("reads what was written");
            assert_eq!(again.encode().expect("it can be written"), written);
            (file.process, file.epoch)
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            let id = ProcessId::new("alice").expect("an id");
            (id, Epoch::default())
        }
    };
    let place = directory.place(&id);
    std::fs::write(&place, &bytes).expect("written");
    let next = Epoch {
        term: Term(epoch.term.0 / 2),
        grant: 1,
    };
    if let Err(error) = directory.load(&id, next) {
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(directory.load(&id, next).expect("moved aside"), None);
        std::fs::remove_file(place.with_extension("damaged")).expect("moved aside");
    }
    // Whoever runs it from now on is kept, whatever was there.
    let state = Handed::new(1, b"state".to_vec());
    directory.save(&id, next, &state).expect("saved");
    assert_eq!(directory.load(&id, next).expect("kept"), Some(state));
    directory.remove(&id, next).expect("removed");
    assert_eq!(directory.load(&id, next).expect("nothing"), None);
}
