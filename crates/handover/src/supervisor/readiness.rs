//! Finding out that an instance is ready when it does not say so.
//!
//! The listener is shared, so a connection to it may be answered by the old instance. A probe
//! therefore connects, asks the kernel which process accepted that very connection
//! (`handover_sys::diag`), and speaks only if it was the new one. Where the kernel cannot tell
//! (Unix sockets, addresses that are not local), the event says so: `shared_probe`.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use handover_proto::event::Readiness;
use handover_proto::identity::InstanceId;
use handover_sys::diag;
use handover_sys::process::{descendants, process_group_members};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::config::ReadinessSpec;
use super::driver::Command;
use super::shell;

/// Pause before a round of probing; doubles from the first to the most. A start takes milliseconds
/// for a native program and a second for an interpreted one, and one that greets in time is not
/// probed at all.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const MOST_PAUSE: Duration = Duration::from_millis(100);
/// A start that takes long, as one that compiles first, is looked at less often: after pauses of
/// this part of the time it has taken already, at most of [`LONGEST_PAUSE`].
const PART_OF_START: u32 = 16;
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long one probe waits for its connection and, over HTTP, for its answer. In between it waits
/// to be accepted for as long as that takes: given up, it would stay in the queue of the listener,
/// and a start that takes minutes would fill that up.
const PROBE_WITHIN: Duration = Duration::from_millis(500);
/// How often a probe asks who accepted it: after pauses of [`PART_OF_START`] of the time it has
/// waited, from the first to the last of these.
const ASK_FIRST: Duration = Duration::from_micros(500);
const ASK_LAST: Duration = Duration::from_millis(20);
/// Connections of one round at the most. The kernel wakes one waiter a connection and may prefer
/// the old instance; a burst leaves some for the new one.
const MOST_AT_ONCE: u32 = 16;
/// How long a probe command may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(10);
/// Longest head of an answer that is read for its status line.
const MOST_HEAD: usize = 256;

/// What one look at a serving instance tells.
pub(super) enum Health {
    /// It answered as it should.
    Good,
    /// It did not, and why.
    Bad(String),
    /// Somebody else answered, or nobody that could be told apart.
    Unknown,
}

/// What to probe.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) instance: InstanceId,
    /// Its process, which leads its process group.
    pub(super) pid: u32,
    /// Its TCP listeners, in order.
    pub(super) tcp: Vec<SocketAddr>,
}

/// What a probe does once it is accepted by the new instance.
#[derive(Clone)]
enum Question {
    Accept,
    Http { host: String, path: String },
}

/// Begins to probe as `spec` says; `None` if the instance is expected to speak for itself.
pub(super) fn begin(
    spec: &ReadinessSpec,
    target: Target,
    to: UnboundedSender<Command>,
) -> Option<AbortHandle> {
    let first = target.tcp.first().copied();
    let (address, question) = match spec {
        ReadinessSpec::Native | ReadinessSpec::Notify => return None,
        ReadinessSpec::Auto | ReadinessSpec::Accepts => (reachable(first?), Question::Accept),
        ReadinessSpec::HttpPath(path) => {
            let address = reachable(first?);
            (
                address,
                Question::Http {
                    host: address.to_string(),
                    path: path.clone(),
                },
            )
        }
        ReadinessSpec::HttpUrl { authority, path } => {
            let question = Question::Http {
                host: authority.clone(),
                path: path.clone(),
            };
            return Some(spawn(named(target, authority.clone(), question, to)));
        }
        ReadinessSpec::Tcp(address) => {
            return Some(spawn(named(target, address.clone(), Question::Accept, to)));
        }
        ReadinessSpec::Command(command) => {
            return Some(spawn(by_command(target, command.clone(), to)));
        }
    };
    Some(spawn(by_connection(target, address, question, to)))
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    tokio::spawn(task).abort_handle()
}

/// An address to connect to for a listener that may be bound to all of them.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

