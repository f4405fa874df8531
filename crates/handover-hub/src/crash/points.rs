use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use handover_hub_proto::event::Event;
use handover_hub_proto::identity::ProcessId;
use handover_hub_proto::message::Message;
use handover_hub_proto::node::{Effect, HostOrder};
use rustix::process::{Signal, getpid, kill_process};

use crate::transport::Frame;
use crate::transport::frame::Part;

/// Where the plan is.
const DIRECTORY: &str = "HANDOVER_HUB_CRASH_DIR";
/// Who this is.
const NODE: &str = "HANDOVER_HUB_CRASH_NODE";
/// A signal to the whole process may be taken by another of its threads; this one is stopped by
/// then. (A kill ends all of them before it returns.)
const UNTIL_STOPPED: Duration = Duration::from_millis(20);

struct Points {
    directory: PathBuf,
    node: String,
    /// While a line is written, so that the trace is in the order of the effects.
    writing: Mutex<()>,
}

fn points() -> Option<&'static Points> {
    static POINTS: OnceLock<Option<Points>> = OnceLock::new();
    let points = POINTS.get_or_init(|| {
        Some(Points {
            directory: PathBuf::from(std::env::var_os(DIRECTORY)?),
            node: std::env::var(NODE).ok()?,
            writing: Mutex::default(),
        })
    });
    points.as_ref()
}

pub(crate) fn before(effect: &Effect<Message>) {
    let Some(points) = points() else { return };
    match effect {
        Effect::Send { message, .. } => {
            for (process, name) in message.of_processes() {
                points.pass(process, name);
            }
        }
        Effect::Host(order) => {
            if let Some((process, name)) = ordered(order) {
                points.pass(process, name);
            }
        }
        Effect::Report(Event::Moved { process, .. }) => points.pass(process, "moved"),
        Effect::Engine(_) | Effect::Answer { .. } | Effect::Report(_) => {}
    }
}

pub(crate) fn sending(frame: &Frame) {
    let Some(points) = points() else { return };
    match frame {
        Frame::State(state) => {
            let name = match &state.part {
                Part::Open { .. } => "state-open",
                Part::Chunk { offset: 0, .. } => "state-chunk",
                Part::Chunk { .. } => "state-more",
                Part::Close { .. } => "state-close",
                Part::Abandon => "state-abandon",
            };
            points.pass(&state.process, name);
        }
        Frame::Forward(forward) if forward.last => points.pass(&forward.process, "late-last"),
        Frame::Forward(forward) => points.pass(&forward.process, "late"),
        _ => {}
    }
}

fn ordered(order: &HostOrder) -> Option<(&ProcessId, &'static str)> {
    Some(match order {
        HostOrder::Warm { spec, .. } => (&spec.id, "host-warm"),
        HostOrder::Activate { spec, .. } => (&spec.id, "host-activate"),
        HostOrder::Freeze { process, .. } => (process, "host-freeze"),
        HostOrder::SendState { process, .. } => (process, "host-send"),
        HostOrder::Resume { process, .. } => (process, "host-resume"),
        HostOrder::Retire { process, .. } => (process, "host-retire"),
        HostOrder::Discard { process, .. } => (process, "host-discard"),
        HostOrder::Stop { process, .. } => (process, "host-stop"),
        HostOrder::Role { process, .. } => (process, "host-role"),
        HostOrder::Replicate { process, .. } => (process, "host-replicate"),
        HostOrder::Merge { process, .. } => (process, "host-merge"),
        HostOrder::Suspend | HostOrder::Continue { .. } => return None,
    })
}

impl Points {
    fn pass(&self, process: &ProcessId, effect: &str) {
        let Ok(plan) = fs::read_to_string(self.directory.join("plan")) else {
            return;
        };
        let mut lines = plan.lines();
        if lines.next() != Some(process.as_str()) {
            return;
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let place = format!("{} {effect}", self.node);
        append(&self.directory.join("trace"), &place);
        let planned = lines.find_map(|line| line.strip_prefix(&place)?.strip_prefix(' '));
        let signal = match planned {
            Some("kill") => Signal::KILL,
            Some("stop") => Signal::STOP,
            Some(_) | None => return,
        };
        let fired = self.directory.join("fired");
        let earlier = fs::read_to_string(&fired).unwrap_or_default();
        if earlier.lines().any(|line| line.starts_with(&place)) {
            return;
        }
        append(&fired, &place);
        let _ = kill_process(getpid(), signal);
        std::thread::sleep(UNTIL_STOPPED);
    }
}

fn append(path: &Path, line: &str) {
    let file = File::options().create(true).append(true).open(path);
    // One write, so that lines of several processes stay whole.
    let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    if let Err(error) = written {
        tracing::error!(path = %path.display(), %error, "a crash point was not noted");
    }
}
