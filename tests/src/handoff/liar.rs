//! Successors that break the rules, each in its own way, until they are killed for it.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use handoff::frame::{read_message, write_message};
use handoff::protocol::{HandoffId, Message, PROTO_MAX, Side};

/// Tells this lie.
///
/// # Errors
/// There is no such lie, or no channel to tell it on.
pub(super) fn tell(lie: &str) -> io::Result<()> {
    let channel = handover_sys::inherited::take_numbered("HANDOFF_SOCK_FD");
    let channel = channel.map_err(io::Error::other)?;
    let channel = channel.ok_or_else(|| io::Error::other("no channel"))?;
    let mut channel = UnixStream::from(channel);
    match lie {
        "silent" => {}
        "wrong-pid" => greet(&mut channel, std::process::id() + 1, 1..=1)?,
        "wrong-version" => greet(&mut channel, std::process::id(), 2..=3)?,
        "oversized" => channel.write_all(&((1u32 << 20) + 1).to_le_bytes())?,
        "endless" => {
            channel.write_all(&u32::MAX.to_le_bytes())?;
            // For as long as anybody reads it.
            while channel.write_all(&[0; 4096]).is_ok() {}
        }
        "unknown-message" => {
            greet(&mut channel, std::process::id(), 1..=1)?;
            channel.write_all(&[3, 0, 0, 0, 1, 0, 14])?;
        }
        "out-of-turn" => {
            greet(&mut channel, std::process::id(), 1..=1)?;
            send(&mut channel, &ready(HandoffId::new()))?;
        }
        "wrong-attempt" => {
            greet(&mut channel, std::process::id(), 1..=1)?;
            loop {
                let (_, heard) = read_message(&mut channel).map_err(io::Error::other)?;
                if matches!(heard, Message::Begin { .. }) {
                    break;
                }
            }
            send(&mut channel, &ready(HandoffId::new()))?;
        }
        other => return Err(io::Error::other(format!("{other}: no such lie"))),
    }
    loop {
        std::thread::park();
    }
}

fn send(channel: &mut UnixStream, message: &Message) -> io::Result<()> {
    write_message(channel, PROTO_MAX, message).map_err(io::Error::other)
}

fn greet(
    channel: &mut UnixStream,
    pid: u32,
    versions: std::ops::RangeInclusive<u16>,
) -> io::Result<()> {
    let hello = Message::Hello {
        role: Side::Successor,
        pid,
        build_id: Vec::new(),
        proto_min: *versions.start(),
        proto_max: *versions.end(),
        capabilities: Default::default(),
    };
    send(channel, &hello)
}

fn ready(handoff_id: HandoffId) -> Message {
    Message::Ready {
        handoff_id,
        listening_on: Vec::new(),
        healthz_ok: true,
        advertised_revision_per_shard: Vec::new(),
    }
}