async fn named(target: Target, address: String, question: Question, to: UnboundedSender<Command>) {
    let mut pause = FIRST_PAUSE;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(MOST_PAUSE);
        if let Ok(Some(found)) = tokio::net::lookup_host(&address)
            .await
            .map(|mut found| found.next())
        {
            return by_connection(target, found, question, to).await;
        }
    }
}

async fn by_command(target: Target, command: String, to: UnboundedSender<Command>) {
    let mut pause = FIRST_PAUSE;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(MOST_PAUSE);
        let env = [("HANDOVER_PROBE_PID".into(), target.pid.to_string().into())];
        let done = shell::run(&command, env, COMMAND_WITHIN).await;
        if done.is_ok_and(|done| done.exit.is_some_and(handover_sys::Exit::is_success)) {
            let how = Readiness::Command;
            let _ = to.send(Command::BecameReady {
                instance: target.instance,
                how,
            });
            return;
        }
    }
}

async fn by_connection(
    target: Target,
    address: SocketAddr,
    question: Question,
    to: UnboundedSender<Command>,
) {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut at_once = 1;
    loop {
        sleep(pause).await;
        let part = (began.elapsed() / PART_OF_START).min(LONGEST_PAUSE);
        pause = (pause * 2).min(MOST_PAUSE.max(part));
        let mut round = tokio::task::JoinSet::new();
        for _ in 0..at_once {
            let question = question.clone();
            let pid = target.pid;
            round.spawn(async move { probe(pid, address, question).await });
        }
        while let Some(answer) = round.join_next().await {
            if let Ok(Ok(Some(how))) = answer {
                let _ = to.send(Command::BecameReady {
                    instance: target.instance,
                    how,
                });
                return;
            }
        }
        at_once = (at_once * 2).min(MOST_AT_ONCE);
    }
}

/// One look at an instance that serves, by what `spec` names.
pub(super) async fn examine(spec: &ReadinessSpec, target: &Target) -> Health {
    let first = target.tcp.first().copied().map(reachable);
    let (address, question) = match spec {
        ReadinessSpec::Auto | ReadinessSpec::Native | ReadinessSpec::Notify => {
            return Health::Unknown;
        }
        ReadinessSpec::Command(command) => return by_one_command(target, command).await,
        ReadinessSpec::Accepts => (first, Question::Accept),
        ReadinessSpec::HttpPath(path) => {
            let host = first.map(|address| address.to_string()).unwrap_or_default();
            let path = path.clone();
            (first, Question::Http { host, path })
        }
        ReadinessSpec::HttpUrl { authority, path } => {
            let (host, path) = (authority.clone(), path.clone());
            (resolved(authority).await, Question::Http { host, path })
        }
        ReadinessSpec::Tcp(address) => (resolved(address).await, Question::Accept),
    };
    let Some(address) = address else {
        return Health::Bad("its address does not resolve".into());
    };
    let asked = match &question {
        Question::Http { path, .. } => format!("GET {path} at {address}"),
        Question::Accept => format!("a connection to {address}"),
    };
    match timeout(PROBE_WITHIN, answer(target.pid, address, question)).await {
        Ok(Ok(Answer::Right(_))) => Health::Good,
        Ok(Ok(Answer::Wrong)) => Health::Bad(format!("{asked} was not answered with 2xx")),
        Ok(Ok(Answer::Foreign)) => Health::Unknown,
        Ok(Err(error)) => Health::Bad(format!("{asked}: {error}")),
        Err(_) => Health::Bad(format!("{asked} was not answered within {PROBE_WITHIN:?}")),
    }
}

async fn resolved(address: &str) -> Option<SocketAddr> {
    let mut found = tokio::net::lookup_host(address).await.ok()?;
    found.next()
}

async fn by_one_command(target: &Target, command: &str) -> Health {
    let env = [("HANDOVER_PROBE_PID".into(), target.pid.to_string().into())];
    let done = shell::run(command, env, COMMAND_WITHIN).await;
    match done.map(|done| done.exit) {
        Ok(Some(exit)) if exit.is_success() => Health::Good,
        Ok(Some(exit)) => Health::Bad(format!("`{command}` {exit}")),
        Ok(None) => Health::Bad(format!("`{command}` was not done after {COMMAND_WITHIN:?}")),
        Err(error) => Health::Bad(format!("`{command}` could not be run: {error}")),
    }
}

