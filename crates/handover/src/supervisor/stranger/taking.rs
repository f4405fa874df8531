//! Duplicates the sockets that a plan names. The program keeps its own and notices nothing.

use std::sync::Arc;

use handover_proto::manifest::ListenerEntry;
use handover_sys::Pidfd;
use handover_sys::descriptors::duplicate_socket;
use handover_sys::process::is_same_process;
use handover_sys::socket::describe;

use super::plan::Plan;
use crate::supervisor::error::StartError;
use crate::supervisor::sockets::{Listeners, OpenListener};

/// A program whose sockets are held here too.
#[derive(Debug)]
pub(in crate::supervisor) struct Taken {
    pub(in crate::supervisor) plan: Plan,
    pub(in crate::supervisor) process: Pidfd,
    pub(in crate::supervisor) listeners: Listeners,
}

/// Takes what the plan names.
///
/// # Errors
/// The process is another one by now, or a socket cannot be had. The program serves on; what was
/// duplicated is closed again.
pub(in crate::supervisor) fn take(plan: Plan) -> Result<Taken, StartError> {
    let pid = plan.pid;
    let gone = || StartError::StrangerGone { pid };
    let process = Pidfd::open(pid).map_err(|_| gone())?;
    // After it was opened: from here the descriptor names the process, whoever has the number.
    if !is_same_process(pid, plan.start_time) {
        return Err(gone());
    }
    let mut listeners = Listeners::new();
    for planned in &plan.listeners {
        let spec = planned.listener.clone();
        let refused = |reason: String| StartError::StrangerKeeps {
            pid,
            name: spec.name.clone(),
            address: spec.address.clone(),
            reason,
        };
        let duplicate = duplicate_socket(&process, planned.inode);
        let duplicate = duplicate.map_err(|error| refused(error.to_string()))?;
        let facts = describe(&duplicate).map_err(|error| refused(error.to_string()))?;
        if !facts.listening {
            return Err(refused("it listens no longer".into()));
        }
        let entry = ListenerEntry {
            name: spec.name.clone(),
            kind: spec.kind,
            address: spec.address.clone(),
        };
        let borrowed = OpenListener::borrowed(spec.clone(), entry, duplicate);
        listeners.push(Arc::new(borrowed));
    }
    Ok(Taken {
        plan,
        process,
        listeners,
    })
}
