//! Due times at a fixed rate, and waiting for them.

use crate::clock::{Clock, Micros};
use std::io;
use std::time::{Duration, Instant};

/// The shortest sleep: at higher rates several requests are due per wake-up,
/// or waking alone would fill a core.
const MIN_SLEEP: Duration = Duration::from_micros(150);

/// Hands out due times `i / rate`, whatever happens to the requests: the load
/// is open loop.
pub(crate) struct Pacer {
    clock: Clock,
    rate: f64,
    next: u64,
    alarm: Alarm,
}

impl Pacer {
    /// Must be called within the runtime it will wait in.
    pub(crate) fn new(clock: Clock, rate: f64) -> io::Result<Self> {
        Ok(Self {
            clock,
            rate,
            next: 0,
            alarm: Alarm::new()?,
        })
    }

    fn due(&self) -> Micros {
        // 2^53 requests are exact in f64: no drift within any run.
        (self.next as f64 * 1e6 / self.rate) as Micros
    }

    /// The next request that is already due, if any. It will not be handed out again.
    pub(crate) fn take(&mut self) -> Option<Micros> {
        let due = self.due();
        if due > self.clock.now() {
            return None;
        }
        self.next += 1;
        Some(due)
    }

    /// Waits until a request is due. Cancel safe: nothing is handed out here.
    pub(crate) async fn wait(&mut self) -> io::Result<()> {
        let due = self.clock.instant(self.due());
        let sleep = due.saturating_duration_since(Instant::now());
        if sleep.is_zero() {
            // Late already: still let the requests under way make progress.
            tokio::task::yield_now().await;
            return Ok(());
        }
        self.alarm.sleep(sleep.max(MIN_SLEEP)).await
    }
}

/// A timer finer than tokio's millisecond: at 3,000 requests a second three
/// would be due per tick, each late by half a millisecond on average, and the
/// report would blame the server for it.
#[cfg(target_os = "linux")]
struct Alarm {
    timer: tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>,
}

#[cfg(target_os = "linux")]
impl Alarm {
    fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // Deprecated because a type could swap the descriptor it lends; an
        // `OwnedFd` cannot, and the replacement is an unsafe function.
        #[allow(deprecated)]
        let timer = tokio::io::unix::AsyncFd::with_interest(timer, tokio::io::Interest::READABLE)?;
        Ok(Self { timer })
    }

    async fn sleep(&mut self, sleep: Duration) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: i64::try_from(sleep.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: sleep.subsec_nanos().into(),
            },
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.timer.readable().await?;
            let read = ready.try_io(|timer| {
                let mut expirations = [0; 8];
                Ok(rustix::io::read(timer.get_ref(), &mut expirations)?)
            });
            match read {
                Ok(read) => return read.map(drop),
                // Readiness left over from an earlier, cancelled sleep.
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn sleep(&mut self, sleep: Duration) -> io::Result<()> {
        tokio::time::sleep(sleep).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_due_time_is_handed_out_once_and_in_order() {
        let clock = Clock::starting_at(Instant::now());
        let mut pacer = Pacer::new(clock, 4_000.0).unwrap();
        let mut dues = Vec::new();
        while dues.len() < 400 {
            pacer.wait().await.unwrap();
            while let Some(due) = pacer.take() {
                assert!(due <= clock.now());
                dues.push(due);
            }
        }
        for (i, due) in dues.iter().enumerate() {
            assert_eq!(*due, i as u64 * 250);
        }
    }
}
