//! What is still to be told, and when: one at a time, the latest only, again after a failure.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// After the first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// After many: a load balancer that comes back should not wait long.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// States to tell, by subject. Each subject has one latest state; told is only what differs from
/// what was told last.
#[derive(Debug)]
pub(super) struct Queue<T> {
    subjects: BTreeMap<String, Subject<T>>,
    /// Nothing is told before.
    opens: Instant,
}

#[derive(Debug)]
struct Subject<T> {
    wanted: T,
    /// Unknown at first and after a failure, which may have done half of it.
    told: Option<T>,
    /// Is being told now.
    telling: Option<T>,
    failures: u32,
    due: Instant,
}

impl<T: Clone + PartialEq> Queue<T> {
    pub(super) fn new(opens: Instant) -> Self {
        Self {
            subjects: BTreeMap::new(),
            opens,
        }
    }

    /// This is the state of a subject now.
    pub(super) fn want(&mut self, now: Instant, subject: &str, state: T) {
        let new = || Subject {
            wanted: state.clone(),
            told: None,
            telling: None,
            failures: 0,
            due: now,
        };
        let subject = self.subjects.entry(subject.to_owned()).or_insert_with(new);
        if subject.wanted != state {
            subject.wanted = state;
            // What failed may work for another state.
            subject.failures = 0;
            subject.due = now;
        }
    }

    /// Forgets all subjects but these and the one being told.
    pub(super) fn keep(&mut self, subjects: impl Fn(&str) -> bool) {
        self.subjects
            .retain(|name, subject| subjects(name) || subject.telling.is_some());
    }

    /// What to tell now; whoever takes it answers with [`told`](Self::told).
    pub(super) fn take(&mut self, now: Instant) -> Option<(String, T)> {
        if self.due()? > now {
            return None;
        }
        let (name, subject) = self.next_mut()?;
        subject.telling = Some(subject.wanted.clone());
        Some((name.clone(), subject.wanted.clone()))
    }

    /// When there is something to tell; `None` while something is being told, or nothing is new.
    pub(super) fn due(&mut self) -> Option<Instant> {
        if self.subjects.values().any(|s| s.telling.is_some()) {
            return None;
        }
        let opens = self.opens;
        self.next_mut().map(|(_, subject)| subject.due.max(opens))
    }

    /// What was taken was told, or not. After how long it is tried again if it was not, and still is
    /// to be told.
    pub(super) fn told(&mut self, now: Instant, subject: &str, well: bool) -> Option<Duration> {
        let subject = self.subjects.get_mut(subject)?;
        let telling = subject.telling.take();
        if well {
            subject.failures = 0;
            subject.told = telling;
            return None;
        }
        subject.told = None;
        if telling.as_ref() != Some(&subject.wanted) {
            return Some(Duration::ZERO);
        }
        let pause = FIRST_PAUSE
            .saturating_mul(1 << subject.failures.min(8))
            .min(LONGEST_PAUSE);
        subject.failures = subject.failures.saturating_add(1);
        subject.due = now + pause;
        Some(pause)
    }

    /// The subject that has waited longest of those with something to tell.
    fn next_mut(&mut self) -> Option<(&String, &mut Subject<T>)> {
        let new = |s: &Subject<T>| s.told.as_ref() != Some(&s.wanted);
        let subjects = self.subjects.iter_mut().filter(|(_, s)| new(s));
        subjects.min_by_key(|(_, subject)| subject.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_latest_state_wins() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        queue.want(now, "api", 1);
        queue.want(now, "web", 7);
        assert_eq!(queue.take(now), Some(("api".to_owned(), 1)));
        assert_eq!(queue.take(now), None, "one is under way");
        queue.want(now, "api", 2);
        queue.want(now, "api", 3);
        assert_eq!(queue.told(now, "api", true), None);
        let mut told = vec![];
        while let Some((name, state)) = queue.take(now) {
            assert_eq!(queue.told(now, &name, true), None);
            told.push((name, state));
        }
        told.sort();
        assert_eq!(told, [("api".to_owned(), 3), ("web".to_owned(), 7)]);
        assert_eq!(queue.due(), None);
    }

    #[test]
    fn what_is_as_it_was_told_is_not_told_again() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        queue.want(now, "api", 1);
        assert_eq!(queue.take(now), Some(("api".to_owned(), 1)));
        queue.want(now, "api", 2);
        queue.want(now, "api", 1);
        queue.told(now, "api", true);
        assert_eq!(queue.take(now), None);
        queue.want(now, "api", 2);
        assert_eq!(queue.take(now), Some(("api".to_owned(), 2)));
        // There and back while the other was told: that must be undone.
        queue.want(now, "api", 1);
        queue.told(now, "api", true);
        assert_eq!(queue.take(now), Some(("api".to_owned(), 1)));
    }

    #[test]
    fn a_failure_is_tried_again_later_and_later() {
        let mut now = Instant::now();
        let mut queue = Queue::new(now);
        queue.want(now, "api", 1);
        let mut pauses = vec![];
        for _ in 0..8 {
            assert!(queue.take(now).is_some());
            let pause = queue.told(now, "api", false).expect("it is to be told");
            pauses.push(pause.as_secs());
            assert_eq!(queue.take(now), None, "not at once");
            now = queue.due().expect("some time");
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(queue.take(now).is_some());
        queue.told(now, "api", false);
        queue.want(now, "api", 2);
        assert_eq!(
            queue.take(now),
            Some(("api".to_owned(), 2)),
            "a new state is not held up"
        );
        queue.want(now, "api", 3);
        assert_eq!(queue.told(now, "api", false), Some(Duration::ZERO));
        assert_eq!(queue.take(now), Some(("api".to_owned(), 3)));
    }

    #[test]
    fn a_failed_change_is_undone_even_if_the_state_was_told_before() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        queue.want(now, "api", 1);
        queue.take(now);
        queue.told(now, "api", true);
        queue.want(now, "api", 2);
        queue.take(now);
        queue.want(now, "api", 1);
        queue.told(now, "api", false);
        assert_eq!(queue.take(now), Some(("api".to_owned(), 1)));
    }

    #[test]
    fn nothing_is_told_before_it_opens_and_of_what_is_forgotten() {
        let now = Instant::now();
        let mut queue = Queue::new(now + Duration::from_secs(5));
        queue.want(now, "api", 1);
        queue.want(now, "web", 1);
        assert_eq!(queue.take(now), None);
        assert_eq!(queue.due(), Some(now + Duration::from_secs(5)));
        queue.keep(|name| name == "web");
        let later = now + Duration::from_secs(5);
        assert_eq!(queue.take(later), Some(("web".to_owned(), 1)));
        queue.told(later, "web", true);
        assert_eq!(queue.due(), None);
    }
}
