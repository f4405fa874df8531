//! A part of a world: shared between worlds until it changes, its fingerprint computed once.

use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::fingerprint;

/// A value that most steps leave as it is.
pub struct Kept<T>(Rc<Inner<T>>);

struct Inner<T> {
    value: T,
    print: Cell<Option<u128>>,
}

impl<T: Clone> Clone for Inner<T> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            print: Cell::new(None),
        }
    }
}

impl<T> Kept<T> {
    /// Keeps a value.
    pub fn new(value: T) -> Self {
        let print = Cell::new(None);
        Self(Rc::new(Inner { value, print }))
    }
}

impl<T: Hash> Kept<T> {
    /// The value's fingerprint.
    pub(crate) fn print(&self) -> u128 {
        self.0.print.get().unwrap_or_else(|| {
            let print = fingerprint::of(&self.0.value);
            self.0.print.set(Some(print));
            print
        })
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: Clone> DerefMut for Kept<T> {
    /// The worlds that share the value keep it as it was.
    fn deref_mut(&mut self) -> &mut T {
        let inner = Rc::make_mut(&mut self.0);
        inner.print.set(None);
        &mut inner.value
    }
}

impl<T: Hash> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.print().hash(state);
    }
}

impl<T: PartialEq> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0) || **self == **other
    }
}

impl<T: Eq> Eq for Kept<T> {}

impl<T: fmt::Debug> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}
