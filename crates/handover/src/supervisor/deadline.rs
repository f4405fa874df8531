//! A machine's deadline as something to wait for.

use std::time::{Duration, Instant};

use handover_proto::moment::Moment;

/// Resolves at `deadline`, which counts from `origin`; never without one. Cancel-safe.
pub(super) async fn reached(origin: Instant, deadline: Option<Moment>) {
    match deadline {
        Some(at) => {
            let at = origin + Duration::from_nanos(at.as_nanos());
            tokio::time::sleep_until(at.into()).await;
        }
        None => std::future::pending().await,
    }
}
