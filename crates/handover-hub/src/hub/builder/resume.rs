//! From what the program before left to a node that goes on.

use std::collections::BTreeSet;
use std::io::Read;

use handover_hub_proto::identity::{HubName, NodeName, ProcessId};

use super::Builder;
use super::start::{Joined, Left, assemble, connect};
use crate::engine::Charter;
use crate::error::StartError;
use crate::local::{Header, ResumeError, Successor, read_estate};
use crate::transport::Introduction;

pub(super) async fn resume(
    mut builder: Builder,
    mut handed: impl Read + Send,
) -> Result<Successor, ResumeError> {
    if let Some(wrong) = builder.wrong.take() {
        return Err(wrong.into());
    }
    let header = Header::read(&mut handed)?;
    check(&builder, &header)?;
    let engine = builder.engine.take().ok_or(StartError::NoEngine)?;
    let guarantees = engine.guarantees();
    let Header {
        hub: name,
        shards,
        instance,
        calls,
        seat,
        mut machine,
        processes,
    } = header;
    machine.describe(builder.version.clone(), builder.weight);
    let me = machine.member().clone();
    let charter = Charter {
        hub: name.clone(),
        shards,
        agreement: builder.settings.agreement(),
    };
    let introduction = Introduction {
        hub: name.clone(),
        shards,
        node: me.id,
        name: me.name.clone(),
        instance: instance + 1,
        address: me.address.clone(),
        agreement: charter.agreement,
    };
    let (ends, post) = connect(&mut builder, introduction, true).await?;
    let session = engine
        .resume(me.clone(), charter, post, seat)
        .await
        .map_err(StartError::Engine)?;
    let joined = Joined {
        name,
        me,
        guarantees,
        ends,
        session,
    };
    let children = std::mem::take(&mut builder.children);
    let expected = machine.processes().map(|(spec, ..)| spec.id.clone());
    let mut expected: BTreeSet<ProcessId> = expected.collect();
    let left = Left { machine, calls };
    let (hub, staged) = assemble(builder, joined, Some(left)).await?;
    for _ in 0..processes {
        let estate = read_estate(&mut handed)?;
        if !expected.remove(estate.process()) {
            let process = estate.process().clone();
            return Err(ResumeError::Unexpected { process });
        }
        let cell = estate.restore(hub.shared()).await?;
        hub.shared().cells.put(cell);
    }
    match expected.pop_first() {
        Some(process) => Err(ResumeError::Missing { process }),
        None => Ok(Successor::new(hub, staged, children)),
    }
}

/// Whether what was handed is of the node that is described.
fn check(builder: &Builder, header: &Header) -> Result<(), ResumeError> {
    let name = HubName::new(&builder.name).map_err(StartError::Name)?;
    let node = match &builder.node {
        Some(node) => Some(NodeName::new(node).map_err(StartError::Name)?),
        None => None,
    };
    let found = header.machine.member();
    let same = name == header.hub && node.is_none_or(|node| node == found.name);
    if !same {
        return Err(ResumeError::Other {
            hub: header.hub.clone(),
            node: found.name.clone(),
        });
    }
    let expected = builder.settings.shards;
    if expected != header.shards {
        let found = header.shards;
        return Err(ResumeError::Shards { expected, found });
    }
    Ok(())
}
