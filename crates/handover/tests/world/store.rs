//! A service that writes down what happens to it, and does what the test wants.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use handover::{ItemSpec, Lease, Memfd, Service, ServiceError, State, StateWriter};
use tokio::sync::{Semaphore, watch};

/// What a store carries in memory, and where its hooks stop.
#[derive(Default)]
pub struct Script {
    pub manifest: Vec<ItemSpec>,
    /// Hooks that fail, by name, once each; `!` before the reason makes it a panic.
    pub failures: Mutex<VecDeque<(&'static str, &'static str)>>,
    /// Hooks that wait until their gate has a permit, by name.
    pub gates: Vec<(&'static str, Arc<Semaphore>)>,
    /// What the next successor gets.
    pub items: Vec<(&'static str, Vec<u8>)>,
    pub base: Vec<(&'static str, Vec<u8>)>,
}

/// What has happened, in order.
#[derive(Clone)]
pub struct Log(Arc<watch::Sender<Vec<String>>>);

impl Log {
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }

    pub fn add(&self, line: impl Into<String>) {
        self.0.send_modify(|lines| lines.push(line.into()));
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// Waits for a line.
    pub async fn until(&self, line: &str) {
        let mut lines = self.0.subscribe();
        let what = format!("{line:?} in the log");
        let found = lines.wait_for(|lines| lines.iter().any(|found| found == line));
        super::within(&what, found).await.unwrap();
    }
}

pub struct Store {
    pub log: Log,
    pub script: Script,
}

impl Store {
    pub fn new(script: Script) -> (Self, Log) {
        let log = Log::new();
        let store = Self {
            log: log.clone(),
            script,
        };
        (store, log)
    }

    async fn act(&self, hook: &'static str, line: String) -> Result<(), ServiceError> {
        self.log.add(line);
        for (name, gate) in &self.script.gates {
            if *name == hook {
                let guard = Cancelled(Some((hook, self.log.clone())));
                gate.acquire().await.unwrap().forget();
                guard.done();
            }
        }
        let failure = {
            let mut failures = self.script.failures.lock().unwrap();
            let at = failures.iter().position(|(name, _)| *name == hook);
            at.and_then(|at| failures.remove(at))
        };
        match failure {
            Some((_, reason)) => match reason.strip_prefix('!') {
                Some(reason) => panic!("{reason}"),
                None => Err(reason.into()),
            },
            None => Ok(()),
        }
    }

    fn note(&self, state: &mut State) -> Result<(), ServiceError> {
        let names: Vec<_> = state.names().map(str::to_owned).collect();
        for name in names {
            let item = state.take(&name).ok_or("a name without an item")?;
            let mut read = Vec::new();
            item.reader().read_to_end(&mut read)?;
            assert_eq!(read, item.bytes()?, "both ways to read it agree");
            self.log.add(format!(
                "  {name} v{} {} bytes, sum {}",
                item.version(),
                item.len(),
                sum(&read)
            ));
        }
        Ok(())
    }
}

/// Writes down that a hook was cancelled while it waited.
struct Cancelled(Option<(&'static str, Log)>);

impl Cancelled {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some((hook, log)) = &self.0 {
            log.add(format!("{hook} cancelled"));
        }
    }
}

/// A digest that anybody can compute.
pub fn sum(bytes: &[u8]) -> u64 {
    let add = |sum: u64, byte: &u8| sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
    bytes.iter().fold(7, add)
}

/// Puts an item in the way its name says: `memfd…`, `stream…`, others as a whole.
fn put(state: &mut StateWriter, name: &str, bytes: &[u8]) -> Result<(), ServiceError> {
    if name.starts_with("memfd") {
        let mut memfd = Memfd::create(name, 0)?;
        memfd.write_all(bytes)?;
        state.put_memfd(name, memfd)?;
    } else if name.starts_with("stream") {
        let mut stream = state.stream(name)?;
        for chunk in bytes.chunks(70_001) {
            stream.write_all(chunk)?;
        }
        stream.finish()?;
    } else {
        state.put(name, bytes)?;
    }
    Ok(())
}

impl Drop for Store {
    fn drop(&mut self) {
        self.log.add("dropped");
    }
}

impl Service for Store {
    fn manifest(&self) -> Vec<ItemSpec> {
        self.script.manifest.clone()
    }

    async fn base(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        self.act("base", "base".into()).await?;
        for (done, (name, bytes)) in self.script.base.iter().enumerate() {
            put(state, name, bytes)?;
            state.progress(done as u64 + 1, self.script.base.len() as u64);
        }
        Ok(())
    }

    async fn warm(&mut self, mut base: State) -> Result<(), ServiceError> {
        assert!(!base.is_sealed());
        self.act("warm", "warm".into()).await?;
        self.note(&mut base)
    }

    async fn activate(&mut self, lease: Lease, mut state: State) -> Result<(), ServiceError> {
        assert!(lease.is_held());
        let line = format!("activate, sealed {}", state.is_sealed());
        self.act("activate", line).await?;
        self.note(&mut state)
    }

    async fn drain(&mut self, _: Duration) -> Result<(), ServiceError> {
        self.act("drain", "drain".into()).await
    }

    async fn seal(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        self.act("seal", "seal".into()).await?;
        for (name, bytes) in &self.script.items {
            put(state, name, bytes)?;
        }
        Ok(())
    }

    async fn resume(&mut self, lease: Lease) -> Result<(), ServiceError> {
        assert!(lease.is_held());
        self.act("resume", "resume".into()).await
    }
}

/// A script whose hook waits, and what lets it go on.
pub fn waiting(hook: &'static str) -> (Script, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let script = Script {
        gates: vec![(hook, Arc::clone(&gate))],
        ..Script::default()
    };
    (script, gate)
}
