//! Requests that write, let in only while this instance owns the data, and passed on to its
//! successor afterwards.

mod forward;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower_layer::Layer;
use tower_service::Service;

use crate::address::Address;
use crate::core::Core;

/// The longest request body that is taken in by default: what axum's own extractors take.
pub const BODY_LIMIT: usize = 2 * 1024 * 1024;

/// Gives each request a [`Permit`](crate::Permit) for as long as its handler runs, so that only the
/// owner of the data handles it. From [`Instance::owner_layer`](crate::Instance::owner_layer).
///
/// 1. The whole request is taken in first, up to a limit, without a permit: a slow client holds
///    nothing up. A longer one is answered with 413.
/// 2. The permit is waited for. That takes no time in normal service; while the right to write is
///    being handed over it takes until that is decided. The client's connection stays open.
/// 3. The handler runs and keeps the permit until it has returned its response. It may do all its
///    writes until then, and none in a streamed body afterwards. `Extension<handover::lease::Epoch>`
///    is the epoch to fence them with.
/// 4. When another instance owns the data by now, the request goes there instead, over a new
///    connection to the shared listener, and its answer comes back with `Connection: close`: the
///    client's next request finds the new owner by itself.
///
/// Put it around the routes that write and be quick there: a handover waits for their handlers, and
/// for nothing else. Slow routes that do not write belong outside. So do large uploads; take those
/// in, then ask for a permit by hand.
///
/// The new owner sees forwarded requests come from this host. If no instance accepts them, they are
/// answered with 503, and with 502 if it breaks off: then nobody knows whether it was carried out.
#[derive(Clone, Debug)]
pub struct OwnerLayer {
    settings: Arc<Settings>,
}

#[derive(Clone, Debug)]
struct Settings {
    core: Arc<Core>,
    limit: usize,
    /// Where the new owner is found, if not at the first listener.
    target: Option<Address>,
}

impl OwnerLayer {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let settings = Settings {
            core,
            limit: BODY_LIMIT,
            target: None,
        };
        Self {
            settings: Arc::new(settings),
        }
    }

    /// The longest request body to take in, in bytes, instead of [`BODY_LIMIT`].
    #[must_use]
    pub fn body_limit(mut self, limit: usize) -> Self {
        Arc::make_mut(&mut self.settings).limit = limit;
        self
    }

    /// Where the new owner is found: the address of a listener that all versions share and that
    /// speaks HTTP without TLS. By default that of the first stream listener that this instance
    /// opened.
    #[must_use]
    pub fn forward_to(mut self, address: Address) -> Self {
        Arc::make_mut(&mut self.settings).target = Some(address);
        self
    }
}

impl<S> Layer<S> for OwnerLayer {
    type Service = Owned<S>;

    fn layer(&self, inner: S) -> Owned<S> {
        Owned {
            inner,
            settings: Arc::clone(&self.settings),
        }
    }
}

/// The service of an [`OwnerLayer`].
#[derive(Clone, Debug)]
pub struct Owned<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Service<Request<Body>> for Owned<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that is ready goes, a copy stays.
        let copy = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, copy);
        let settings = Arc::clone(&self.settings);
        Box::pin(async move { Ok(settings.answer(inner, request).await) })
    }
}

impl Settings {
    async fn answer<S>(&self, mut inner: S, request: Request<Body>) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let (mut parts, body) = request.into_parts();
        let bytes = match self.take_in(body).await {
            Ok(bytes) => bytes,
            Err(refusal) => return refusal,
        };
        let lease = self.core.lease().await;
        match lease.enter().await {
            Ok(permit) => {
                parts.extensions.insert(permit.epoch());
                let request = Request::from_parts(parts, Body::from(bytes));
                let answered = inner.call(request).await;
                drop(permit);
                answered.unwrap_or_else(|never| match never {})
            }
            // `enter` has no other error: it waits.
            Err(_) => {
                let target = self.target.clone().or_else(|| self.core.first_address());
                forward::forward(target, parts, bytes).await
            }
        }
    }

    /// The whole body, or the answer to one that cannot be had.
    async fn take_in(&self, body: Body) -> Result<Bytes, Response<Body>> {
        let refused = |status: StatusCode, text: String| {
            let mut response = Response::new(Body::from(text));
            *response.status_mut() = status;
            response
        };
        match Limited::new(body, self.limit).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("at most {} bytes are taken here\n", self.limit),
            )),
            Err(error) => Err(refused(
                StatusCode::BAD_REQUEST,
                format!("the request's body cannot be read: {error}\n"),
            )),
        }
    }
}
