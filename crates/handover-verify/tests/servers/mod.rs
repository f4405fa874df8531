//! Servers to test the tester with: plain sockets, so that each answer, close
//! and reset is exactly what the test says.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What a server does with a request it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Right,
    /// Answers right, then closes without having said so.
    CloseAfter,
    /// Answers right, says that it closes, and closes.
    AnnouncedClose,
    ResetBefore,
    CloseBefore,
    HalfHead,
    HalfBody,
    HalfBodyThenReset,
    HalfChunk,
    Never,
    NeverEnds,
    WrongStatus,
    WrongBody,
    NotHttp,
    /// Closes the listener; connections are refused until the manner changes.
    Refuse,
}

/// How requests are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Threads,
    /// One connection at a time: a slow answer holds up all others.
    OneByOne,
}

#[derive(Debug)]
struct State {
    manner: Mutex<Manner>,
    version: Mutex<&'static str>,
    /// The next request takes this long.
    stall: Mutex<Option<Duration>>,
    slowly_answered: AtomicU64,
    requests: AtomicU64,
    stop: AtomicBool,
}

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    state: Arc<State>,
}

impl Server {
    pub(crate) fn start(style: Style) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State {
            manner: Mutex::new(Manner::Right),
            version: Mutex::new("1"),
            stall: Mutex::new(None),
            slowly_answered: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || accept(listener, addr, style, &shared));
        Self { addr, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    pub(crate) fn set(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    pub(crate) fn set_version(&self, version: &'static str) {
        *self.state.version.lock().unwrap() = version;
    }

    pub(crate) fn stall_once(&self, stall: Duration) {
        *self.state.stall.lock().unwrap() = Some(stall);
    }

    pub(crate) fn slowly_answered(&self) -> u64 {
        self.state.slowly_answered.load(SeqCst)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.state.requests.load(SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stop.store(true, SeqCst);
        // Wakes the accept.
        drop(TcpStream::connect(self.addr));
    }
}

fn accept(mut listener: TcpListener, addr: SocketAddr, style: Style, state: &Arc<State>) {
    while !state.stop.load(SeqCst) {
        let Ok((stream, _)) = listener.accept() else {
            return;
        };
        if style == Style::Threads {
            let state = Arc::clone(state);
            thread::spawn(move || serve(stream, &state));
            continue;
        }
        serve(stream, state);
        if *state.manner.lock().unwrap() == Manner::Refuse {
            drop(listener);
            while *state.manner.lock().unwrap() == Manner::Refuse && !state.stop.load(SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            listener = TcpListener::bind(addr).unwrap();
        }
    }
}

/// Serves one connection until either side closes it.
fn serve(mut stream: TcpStream, state: &State) {
    stream.set_nodelay(true).unwrap();
    while let Some(head) = request(&mut stream) {
        state.requests.fetch_add(1, SeqCst);
        if let Some(stall) = state.stall.lock().unwrap().take() {
            state.slowly_answered.fetch_add(1, SeqCst);
            thread::sleep(stall);
        }
        let manner = *state.manner.lock().unwrap();
        let version = *state.version.lock().unwrap();
        if !answer(&mut stream, manner, version, state) || head.contains("connection: close") {
            return;
        }
    }
}

/// Reads head and body; `None` when the client closed.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text.split("content-length: ").nth(1).map_or(0, |rest| {
                rest.split("\r\n").next().unwrap().parse::<usize>().unwrap()
            });
            if bytes.len() >= end + 4 + length {
                return Some(text);
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Whether the connection goes on.
fn answer(stream: &mut TcpStream, manner: Manner, version: &str, state: &State) -> bool {
    let head = format!("HTTP/1.1 200 OK\r\nX-Version: {version}\r\n");
    let right = format!("{head}Content-Length: 7\r\n\r\nall set");
    let (text, goes_on) = match manner {
        Manner::Right | Manner::Refuse => (right, true),
        Manner::CloseAfter => (right, false),
        Manner::AnnouncedClose => (
            format!("{head}Connection: close\r\nContent-Length: 7\r\n\r\nall set"),
            false,
        ),
        Manner::ResetBefore | Manner::CloseBefore | Manner::Never => (String::new(), false),
        Manner::HalfHead => (head, false),
        Manner::HalfBody | Manner::HalfBodyThenReset | Manner::NeverEnds => {
            (format!("{head}Content-Length: 700\r\n\r\nall set"), false)
        }
        Manner::HalfChunk => (
            format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nall\r\n9\r\nset"),
            false,
        ),
        Manner::WrongStatus => (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".into(),
            true,
        ),
        Manner::WrongBody => (format!("{head}Content-Length: 4\r\n\r\nnone"), true),
        Manner::NotHttp => ("220 mail.example ESMTP\r\n".into(), false),
    };
    if stream.write_all(text.as_bytes()).is_err() {
        return false;
    }
    match manner {
        Manner::ResetBefore => reset(stream),
        Manner::HalfBodyThenReset => {
            // The client must have seen the half: it is acknowledged data that a
            // reset would throw away.
            thread::sleep(Duration::from_millis(30));
            reset(stream);
        }
        Manner::Never | Manner::NeverEnds => {
            while *state.manner.lock().unwrap() == manner && !state.stop.load(SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            // Held until the client gives up: it must not be a close it sees.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
            let _ = stream.read(&mut [0; 64]);
        }
        _ => {}
    }
    goes_on
}

fn reset(stream: &TcpStream) {
    // Closing with a linger of zero sends a reset instead of a close.
    socket2::SockRef::from(stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}
