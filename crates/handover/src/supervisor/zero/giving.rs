//! The path on which others take over from here: [`Giver`] decides.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use handover_proto::event::EventKind;
use handover_proto::moment::Moment;
use handover_proto::zero::{
    ANSWER, Giver, GiverEffect, GiverInput, LOOKS_EVERY, PeerId, READS, REQUEST, Step,
};
use handover_sys::Pidfd;
use handover_sys::control::{BindError, bind_private};
use handover_sys::peer::{Credentials, credentials};
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use super::News;
use crate::readable::readable;
use crate::supervisor::bus::Bus;
use crate::supervisor::channel::pass;
use crate::supervisor::deadline::reached;
use crate::supervisor::driver::Command;
use crate::supervisor::sockets::{BoundPath, bound_path};

/// How long the path may be somebody else's until that is said: theirs leaves it at once.
const STILL_THERE: u32 = 10;

/// Out of descriptors, most likely; the next try is to come when some may be free.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Offers a listener at a path. Dropping it withdraws the offer.
#[derive(Debug)]
pub(super) struct Offer {
    task: AbortHandle,
    placed: Placed,
}

/// The path while it is ours. Removed before the listener closes, so that nobody replaces it in
/// between.
type Placed = Arc<Mutex<Option<BoundPath>>>;

fn remove(placed: &Placed) {
    drop(placed.lock().unwrap_or_else(PoisonError::into_inner).take());
}

impl Drop for Offer {
    fn drop(&mut self) {
        remove(&self.placed);
        self.task.abort();
    }
}

impl Offer {
    /// Listens on `path` as soon as nobody else does.
    pub(super) fn begin(path: PathBuf, bus: Bus, to: UnboundedSender<Command>) -> Self {
        let placed = Placed::default();
        let offering = Offering {
            path,
            bus,
            to,
            placed: Arc::clone(&placed),
            giver: Giver::new(),
            origin: Instant::now(),
            last: 0,
            peers: BTreeMap::new(),
            reads: JoinSet::new(),
            taker: None,
        };
        let task = tokio::spawn(offering.run()).abort_handle();
        Self { task, placed }
    }
}

struct Peer {
    stream: Arc<UnixStream>,
    who: Credentials,
    read: AbortHandle,
}

struct Offering {
    path: PathBuf,
    bus: Bus,
    to: UnboundedSender<Command>,
    placed: Placed,
    giver: Giver,
    origin: Instant,
    last: u64,
    peers: BTreeMap<PeerId, Peer>,
    reads: JoinSet<(PeerId, io::Result<Vec<u8>>)>,
    /// Who was given the listener, while it is watched.
    taker: Option<(PeerId, AsyncFd<Pidfd>)>,
}

/// Binds the path as soon as it is free, as theirs: by a look every second.
async fn placed(path: &Path, bus: &Bus, to: &Placed) -> UnixListener {
    let mut looks = 0;
    loop {
        let wanted = path.to_owned();
        // It can wait for the lock of a directory that is everybody's.
        let bound = tokio::task::spawn_blocking(move || bind_private(&wanted)).await;
        let trouble = match bound {
            Ok(Ok(listener)) => {
                let ours = bound_path(path).and_then(|ours| {
                    listener.set_nonblocking(true)?;
                    Ok((UnixListener::from_std(listener)?, ours))
                });
                match ours {
                    Ok((listener, ours)) => {
                        *to.lock().unwrap_or_else(PoisonError::into_inner) = Some(ours);
                        return listener;
                    }
                    Err(error) => error.to_string(),
                }
            }
            Ok(Err(error @ (BindError::InUse { .. } | BindError::Busy { .. }))) => {
                error.to_string()
            }
            Ok(Err(error)) => {
                // Not a matter of time, as far as it is known.
                looks = looks.max(STILL_THERE - 1);
                error.to_string()
            }
            Err(error) => error.to_string(),
        };
        looks += 1;
        if looks == STILL_THERE {
            bus.warn(format!(
                "nobody can take over at {} yet: {trouble}. It is tried again every second; serving \
                 goes on",
                path.display()
            ));
        }
        tokio::time::sleep(LOOKS_EVERY).await;
    }
}

