//! State as sealed memory: from the moment it is put until the other process has it mapped and has
//! looked at every page, beside the system calls alone.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use handover::{Memfd, SealedMemfd};
use handover_sys::passing;
use rustix::time::{ClockId, clock_gettime};

use super::dark::Case;
use crate::Failure;
use crate::table::{Row, Table, median, millis};

/// Times each is passed; in turn.
const RUNS: usize = 11;
/// MiB of state.
pub(crate) const SIZES: [usize; 3] = [1, 100, 1024];
const PAGE: usize = 4096;
/// Written by a successor when it has looked at its base.
const PASSED: &str = "passed";

/// A moment that means the same in every process.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// So many MiB, none of them zero.
pub(crate) fn filled(mib: usize) -> Result<SealedMemfd, Failure> {
    let mut memory = Memfd::create("base", (mib << 20) as u64)?;
    memory.map_mut()?.fill(7);
    Ok(memory.seal()?)
}

/// Looks at every page.
pub(crate) fn look(bytes: &[u8]) -> u64 {
    let pages = bytes.iter().step_by(PAGE);
    std::hint::black_box(pages.map(|byte| u64::from(*byte)).sum())
}

/// Notes how long a base took that was put at `sent`.
pub(crate) fn note(directory: &Path, sent: Duration) -> io::Result<()> {
    let took = now().saturating_sub(sent).as_nanos();
    std::fs::write(directory.join(PASSED), took.to_string())
}

fn noted(directory: &Path) -> Result<Duration, Failure> {
    let text = std::fs::read_to_string(directory.join(PASSED))?;
    Ok(Duration::from_nanos(text.parse()?))
}

/// `memory-peer`: its standard input is a socket; takes memory from it, maps it, looks at it, and
/// says when it was done.
pub(crate) fn peer() -> Result<(), Failure> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    loop {
        let mut byte = [0];
        let received = passing::receive(socket.as_fd(), &mut byte, 1)?;
        let Some(fd) = received.descriptors.into_iter().next() else {
            return Ok(());
        };
        let mapped = SealedMemfd::from_fd(fd)?.map()?;
        look(&mapped);
        let done = now().as_nanos().to_string();
        // Not part of it, and long.
        drop(mapped);
        passing::send_all(socket.as_fd(), done.as_bytes(), &[])?;
    }
}

/// The other process of the bare calls.
struct Bare {
    child: Child,
    socket: Option<UnixStream>,
}

impl Bare {
    fn start() -> Result<Self, Failure> {
        let (socket, theirs) = UnixStream::pair()?;
        let child = Command::new(std::env::current_exe()?)
            .args(["exclusive", "memory-peer"])
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        let socket = Some(socket);
        Ok(Self { child, socket })
    }

    fn pass(&self, memory: &SealedMemfd) -> Result<Duration, Failure> {
        let socket = self.socket.as_ref().ok_or("closed")?.as_fd();
        let sent = now();
        passing::send_all(socket, b"m", &[memory.as_fd()])?;
        let mut answer = [0; 32];
        let received = passing::receive(socket, &mut answer, 0)?;
        let done = std::str::from_utf8(&answer[..received.bytes])?;
        Ok(Duration::from_nanos(done.parse()?).saturating_sub(sent))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.socket.take());
        let _ = self.child.wait();
    }
}

/// Adds the rows of passing and of the pause with a base.
pub(crate) fn measure(table: &mut Table) -> Result<(), Failure> {
    let mut dark = Vec::new();
    for mib in SIZES {
        eprintln!("state of {mib} MiB, {RUNS} times …");
        let memory = filled(mib)?;
        let bare = Bare::start()?;
        let mut case = Case::with_base(mib)?;
        // Once each before it counts: the first touches what nobody has touched.
        bare.pass(&memory)?;
        case.hand_over()?;
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            floor.push(bare.pass(&memory)?);
            case.hand_over()?;
            ours.push(noted(case.directory())?);
        }
        for _ in 0..RUNS {
            case.run()?;
        }
        dark.push((mib, case.dark()));
        row(table, mib, median(ours), median(floor));
    }
    pause(table, &dark);
    Ok(())
}

fn row(table: &mut Table, mib: usize, ours: Duration, floor: Duration) {
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    table.push(Row {
        figure: format!("state of {mib} MiB: put → mapped and read ÷ bare system calls"),
        measured: format!("{ratio:.2}"),
        detail: format!("{} ÷ {}, medians of {RUNS}", millis(ours), millis(floor)),
        wanted: "≤ 2".into(),
        met: ratio <= 2.0,
    });
}

fn pause(table: &mut Table, dark: &[(usize, Duration)]) {
    let (Some((least, small)), Some((most, large))) = (dark.first(), dark.last()) else {
        return;
    };
    let ratio = large.as_secs_f64() / small.as_secs_f64();
    table.push(Row {
        figure: format!("dark window with a base of {most} MiB ÷ with {least} MiB"),
        measured: format!("{ratio:.2}"),
        detail: format!("{} ÷ {}, medians of {RUNS}", millis(*large), millis(*small)),
        wanted: "≤ 2".into(),
        met: ratio <= 2.0,
    });
}
