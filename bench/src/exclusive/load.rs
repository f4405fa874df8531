//! Clients: writes that are due at a fixed rate whatever becomes of those before, and slow requests.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use super::{PATIENCE, SLOW};

/// Time between two writes that are due; also how finely a gap is seen.
const EVERY: Duration = Duration::from_micros(250);
/// Most writes that wait at once: what the queue of a listener of the standard library holds, so that
/// a pause is not lengthened by connections that the kernel drops.
const MOST_WAITING: usize = 100;

/// An acknowledged write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) at: Instant,
    pub(crate) number: u64,
    /// Process that wrote it.
    pub(crate) by: u32,
}

/// What became of all requests.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) writes: Vec<Acknowledged>,
    pub(crate) lost: Vec<String>,
}

/// Clients at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    pacer: JoinHandle<()>,
    clients: JoinHandle<io::Result<()>>,
    trace: Arc<Mutex<Trace>>,
}

impl Load {
    /// Begins to write, with so many slow requests in flight at all times.
    pub(crate) fn start(address: SocketAddr, slow: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let trace = Arc::new(Mutex::new(Trace::default()));
        let (due, dues) = mpsc::unbounded_channel();
        let pacer = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut next = Instant::now();
                while !stop.load(Ordering::Relaxed) && due.send(()).is_ok() {
                    next += EVERY;
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            })
        };
        let clients = {
            let (stop, trace) = (Arc::clone(&stop), Arc::clone(&trace));
            thread::spawn(move || {
                let mut builder = tokio::runtime::Builder::new_current_thread();
                let runtime = builder.enable_all().build()?;
                runtime.block_on(clients(address, slow, dues, &stop, &trace));
                Ok(())
            })
        };
        Self {
            stop,
            pacer,
            clients,
            trace,
        }
    }

    /// Stops asking, waits for every answer, and tells what there was.
    pub(crate) fn finish(self) -> io::Result<Trace> {
        self.stop.store(true, Ordering::Relaxed);
        let panicked = |_| io::Error::other("a client panicked");
        self.pacer.join().map_err(panicked)?;
        self.clients.join().map_err(panicked)??;
        let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *trace))
    }
}

async fn clients(
    address: SocketAddr,
    slow: usize,
    mut dues: mpsc::UnboundedReceiver<()>,
    stop: &Arc<AtomicBool>,
    trace: &Arc<Mutex<Trace>>,
) {
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..slow {
        let (stop, trace) = (Arc::clone(stop), Arc::clone(trace));
        all.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = ask(address, SLOW).await;
                keep(&trace, answer.map(|_| None));
            }
        });
    }
    let room = Arc::new(Semaphore::new(MOST_WAITING));
    while dues.recv().await.is_some() {
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            continue;
        };
        let trace = Arc::clone(trace);
        all.spawn(async move {
            let answer = ask(address, "W\n").await;
            let at = Instant::now();
            drop(place);
            keep(&trace, answer.and_then(|line| acknowledged(at, &line)));
        });
        while all.try_join_next().is_some() {}
    }
    while all.join_next().await.is_some() {}
}

fn keep(trace: &Mutex<Trace>, answer: io::Result<Option<Acknowledged>>) {
    let mut trace = trace.lock().unwrap_or_else(PoisonError::into_inner);
    match answer {
        Ok(write) => trace.writes.extend(write),
        Err(error) => trace.lost.push(error.to_string()),
    }
}

fn acknowledged(at: Instant, line: &str) -> io::Result<Option<Acknowledged>> {
    let words = line.trim_end().split_once(' ');
    let numbers = words.and_then(|(number, by)| Some((number.parse().ok()?, by.parse().ok()?)));
    let (number, by) =
        numbers.ok_or_else(|| io::Error::other(format!("no acknowledgement: {line:?}")))?;
    Ok(Some(Acknowledged { at, number, by }))
}

/// Sends a line and reads one, over a connection of its own.
async fn ask(address: SocketAddr, line: &str) -> io::Result<String> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        // Closed by a reset, which keeps no port busy afterwards.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        stream.set_nodelay(true)?;
        stream.write_all(line.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n") {
            if stream.read_buf(&mut answer).await? == 0 {
                let found = String::from_utf8_lossy(&answer);
                return Err(io::Error::other(format!("closed after {found:?}")));
            }
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
