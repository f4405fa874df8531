//! Telling systemd, or whoever speaks its notify protocol (sd_notify(3)).
//!
//! systemd listens to the main process of a service only (`NotifyAccess=main`), so who may say what
//! is a matter of who that is: until [`Notice::main_pid`] the process that was started first.

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use handover_sys::notify::{monotonic_usec, notify, notify_with, try_notify};

/// The notify socket, where nobody speaks the native protocol. Without one every call does nothing
/// and succeeds.
///
/// What must arrive ([`ready`](Notice::ready), [`reloading`](Notice::reloading),
/// [`main_pid`](Notice::main_pid), [`store`](Notice::store)) waits up to two seconds for a receiver
/// that is busy, so it belongs on a thread that may block. The rest is said at once or not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notice {
    socket: Option<OsString>,
}

/// Where systemd, or whoever speaks its protocol, wants to hear from this process.
pub(crate) fn socket_of_environment() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())
}

impl Notice {
    pub(crate) const fn new(socket: Option<OsString>) -> Self {
        Self { socket }
    }

    /// Whether anybody asked to hear.
    pub(crate) const fn is_heard(&self) -> bool {
        self.socket.is_some()
    }

    /// Says something that must arrive; waits up to two seconds for a receiver that is busy.
    pub(crate) async fn say(&self, text: String) -> io::Result<()> {
        let Some(socket) = self.socket.clone() else {
            return Ok(());
        };
        match try_notify(&socket, &text) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
        // This send may block, so it may not happen on a thread of the reactor.
        let sent = tokio::task::spawn_blocking(move || notify(&socket, &text)).await;
        sent.unwrap_or_else(|failed| Err(io::Error::other(failed)))
    }

    /// [`Notice::say`] for a thread that may block.
    pub(crate) fn insist(&self, text: &str) -> io::Result<()> {
        let socket = self.socket.as_deref();
        socket.map_or(Ok(()), |socket| notify(socket, text))
    }

    /// Says something that may be lost when the receiver is busy. Said before it returns: the
    /// process may end next.
    pub(crate) fn mention(&self, text: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = try_notify(socket, text)
        {
            tracing::warn!(%error, text, "NOTIFY_SOCKET could not be told");
        }
    }

    /// Says something that must arrive, from a thread that may not block.
    pub(crate) fn promise(&self, text: &'static str) {
        let Some(socket) = self.socket.clone() else {
            return;
        };
        let told = match try_notify(&socket, text) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::Builder::new()
                .name("handover-notice".into())
                .spawn(move || {
                    if let Err(error) = notify(&socket, text) {
                        tracing::error!(%error, text, "NOTIFY_SOCKET could not be told");
                    }
                })
                .map(drop),
            told => told,
        };
        if let Err(error) = told {
            tracing::error!(%error, text, "NOTIFY_SOCKET could not be told");
        }
    }
}

/// The most a watchdog waits for, when nothing is known of it: what does not fit into the clock.
const FAR: Duration = Duration::from_secs(86_400 * 365);

/// How often the service manager wants to hear `WATCHDOG=1` (sd_watchdog_enabled(3)).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watchdog {
    /// Half of what it waits, as that page recommends.
    every: Duration,
    next: Instant,
}

impl Watchdog {
    /// By `WATCHDOG_USEC`; none if `WATCHDOG_PID` names another process. Whoever starts its own
    /// successor must leave `WATCHDOG_PID` out of its environment, or set it anew.
    pub(crate) fn from_environment() -> Option<Self> {
        let usec = std::env::var("WATCHDOG_USEC").ok()?;
        let pid = std::env::var("WATCHDOG_PID").ok();
        Self::parse(&usec, pid.as_deref(), std::process::id())
    }

    fn parse(usec: &str, pid: Option<&str>, own: u32) -> Option<Self> {
        let addressed = pid.is_none_or(|pid| pid.parse() == Ok(own));
        let usec = usec.parse::<u64>().ok().filter(|usec| *usec > 0)?;
        let every = Duration::from_micros(usec / 2).clamp(Duration::from_micros(1), FAR);
        let next = Instant::now();
        addressed.then_some(Self { every, next })
    }

    /// When it is to be said next.
    pub(crate) const fn next_at(&self) -> Instant {
        self.next
    }

    /// Whether it is to be said now; then it is due again after half the time.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.next <= now;
        if due {
            self.next = now + self.every;
        }
        due
    }
}

/// What there is to say.
impl Notice {
    /// The service is up, or is done with what [`Notice::reloading`] began. `status` is a line for
    /// people that goes with it: how it ended.
    pub(crate) fn ready(&self, status: Option<&str>) -> io::Result<()> {
        match status {
            Some(status) => self.insist(&format!("READY=1\nSTATUS={}", one_line(status))),
            None => self.insist("READY=1"),
        }
    }

    /// An upgrade begins. Only [`Notice::ready`] ends it, whoever is the main process by then.
    pub(crate) fn reloading(&self) -> io::Result<()> {
        // In one message: systemd compares the time with that of its signal (Type=notify-reload).
        let now = monotonic_usec();
        self.insist(&format!("RELOADING=1\nMONOTONIC_USEC={now}"))
    }

    /// The service is that process from now on. To be said by the main process, at commit, before
    /// it ends; afterwards nobody listens to it any more.
    pub(crate) fn main_pid(&self, pid: u32) -> io::Result<()> {
        self.insist(&format!("MAINPID={pid}"))
    }

    /// It will end.
    pub(crate) fn stopping(&self) {
        self.mention("STOPPING=1");
    }

    /// One line for people.
    pub(crate) fn status(&self, text: &str) {
        self.mention(&format!("STATUS={}", one_line(text)));
    }

