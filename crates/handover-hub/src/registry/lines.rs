//! Lines that stay where they are while readers look at them.

use std::sync::OnceLock;

use super::line::Line;

/// Lines that are allocated at once: 128 KiB.
const CHUNK: usize = 1 << 11;

/// Chunks of a page, and pages.
const PAGE: usize = 1 << 10;

type Chunk = OnceLock<Box<[Line]>>;
type Page = OnceLock<Box<[Chunk]>>;

/// Two thousand million lines at most, allocated as they are used and kept. Nothing moves when
/// there are more, so readers need no lock to find one.
#[derive(Debug)]
pub(super) struct Lines(Box<[Page]>);

impl Default for Lines {
    fn default() -> Self {
        Self((0..PAGE).map(|_| Page::default()).collect())
    }
}

impl Lines {
    /// A line that was [made](Self::make).
    #[inline]
    pub(super) fn get(&self, place: u32) -> Option<&Line> {
        let place = place as usize;
        let page = self.0.get(place / CHUNK / PAGE)?.get()?;
        page.get(place / CHUNK % PAGE)?.get()?.get(place % CHUNK)
    }

    /// A line, made if there is none yet; `None` if there cannot be as many.
    pub(super) fn make(&self, place: u32) -> Option<&Line> {
        let place = place as usize;
        let page = self.0.get(place / CHUNK / PAGE)?;
        let page = page.get_or_init(|| (0..PAGE).map(|_| Chunk::default()).collect());
        let chunk = page.get(place / CHUNK % PAGE)?;
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| Line::default()).collect());
        chunk.get(place % CHUNK)
    }
}
