//! The reader of answers, opened for `fuzz/`. Only with `--cfg fuzzing`; no part of the API.

use crate::exchange::{Question, drive, link};
use crate::plan::Plan;
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Longer than reading what has already arrived can take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Fits into the queue of a Unix socket, so that the server's end need not wait.
const MAX_ANSWER: usize = 64 * 1024;

thread_local! {
    static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
}

/// Asks a server that answers with these bytes and closes. The asking must come to an end.
pub fn answer(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(MAX_ANSWER)];
    let (client, mut server) = UnixStream::pair().expect("a pair of sockets");
    server.write_all(bytes).expect("writes the answer");
    server.shutdown(Shutdown::Write).expect("closes");
    client.set_nonblocking(true).expect("does not block");
    // What is read and written is the same; a port for each answer would soon be no more.
    let client = std::net::TcpStream::from(OwnedFd::from(client));
    let asked = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let plan = Plan::new("http://localhost/").expect("a plan");
            let question = Question::get(&plan, "/", false);
            let tcp = TcpStream::from_std(client).expect("a stream");
            let (mut link, mut driver) = link(tcp, None).await.expect("a handshake");
            let asking = drive(&mut driver, link.ask(&question));
            tokio::time::timeout(PATIENCE, asking).await
        })
    });
    assert!(asked.is_ok(), "an answer that ended is waited for");
}
