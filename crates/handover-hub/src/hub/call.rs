//! Calls and casts to processes, wherever they live.

use std::time::Duration;

use bytes::Bytes;
use handover_hub_proto::identity::ProcessId;

use super::Hub;
use crate::error::CallError;
use crate::kind;
use crate::process::Process;

/// How long [`Hub::call`] waits for a reply.
pub const PATIENCE: Duration = Duration::from_secs(5);

impl Hub {
    /// Calls a process, wherever it lives, even while it moves, and waits up to 5 seconds for its
    /// reply.
    ///
    /// The request is handled once, or not at all, however often it is sent again underneath, as
    /// long as the process's state survives. Dropped before it is ready, it may be handled still.
    ///
    /// # Errors
    ///
    /// [`CallError`], which says for each cause whether the request may have been handled.
    pub async fn call<P: Process>(
        &self,
        id: &str,
        request: P::Request,
    ) -> Result<P::Reply, CallError> {
        self.call_within::<P>(id, request, PATIENCE).await
    }

    /// Like [`call`](Self::call), and waits this long.
    ///
    /// # Errors
    ///
    /// [`CallError`], which says for each cause whether the request may have been handled.
    pub async fn call_within<P: Process>(
        &self,
        id: &str,
        request: P::Request,
        patience: Duration,
    ) -> Result<P::Reply, CallError> {
        let process = ProcessId::new(id)?;
        let body = encode(&request)?;
        drop(request);
        let reply = self.shared().call(process.clone(), body, patience).await?;
        kind::decode(&reply).map_err(|reason| CallError::Reply { process, reason })
    }

    /// Sends a process a message without waiting for it to be handled. It is ready once the message
    /// is in the mailbox, or on its way there.
    ///
    /// It is handled once, or not at all: it is lost with a connection that breaks, and with the
    /// node that it was sent to.
    ///
    /// # Errors
    ///
    /// [`CallError`]; it was not sent.
    pub async fn cast<P: Process>(&self, id: &str, request: P::Request) -> Result<(), CallError> {
        let process = ProcessId::new(id)?;
        let body = encode(&request)?;
        drop(request);
        self.shared().cast(process, body).await
    }
}

fn encode<T: serde::Serialize>(request: &T) -> Result<Bytes, CallError> {
    match postcard::to_allocvec(request) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(CallError::Encode(error)),
    }
}
