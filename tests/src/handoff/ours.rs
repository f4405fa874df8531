//! On our library. The same daemon in the same deployment: what differs is `Service` for
//! `Drainable`, and that writes ask for a permit.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use handover::{Instance, Lease, Service, ServiceError, State, StateWriter};

use super::{Behaviour, Store};

struct Hooks {
    store: Arc<Store>,
    behaviour: Behaviour,
}

impl Hooks {
    async fn pause(&self, name: &str) {
        tokio::time::sleep(self.store.hook(name)).await;
    }
}

impl Service for Hooks {
    async fn warm(&mut self, _base: State) -> Result<(), ServiceError> {
        tokio::time::sleep(self.behaviour.warm).await;
        Ok(())
    }

    async fn activate(&mut self, _lease: Lease, _state: State) -> Result<(), ServiceError> {
        if self.behaviour.exit_before_ready {
            std::process::exit(3);
        }
        if self.behaviour.never_ready {
            std::future::pending::<()>().await;
        }
        Ok(self.store.open()?)
    }

    async fn drain(&mut self, _within: Duration) -> Result<(), ServiceError> {
        self.pause("drain").await;
        Ok(())
    }

    async fn seal(&mut self, _state: &mut StateWriter) -> Result<(), ServiceError> {
        self.pause("seal").await;
        Ok(self.store.close()?)
    }

    async fn resume(&mut self, _lease: Lease) -> Result<(), ServiceError> {
        self.pause("resume").await;
        Ok(self.store.open()?)
    }
}

pub(super) fn serve(behaviour: Behaviour) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(behaviour))
}

async fn run(behaviour: Behaviour) -> io::Result<()> {
    let instance = Instance::builder("handoff")
        .handoff_socket(&behaviour.socket)
        .start()
        .await
        .map_err(io::Error::other)?;
    let listener = instance.tcp("http", "127.0.0.1:0").await;
    let listener = listener.map_err(io::Error::other)?;
    let store = Arc::new(Store::new(behaviour.clone()));
    let hooks = Hooks {
        store: Arc::clone(&store),
        behaviour: behaviour.clone(),
    };
    let lease = instance.own(&behaviour.data, hooks).await;
    let lease = lease.map_err(io::Error::other)?;
    let version = behaviour.version;
    let writing = Router::new()
        .route(
            "/write",
            get({
                let lease = lease.clone();
                async move || write(&store, &lease).await
            }),
        )
        .layer(instance.owner_layer());
    let app = Router::new()
        .route("/who", get(move || std::future::ready(version.clone())))
        .route("/pid", get(async || std::process::id().to_string()))
        .merge(writing)
        .layer(instance.reconnect_layer());
    axum::serve(listener, app)
        .with_graceful_shutdown(instance.draining())
        .await?;
    instance.retired().await;
    Ok(())
}

async fn write(store: &Store, lease: &Lease) -> (StatusCode, String) {
    let Ok(_permit) = lease.enter().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "not the owner".into());
    };
    match store.write() {
        Ok(true) => (StatusCode::OK, "written".into()),
        Ok(false) => (StatusCode::SERVICE_UNAVAILABLE, "not the owner".into()),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
