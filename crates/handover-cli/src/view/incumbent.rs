//! A program without a supervisor: who serves, and how an attempt ended.

use super::quantity::duration;
use super::status::listeners;
use crate::output::Ink;
use handover::takeover::{Finished, Serving};
use handover_proto::phase::Phase;
use std::path::Path;

/// Ends with a newline.
pub(crate) fn render(serving: &Serving, socket: &Path, ink: Ink) -> String {
    let phase = serving.phase.to_string();
    let phase = match serving.phase {
        Phase::Serving => ink.good(&phase),
        _ => ink.bold(&phase),
    };
    let socket = format!("no supervisor; asked at {}", socket.display());
    let mut lines = vec![
        format!(
            "{}  {phase}  {}  {}",
            ink.bold(&serving.service),
            serving.generation,
            serving.mode
        ),
        ink.dim(&socket),
    ];
    lines.extend(roles(serving));
    if !serving.listeners.is_empty() {
        lines.push(String::new());
        lines.extend(listeners(&serving.listeners));
    }
    lines.join("\n") + "\n"
}

/// Who does what. In probation the one that answers is the one that is parked.
fn roles(serving: &Serving) -> Vec<String> {
    let Serving {
        instance,
        pid,
        program,
        ..
    } = serving;
    let up = duration(serving.uptime);
    let itself = |role| format!("{instance} {role}: pid {pid}, up {up}: {program}");
    match (serving.phase, serving.successor) {
        (Phase::Probation, Some(successor)) => vec![
            format!("the new process serves: pid {successor}"),
            format!(
                "{}; `handover undo --pid {pid}` lets it take back",
                itself("is parked")
            ),
        ],
        (_, Some(successor)) => vec![
            itself("serves"),
            format!("the new process comes: pid {successor}"),
        ],
        (_, None) => vec![itself("serves")],
    }
}

/// How an attempt ended.
pub(crate) fn ending(finished: &Finished, ink: Ink) -> String {
    match finished.code {
        0 => ink.good(&finished.text),
        _ => ink.bad(&finished.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;
    use handover_proto::identity::{Generation, InstanceId};
    use handover_proto::phase::Mode;
    use std::time::Duration;

    #[test]
    fn who_serves_without_a_supervisor() {
        let at_rest = Serving {
            service: "web".to_owned(),
            pid: 4_204,
            instance: InstanceId(4),
            generation: Generation(4),
            phase: Phase::Serving,
            mode: Mode::Overlap,
            program: "./server --port 8080".to_owned(),
            uptime: Duration::from_secs(11_520),
            listeners: sample::at_rest().listeners,
            successor: None,
        };
        let coming = Serving {
            phase: Phase::Warm,
            successor: Some(4_205),
            listeners: Vec::new(),
            ..at_rest.clone()
        };
        let parked = Serving {
            phase: Phase::Probation,
            ..coming.clone()
        };
        let socket = Path::new("/run/handover/web/takeover.sock");
        let texts = [at_rest, coming, parked].map(|one| render(&one, socket, Ink::PLAIN));
        insta::assert_snapshot!(texts.join("\n"));
    }
}
