//! A node of a hub: what the connections of other nodes carry, what gossip says, and files of
//! checkpoints.

use std::path::Path;
use std::sync::OnceLock;

use handover_hub::checkpoint::Directory;
use handover_hub::fuzzing;
use handover_hub::transport::Frame;
use handover_hub::transport::frame::Part;

/// What the first byte says that follows; a message of frames otherwise.
const GREETING: u8 = 1;
const MOVED: u8 = 2;
const REPLICATED: u8 = 3;
const FORWARDED: u8 = 4;

/// A message of another node, what its frames carry, and what is said before the first one.
pub fn hub_frames(data: &[u8]) {
    match data {
        [GREETING, words @ ..] => fuzzing::greeting(words),
        [MOVED, state @ ..] => fuzzing::moved(state),
        [REPLICATED, update @ ..] => fuzzing::replicated(update),
        [FORWARDED, letter @ ..] => fuzzing::forwarded(letter),
        [_, message @ ..] => {
            for frame in fuzzing::frames(message) {
                carried(&frame);
            }
        }
        [] => {}
    }
}

fn carried(frame: &Frame) {
    // Queues are bounded by this.
    assert!(frame.weight() >= postcard::to_allocvec(frame).map_or(0, |bytes| bytes.len()) / 2);
    match frame {
        Frame::Control(bytes) => drop(fuzzing::control(bytes)),
        Frame::Engine(bytes) => fuzzing::gossip(bytes),
        Frame::Forward(forward) => fuzzing::forwarded(&forward.body),
        Frame::Replica(replica) => fuzzing::replicated(&replica.body),
        Frame::State(state) => {
            if let Part::Chunk { bytes, .. } = &state.part {
                fuzzing::moved(bytes);
            }
        }
        Frame::Call(_)
        | Frame::Reply(_)
        | Frame::Redirect(_)
        | Frame::Refused(_)
        | Frame::Cast(_) => {}
    }
}

/// A letter of a gossip engine, or claims as chitchat carries them.
pub fn hub_gossip(data: &[u8]) {
    fuzzing::gossip(data);
}

/// A file of a checkpoint. The first byte says whether its digest is missing, to be put right: no
/// search finds that.
pub fn hub_checkpoints(data: &[u8]) {
    static DIRECTORY: OnceLock<Directory> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let within = if memory.is_dir() {
            memory
        } else {
            Path::new("/tmp")
        };
        // Of one name for each process, so that runs of the same number do not add up.
        let name = format!("handover-fuzz-checkpoints-{}", std::process::id());
        Directory::new(within.join(name)).expect("a directory")
    });
    if let Some((first, content)) = data.split_first() {
        fuzzing::checkpoint(directory, content, first % 2 == 1);
    }
}

pub(crate) mod seeds {
    use std::time::Duration;

    use handover_hub::checkpoint::{Directory, Store as _};
    use handover_hub::fuzzing;
    use handover_hub::process::Handed;
    use handover_hub::transport::Frame;
    use handover_hub::transport::frame::{
        Call, Cast, Forward, Part, Redirect, Refusal, Refused, Replica, Reply, State,
    };
    use handover_hub_proto::identity::{CallId, Epoch, MoveId, NodeId, ProcessId, Term};
    use serde::Serialize;

    use super::{FORWARDED, GREETING, MOVED, REPLICATED};

    fn framed(frames: &[Frame]) -> Vec<u8> {
        let mut message = vec![0];
        for frame in frames {
            let bytes = postcard::to_allocvec(frame).expect("it can be written");
            let length = u32::try_from(bytes.len()).expect("a short one");
            message.extend(length.to_le_bytes());
            message.extend(bytes);
        }
        message
    }

    pub(crate) fn hub_frames() -> Vec<Vec<u8>> {
        let all = frames();
        let mut seeds = vec![framed(&all)];
        seeds.extend(all.chunks(1).map(framed));
        let marked = |mark: u8, bytes: &[u8]| [&[mark][..], bytes].concat();
        let greetings = fuzzing::greeting_seeds();
        seeds.extend(greetings.iter().map(|words| marked(GREETING, words)));
        seeds.push(marked(MOVED, &state()));
        seeds.push(marked(REPLICATED, &update()));
        seeds.push(marked(REPLICATED, &[1]));
        seeds.push(marked(FORWARDED, &letter()));
        seeds
    }

