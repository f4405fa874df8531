//! An instance with the library, whose hooks wait wherever a test wants them to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use handover::{Instance, Lease, Service, ServiceError, State, StateWriter};

/// Names the program on its command line.
pub const OWNER: &str = "owner";

struct Store {
    dir: PathBuf,
}

impl Store {
    /// Says that a hook was entered, and waits while it is held.
    async fn pass(&self, hook: &str) {
        std::fs::write(at(&self.dir, hook), "").expect("writes");
        while hold(&self.dir, hook).exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// There once a hook was entered.
pub fn at(dir: &Path, hook: &str) -> PathBuf {
    dir.join(format!("at-{hook}"))
}

/// While it is there, the hook does not return.
pub fn hold(dir: &Path, hook: &str) -> PathBuf {
    dir.join(format!("hold-{hook}"))
}

impl Service for Store {
    async fn warm(&mut self, _base: State) -> Result<(), ServiceError> {
        self.pass("warm").await;
        Ok(())
    }

    async fn activate(&mut self, _lease: Lease, _state: State) -> Result<(), ServiceError> {
        self.pass("activate").await;
        Ok(())
    }

    async fn drain(&mut self, _within: Duration) -> Result<(), ServiceError> {
        self.pass("drain").await;
        Ok(())
    }

    async fn seal(&mut self, _state: &mut StateWriter) -> Result<(), ServiceError> {
        self.pass("seal").await;
        Ok(())
    }

    async fn resume(&mut self, _lease: Lease) -> Result<(), ServiceError> {
        self.pass("resume").await;
        Ok(())
    }
}

/// The process.
pub fn play() {
    let dir = PathBuf::from(std::env::var("ACTOR_DIR").expect("a directory"));
    crate::actor::end_with(dir.clone());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let instance = Instance::start("owner").await.expect("starts");
        let data = dir.join("data");
        std::fs::create_dir_all(&data).expect("a directory");
        if let Err(error) = instance.own(&data, Store { dir }).await {
            eprintln!("{error}");
            std::process::exit(1);
        }
        instance.retired().await;
    });
}
