//! Runs a user's shell command and keeps its last words.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use handover_sys::spawn::Spawn;
use handover_sys::{Exit, Pidfd, Signal};
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

use crate::readable::readable;

/// Lines of output that are kept for an error message.
const KEPT_LINES: usize = 10;
/// Bytes of output that are kept; the rest is read and dropped, so that the command never blocks.
const KEPT_BYTES: usize = 8 * 1024;

/// How a command ended.
pub(super) struct Done {
    /// `None`: not in time; it was killed.
    pub(super) exit: Option<Exit>,
    /// The last lines of standard output and error together.
    pub(super) last_lines: Vec<String>,
}

/// Kills a command that is not waited for any more.
struct Running(AsyncFd<Pidfd>);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.get_ref().signal(Signal::KILL);
        // It is reaped here, for nobody else knows of it; a killed shell is gone at once.
        let _ = self.0.get_ref().wait(Some(Duration::from_millis(100)));
    }
}

/// Runs `sh -c command` with the supervisor's environment and `env` on top.
pub(super) async fn run(
    command: &str,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    within: Duration,
) -> io::Result<Done> {
    let (output, writer) = io::pipe()?;
    let null = std::fs::File::open("/dev/null")?;
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    for (name, value) in env {
        variables.retain(|(known, _)| *known != name);
        variables.push((name, value));
    }
    let child = Spawn::path("/bin/sh")
        .args(["-c", command])
        .env(variables)
        .stdin(null.as_fd())
        .stdout(writer.as_fd())
        .stderr(writer.as_fd())
        .spawn()
        .map_err(io::Error::other)?;
    drop(writer);
    let running = Running(readable(child.pidfd)?);
    let mut output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
    let mut kept = Vec::new();
    let exit = tokio::time::timeout(within, finish(&running, &mut output, &mut kept)).await;
    let text = String::from_utf8_lossy(&kept);
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let from = lines.len().saturating_sub(KEPT_LINES);
    Ok(Done {
        exit: exit.ok().transpose()?,
        last_lines: lines[from..].to_vec(),
    })
}

async fn finish(
    running: &Running,
    output: &mut pipe::Receiver,
    kept: &mut Vec<u8>,
) -> io::Result<Exit> {
    let mut chunk = [0; 4096];
    let mut open = true;
    loop {
        tokio::select! {
            read = output.read(&mut chunk), if open => {
                let n = read?;
                open = n > 0;
                kept.extend_from_slice(&chunk[..n]);
                let surplus = kept.len().saturating_sub(KEPT_BYTES);
                kept.drain(..surplus);
            }
            ready = running.0.readable() => {
                let mut ready = ready?;
                if let Some(exit) = running.0.get_ref().try_wait()? {
                    // Whatever it wrote is in the pipe by now.
                    while let Ok(n) = output.try_read(&mut chunk) {
                        if n == 0 { break; }
                        kept.extend_from_slice(&chunk[..n]);
                    }
                    return Ok(exit);
                }
                ready.clear_ready();
            }
        }
    }
}
