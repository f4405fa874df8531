//! A long list of children, cut into parts and put together again.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use xxhash_rust::xxh3::Xxh3;

use super::DECLARED_MAX;
use crate::message::{Part, spec_size};
use crate::spec::ChildSpec;

/// Children of one part, at most.
const CHILDREN: usize = 1024;

/// A part is closed when its children have about so many bytes.
const BYTES: usize = 64 * 1024;

/// Bytes of all children of a list that is put together, at most, about.
const WHOLE: usize = 512 * 1024 * 1024;

type Children = Vec<Arc<ChildSpec>>;

/// Whether one part is enough.
pub(super) fn fits(children: &[Arc<ChildSpec>]) -> bool {
    children.len() <= CHILDREN && size(children) <= BYTES
}

/// Cuts a list. There is at least one part.
pub(super) fn split(children: Children) -> Vec<Part> {
    let mut digest = Xxh3::new();
    let (mut parts, mut next, mut bytes) = (Vec::new(), Vec::new(), 0);
    let part = |parts: &Vec<Part>, children, digest| Part {
        number: u32::try_from(parts.len()).unwrap_or(u32::MAX),
        children,
        digest,
    };
    for child in children {
        let more = spec_size(&child);
        if next.len() >= CHILDREN || (bytes + more > BYTES && !next.is_empty()) {
            bytes = 0;
            parts.push(part(&parts, mem::take(&mut next), None));
        }
        add(&mut digest, &child);
        bytes += more;
        next.push(child);
    }
    let digest = Some(digest.digest());
    parts.push(part(&parts, next, digest));
    parts
}

fn size(children: &[Arc<ChildSpec>]) -> usize {
    children.iter().map(|child| spec_size(child)).sum()
}

fn add(digest: &mut Xxh3, child: &ChildSpec) {
    // Nothing in it can fail to be written to a vector.
    let bytes = postcard::to_allocvec(child).unwrap_or_default();
    digest.update(&bytes);
}

/// Parts of one list that have come.
#[derive(Default)]
pub(crate) struct Parts {
    list: u64,
    children: Children,
    bytes: usize,
    /// The number of the next one; 0: nothing is on its way.
    next: u32,
}

impl Parts {
    /// Whether more has to come.
    pub(super) const fn is_open(&self) -> bool {
        self.next > 0
    }

    /// Takes the next part of a list. With the last one it is whole. A part that does not follow, and
    /// a list that is too long or is not what its digest says, ends what was under way.
    pub(super) fn take(&mut self, list: u64, part: Part) -> Option<Children> {
        if part.number == 0 {
            *self = Self {
                list,
                ..Self::default()
            };
        }
        let follows = part.number == self.next && list == self.list;
        self.bytes = self.bytes.saturating_add(size(&part.children));
        let fits = self.children.len() + part.children.len() <= DECLARED_MAX && self.bytes <= WHOLE;
        if !follows || !fits {
            *self = Self::default();
            return None;
        }
        self.children.extend(part.children);
        self.next += 1;
        let said = part.digest?;
        let children = mem::take(self).children;
        let mut digest = Xxh3::new();
        children.iter().for_each(|child| add(&mut digest, child));
        (digest.digest() == said).then_some(children)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;
    use crate::node::tests::world::{child, children};

    #[test]
    fn a_list_is_what_it_was_before_it_was_cut() {
        for count in [0, 1, CHILDREN, CHILDREN + 1, 5 * CHILDREN] {
            let list = children(count);
            let parts = split(list.clone());
            assert_eq!(parts.len(), count.div_ceil(CHILDREN).max(1));
            let last = parts.len() - 1;
            let mut whole = Parts::default();
            for (at, part) in parts.into_iter().enumerate() {
                assert!(part.children.len() <= CHILDREN);
                let taken = whole.take(7, part);
                assert_eq!(taken, (at == last).then(|| list.clone()));
                assert_eq!(whole.is_open(), at != last);
            }
        }
    }

    #[test]
    fn large_children_are_in_more_parts() {
        let mut large = ChildSpec::clone(&child("large"));
        large.argument = vec![0; BYTES].into();
        let large = Arc::new(large);
        let list = vec![large; 3];
        assert!(!fits(&list));
        assert_eq!(split(list).len(), 3);
    }

    #[test]
    fn nothing_comes_of_a_list_that_lacks_something() {
        let parts = || split(children(3 * CHILDREN));
        // A part is missing, is of another list, or has another child than was meant.
        let mut lacking = parts();
        lacking.remove(1);
        let mut whole = Parts::default();
        assert!(
            lacking
                .into_iter()
                .all(|part| whole.take(7, part).is_none())
        );
        let mut lists = [7, 8, 7].into_iter();
        let mut mixed = parts().into_iter().zip(&mut lists);
        assert!(mixed.all(|(part, list)| whole.take(list, part).is_none()));
        let mut changed = parts();
        changed[1].children[5] = child(&format!("another-{}", 1));
        assert!(
            changed
                .into_iter()
                .all(|part| whole.take(7, part).is_none())
        );
        assert!(!whole.is_open());
        // A list that begins anew is whole in spite of all that.
        let taken = parts().into_iter().filter_map(|part| whole.take(9, part));
        assert_eq!(taken.count(), 1);
    }
}
