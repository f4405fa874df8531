//! What systemd hears, and from whom: it listens to the main process of a service only.

use std::os::fd::AsFd;

use handover_sys::notify::{Notification, NotifySocket};
use handover_sys::spawn::Spawn;
use handover_sys::{Exit, Signal};

use crate::world::{DEADLINE, DRIVERS, Orphan, World, ask, eventually};

struct Manager {
    socket: NotifySocket,
    heard: Vec<(u32, Notification)>,
}

impl Manager {
    fn of(world: &mut World) -> Self {
        let path = world.path("notify");
        let socket = NotifySocket::bind(&path).expect("free");
        world.set("NOTIFY_SOCKET", &path.display().to_string());
        Self {
            socket,
            heard: Vec::new(),
        }
    }

    fn hears(&mut self) {
        while let Some((sender, said)) = self.socket.receive().expect("readable") {
            self.heard
                .extend(said.into_iter().map(|said| (sender.pid, said)));
        }
    }

    /// Waits for this from that process, and forgets what came before; the words between.
    #[track_caller]
    fn waits_for(&mut self, pid: u32, expected: &Notification) -> Vec<(u32, Notification)> {
        let mut at = None;
        let what = format!("{expected:?} from {pid}");
        eventually(&what, || {
            self.hears();
            let wanted = |(from, said): &(u32, Notification)| (*from, said) == (pid, expected);
            at = self.heard.iter().position(wanted);
            at.is_some()
        });
        let mut between: Vec<_> = self.heard.drain(..=at.unwrap_or(0)).collect();
        between.pop();
        between
    }
}

fn is_reloading(said: &(u32, Notification), pid: u32) -> bool {
    said.0 == pid && matches!(said.1, Notification::Reloading { .. })
}

#[test]
fn an_upgrade_is_told_by_the_main_process_and_ended_by_the_next() {
    for driver in DRIVERS {
        let mut world = World::new(driver);
        let mut manager = Manager::of(&mut world);
        let (old, _) = world.serving();
        manager.waits_for(old.pid(), &Notification::Ready);
        world.version("2");
        old.signal(Signal::HUP);
        let (pid, _) = old.next("ready 2");
        let new = Orphan::of(pid);
        let before = manager.waits_for(old.pid(), &Notification::MainPid(pid));
        assert!(before.iter().any(|said| is_reloading(said, old.pid())));
        let too_early = before.iter().any(|(from, _)| *from == pid);
        assert!(!too_early, "nobody listens to it before: {before:?}");
        manager.waits_for(pid, &Notification::Ready);
        assert_eq!(old.ends(), Exit::Code(0));
        manager.hears();
        let stops = |(from, said): &(u32, Notification)| {
            (*from, said) == (old.pid(), &Notification::Stopping)
        };
        assert!(!manager.heard.iter().any(stops), "the service goes on");
        new.0.signal(Signal::TERM).expect("it lives");
        manager.waits_for(pid, &Notification::Stopping);
    }
}

#[test]
fn an_upgrade_that_fails_is_ended_by_the_old_one() {
    let mut world = World::new("tokio");
    let mut manager = Manager::of(&mut world);
    let (old, address) = world.serving();
    manager.waits_for(old.pid(), &Notification::Ready);
    world.version("2 fail");
    old.signal(Signal::HUP);
    let before = manager.waits_for(old.pid(), &Notification::Ready);
    assert!(before.iter().any(|said| is_reloading(said, old.pid())));
    eventually("how it ended", || {
        manager.hears();
        manager.heard.iter().any(
            |(_, said)| matches!(said, Notification::Status(text) if text.contains("rolled back")),
        )
    });
    assert_eq!(ask(&address), ("1".into(), old.pid()));
}

#[test]
fn what_somebody_else_holds_stays_his_through_takeovers() {
    let mut world = World::new("tokio");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    world.set("LISTEN_FDS", "1");
    world.set("LISTEN_FDNAMES", "http");
    let spawn = Spawn::path(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "actor::role", "--nocapture"])
        .env(world.environment())
        .descriptors(vec![listener.as_fd()])
        .listen_pid();
    let old = spawn.spawn().expect("starts");
    let _old = Orphan::of(old.pid);
    eventually("it serves", || {
        handover::takeover::socket_of(old.pid).is_ok()
    });
    world.unset("LISTEN_FDS");
    world.unset("LISTEN_FDNAMES");
    let (new, same) = world.serving();
    assert_eq!(same, address);
    let ended = old.pidfd.wait(Some(DEADLINE)).expect("it can be awaited");
    assert_eq!(ended, Some(Exit::Code(0)));
    // Whoever waits when the service ends is left to whoever holds the listener, not answered.
    assert_eq!(ask(&address).1, new.pid());
    new.signal(Signal::TERM);
    assert_eq!(new.ends(), Exit::Code(0));
    let waits = std::net::TcpStream::connect(&address).expect("the queue is open");
    drop(waits);
}
