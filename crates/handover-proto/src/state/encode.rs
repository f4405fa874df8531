//! Frames to bytes.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Body, Frame, MAGIC, MAX_REASON, Manifest, kind};
use crate::frame::cut;
use crate::frame::fields::Writer;

/// A frame's bytes. `version` is the agreed one ([`super::Terms::version`]); before there is one
/// (`Manifest`), [`super::VERSION_OLDEST`].
///
/// Never fails, and checks nothing but the length of a reason: what the limits of this module
/// forbid, the other side refuses. Lists are checked by [`super::check`] beforehand.
#[must_use]
pub fn encode(frame: &Frame, version: u16) -> Vec<u8> {
    let mut writer = Writer::new(version, kind_of(frame));
    match frame {
        Frame::Manifest(manifest) => write_manifest(&mut writer, manifest),
        Frame::Item {
            name,
            version,
            length,
            checksum,
            body,
        } => {
            write_head(&mut writer, name, *version);
            writer.field(3, length);
            writer.field(4, checksum);
            write_body(&mut writer, body);
        }
        Frame::Segment {
            name,
            version,
            seq,
            length,
            checksum,
            body,
        } => {
            write_head(&mut writer, name, *version);
            writer.field(3, length);
            writer.field(4, checksum);
            write_body(&mut writer, body);
            writer.field(7, seq);
        }
        Frame::StreamEnd {
            name,
            version,
            length,
            checksum,
        } => {
            write_head(&mut writer, name, *version);
            writer.field(3, length);
            writer.field(4, checksum);
        }
        Frame::BaseEnd => {}
        Frame::End { items, bytes } => {
            writer.field(1, items);
            writer.field(2, bytes);
        }
        Frame::Refused { reason } => writer.field(1, &cut(reason, MAX_REASON)),
    }
    writer.finish()
}

const fn kind_of(frame: &Frame) -> u16 {
    match frame {
        Frame::Manifest(_) => kind::MANIFEST,
        Frame::Item { .. } => kind::ITEM,
        Frame::Segment { .. } => kind::SEGMENT,
        Frame::StreamEnd { .. } => kind::STREAM_END,
        Frame::BaseEnd => kind::BASE_END,
        Frame::End { .. } => kind::END,
        Frame::Refused { .. } => kind::REFUSED,
    }
}

/// The items stand one after another without a count: a count is what a reader would have to
/// believe.
fn write_manifest(writer: &mut Writer, manifest: &Manifest) {
    writer.raw(1, &MAGIC.to_le_bytes());
    writer.field(2, &manifest.oldest);
    writer.field(3, &manifest.newest);
    let mut items = Vec::new();
    for item in &manifest.items {
        let bytes = postcard::to_allocvec(item).expect("an item has a postcard form");
        items.extend(bytes);
    }
    writer.raw(4, &items);
}

fn write_head(writer: &mut Writer, name: &String, version: u32) {
    writer.field(1, name);
    writer.field(2, &version);
}

fn write_body(writer: &mut Writer, body: &Body) {
    match body {
        Body::Inline(bytes) => writer.raw(5, bytes),
        Body::Descriptor => writer.raw(6, &[]),
    }
}