/// What became of one connection.
enum Answer {
    /// It did what was asked.
    Right(Readiness),
    /// It answered something else.
    Wrong,
    /// Another process accepted.
    Foreign,
}

/// One connection. `Some` if it proves that the instance is ready.
async fn probe(pid: u32, address: SocketAddr, question: Question) -> io::Result<Option<Readiness>> {
    Ok(match answer(pid, address, question).await? {
        Answer::Right(known) => Some(known),
        Answer::Wrong | Answer::Foreign => None,
    })
}

async fn answer(pid: u32, address: SocketAddr, question: Question) -> io::Result<Answer> {
    let connecting = timeout(PROBE_WITHIN, TcpStream::connect(address));
    let mut stream = connecting.await??;
    let known = match accepted(&stream, address).await? {
        Some(inode) if holds(pid, inode) => Readiness::Probe,
        Some(_) => return Ok(Answer::Foreign),
        None => Readiness::SharedProbe,
    };
    match question {
        Question::Accept if known == Readiness::Probe => Ok(Answer::Right(Readiness::Accepts)),
        Question::Accept => Ok(Answer::Right(known)),
        Question::Http { host, path } => {
            let answers = answers_2xx(&mut stream, &host, &path);
            match timeout(PROBE_WITHIN, answers).await?? {
                true => Ok(Answer::Right(known)),
                false => Ok(Answer::Wrong),
            }
        }
    }
}

/// Waits until somebody has accepted the connection: the inode of the server's end of it, or `None`
/// where the kernel cannot tell.
async fn accepted(stream: &TcpStream, address: SocketAddr) -> io::Result<Option<u64>> {
    let local = stream.local_addr()?;
    let began = Instant::now();
    loop {
        match diag::accepted_inode(local, address) {
            Ok(Some(inode)) => return Ok(Some(inode)),
            // The kernel has no sock_diag, or the address is another machine's.
            Err(_) => return Ok(None),
            Ok(None) => {}
        }
        let pause = (began.elapsed() / PART_OF_START).clamp(ASK_FIRST, ASK_LAST);
        // Whoever accepted may have closed it before anybody asked.
        match timeout(pause, stream.peek(&mut [0])).await {
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(_)) => sleep(pause).await,
            Err(_) => {}
        }
    }
}

/// Whether the instance, one of its workers or one of their children holds the socket.
fn holds(pid: u32, inode: u64) -> bool {
    let workers = process_group_members(pid).unwrap_or_default();
    let children = descendants(pid).unwrap_or_default();
    let mut all = std::iter::once(pid).chain(workers).chain(children);
    all.any(|pid| diag::holds_inode(pid, inode).unwrap_or(false))
}

async fn answers_2xx(stream: &mut TcpStream, host: &str, path: &str) -> io::Result<bool> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: handover-probe\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::with_capacity(MOST_HEAD);
    while head.len() < MOST_HEAD && !head.contains(&b'\n') {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    // "HTTP/1.1 200 OK"
    let status = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    Ok(status.len() == 3 && status[0] == b'2')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_start_that_takes_long_finds_one_probe_in_its_queue() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let (to, mut commands) = tokio::sync::mpsc::unbounded_channel();
        let target = Target {
            instance: InstanceId(1),
            pid: std::process::id(),
            tcp: vec![listener.local_addr().expect("bound")],
        };
        let probe = begin(&ReadinessSpec::Accepts, target, to).expect("there is an address");
        // Long enough for several rounds, had each given up what nobody accepts.
        sleep(PROBE_WITHIN * 3).await;
        listener.set_nonblocking(true).expect("set");
        let (_accepted, _) = listener.accept().expect("one waits");
        let second = listener.accept().expect_err("and only one");
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        let told = commands.recv().await;
        assert!(
            matches!(
                told,
                Some(Command::BecameReady {
                    how: Readiness::Accepts,
                    ..
                })
            ),
            "{told:?}"
        );
        probe.abort();
    }
}