impl Offering {
    async fn run(mut self) {
        let mut listener = Some(placed(&self.path, &self.bus, &self.placed).await);
        self.tell_all(Step::Offered);
        loop {
            while let Some(effect) = self.giver.poll_effect() {
                self.execute(effect, &mut listener).await;
            }
            let deadline = self.giver.next_deadline();
            let wake = reached(self.origin, deadline);
            let accepted = async {
                match &listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            let died = async {
                match &self.taker {
                    // What cannot be watched does not die.
                    Some((peer, pidfd)) if pidfd.readable().await.is_ok() => *peer,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                accepted = accepted => match accepted {
                    Ok((stream, _)) => self.connected(stream),
                    Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
                },
                Some(Ok((peer, bytes))) = self.reads.join_next() => self.read(peer, bytes),
                peer = died => {
                    if let Some((_, pidfd)) = self.taker.take() {
                        let pid = pidfd.get_ref().pid();
                        self.tell_all(Step::TakerDied { pid });
                    }
                    self.tell(GiverInput::Died { peer });
                }
                () = wake => self.tell(GiverInput::Tick),
            }
        }
    }

    fn tell(&mut self, input: GiverInput<'_>) {
        let now = Moment::ZERO + self.origin.elapsed();
        self.giver.handle(now, input);
    }

    fn tell_all(&self, step: Step) {
        let path = self.path.display().to_string();
        self.bus.publish(EventKind::Zero { path, step });
    }

    fn connected(&mut self, stream: UnixStream) {
        // Who cannot be told is nobody.
        let Ok(who) = credentials(&stream) else {
            return;
        };
        let may = who.is_trusted();
        if !may {
            self.turned_away(who);
        }
        self.last += 1;
        let peer = PeerId(self.last);
        let stream = Arc::new(stream);
        let reading = Arc::clone(&stream);
        let read = self
            .reads
            .spawn(async move { (peer, once(&reading).await) });
        self.peers.insert(peer, Peer { stream, who, read });
        self.tell(GiverInput::Connected { peer, may });
    }

    fn turned_away(&self, who: Credentials) {
        let (pid, uid) = (who.pid, who.uid);
        self.tell_all(Step::TurnedAway { pid, uid });
    }

    fn read(&mut self, peer: PeerId, bytes: io::Result<Vec<u8>>) {
        // A connection that broke says no more than one that ended.
        let bytes = bytes.unwrap_or_default();
        let known = self.peers.get(&peer).map(|peer| peer.who);
        if let (Some(who), false) = (known, bytes.is_empty() || bytes == REQUEST) {
            self.turned_away(who);
        }
        self.tell(GiverInput::Read {
            peer,
            bytes: &bytes,
        });
    }

    async fn execute(&mut self, effect: GiverEffect, listener: &mut Option<UnixListener>) {
        match effect {
            GiverEffect::Close { peer } => {
                if let Some(peer) = self.peers.remove(&peer) {
                    peer.read.abort();
                }
            }
            GiverEffect::Give { peer } => {
                let input = match self.give(peer).await {
                    Ok(()) => GiverInput::Sent { peer },
                    Err(error) => {
                        self.bus.warn(format!(
                            "the listener could not be given at {}: {error}; serving goes on",
                            self.path.display()
                        ));
                        GiverInput::NotSent { peer }
                    }
                };
                self.tell(input);
            }
            GiverEffect::Withdraw => {
                remove(&self.placed);
                *listener = None;
            }
            GiverEffect::Renew => {
                *listener = Some(placed(&self.path, &self.bus, &self.placed).await);
                self.tell_all(Step::Offered);
            }
            GiverEffect::Retire => {
                // The driver ends when nobody listens to it.
                let _ = self.to.send(Command::Zero(News::Retire));
            }
        }
    }

    async fn give(&mut self, id: PeerId) -> Result<(), String> {
        let peer = self.peers.get(&id).ok_or("it has gone")?;
        let (answer, listener) = oneshot::channel();
        let pid = peer.who.pid;
        let asked = Command::Zero(News::Asked { answer });
        self.to.send(asked).map_err(|error| error.to_string())?;
        let listener = listener.await.map_err(|error| error.to_string())??;
        // Before it is given: its number cannot be another's while it waits for the answer.
        let watched = Pidfd::open(pid).and_then(readable).ok();
        pass(&peer.stream, &ANSWER, &listener)
            .await
            .map_err(|error| error.to_string())?;
        self.tell_all(Step::Given { pid });
        self.taker = watched.map(|pidfd| (id, pidfd));
        Ok(())
    }
}

/// What one read returns; nothing at the end of the stream.
async fn once(stream: &UnixStream) -> io::Result<Vec<u8>> {
    let mut buffer = [0; READS];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(length) => return Ok(buffer[..length].to_vec()),
            Err(error) => return Err(error),
        }
    }
}
