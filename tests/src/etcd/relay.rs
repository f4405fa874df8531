//! A way to a server that is slow, stands still, or is not there.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What waits for its time at once, in each direction of a connection.
const CHUNKS: usize = 1024;

/// Listens on the loopback and passes everything on, as late as it is told to.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    ways: Arc<Ways>,
}

#[derive(Debug)]
struct Ways {
    target: SocketAddr,
    /// In milliseconds, for each direction.
    delay: AtomicU64,
    cut: AtomicBool,
    ended: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// In front of a server.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let ways = Arc::new(Ways {
            target,
            delay: AtomicU64::new(0),
            cut: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let all = Arc::clone(&ways);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if all.ended.load(Ordering::Acquire) {
                    return;
                }
                if !all.cut.load(Ordering::Acquire) {
                    all.connect(&client);
                }
            }
        });
        Self { address, ways }
    }

    /// Where it listens, for clients of a server without TLS.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How long everything is on its way from now on, in each direction.
    pub fn delay(&self, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.ways.delay.store(milliseconds, Ordering::Release);
    }

    /// Breaks all connections and takes no new ones.
    pub fn cut(&self) {
        self.ways.cut.store(true, Ordering::Release);
        self.ways.hang_up();
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.ways.cut.store(false, Ordering::Release);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ways.ended.store(true, Ordering::Release);
        self.ways.hang_up();
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

impl Ways {
    fn connect(self: &Arc<Self>, client: &TcpStream) {
        let Ok(server) = TcpStream::connect(self.target) else {
            let _ = client.shutdown(Shutdown::Both);
            return;
        };
        let both = [(client, &server), (&server, client)];
        let ways = both.map(|(from, to)| Some((from.try_clone().ok()?, to.try_clone().ok()?)));
        for (from, to) in ways.into_iter().flatten() {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.extend(from.try_clone());
            drop(open);
            let all = Arc::clone(self);
            thread::spawn(move || all.carry(from, to));
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let (late, due) = mpsc::sync_channel::<(Instant, Vec<u8>)>(CHUNKS);
        let delivery = thread::spawn(move || {
            for (when, bytes) in due {
                thread::sleep(when.saturating_duration_since(Instant::now()));
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        });
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let delay = Duration::from_millis(self.delay.load(Ordering::Acquire));
            let chunk = (Instant::now() + delay, buffer[..length].to_vec());
            if late.send(chunk).is_err() {
                break;
            }
        }
        drop(late);
        let _ = delivery.join();
    }

    fn hang_up(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
