//! What is seen of one upgrade: the time from its trigger until it has settled.

use crate::clock::{Micros, millis};
use crate::latency::Gauge;
use hyper::header::HeaderValue;

/// One upgrade's window: from the trigger until it finished and `settle`
/// passed, or until the next trigger.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) start: Micros,
    /// `u64::MAX` while the trigger runs.
    pub(crate) end: Micros,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) latency: Gauge,
    dark: Micros,
    before: Option<HeaderValue>,
    after: Option<HeaderValue>,
    first_by_new: Option<Micros>,
    last_by_old: Option<Micros>,
}

impl Window {
    fn covers(&self, due: Micros, done: Micros) -> bool {
        done >= self.start && due < self.end
    }

    pub(crate) fn dark_ms(&self) -> f64 {
        millis(self.dark)
    }

    pub(crate) fn first_answer_by_new_ms(&self) -> Option<f64> {
        self.first_by_new.map(|at| millis(at - self.start))
    }

    /// Only once a new version was seen: else the old one never stopped.
    pub(crate) fn last_answer_by_old_ms(&self) -> Option<f64> {
        self.first_by_new?;
        self.last_by_old.map(|at| millis(at - self.start))
    }

    pub(crate) fn versions(&self) -> (Option<String>, Option<String>) {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        (
            self.before.as_ref().map(text),
            self.after.as_ref().map(text),
        )
    }
}

/// All windows of a run, and what must be known across them. Fed by one
/// client only, the one with new connections if there is one: its requests
/// show whether the service answers *now*.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    list: Vec<Window>,
    version: Option<HeaderValue>,
    /// Requests due and neither answered nor lost.
    outstanding: u64,
    /// Since when requests have been due without any being answered.
    dark_since: Option<Micros>,
    /// The longest dark stretch outside all windows.
    steady_dark: Micros,
}

impl Windows {
    /// Which window a request belongs to that was due at `due` and is done
    /// now: the last one it overlaps.
    pub(crate) fn of(&mut self, due: Micros, done: Micros) -> Option<&mut Window> {
        self.list
            .iter_mut()
            .rev()
            .take(2)
            .find(|window| window.covers(due, done))
    }

    pub(crate) fn list(&self) -> &[Window] {
        &self.list
    }

    pub(crate) fn steady_dark_ms(&self) -> f64 {
        millis(self.steady_dark)
    }

    pub(crate) fn open(&mut self, now: Micros) {
        self.darken(now);
        if let Some(last) = self.list.last_mut() {
            last.end = last.end.min(now);
        }
        self.list.push(Window {
            start: now,
            end: u64::MAX,
            requests: 0,
            failed: 0,
            latency: Gauge::new(),
            dark: 0,
            before: self.version.clone(),
            after: None,
            first_by_new: None,
            last_by_old: None,
        });
    }

    pub(crate) fn close_at(&mut self, end: Micros) {
        if let Some(last) = self.list.last_mut() {
            last.end = last.end.min(end);
        }
    }

    pub(crate) fn due(&mut self, due: Micros) {
        self.outstanding += 1;
        self.dark_since.get_or_insert(due);
    }

    pub(crate) fn answered(&mut self, now: Micros, version: Option<HeaderValue>) {
        self.darken(now);
        self.outstanding = self.outstanding.saturating_sub(1);
        self.dark_since = (self.outstanding > 0).then_some(now);
        if let Some(version) = version {
            self.seen(now, version);
        }
    }

    /// A lost request leaves the dark stretch open: it was due, and nobody answered.
    pub(crate) fn lost(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// Counts a stretch that is still dark when the load ends.
    pub(crate) fn finish(&mut self, now: Micros) {
        self.darken(now);
    }

    /// A dark stretch ends, or is looked at, at `now`: each part of it counts
    /// where it lies.
    fn darken(&mut self, now: Micros) {
        let Some(since) = self.dark_since else { return };
        let mut steady_from = since;
        for window in self.list.iter_mut().rev().take(2).rev() {
            let from = since.max(window.start);
            let to = now.min(window.end);
            if from < to {
                window.dark = window.dark.max(to - from);
            }
            if steady_from < window.end {
                let before = window.start.min(now).saturating_sub(steady_from);
                self.steady_dark = self.steady_dark.max(before);
                steady_from = window.end;
            }
        }
        self.steady_dark = self.steady_dark.max(now.saturating_sub(steady_from));
    }

    fn seen(&mut self, now: Micros, version: HeaderValue) {
        if let Some(window) = self.list.last_mut()
            && now < window.end
        {
            match &window.before {
                Some(before) if *before != version => {
                    window.first_by_new.get_or_insert(now);
                    window.after = Some(version.clone());
                }
                Some(_) => window.last_by_old = Some(now),
                // Nobody has told a version yet: nothing to compare with.
                None => window.before = Some(version.clone()),
            }
        }
        self.version = Some(version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: HeaderValue = HeaderValue::from_static("1");
    const V2: HeaderValue = HeaderValue::from_static("2");

    #[test]
    fn a_dark_stretch_is_from_the_first_unanswered_due_time_to_the_next_answer() {
        let mut windows = Windows::default();
        windows.open(0);
        windows.due(100);
        windows.answered(150, None);
        // Nothing is due for a while: not dark.
        windows.due(5_000);
        windows.lost();
        windows.due(6_000);
        windows.due(7_000);
        windows.answered(7_500, None);
        assert_eq!(windows.list()[0].dark, 2_500);
        // One is still unanswered, and stays so.
        windows.finish(20_000);
        assert_eq!(windows.list()[0].dark, 12_500);
        assert_eq!(windows.steady_dark, 0);
    }

    #[test]
    fn a_dark_stretch_is_split_at_the_edges_of_windows() {
        let mut windows = Windows::default();
        windows.due(1_000);
        windows.open(5_000);
        windows.close_at(8_000);
        windows.open(7_000);
        windows.close_at(9_000);
        windows.answered(11_000, None);
        assert_eq!(windows.list()[0].dark, 2_000);
        assert_eq!(windows.list()[1].dark, 2_000);
        assert_eq!(windows.steady_dark, 4_000);
    }

    #[test]
    fn requests_belong_to_the_window_they_overlap() {
        let mut windows = Windows::default();
        windows.open(1_000);
        windows.close_at(2_000);
        assert!(windows.of(0, 999).is_none());
        assert!(windows.of(0, 1_000).is_some());
        assert!(windows.of(1_999, 50_000).is_some());
        assert!(windows.of(2_000, 50_000).is_none());
    }

    #[test]
    fn the_first_answer_by_another_version_is_the_new_one() {
        let mut windows = Windows::default();
        windows.due(0);
        windows.answered(1, Some(V1));
        windows.open(1_000);
        for (at, version) in [(2_000, V1), (3_000, V2), (4_000, V1), (5_000, V2)] {
            windows.due(at);
            windows.answered(at, Some(version));
        }
        let window = &windows.list()[0];
        assert_eq!(window.first_answer_by_new_ms(), Some(2.0));
        assert_eq!(window.last_answer_by_old_ms(), Some(3.0));
        assert_eq!(window.versions(), (Some("1".into()), Some("2".into())));
        windows.open(9_000);
        windows.due(9_500);
        windows.answered(9_500, Some(V2));
        let window = &windows.list()[1];
        assert_eq!(window.first_answer_by_new_ms(), None);
        assert_eq!(window.last_answer_by_old_ms(), None);
    }
}
