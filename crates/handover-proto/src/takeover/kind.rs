//! Kinds of frames on a takeover socket. Disjoint from those of [`crate::frame::kind`] and of the
//! state channel; a number, once used, is never used again.

/// [`Ask::Take`](super::Ask::Take)
pub(super) const TAKE: u16 = 0x0301;
/// [`Ask::Upgrade`](super::Ask::Upgrade)
pub(super) const UPGRADE: u16 = 0x0302;
/// [`Ask::Undo`](super::Ask::Undo)
pub(super) const UNDO: u16 = 0x0303;
/// [`Ask::Status`](super::Ask::Status)
pub(super) const STATUS: u16 = 0x0304;

/// [`Answer::Granted`](super::Answer::Granted)
pub(super) const GRANTED: u16 = 0x0381;
/// [`Answer::Listeners`](super::Answer::Listeners)
pub(super) const LISTENERS: u16 = 0x0382;
/// [`Answer::Refused`](super::Answer::Refused)
pub(super) const REFUSED: u16 = 0x0383;
/// [`Answer::Progress`](super::Answer::Progress)
pub(super) const PROGRESS: u16 = 0x0384;
/// [`Answer::Finished`](super::Answer::Finished)
pub(super) const FINISHED: u16 = 0x0385;
/// [`Answer::Serving`](super::Answer::Serving)
pub(super) const SERVING: u16 = 0x0386;
