//! Kinds of processes with their types erased: what a cell runs.

use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use handover_hub_proto::identity::KindName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::process::{Consent, Context, Handed, Process, Role, Stop};

/// What a hook came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It said so.
    Said(String),
    /// It panicked.
    Panicked(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Said(reason) => f.write_str(reason),
            Self::Panicked(reason) => write!(f, "panicked: {reason}"),
        }
    }
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Said(stop.reason().to_owned())
    }
}

/// How a message went.
#[derive(Debug)]
pub(crate) enum Handled {
    /// Here is the reply.
    Reply(Bytes),
    /// It is no message of this kind.
    Malformed(String),
    /// It panicked: its state cannot be trusted.
    Panicked(String),
}

/// A kind.
pub(crate) trait Kind: Send + Sync {
    /// The version of states it writes, the versions it reads, and those it can write.
    fn schemas(&self) -> Schemas;
    /// Constructs a process from its encoded argument.
    fn start<'a>(
        &'a self,
        argument: &'a [u8],
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Box<dyn Body>, Fault>>;
}

/// Versions of the state of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schemas {
    pub(crate) schema: u32,
    pub(crate) reads: RangeInclusive<u32>,
    pub(crate) writes: RangeInclusive<u32>,
}

/// A process of any kind. Every method catches panics of the hook it calls.
pub(crate) trait Body: Send {
    fn handle<'a>(
        &'a mut self,
        request: &'a [u8],
        context: &'a mut Context,
    ) -> BoxFuture<'a, Handled>;
    fn prepare(&mut self, schema: u32) -> Result<Handed, Fault>;
    /// Consumes the process even when it fails: what a panic left cannot be trusted.
    fn alter(self: Box<Self>, handed: Handed) -> Result<Box<dyn Body>, Fault>;
    fn warm<'a>(&'a mut self, context: &'a Context) -> BoxFuture<'a, Result<(), Fault>>;
    fn resume<'a>(&'a mut self, context: &'a Context) -> BoxFuture<'a, Result<(), Fault>>;
    fn consent(&self) -> Result<Consent, Fault>;
    fn role(&mut self, role: Role) -> Result<(), Fault>;
    fn merge(&mut self, other: Handed) -> Result<(), Fault>;
    fn stop<'a>(self: Box<Self>, context: &'a Context) -> BoxFuture<'a, Result<(), Fault>>;
}

/// The kinds that a node runs.
#[derive(Clone, Default)]
pub(crate) struct Kinds(std::collections::BTreeMap<KindName, Arc<dyn Kind>>);

impl Kinds {
    /// Adds one; false if there is one of that name.
    pub(crate) fn add<P: Process>(&mut self, name: KindName) -> bool {
        self.0
            .insert(name, Arc::new(KindOf::<P>(PhantomData)))
            .is_none()
    }

    pub(crate) fn get(&self, name: &KindName) -> Option<&Arc<dyn Kind>> {
        self.0.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&KindName, &Arc<dyn Kind>)> {
        self.0.iter()
    }
}

struct KindOf<P>(PhantomData<fn() -> P>);

struct BodyOf<P>(P);

/// What a panic said, if it said a text.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "no text".to_owned()
    }
}

/// Calls a hook, and makes a fault of its panic.
pub(crate) fn guard<T>(hook: impl FnOnce() -> T) -> Result<T, Fault> {
    std::panic::catch_unwind(AssertUnwindSafe(hook))
        .map_err(|panic| Fault::Panicked(panic_text(&*panic)))
}

/// Awaits a hook, and makes a fault of its panic.
async fn guard_async<T>(hook: impl Future<Output = T>) -> Result<T, Fault> {
    AssertUnwindSafe(hook)
        .catch_unwind()
        .await
        .map_err(|panic| Fault::Panicked(panic_text(&*panic)))
}

impl<P: Process> Kind for KindOf<P> {
    fn schemas(&self) -> Schemas {
        Schemas {
            schema: P::SCHEMA,
            reads: P::READS,
            writes: P::WRITES,
        }
    }

    fn start<'a>(
        &'a self,
        argument: &'a [u8],
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Box<dyn Body>, Fault>> {
        Box::pin(async move {
            let argument = decode::<P::Argument>(argument)
                .map_err(|reason| Fault::Said(format!("its argument cannot be read: {reason}")))?;
            let process = guard_async(async { P::start(argument, context).await }).await??;
            Ok(Box::new(BodyOf(process)) as Box<dyn Body>)
        })
    }
}

/// Reads all of a message.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes more than expected", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

impl<P: Process> Body for BodyOf<P> {
    fn handle<'a>(
        &'a mut self,
        request: &'a [u8],
        context: &'a mut Context,
    ) -> BoxFuture<'a, Handled> {
        Box::pin(async move {
            let request = match decode::<P::Request>(request) {
                Ok(request) => request,
                Err(reason) => return Handled::Malformed(reason),
            };
            let handled = guard_async(async {
                let reply = self.0.handle(request, context).await;
                postcard::to_allocvec(&reply)
            });
            match handled.await {
                Ok(Ok(reply)) => Handled::Reply(reply.into()),
                Ok(Err(error)) => Handled::Malformed(format!("its reply: {error}")),
                Err(Fault::Said(reason) | Fault::Panicked(reason)) => Handled::Panicked(reason),
            }
        })
    }

    fn prepare(&mut self, schema: u32) -> Result<Handed, Fault> {
        Ok(guard(|| self.0.prepare_handover_state(schema))??)
    }

    fn alter(self: Box<Self>, handed: Handed) -> Result<Box<dyn Body>, Fault> {
        let process = guard(|| self.0.alter_handover_state(handed))??;
        Ok(Box::new(Self(process)))
    }

    fn warm<'a>(&'a mut self, context: &'a Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            guard_async(async { self.0.warm(context).await }).await??;
            Ok(())
        })
    }

    fn resume<'a>(&'a mut self, context: &'a Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(guard_async(async { self.0.resume(context).await }))
    }

    fn consent(&self) -> Result<Consent, Fault> {
        guard(|| self.0.consent())
    }

    fn role(&mut self, role: Role) -> Result<(), Fault> {
        guard(|| self.0.role(role))
    }

    fn merge(&mut self, other: Handed) -> Result<(), Fault> {
        Ok(guard(|| self.0.merge(other))??)
    }

    fn stop<'a>(self: Box<Self>, context: &'a Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move { guard_async(async { self.0.stop(context).await }).await })
    }
}
