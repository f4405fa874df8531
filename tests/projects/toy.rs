//! A small server as somebody develops it: takes descriptor 3, ends on SIGTERM between two requests.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::FromRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const VERSION: &str = "0";

static LEAVING: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
}

extern "C" fn leave(_: i32) {
    LEAVING.store(true, Ordering::Relaxed);
}

fn main() {
    const SIGTERM: i32 = 15;
    let addressed = std::env::var("LISTEN_PID").ok();
    assert_eq!(addressed, Some(std::process::id().to_string()));
    let listener = unsafe {
        signal(SIGTERM, leave);
        TcpListener::from_raw_fd(3)
    };
    listener.set_nonblocking(true).unwrap();
    while !LEAVING.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((connection, _)) => answer(connection),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn answer(mut connection: TcpStream) {
    connection.set_nonblocking(false).unwrap();
    let mut request = [0; 1024];
    let read = connection.read(&mut request).unwrap_or(0);
    if request[..read].starts_with(b"GET /crash ") {
        std::process::exit(3);
    }
    let length = VERSION.len();
    let _ = write!(
        connection,
        "HTTP/1.1 200 OK\r\nX-Version: {VERSION}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{VERSION}"
    );
}
