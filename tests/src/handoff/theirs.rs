//! On the crate, with threads and blocking sockets, as its README has it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use handoff::drainable::ReadinessSnapshot;
use handoff::{
    DataDirLock, DrainReport, Drainable, Incumbent, Role, SealReport, StateSnapshot, detect_role,
};

use super::{Behaviour, Store};

/// How the accept loop stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// It is to stop.
    Closing,
    Closed,
}

struct Shared {
    store: Store,
    gate: Mutex<Gate>,
    changed: Condvar,
    /// Requests under way.
    busy: Mutex<usize>,
    idle: Condvar,
    address: SocketAddr,
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut usize)) {
        change(&mut self.busy.lock().unwrap_or_else(PoisonError::into_inner));
        self.idle.notify_all();
    }

    fn wait_until_idle(&self) {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.idle.wait_while(busy, |busy| *busy > 0));
    }

    fn set(&self, gate: Gate) {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = gate;
        self.changed.notify_all();
    }

    fn wait(&self, reached: impl Fn(Gate) -> bool) {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_while(gate, |gate| !reached(*gate));
        drop(waited);
    }

    fn gate(&self) -> Gate {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Hooks(Arc<Shared>);

impl Hooks {
    fn pause(&self, name: &str) {
        std::thread::sleep(self.0.store.hook(name));
    }
}

impl Drainable for Hooks {
    fn drain(&self, _deadline: Instant) -> handoff::Result<DrainReport> {
        self.pause("drain");
        self.0.set(Gate::Closing);
        // Out of `accept`, which blocks.
        drop(TcpStream::connect(self.0.address));
        self.0.wait(|gate| gate == Gate::Closed);
        self.0.wait_until_idle();
        Ok(DrainReport {
            open_conns_remaining: 0,
            accept_closed: true,
        })
    }

    fn seal(&self) -> handoff::Result<SealReport> {
        self.pause("seal");
        self.0.store.close()?;
        Ok(SealReport {
            last_revision_per_shard: vec![self.0.store.revision()],
            data_dir_fingerprint: [0xab; 32],
        })
    }

    fn resume_after_abort(&self) -> handoff::Result<()> {
        self.pause("resume");
        self.0.store.open()?;
        self.0.set(Gate::Open);
        Ok(())
    }

    fn snapshot_state(&self) -> StateSnapshot {
        StateSnapshot::default()
    }
}

pub(super) fn serve(behaviour: Behaviour) -> io::Result<()> {
    match detect_role().map_err(io::Error::other)? {
        Role::ColdStart { mut inherited } => {
            let listener = match inherited.take("http") {
                Some(listener) => listener,
                None => TcpListener::bind("127.0.0.1:0")?,
            };
            let lock = DataDirLock::acquire_or_break_stale(&behaviour.data);
            let lock = lock.map_err(io::Error::other)?;
            let shared = opened(&behaviour, &listener)?;
            let incumbent = Incumbent::bind_cold_start(&behaviour.socket, lock);
            run(listener, shared, incumbent.map_err(io::Error::other)?)
        }
        Role::Successor(successor) => {
            let build = behaviour.version.clone().into_bytes();
            let greeted = successor.handshake(build).map_err(io::Error::other)?;
            let mut begun = greeted.wait_for_begin().map_err(io::Error::other)?;
            if behaviour.exit_before_ready {
                std::process::exit(3);
            }
            let listener = begun.take_listener("http");
            let listener = listener.ok_or_else(|| io::Error::other("no listener"))?;
            let lock = DataDirLock::acquire(&behaviour.data).map_err(io::Error::other)?;
            if behaviour.never_ready {
                std::thread::park();
            }
            let shared = opened(&behaviour, &listener)?;
            let revision = shared.store.revision();
            let snapshot = ReadinessSnapshot {
                listening_on: vec![shared.address.to_string()],
                healthz_ok: !behaviour.unhealthy,
                advertised_revision_per_shard: vec![revision - u64::from(behaviour.older)],
            };
            let incumbent = begun.announce_and_bind(snapshot, &behaviour.socket, lock);
            run(listener, shared, incumbent.map_err(io::Error::other)?)
        }
    }
}

fn opened(behaviour: &Behaviour, listener: &TcpListener) -> io::Result<Arc<Shared>> {
    let store = Store::new(behaviour.clone());
    store.open()?;
    Ok(Arc::new(Shared {
        store,
        gate: Mutex::new(Gate::Open),
        changed: Condvar::new(),
        busy: Mutex::new(0),
        idle: Condvar::new(),
        address: listener.local_addr()?,
    }))
}

/// Serves until a handover is committed.
fn run(listener: TcpListener, shared: Arc<Shared>, incumbent: Incumbent) -> io::Result<()> {
    let hooks = Hooks(Arc::clone(&shared));
    std::thread::spawn(move || accept(&listener, &shared));
    incumbent.serve(hooks).map_err(io::Error::other)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        if shared.gate() == Gate::Closing {
            shared.set(Gate::Closed);
        }
        shared.wait(|gate| gate != Gate::Closed);
        match listener.accept() {
            Ok((stream, _)) => {
                let shared = Arc::clone(shared);
                shared.count(|busy| *busy += 1);
                std::thread::spawn(move || {
                    answer(stream, &shared);
                    shared.count(|busy| *busy -= 1);
                });
            }
            // A daemon of blocking sockets has no reason to expect it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                eprintln!("handoff-daemon: a blocking listener did not block");
                std::process::exit(7);
            }
            Err(_) => {}
        }
    }
}

fn answer(mut stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    let mut path = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        }
        line.clear();
    }
    let (status, body) = match path.as_str() {
        "/who" => ("200 OK", shared.store.version()),
        "/pid" => ("200 OK", std::process::id().to_string()),
        "/write" => match shared.store.write() {
            Ok(true) => ("200 OK", "written".into()),
            Ok(false) => ("503 Service Unavailable", "not the owner".into()),
            Err(error) => ("500 Internal Server Error", error.to_string()),
        },
        // Nobody asked: the connection that ended the accept loop.
        "" => return,
        _ => ("404 Not Found", String::new()),
    };
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    // Whoever asked may have gone.
    let _ = stream.write_all(answer.as_bytes());
}
