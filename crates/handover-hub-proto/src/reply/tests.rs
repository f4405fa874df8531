use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use proptest::collection::vec as many;
use proptest::prelude::*;

use super::{Known, Replies, ReplyLimits, Ticket};
use crate::identity::{CallId, NodeId};

fn ticket(caller: u64, number: u64, floor: u64) -> Ticket {
    let caller = NodeId(caller);
    let call = CallId { caller, number };
    Ticket { call, floor }
}

#[test]
fn a_floor_drops_what_is_below_and_only_there() {
    let limits = ReplyLimits::default();
    let mut replies = Replies::<Vec<u8>>::default();
    for number in 1..=3 {
        assert_eq!(replies.admit(ticket(1, number, 1), &limits), Known::New);
        replies.answer(ticket(1, number, 1).call, vec![number as u8]);
    }
    assert_eq!(replies.admit(ticket(1, 4, 3), &limits), Known::New);
    assert_eq!(replies.known(ticket(1, 2, 0).call), Known::Settled);
    assert_eq!(
        replies.known(ticket(1, 3, 0).call),
        Known::Answered(&vec![3])
    );
    assert_eq!(replies.known(ticket(2, 2, 0).call), Known::New);
}

#[test]
fn a_call_is_never_below_its_own_floor() {
    let limits = ReplyLimits::default();
    let mut replies = Replies::<Vec<u8>>::default();
    assert_eq!(replies.admit(ticket(1, 2, 9), &limits), Known::New);
    assert_eq!(replies.known(ticket(1, 2, 9).call), Known::Waits);
}

#[test]
fn too_many_bytes_hold_one_caller_up_until_its_floor_rises() {
    let limits = ReplyLimits { calls: 9, bytes: 3 };
    let mut replies = Replies::<Vec<u8>>::default();
    assert_eq!(replies.admit(ticket(1, 1, 1), &limits), Known::New);
    replies.answer(ticket(1, 1, 1).call, vec![0; 4]);
    assert_eq!(replies.admit(ticket(1, 2, 1), &limits), Known::Full);
    assert_eq!(replies.admit(ticket(2, 2, 1), &limits), Known::New);
    assert_eq!(replies.admit(ticket(1, 2, 2), &limits), Known::New);
}

#[test]
fn a_node_that_is_forgotten_leaves_nothing() {
    let limits = ReplyLimits::default();
    let mut replies = Replies::<Vec<u8>>::default();
    let _ = replies.admit(ticket(1, 1, 1), &limits);
    replies.forget(NodeId(1));
    assert!(replies.is_empty());
}

proptest! {
    /// H4, against a map that forgets nothing: a call that was answered is never new again, also
    /// after it moved, unless its caller said that it has the answer.
    #[test]
    fn h4_what_was_answered_stays_known(
        calls in many((0u64..3, 1u64..30, 0u64..30, 0u8..8), 0..200),
    ) {
        let limits = ReplyLimits { calls: 6, bytes: 1_000 };
        let mut replies = Replies::<Vec<u8>>::default();
        let mut answered: BTreeMap<CallId, Vec<u8>> = BTreeMap::new();
        let mut floors: BTreeMap<NodeId, u64> = BTreeMap::new();
        for (caller, number, floor, what) in calls {
            let ticket = ticket(caller, number, floor);
            let call = ticket.call;
            let before = replies.remembered();
            let known = match replies.admit(ticket, &limits) {
                Known::Answered(reply) => {
                    prop_assert_eq!(Some(reply), answered.get(&call));
                    None
                }
                Known::Full => {
                    // One more: the call at the floor is always taken in.
                    prop_assert!(before.iter().all(|one| one.replies.len() <= limits.calls + 1));
                    None
                }
                known => Some(known == Known::New),
            };
            let lowest = floors.entry(call.caller).or_default();
            *lowest = (*lowest).max(floor.min(number));
            if known == Some(true) {
                prop_assert!(number >= *lowest && !answered.contains_key(&call));
            }
            if known.is_some() && number >= *lowest && what < 5 {
                replies.answer(call, vec![what]);
                answered.insert(call, vec![what]);
            } else if known == Some(true) && what == 5 {
                replies.abandon(call);
            } else if what == 6 {
                // It moves: what waits comes with the queue.
                let mut moved = Replies::default();
                moved.absorb(replies.remembered());
                for caller in &replies.callers {
                    for (number, slot) in &caller.calls {
                        if let super::Slot::Waits = slot {
                            let (caller, number) = (caller.node, *number);
                            moved.await_reply(CallId { caller, number });
                        }
                    }
                }
                prop_assert_eq!(&moved, &replies);
                replies = moved;
            }
        }
    }
}
