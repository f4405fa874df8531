//! The toy daemon on beyond-handoff, and a supervisor of it: as its README shows, threads and all.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use handoff::supervisor::{SpawnSpec, Supervisor};
use handoff::{
    DataDirLock, DrainReport, Drainable, Incumbent, ReadinessSnapshot, Role, SealReport,
    StateSnapshot, detect_role, pass_listener_fds_on_spawn,
};
use rustix::event::{PollFd, PollFlags, poll};

use super::store::Store;
use super::{Place, Toy};
use crate::Failure;

const LISTENER: &str = "http";

/// `their-daemon DIRECTORY DELAY_MS PLACE`
pub(crate) fn daemon(toy: &Toy) -> Result<(), Failure> {
    let socket = toy.directory.join("control.sock");
    let data = toy.directory.join("data");
    let (incumbent, server) = match detect_role()? {
        Role::ColdStart { mut inherited } => {
            let listener = inherited.take(LISTENER).ok_or("no listener")?;
            let lock = DataDirLock::acquire_or_break_stale(&data)?;
            let server = Server::start(listener, data)?;
            (Incumbent::bind_cold_start(&socket, lock)?, server)
        }
        Role::Successor(successor) => {
            if toy.place == Place::Warm {
                thread::sleep(toy.delay);
            }
            let mut successor = successor.handshake(Vec::new())?.wait_for_begin()?;
            let listener = successor.take_listener(LISTENER).ok_or("no listener")?;
            let lock = DataDirLock::acquire(&data)?;
            if toy.place == Place::Open {
                thread::sleep(toy.delay);
            }
            // Before it says so, which is the earliest it can serve.
            let server = Server::start(listener, data)?;
            let snapshot = ReadinessSnapshot::default();
            (
                successor.announce_and_bind(snapshot, &socket, lock)?,
                server,
            )
        }
    };
    incumbent.serve(server)?;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Shared {
    directory: PathBuf,
    store: Mutex<Option<Store>>,
    open: Mutex<usize>,
    none_open: Condvar,
    stopping: AtomicBool,
}

/// Accepts in one thread and answers each connection in another.
struct Server {
    shared: Arc<Shared>,
    listener: TcpListener,
    acceptor: Mutex<Option<Acceptor>>,
}

struct Acceptor {
    thread: JoinHandle<()>,
    wake: UnixStream,
}

impl Server {
    fn start(listener: TcpListener, directory: PathBuf) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let store = Mutex::new(Some(Store::open(&directory)?));
        let shared = Arc::new(Shared {
            directory,
            store,
            open: Mutex::new(0),
            none_open: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let server = Self {
            shared,
            listener,
            acceptor: Mutex::new(None),
        };
        server.accept()?;
        Ok(server)
    }

    fn accept(&self) -> io::Result<()> {
        let (wake, woken) = UnixStream::pair()?;
        let (shared, listener) = (Arc::clone(&self.shared), self.listener.try_clone()?);
        shared.stopping.store(false, Ordering::SeqCst);
        let thread = thread::spawn(move || {
            while !shared.stopping.load(Ordering::SeqCst) {
                let mut either = [
                    PollFd::new(&listener, PollFlags::IN),
                    PollFd::new(&woken, PollFlags::IN),
                ];
                let _ = poll(&mut either, None);
                while let Ok((stream, _)) = listener.accept() {
                    *lock(&shared.open) += 1;
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || shared.serve(stream));
                    if is_closed(&woken) {
                        return;
                    }
                }
            }
        });
        *lock(&self.acceptor) = Some(Acceptor { thread, wake });
        Ok(())
    }
}

/// Whether the other end has been dropped.
fn is_closed(woken: &UnixStream) -> bool {
    let mut either = [PollFd::new(woken, PollFlags::IN)];
    poll(&mut either, Some(&rustix::time::Timespec::default())).is_ok_and(|ready| ready > 0)
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let answered = self.answer(&mut stream);
        *lock(&self.open) -= 1;
        self.none_open.notify_all();
        if answered.is_ok() {
            // Whoever closes first keeps the port for a minute; let it be the client.
            let _ = stream.read(&mut [0]);
        }
    }

    /// One line asked, one answered.
    fn answer(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        let mut line = String::new();
        BufReader::new(&*stream).read_line(&mut line)?;
        if line == super::SLOW {
            thread::sleep(super::SLOW_FOR);
            return stream.write_all(b"slow\n");
        }
        let number = match lock(&self.store).as_mut() {
            Some(store) => store.write()?,
            None => return Err(io::Error::other("sealed")),
        };
        stream.write_all(format!("{number} {}\n", std::process::id()).as_bytes())
    }
}