    /// What goes on (start, reload or stop) may take this much longer, from now.
    pub(crate) fn extend(&self, by: Duration) {
        self.mention(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()));
    }

    /// When [`Notice::alive`] is to be said; none if nobody listens or asked for it.
    pub(crate) fn watchdog(&self) -> Option<Watchdog> {
        self.socket
            .as_ref()
            .and_then(|_| Watchdog::from_environment())
    }

    /// Still alive: at least every `WATCHDOG_USEC`.
    pub(crate) fn alive(&self) {
        self.mention("WATCHDOG=1");
    }

    /// Leaves a copy of a descriptor with the service manager, which gives it to the next process
    /// of the service in its `LISTEN_FDS` block, under this name. `FileDescriptorStoreMax=` of the
    /// unit must allow it; systemd does not tell when it does not. One it has already is not kept
    /// twice.
    ///
    /// Not watched for its end (`FDPOLL=0`, systemd 246): a listener has none, and memory neither.
    pub(crate) fn store(&self, name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        let text = format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0");
        notify_with(socket, &text, &[descriptor])
    }

    /// Everything left under this name is closed.
    #[cfg(any(test, feature = "supervisor"))]
    pub(crate) fn unstore(&self, name: &str) -> io::Result<()> {
        self.insist(&format!("FDSTOREREMOVE=1\nFDNAME={name}"))
    }

    /// Waits until all that was said before is handled; see [`barrier`](handover_sys::notify::barrier).
    #[cfg(any(test, feature = "supervisor"))]
    pub(crate) fn settle(&self, within: Duration) -> io::Result<()> {
        let socket = self.socket.as_deref();
        socket.map_or(Ok(()), |socket| {
            handover_sys::notify::barrier(socket, within)
        })
    }
}

/// A line break would begin another assignment.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;

    use handover_sys::notify::{Notification, NotifySocket};

    use super::*;

    fn listener(directory: &tempfile::TempDir) -> (NotifySocket, Notice) {
        let path = directory.path().join("notify");
        let socket = NotifySocket::bind(&path).unwrap();
        (socket, Notice::new(Some(path.into())))
    }

    fn heard(socket: &NotifySocket) -> Vec<Notification> {
        let mut all = Vec::new();
        while let Some((sender, said)) = socket.receive().unwrap() {
            assert_eq!(sender.pid, std::process::id());
            all.extend(said);
        }
        all
    }

    #[test]
    fn an_upgrade_is_told_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let (socket, notice) = listener(&directory);
        let before = monotonic_usec();
        notice.reloading().unwrap();
        notice.extend(Duration::from_millis(2));
        notice.main_pid(42).unwrap();
        notice.ready(Some("second\nversion")).unwrap();
        notice.alive();
        notice.stopping();
        let said = heard(&socket);
        let Some(Notification::Reloading {
            monotonic_usec: Some(at),
        }) = said.first()
        else {
            panic!("{said:?}")
        };
        assert!((before..=monotonic_usec()).contains(at));
        assert_eq!(
            said[1..],
            [
                Notification::ExtendTimeout(Duration::from_millis(2)),
                Notification::MainPid(42),
                Notification::Ready,
                Notification::Status("second version".into()),
                Notification::Watchdog,
                Notification::Stopping,
            ]
        );
    }

    #[test]
    fn what_is_stored_arrives_open_and_under_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let (socket, notice) = listener(&directory);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"kept").unwrap();
        notice.store("state", file.as_fd()).unwrap();
        notice.unstore("old").unwrap();
        let (_, said, mut descriptors) = socket.receive_all().unwrap().unwrap();
        let other = |key: &str, value: &str| Notification::Other(key.into(), value.into());
        assert_eq!(
            said,
            [
                other("FDSTORE", "1"),
                other("FDNAME", "state"),
                other("FDPOLL", "0")
            ]
        );
        drop(file);
        let mut arrived = std::fs::File::from(descriptors.pop().unwrap());
        let mut text = String::new();
        arrived.rewind().unwrap();
        arrived.read_to_string(&mut text).unwrap();
        assert_eq!(text, "kept");
        assert_eq!(
            heard(&socket),
            [other("FDSTOREREMOVE", "1"), other("FDNAME", "old")]
        );
    }

    #[test]
    fn a_barrier_ends_when_it_was_read_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let (socket, notice) = listener(&directory);
        let early = notice.settle(Duration::from_millis(20)).unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::TimedOut);
        assert_eq!(
            heard(&socket),
            [Notification::Other("BARRIER".into(), "1".into())]
        );
        let waits = std::thread::spawn(move || notice.settle(Duration::from_secs(60)));
        while heard(&socket).is_empty() {
            std::thread::yield_now();
        }
        waits.join().unwrap().unwrap();
    }

    #[test]
    fn a_watchdog_is_fed_twice_in_its_time_and_by_whom_it_watches() {
        let mut watchdog = Watchdog::parse("30000000", Some("7"), 7).unwrap();
        assert!(watchdog.is_due());
        assert!(!watchdog.is_due());
        let wait = watchdog.next_at() - Instant::now();
        assert!(wait <= Duration::from_secs(15), "{wait:?}");
        assert!(Watchdog::parse("30000000", Some("8"), 7).is_none());
        assert!(Watchdog::parse("30000000", None, 7).is_some());
        for bad in ["", "0", "-1", "soon"] {
            assert!(Watchdog::parse(bad, None, 7).is_none(), "{bad:?}");
        }
        assert!(Watchdog::parse("18446744073709551615", None, 7).is_some());
    }

    #[test]
    fn without_a_socket_nothing_is_said_and_nothing_fails() {
        let notice = Notice::new(None);
        notice.reloading().unwrap();
        notice.store("x", std::io::stdin().as_fd()).unwrap();
        notice.settle(Duration::ZERO).unwrap();
    }
}
