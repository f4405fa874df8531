//! Latency over time, compact: one small row per bucket.

use crate::clock::{Micros, micros};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// The width of a bucket at first: a stall of this length is what an upgrade
/// must stay under, so it must be visible.
const BUCKET: Duration = Duration::from_millis(10);

/// The most rows: ten minutes at first; when full, neighbours are merged and
/// the width doubles, so that a run of a day stays below 2 MB.
const MAX_ROWS: usize = 60_000;

/// How much later than its time-out a request may still be reported, before
/// its bucket's values are summed up.
const SLACK: Duration = Duration::from_secs(1);

/// Latency of `new` and `keep-alive` requests over time, and the failures of
/// all clients. Column `i` covers requests that were **due** in
/// `[i × bucket_ms, (i + 1) × bucket_ms)` after the load began, whenever they
/// were answered: a stall shows as a slope from its full length down to nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The width of a column.
    pub bucket_ms: f64,
    /// Answered requests.
    pub answered: Vec<u32>,
    /// The median latency; 0 where nothing was answered. In a column merged
    /// from several (see `bucket_ms`) their mean, weighted by `answered`.
    pub p50_us: Vec<u32>,
    /// The greatest latency.
    pub max_us: Vec<u32>,
    /// Lost requests, of every client.
    pub failed: Vec<u32>,
}

#[derive(Debug, Default, Clone)]
struct Open {
    latencies: Vec<u32>,
    failed: u32,
}

#[derive(Debug, Default, Clone, Copy)]
struct Row {
    answered: u32,
    p50: u32,
    max: u32,
    failed: u32,
}

/// Collects a [`Series`]. Medians are exact: the values of a bucket are kept
/// until no request due in it can still be under way.
#[derive(Debug)]
pub(crate) struct Collector {
    rows: Vec<Row>,
    open: VecDeque<Open>,
    width: Micros,
    patience: Micros,
}

impl Collector {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            rows: Vec::new(),
            open: VecDeque::new(),
            width: micros(BUCKET),
            patience: micros(timeout + SLACK),
        }
    }

    pub(crate) fn answered(&mut self, due: Micros, latency: Micros) {
        let latency = u32::try_from(latency).unwrap_or(u32::MAX);
        match self.place(due) {
            Ok(open) => open.latencies.push(latency),
            Err(row) => {
                // Later than the time-out allows: this machine is late itself.
                row.answered += 1;
                row.max = row.max.max(latency);
            }
        }
    }

    pub(crate) fn failed(&mut self, due: Micros) {
        match self.place(due) {
            Ok(open) => open.failed += 1,
            Err(row) => row.failed += 1,
        }
    }

    fn place(&mut self, due: Micros) -> Result<&mut Open, &mut Row> {
        let index = usize::try_from(due / self.width).unwrap_or(usize::MAX);
        if index < self.rows.len() {
            return Err(&mut self.rows[index]);
        }
        // Rows are made by `pass`, which runs ten times a second; due times
        // are never ahead of it by more than an upload's pause.
        let ahead = (index - self.rows.len()).min(MAX_ROWS);
        while self.open.len() <= ahead {
            self.open.push_back(Open::default());
        }
        Ok(&mut self.open[ahead])
    }

    /// Sums up the buckets that are complete at `now`.
    pub(crate) fn pass(&mut self, now: Micros) {
        while let Some(open) = self.open.front_mut() {
            let end = (self.rows.len() as u64 + 1) * self.width;
            if end.saturating_add(self.patience) > now {
                break;
            }
            let row = sum_up(std::mem::take(open));
            self.open.pop_front();
            self.push(row);
        }
    }

    fn push(&mut self, row: Row) {
        self.rows.push(row);
        if self.rows.len() >= MAX_ROWS {
            self.rows = self.rows.chunks(2).map(merge).collect();
            let open: Vec<Open> = self.open.drain(..).collect();
            self.open = open.chunks(2).map(merge_open).collect();
            self.width *= 2;
        }
    }

    pub(crate) fn finish(mut self) -> Series {
        self.pass(u64::MAX);
        let column = |value: fn(&Row) -> u32| self.rows.iter().map(value).collect();
        Series {
            bucket_ms: crate::clock::millis(self.width),
            answered: column(|row| row.answered),
            p50_us: column(|row| row.p50),
            max_us: column(|row| row.max),
            failed: column(|row| row.failed),
        }
    }
}

fn sum_up(mut open: Open) -> Row {
    let values = &mut open.latencies;
    values.sort_unstable();
    Row {
        answered: u32::try_from(values.len()).unwrap_or(u32::MAX),
        p50: values
            .get(values.len().saturating_sub(1) / 2)
            .copied()
            .unwrap_or(0),
        max: values.last().copied().unwrap_or(0),
        failed: open.failed,
    }
}

fn merge(rows: &[Row]) -> Row {
    let answered = rows
        .iter()
        .fold(0, |sum: u32, row| sum.saturating_add(row.answered));
    let weighted: u64 = rows
        .iter()
        .map(|row| u64::from(row.p50) * u64::from(row.answered))
        .sum();
    Row {
        answered,
        p50: weighted.checked_div(answered.into()).unwrap_or(0) as u32,
        max: rows.iter().map(|row| row.max).max().unwrap_or(0),
        failed: rows
            .iter()
            .fold(0, |sum: u32, row| sum.saturating_add(row.failed)),
    }
}

fn merge_open(open: &[Open]) -> Open {
    Open {
        latencies: open
            .iter()
            .flat_map(|open| open.latencies.iter().copied())
            .collect(),
        failed: open.iter().map(|open| open.failed).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_by_due_time_with_exact_medians() {
        let mut collector = Collector::new(Duration::from_secs(1));
        for latency in [5, 1, 9] {
            collector.answered(12_000, latency);
        }
        collector.answered(9_999, 700_000);
        collector.failed(25_000);
        collector.pass(1_000_000);
        let series = collector.finish();
        assert_eq!(series.bucket_ms, 10.0);
        assert_eq!(series.answered, [1, 3, 0]);
        assert_eq!(series.p50_us, [700_000, 5, 0]);
        assert_eq!(series.max_us, [700_000, 9, 0]);
        assert_eq!(series.failed, [0, 0, 1]);
    }

    #[test]
    fn a_long_run_stays_bounded_and_loses_no_request() {
        let mut collector = Collector::new(Duration::from_millis(1));
        let buckets = MAX_ROWS as u64 * 5;
        for bucket in 0..buckets {
            let due = bucket * 10_000;
            collector.answered(due, 100 + bucket);
            collector.failed(due);
            if bucket % 10 == 0 {
                collector.pass(due);
            }
        }
        let series = collector.finish();
        assert!(series.answered.len() <= MAX_ROWS);
        assert_eq!(series.bucket_ms, 80.0);
        assert_eq!(
            series.answered.iter().map(|n| u64::from(*n)).sum::<u64>(),
            buckets
        );
        assert_eq!(
            series.failed.iter().map(|n| u64::from(*n)).sum::<u64>(),
            buckets
        );
        assert_eq!(u64::from(*series.max_us.last().unwrap()), 99 + buckets);
    }

    #[test]
    fn an_answer_after_its_bucket_is_summed_up_still_counts() {
        let mut collector = Collector::new(Duration::from_millis(1));
        collector.answered(0, 1);
        collector.pass(10_000_000);
        collector.answered(0, 9_000_000);
        collector.failed(1);
        let series = collector.finish();
        assert_eq!((series.answered[0], series.failed[0]), (2, 1));
        assert_eq!(series.max_us[0], 9_000_000);
    }
}
