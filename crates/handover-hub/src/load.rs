//! How busy this node is, measured.
//!
//! The processor's and the memory's share are those of the whole program: whatever else it does
//! besides running processes makes it busy as well.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use handover_hub_proto::view::Load;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

use crate::hub::Shared;

/// What one measurement counts for against all before it, in hundredths.
const NEW: u32 = 40;

/// Measures how busy a node is, and how busy it was a moment ago.
struct Meter {
    processors: u32,
    /// Bytes of memory that the program may have; none if that is not known.
    memory: Option<u64>,
    /// When it was measured last, and how long the program's threads had run by then.
    last: (Instant, Duration),
    smooth: Option<Load>,
}

/// Tells the driver every so often how busy the node is, until it ends.
pub(crate) async fn tell(shared: Arc<Shared>, every: Duration, loads: mpsc::Sender<Load>) {
    // Two clocks read too close to each other say nothing.
    let every = every.max(Duration::from_millis(10));
    let mut meter = Meter::new();
    loop {
        tokio::time::sleep(every).await;
        let load = meter.measure(shared.cells.waiting(), shared.cells.len());
        if loads.send(load).await.is_err() {
            return;
        }
    }
}

impl Meter {
    fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            processors: u32::try_from(processors).unwrap_or(u32::MAX),
            memory: memory(),
            last: (Instant::now(), worked()),
            smooth: None,
        }
    }

    fn measure(&mut self, queued: usize, processes: usize) -> Load {
        let now = (Instant::now(), worked());
        let (wall, ran) = (now.0 - self.last.0, now.1.saturating_sub(self.last.1));
        self.last = now;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let load = Load {
            processor: share(ran.as_nanos(), (wall * self.processors).as_nanos()),
            // Whoever runs uses some: none would mean that nobody measured.
            memory: used().map_or(1, |used| {
                share(used, self.memory.map_or(0, u128::from)).max(1)
            }),
            queued: number(queued),
            processes: number(processes),
        };
        let before = self.smooth.unwrap_or(load);
        let smooth = |now: u32, before: u32| {
            let sum = u64::from(now) * u64::from(NEW) + u64::from(before) * u64::from(100 - NEW);
            // Towards what it is now, so that it comes to rest there.
            let mean = if now < before {
                sum / 100
            } else {
                sum.div_ceil(100)
            };
            u32::try_from(mean).unwrap_or(now)
        };
        let part =
            |now: u16, before: u16| u16::try_from(smooth(now.into(), before.into())).unwrap_or(now);
        let load = Load {
            processor: part(load.processor, before.processor),
            queued: smooth(load.queued, before.queued),
            ..load
        };
        *self.smooth.insert(load)
    }
}

/// In thousandths.
fn share(part: u128, whole: u128) -> u16 {
    let share = (part * 1000).checked_div(whole).unwrap_or(0).min(1000);
    u16::try_from(share).unwrap_or(1000)
}

/// How long all threads of this program have run.
fn worked() -> Duration {
    let ran = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(ran).unwrap_or_default()
}

/// Bytes of memory in use by this program (proc(5), `statm`).
fn used() -> Option<u128> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u128 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u128::try_from(rustix::param::page_size()).ok()?)
}

/// Bytes of memory that this program may have: what its control group allows (version 2), or what
/// the machine has.
fn memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    let machine = kib.checked_mul(1024)?;
    Some(allowed().map_or(machine, |allowed| allowed.min(machine)))
}

fn allowed() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let file = format!("/sys/fs/cgroup{path}/memory.max");
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen_and_forgotten() {
        let mut meter = Meter::new();
        meter.processors = 1;
        let idle = meter.measure(0, 3);
        assert!(idle.is_known());
        assert_eq!((idle.queued, idle.processes), (0, 3));
        let began = worked();
        while worked() - began < Duration::from_millis(200) {
            std::hint::black_box(());
        }
        let busy = meter.measure(1_000, 3);
        assert!(busy.processor > 0);
        assert_eq!(busy.queued, 400);
        let mut last = busy;
        for _ in 0..40 {
            last = meter.measure(0, 3);
        }
        assert_eq!(last.queued, 0);
        for _ in 0..40 {
            last = meter.measure(1_000, 3);
        }
        assert_eq!(last.queued, 1_000);
    }
}