    /// Its form, which no other crate knows: a ticket, whether it is its own, a body.
    fn letter() -> Vec<u8> {
        written(&(Some((call(), 3_u64)), false, &b"deposit"[..]))
    }

    fn update() -> Vec<u8> {
        let later = [(Duration::from_secs(3), &b"tick"[..])];
        written(&(
            0_u8,
            2_u8,
            &b"state"[..],
            None::<u8>,
            None::<u8>,
            &later[..],
        ))
    }

    /// A header of nothing, and a state.
    fn state() -> Vec<u8> {
        let header = [1, 0, 0, 0, 0, 0, 0, 0];
        let length = u32::try_from(header.len()).expect("a short one");
        [&length.to_le_bytes()[..], &header, b"state"].concat()
    }

    fn written(value: &impl Serialize) -> Vec<u8> {
        postcard::to_allocvec(value).expect("it can be written")
    }

    fn call() -> CallId {
        CallId {
            caller: NodeId(9),
            number: 4,
        }
    }

    const EPOCH: Epoch = Epoch {
        term: Term(3),
        grant: 1,
    };

    const ATTEMPT: MoveId = MoveId {
        home: NodeId(2),
        number: 3,
    };

    fn alice() -> ProcessId {
        ProcessId::new("alice").expect("an id")
    }

    fn frames() -> Vec<Frame> {
        let controls = crate::cluster::seeds::controls().into_iter();
        let letters = fuzzing::gossip_seeds().into_iter();
        calls()
            .into_iter()
            .chain(states())
            .chain(letters.map(|bytes| Frame::Engine(bytes.into())))
            .chain(controls.map(|bytes| Frame::Control(bytes.into())))
            .collect()
    }

    fn calls() -> Vec<Frame> {
        let (id, process, epoch) = (call(), alice(), EPOCH);
        let refused = |refusal| Frame::Refused(Refused { id, refusal });
        let body = bytes::Bytes::from_static(b"deposit");
        vec![
            Frame::Call(Call {
                id,
                floor: 2,
                process: process.clone(),
                epoch,
                patience_ms: 5_000,
                body: body.clone(),
            }),
            Frame::Reply(Reply {
                id,
                epoch,
                body: body.clone(),
            }),
            Frame::Redirect(Redirect {
                id,
                process: process.clone(),
                to: NodeId(3),
                epoch,
            }),
            refused(Refusal::Full),
            refused(Refusal::Epoch { found: epoch }),
            refused(Refusal::Crashed("it said so".to_owned())),
            Frame::Cast(Cast {
                id,
                process,
                epoch,
                body,
            }),
        ]
    }

    fn states() -> Vec<Frame> {
        let (attempt, epoch) = (ATTEMPT, EPOCH);
        let part = |part: Part| {
            let process = alice();
            Frame::State(State {
                attempt,
                process,
                epoch,
                part,
            })
        };
        vec![
            part(Part::Open { size: 9 }),
            part(Part::Chunk {
                offset: 0,
                bytes: state().into(),
            }),
            part(Part::Close { digest: [7; 32] }),
            part(Part::Abandon),
            Frame::Forward(Forward {
                attempt,
                process: alice(),
                epoch,
                number: 1,
                last: true,
                body: letter().into(),
            }),
            Frame::Replica(Replica {
                process: alice(),
                epoch,
                number: 1,
                body: update().into(),
            }),
        ]
    }

    pub(crate) fn hub_gossip() -> Vec<Vec<u8>> {
        fuzzing::gossip_seeds()
    }

    /// What a directory writes, with its digest and without.
    pub(crate) fn hub_checkpoints() -> Vec<Vec<u8>> {
        let place = tempfile::tempdir().expect("a directory");
        let directory = Directory::new(place.path()).expect("a directory");
        let id = ProcessId::new("alice").expect("an id");
        let epoch = Epoch {
            term: Term(3),
            grant: 2,
        };
        let mut seeds = vec![vec![0], vec![1]];
        for length in [0, 9, 300] {
            let state = Handed::new(2, vec![7; length]);
            directory.save(&id, epoch, &state).expect("saved");
            let mut files = std::fs::read_dir(place.path()).expect("it is there");
            let file = files.next().expect("one").expect("a file").path();
            let content = std::fs::read(file).expect("it is there");
            seeds.push([&[0][..], &content].concat());
            seeds.push([&[1][..], &content[32..]].concat());
        }
        seeds
    }
}
