//! Asking HTTP/1 clients to reconnect.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::core::Core;

/// Puts `Connection: close` on HTTP/1 answers while an instance is draining (RFC 9112, section
/// 9.6: a client that receives it must not send another request on that connection). HTTP/2 has
/// GOAWAY for that, which servers send when they shut down gracefully. From
/// [`Instance::reconnect_layer`](crate::Instance::reconnect_layer).
///
/// Works with any tower stack over [`http`] types: axum, hyper, tonic.
#[derive(Clone, Debug)]
pub struct ReconnectLayer {
    core: Arc<Core>,
}

impl ReconnectLayer {
    pub(crate) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

impl<S> Layer<S> for ReconnectLayer {
    type Service = Reconnect<S>;

    fn layer(&self, inner: S) -> Reconnect<S> {
        Reconnect {
            inner,
            core: Arc::clone(&self.core),
        }
    }
}

/// The service of a [`ReconnectLayer`].
#[derive(Clone, Debug)]
pub struct Reconnect<S> {
    inner: S,
    core: Arc<Core>,
}

impl<S, B, A> Service<Request<B>> for Reconnect<S>
where
    S: Service<Request<B>, Response = Response<A>>,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Later versions have no such header and forbid it (RFC 9113, section 8.2.2).
        let concerned = request.version() <= Version::HTTP_11;
        Answer {
            answer: self.inner.call(request),
            core: concerned.then(|| Arc::clone(&self.core)),
        }
    }
}

pin_project! {
    /// The answer of a [`Reconnect`].
    #[derive(Debug)]
    pub struct Answer<F> {
        #[pin]
        answer: F,
        core: Option<Arc<Core>>,
    }
}

impl<F, A, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<A>, E>>,
{
    type Output = Result<Response<A>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.answer.poll(context));
        if let (Ok(response), Some(core)) = (&mut answer, &this.core)
            // Asked now and not at the call: a slow answer may be the last chance to say it.
            && core.asks_to_reconnect()
            // After an upgrade the connection is no longer HTTP, and the header names the upgrade.
            && response.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        Poll::Ready(answer)
    }
}
