//! Handing everything to a successor: one that came, or one that we start.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use handover_proto::coordinator::Input;
use handover_proto::frame::negotiate;
use handover_proto::identity::{CandidateId, InstanceId, InstancePid, RequestId};
use handover_proto::instance::VERSIONS;
use handover_proto::settings::WhenBusy;
use handover_proto::takeover::{Answer, LISTENERS_AT_ONCE, RefusedFor, encode_answer};
use handover_sys::{peer, socket};

use super::coordinator::{Coordination, TAKER};
use super::estate::Holding;
use super::member::{Kind, Member};
use super::spawn::Legacy;
use super::visitor::Visitor;

/// A visitor that takes over, until the machine has said that it may.
pub(super) struct Arriving {
    pub(super) visitor: Visitor,
    pub(super) request: RequestId,
    pub(super) pid: InstancePid,
}

/// What a visitor that wants to take over says of itself.
pub(super) struct Claim {
    pub(super) service: String,
    pub(super) pid: InstancePid,
    pub(super) network: Option<u64>,
    pub(super) oldest: u16,
    pub(super) newest: u16,
}

impl Coordination {
    /// Somebody wants to take over. Everything that speaks against it is looked at before anything
    /// is given.
    pub(super) fn taken_by(&mut self, mut visitor: Visitor, claim: Claim) {
        if let Err((cause, reason)) = self.judge(&claim) {
            visitor.refuse(cause, reason);
            self.visitors.push(visitor);
            return;
        }
        self.last_request = self.last_request.next();
        let request = self.last_request;
        self.arriving = Some(Arriving {
            visitor,
            request,
            pid: claim.pid,
        });
        self.tell(Input::Upgrade {
            request: Some(request),
            candidate: TAKER,
            when_busy: WhenBusy::Fail,
        });
        // The machine has refused it, with the reason.
        if let Some(Arriving { mut visitor, .. }) = self.arriving.take() {
            visitor.refuse(RefusedFor::Busy, "another handover is running");
            self.visitors.push(visitor);
        }
    }

    fn judge(&self, claim: &Claim) -> Result<(), (RefusedFor, String)> {
        let host = &self.host;
        if claim.service != host.service {
            let reason = format!(
                "this is the service {:?}, not {:?}; choose another path with Takeover::socket, or \
                 the same name",
                host.service, claim.service
            );
            return Err((RefusedFor::Service, reason));
        }
        let ours = socket::network_namespace().ok().flatten();
        if let (Some(ours), Some(theirs)) = (ours, claim.network)
            && ours != theirs
            && host.estate.has_inet()
        {
            let reason = "it runs in another network namespace, where nobody could connect to the \
                          listeners it would get: start it in the namespace of this process \
                          (docker run --network container:ID, or --network host for both), or put \
                          a load balancer in front of both"
                .to_owned();
            return Err((RefusedFor::Network, reason));
        }
        negotiate(VERSIONS, claim.oldest..=claim.newest)
            .map(drop)
            .map_err(|error| (RefusedFor::Violation, error.to_string()))
    }

    /// What the machine calls a spawn.
    pub(super) fn spawn(&mut self, instance: InstanceId, candidate: CandidateId) {
        let begun = match candidate {
            // It would take our end for a death, and serve beside the one that is committed.
            _ if self.replaced => Err("this process is being replaced".into()),
            TAKER => self.adopt(instance),
            _ => self.start(instance),
        };
        self.host.estate.grant(begun.is_ok());
        self.tell_next(match begun {
            Ok(pid) => Input::Spawned { instance, pid },
            Err(reason) => Input::SpawnFailed { instance, reason },
        });
    }

    fn copies(&self) -> Result<Vec<Holding>, String> {
        match self.host.estate.copy() {
            Ok(Some(listeners)) => Ok(listeners),
            Ok(None) => Err("this process is closing its listeners".into()),
            Err(error) => Err(format!("its listeners could not be copied: {error}")),
        }
    }

    fn adopt(&mut self, instance: InstanceId) -> Result<InstancePid, String> {
        let Some(Arriving {
            mut visitor, pid, ..
        }) = self.arriving.take()
        else {
            return Err("the process that wanted to take over is gone".into());
        };
        let process = peer::process(&visitor.post).unwrap_or_default();
        let given = self.grant(&mut visitor, instance);
        if let Err(reason) = given {
            visitor.refuse(RefusedFor::Fault, &*reason);
            self.visitors.push(visitor);
            return Err(reason);
        }
        tracing::info!(%instance, %pid, service = self.host.service, "a process takes over");
        let member = Member::over(Kind::Taker, visitor.post, process);
        self.members.insert(instance, member);
        Ok(pid)
    }

    /// Sends the takeover socket and every listener.
    fn grant(&self, visitor: &mut Visitor, instance: InstanceId) -> Result<(), String> {
        let mut listeners = self.copies()?;
        let socket = self.host.socket.try_clone();
        let socket = socket.map_err(|error| format!("its socket could not be copied: {error}"))?;
        let granted = Answer::Granted {
            instance,
            generation: self.machine.generation(),
            listeners: u32::try_from(listeners.len()).unwrap_or(u32::MAX),
        };
        let mut fits = visitor
            .post
            .queue(encode_answer(&granted, true), vec![socket.into()]);
        while !listeners.is_empty() {
            crate::crash::coordinating("listeners");
            let rest = listeners.split_off(listeners.len().min(LISTENERS_AT_ONCE));
            let (entries, descriptors): (_, Vec<OwnedFd>) = listeners
                .into_iter()
                .map(|holding| (holding.passed, holding.fd))
                .unzip();
            let bytes = encode_answer(&Answer::Listeners { entries }, false);
            fits &= visitor.post.queue(bytes, descriptors);
            listeners = rest;
        }
        visitor.post.flush();
        fits.then_some(())
            .ok_or_else(|| "its listeners do not fit into one message after another".into())
    }

    /// Starts our own program again.
    fn start(&mut self, instance: InstanceId) -> Result<InstancePid, String> {
        let listeners = self.copies()?;
        let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        let legacy = Legacy {
            listeners: &listeners,
            channel: &theirs,
            socket: &self.host.socket,
            instance,
            generation: self.machine.generation(),
        };
        let managed = self.host.notice.is_heard();
        let process = self.host.program.start(&legacy, managed)?;
        let pid = InstancePid(process.pid());
        tracing::info!(%instance, %pid, service = self.host.service, "started to take over");
        let member = Member::new(Kind::Child, ours, Some(process));
        let member = member.map_err(|error| error.to_string())?;
        self.members.insert(instance, member);
        Ok(pid)
    }
}