impl Drainable for Server {
    /// As their contract asks: accept no more, finish what is in flight, and sync.
    fn drain(&self, deadline: Instant) -> handoff::Result<DrainReport> {
        self.shared.stopping.store(true, Ordering::SeqCst);
        if let Some(Acceptor { thread, wake }) = lock(&self.acceptor).take() {
            drop(wake);
            let _ = thread.join();
        }
        let mut open = lock(&self.shared.open);
        while *open > 0 && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            let waited = self.shared.none_open.wait_timeout(open, left);
            open = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if let Some(store) = lock(&self.shared.store).as_ref() {
            store.sync()?;
        }
        Ok(DrainReport {
            open_conns_remaining: *open as u32,
            accept_closed: true,
        })
    }

    fn seal(&self) -> handoff::Result<SealReport> {
        if let Some(store) = lock(&self.shared.store).take() {
            store.sync()?;
        }
        Ok(SealReport::default())
    }

    fn resume_after_abort(&self) -> handoff::Result<()> {
        *lock(&self.shared.store) = Some(Store::open(&self.shared.directory)?);
        Ok(self.accept()?)
    }

    fn snapshot_state(&self) -> StateSnapshot {
        StateSnapshot::default()
    }
}

/// `their-supervisor DIRECTORY DELAY_MS PLACE`: prints the address, hands over for each line of
/// standard input, and prints how that ended.
pub(crate) fn supervise(toy: &Toy) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let listeners = vec![(LISTENER.to_owned(), listener.as_raw_fd())];
    let program = std::env::current_exe()?;
    let args = toy.args("their-daemon");
    let mut command = Command::new(&program);
    command.args(&args).stdin(Stdio::null());
    pass_listener_fds_on_spawn(&mut command, &listeners, None);
    let mut child = command.spawn()?;
    let supervisor = Supervisor::new(&toy.directory.join("control.sock"))?
        .with_listener(LISTENER, listener.as_raw_fd())
        .with_journal(toy.directory.join("journal.bin"));
    println!("{}", listener.local_addr()?);
    for line in io::stdin().lines() {
        line?;
        let spec = SpawnSpec {
            args: args.clone(),
            ..SpawnSpec::new(&program)
        };
        match supervisor.perform_handoff(spec)?.child {
            Some(new) => {
                let mut old = std::mem::replace(&mut child, new);
                println!("committed");
                old.wait()?;
                println!("gone");
            }
            None => println!("aborted"),
        }
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// Such a supervisor in a process of its own.
pub(crate) struct Rig {
    supervisor: Child,
    answers: BufReader<std::process::ChildStdout>,
    pub(crate) address: std::net::SocketAddr,
}

impl Rig {
    pub(crate) fn start(toy: &Toy) -> Result<Self, Failure> {
        let mut supervisor = Command::new(std::env::current_exe()?)
            .args(toy.args("their-supervisor"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = supervisor.stdout.take().ok_or("no output")?;
        let mut rig = Self {
            supervisor,
            answers: BufReader::new(answers),
            address: ([127, 0, 0, 1], 0).into(),
        };
        rig.address = rig.answer()?.parse()?;
        await_socket(&toy.directory.join("control.sock"))?;
        Ok(rig)
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Hands over; back when it is committed.
    pub(crate) fn hand_over(&mut self) -> Result<(), Failure> {
        let input = self.supervisor.stdin.as_mut().ok_or("no input")?;
        input.write_all(b"handoff\n")?;
        let answer = self.answer()?;
        if answer == "committed" {
            Ok(())
        } else {
            Err(format!("their handoff: {answer:?}").into())
        }
    }

    /// Waits until the old process is gone.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        let answer = self.answer()?;
        (answer == "gone")
            .then_some(())
            .ok_or_else(|| answer.into())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

fn await_socket(path: &Path) -> Result<(), Failure> {
    let since = Instant::now();
    while UnixStream::connect(path).is_err() {
        if since.elapsed() > super::PATIENCE {
            return Err(format!("nobody listens at {}", path.display()).into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
