//! Frames that wait for one node in one class: bounded by their bytes, taken many at once.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Instant;

use tokio::sync::Notify;

use super::frame::Frame;

/// A frame was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No room.
    Full,
    /// Nobody takes from it.
    Closed,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<(Instant, Frame)>,
    bytes: usize,
    closed: bool,
}

enum Taken {
    Frames(Vec<(Instant, Frame)>),
    Nothing,
    Closed,
}

/// Any number of senders, one taker.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    limit: usize,
    filled: Notify,
    emptied: Notify,
}

impl Queue {
    /// Holds frames of `limit` bytes, and always one.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            limit,
            filled: Notify::new(),
            emptied: Notify::new(),
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // No code that can panic runs under this lock.
        self.waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds a frame at the end.
    pub(super) fn push(&self, frame: Frame) -> Result<(), Refusal> {
        let weight = frame.weight();
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(Refusal::Closed);
        }
        if waiting.bytes + weight > self.limit && !waiting.frames.is_empty() {
            return Err(Refusal::Full);
        }
        waiting.bytes += weight;
        waiting.frames.push_back((Instant::now(), frame));
        let first = waiting.frames.len() == 1;
        drop(waiting);
        if first {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// The frames that wait first, at least one, together at most `bytes` unless the first alone is
    /// longer, with the moment when each was queued; none once closed and empty.
    ///
    /// Cancellation loses nothing.
    pub(super) async fn take(&self, bytes: usize) -> Option<Vec<(Instant, Frame)>> {
        loop {
            match self.take_now(bytes) {
                Taken::Frames(frames) => return Some(frames),
                Taken::Closed => return None,
                Taken::Nothing => self.filled.notified().await,
            }
        }
    }

    fn take_now(&self, bytes: usize) -> Taken {
        let mut waiting = self.waiting();
        let mut frames = Vec::new();
        let mut sum = 0;
        while let Some((_, frame)) = waiting.frames.front() {
            let weight = frame.weight();
            if sum + weight > bytes && !frames.is_empty() {
                break;
            }
            sum += weight;
            frames.extend(waiting.frames.pop_front());
        }
        if frames.is_empty() {
            return if waiting.closed {
                Taken::Closed
            } else {
                Taken::Nothing
            };
        }
        let crowded = waiting.bytes > self.limit / 2;
        waiting.bytes -= sum;
        let roomy = waiting.bytes <= self.limit / 2;
        let empty = waiting.frames.is_empty();
        drop(waiting);
        if crowded && roomy || empty {
            self.emptied.notify_waiters();
        }
        Taken::Frames(frames)
    }

    /// Waits until it is half empty, or closed.
    pub(super) async fn room(&self) {
        loop {
            let emptied = self.emptied.notified();
            {
                let waiting = self.waiting();
                if waiting.closed || waiting.bytes <= self.limit / 2 {
                    return;
                }
            }
            emptied.await;
        }
    }

    /// Drops what waits.
    pub(super) fn clear(&self) {
        let mut waiting = self.waiting();
        waiting.frames = VecDeque::new();
        waiting.bytes = 0;
        drop(waiting);
        self.emptied.notify_waiters();
    }

    /// Takes no more. What waits can still be taken.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.filled.notify_one();
        self.emptied.notify_waiters();
    }

    /// Waits until nothing waits in it any more. What was taken last may still be under way.
    pub(super) async fn flushed(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.waiting().frames.is_empty() {
                return;
            }
            emptied.await;
        }
    }
}

#[cfg(test)]
mod tests;
