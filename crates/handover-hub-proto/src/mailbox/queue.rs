//! Messages in order, counted.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::{Letter, Limits};

/// Messages in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Queue<M> {
    letters: VecDeque<M>,
    bytes: usize,
}

impl<M> Default for Queue<M> {
    fn default() -> Self {
        let (letters, bytes) = (VecDeque::new(), 0);
        Self { letters, bytes }
    }
}

impl<M: Letter> Queue<M> {
    pub(super) fn add(&mut self, letter: M) {
        self.bytes += letter.size();
        self.letters.push_back(letter);
    }
}

impl<M> Queue<M> {
    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    pub(super) fn into_letters(self) -> VecDeque<M> {
        self.letters
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &M> {
        self.letters.iter()
    }
}

/// Whether no further message fits, by number or bytes. `times`: how often the bounds.
pub(super) fn is_full<'a, M: 'a>(
    queues: impl IntoIterator<Item = &'a Queue<M>>,
    limits: &Limits,
    times: usize,
) -> bool {
    let (mut messages, mut bytes) = (0, 0);
    for queue in queues {
        messages += queue.len();
        bytes += queue.bytes;
    }
    messages >= limits.messages.saturating_mul(times) || bytes > limits.bytes.saturating_mul(times)
}

/// Adds a message at the end. Nothing is allocated before the first one.
pub(super) fn push<M: Letter>(queue: &mut Option<Box<Queue<M>>>, letter: M) {
    queue.get_or_insert_default().add(letter);
}

/// Takes the first message. Whatever an empty queue has allocated is freed.
pub(super) fn pop<M: Letter>(slot: &mut Option<Box<Queue<M>>>) -> Option<M> {
    let letter = slot.as_mut().and_then(|queue| {
        let letter = queue.letters.pop_front()?;
        queue.bytes = queue.bytes.saturating_sub(letter.size());
        Some(letter)
    });
    if letter.is_none() {
        *slot = None;
    }
    letter
}
