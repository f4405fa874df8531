//! A server in a task of its own: it ends with its handle, or first lets answers under way finish.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long answers under way may take once the node ends.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// The handle of a server.
#[derive(Debug)]
pub(crate) struct Serving {
    task: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
}

impl Serving {
    /// Runs a server; `what` names it in the log. It is given what tells it to take no more.
    pub(crate) fn start<F>(
        what: &'static str,
        server: impl FnOnce(oneshot::Receiver<()>) -> F,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let server = server(stopped);
        let task = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "{what}");
            }
        });
        Self {
            task,
            stop: Some(stop),
        }
    }

    /// Takes no more requests and lets answers under way finish.
    pub(crate) async fn finish(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = tokio::time::timeout(FINISH_WITHIN, &mut self.task).await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}
