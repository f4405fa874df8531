//! What a search finds: a rule that does not hold, and the way there.

use std::fmt;

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub rule: &'static str,
    /// How.
    pub how: String,
}

impl Broken {
    pub(crate) fn new(rule: &'static str, how: impl Into<String>) -> Self {
        let how = how.into();
        Self { rule, how }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.how)
    }
}

/// How each state was reached: from which one, by what.
pub(crate) struct Steps<A>(Vec<Option<(usize, A)>>);

impl<A: Copy> Steps<A> {
    /// Only the state that nothing leads to, which is number 0.
    pub(crate) fn new() -> Self {
        Self(vec![None])
    }

    /// The number of a state that was reached from another one.
    pub(crate) fn add(&mut self, from: usize, action: A) -> usize {
        self.0.push(Some((from, action)));
        self.0.len() - 1
    }

    /// The way to a state, and on by one more action if there is one.
    pub(crate) fn way(&self, mut at: usize, last: Option<A>) -> Vec<A> {
        let mut way: Vec<A> = last.into_iter().collect();
        while let Some((from, action)) = self.0[at] {
            way.push(action);
            at = from;
        }
        way.reverse();
        way
    }
}
