//! Native frames: bytes that never change, streams however split, and peers of other versions.

#[path = "frame/bytes.rs"]
mod bytes;
#[path = "frame/samples.rs"]
mod samples;
#[path = "frame/stream.rs"]
mod stream;
#[path = "frame/versions.rs"]
mod versions;
#[path = "frame/writer.rs"]
mod writer;
