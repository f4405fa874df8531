//! All frames, with anything in them, and frames by hand.

use handover_proto::state::{Body, Decoded, Frame, FrameError, ItemSpec, Manifest, Need, Reader};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

pub(crate) fn name() -> impl Strategy<Value = String> {
    "[a-zé/ ]{1,20}"
}

pub(crate) fn need() -> impl Strategy<Value = Need> {
    prop_oneof![Just(Need::Required), Just(Need::BestEffort)]
}

/// A valid list: names once, versions in order.
pub(crate) fn items() -> impl Strategy<Value = Vec<ItemSpec>> {
    btree_map("[a-f]", (0u32..6, 0u32..3, need()), 0..6).prop_map(|items| {
        let spec = |(name, (oldest, more, need))| ItemSpec {
            name,
            oldest,
            newest: oldest + more,
            need,
        };
        items.into_iter().map(spec).collect()
    })
}

/// A body and the length that fits it.
fn body() -> impl Strategy<Value = (Body, u64)> {
    prop_oneof![
        vec(any::<u8>(), 0..200).prop_map(|bytes| {
            let length = bytes.len() as u64;
            (Body::Inline(bytes), length)
        }),
        any::<u64>().prop_map(|length| (Body::Descriptor, length)),
    ]
}

pub(crate) fn manifest() -> impl Strategy<Value = Manifest> {
    (any::<(u16, u16)>(), items()).prop_map(|((oldest, newest), items)| Manifest {
        oldest,
        newest,
        items,
    })
}

/// Any frame that comes after the manifest.
pub(crate) fn frame() -> impl Strategy<Value = Frame> {
    let head = || (name(), any::<u32>(), any::<u64>());
    prop_oneof![
        (head(), body(), any::<bool>()).prop_map(|((name, version, sum), (body, length), with)| {
            let with = with || matches!(body, Body::Inline(_));
            Frame::Item {
                name,
                version,
                length,
                checksum: with.then_some(sum),
                body,
            }
        }),
        (head(), body(), any::<u64>()).prop_map(
            |((name, version, checksum), (body, length), seq)| {
                Frame::Segment {
                    name,
                    version,
                    seq,
                    length,
                    checksum,
                    body,
                }
            }
        ),
        (head(), any::<u64>()).prop_map(|((name, version, checksum), length)| Frame::StreamEnd {
            name,
            version,
            length,
            checksum,
        }),
        Just(Frame::BaseEnd),
        any::<(u64, u64)>().prop_map(|(items, bytes)| Frame::End { items, bytes }),
        "\\PC{0,40}".prop_map(|reason| Frame::Refused { reason }),
    ]
}

/// A frame of the given fields, each with a length that fits.
pub(crate) fn raw(version: u16, kind: u16, fields: &[(u16, &[u8])]) -> Vec<u8> {
    let mut inside = Vec::new();
    inside.extend(version.to_le_bytes());
    inside.extend(kind.to_le_bytes());
    for (tag, value) in fields {
        inside.extend(tag.to_le_bytes());
        inside.extend((value.len() as u32).to_le_bytes());
        inside.extend(*value);
    }
    let mut bytes = (inside.len() as u32).to_le_bytes().to_vec();
    bytes.extend(inside);
    bytes
}

pub(crate) fn greeting() -> Vec<u8> {
    handover_proto::state::encode(&Frame::Manifest(Manifest::new(vec![])), 1)
}

/// What comes of these bytes after a greeting.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<Decoded>, FrameError> {
    let mut reader = Reader::new();
    reader.push(&greeting())?;
    reader.next_frame()?;
    reader.push(bytes)?;
    reader.next_frame()
}

pub(crate) fn read_first(bytes: &[u8]) -> Result<Option<Decoded>, FrameError> {
    let mut reader = Reader::new();
    reader.push(bytes)?;
    reader.next_frame()
}
