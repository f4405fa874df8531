//! Crash points: each effect of a move is a place to die at, so that a test can kill or stop a node
//! just before it, and no place has to be named by hand.
//!
//! Compiled with the feature `crash-points` only, which is for this project's own tests. The
//! directory in `HANDOVER_HUB_CRASH_DIR` then holds:
//!
//! | file | by | content |
//! |---|---|---|
//! | `plan` | the test | the id of a process, then lines `NODE EFFECT kill` or `NODE EFFECT stop` |
//! | `trace` | every node | a line `NODE EFFECT` for each effect of that process, while there is a plan |
//! | `fired` | the node that dies | its line of the plan, written just before; it does not fire again |
//!
//! NODE is what `HANDOVER_HUB_CRASH_NODE` says. EFFECT is what is sent (`prepare`, `prepared`, a `row`,
//! …), what is done to the process here (`host-warm`, …), a part of its state (`state-open`,
//! `state-chunk`, `state-more`, `state-close`), a latecomer (`late`, `late-last`) or the end of the
//! move (`moved`). An effect that is repeated fires the first time.

#[cfg(not(feature = "crash-points"))]
mod points {
    use handover_hub_proto::message::Message;
    use handover_hub_proto::node::Effect;

    use crate::transport::Frame;

    #[inline(always)]
    pub(crate) fn before(_: &Effect<Message>) {}

    #[inline(always)]
    pub(crate) fn sending(_: &Frame) {}
}

#[cfg(feature = "crash-points")]
mod points;

/// Called just before the driver carries out an effect.
pub(crate) use self::points::before;
/// Called just before a part of a state, or a latecomer, is sent.
pub(crate) use self::points::sending;
