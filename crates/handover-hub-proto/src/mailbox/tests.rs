mod on_the_way;

use alloc::vec;
use alloc::vec::Vec;

use super::{Arrival, Finished, Freeze, Letter, Limits, Mailbox, Phase, Refusal, Sealed};
use crate::identity::{CallId, Epoch, NodeId, Term};
use crate::reply::{ReplyLimits, Ticket};

const CALLER: NodeId = NodeId(7);
const TARGET: NodeId = NodeId(2);
const EPOCH: Epoch = Epoch {
    term: Term(1),
    grant: 2,
};

/// Its number tells letters apart; a call has it as its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mail {
    number: u64,
    is_call: bool,
}

impl Letter for Mail {
    fn ticket(&self) -> Option<Ticket> {
        self.is_call.then_some(Ticket {
            call: call(self.number),
            floor: 1,
        })
    }

    fn size(&self) -> usize {
        10
    }
}

type Box = Mailbox<Mail, Vec<u8>>;

const fn call(number: u64) -> CallId {
    CallId {
        caller: CALLER,
        number,
    }
}

const fn ask(number: u64) -> Mail {
    let is_call = true;
    Mail { number, is_call }
}

const fn cast(number: u64) -> Mail {
    let is_call = false;
    Mail { number, is_call }
}

fn few(messages: usize) -> Limits {
    Limits {
        messages,
        ..Limits::default()
    }
}

/// Takes the next letter and finishes it; a call is answered by its number.
fn serve(mailbox: &mut Box) -> Option<u64> {
    let mail = mailbox.next()?;
    let number = mail.number;
    let reply = mail.is_call.then(|| (call(number), vec![number as u8]));
    let finished = mailbox.finished(reply);
    assert!(finished.reply);
    Some(number)
}

fn served(mailbox: &mut Box) -> Vec<u64> {
    core::iter::from_fn(|| serve(mailbox)).collect()
}

#[test]
fn an_idle_mailbox_is_small_and_frees_what_it_used() {
    assert!(size_of::<Box>() <= 64, "{}", size_of::<Box>());
    let limits = Limits::default();
    let mut mailbox = Box::open();
    for number in 1..=100 {
        assert_eq!(
            mailbox.arrive(cast(number), &limits),
            Arrival::Queued { runnable: true }
        );
    }
    assert_eq!(served(&mut mailbox).len(), 100);
    assert_eq!(mailbox, Box::open());
}

#[test]
fn one_is_served_at_a_time() {
    let limits = Limits::default();
    let mut mailbox = Box::open();
    let _ = mailbox.arrive(cast(1), &limits);
    let _ = mailbox.arrive(cast(2), &limits);
    assert_eq!(mailbox.next(), Some(cast(1)));
    assert_eq!((mailbox.next(), mailbox.is_busy()), (None, true));
    let queued = mailbox.arrive(cast(3), &limits);
    assert_eq!(queued, Arrival::Queued { runnable: false });
    let _ = mailbox.finished(None);
    assert_eq!(served(&mut mailbox), [2, 3]);
}

#[test]
fn h4_a_call_is_known_again_wherever_it_is() {
    let limits = Limits::default();
    let mut mailbox = Box::open();
    let _ = mailbox.arrive(ask(1), &limits);
    assert_eq!(mailbox.arrive(ask(1), &limits), Arrival::Known, "it waits");
    let _ = mailbox.next();
    assert_eq!(
        mailbox.arrive(ask(1), &limits),
        Arrival::Known,
        "it is applied"
    );
    let _ = mailbox.finished(Some((call(1), vec![9])));
    assert_eq!(
        mailbox.arrive(ask(1), &limits),
        Arrival::Answered(vec![9]),
        "it was applied"
    );
    mailbox.settle(CALLER, 2);
    assert_eq!(mailbox.arrive(ask(1), &limits), Arrival::Settled);
    // The must beside it.
    assert_eq!(
        mailbox.arrive(ask(2), &limits),
        Arrival::Queued { runnable: true }
    );
}

#[test]
fn a_call_that_crashed_may_come_again() {
    let limits = Limits::default();
    let mut mailbox = Box::open();
    let _ = mailbox.arrive(ask(1), &limits);
    let _ = mailbox.next();
    let _ = mailbox.crashed(Some(call(1)));
    let again = mailbox.arrive(ask(1), &limits);
    assert_eq!(again, Arrival::Queued { runnable: true });
}

#[test]
fn what_does_not_fit_is_refused_and_fits_later() {
    let limits = few(2);
    let mut mailbox = Box::open();
    let _ = mailbox.arrive(ask(1), &limits);
    let _ = mailbox.arrive(cast(2), &limits);
    let refused = Arrival::Refused(ask(3), Refusal::Full);
    assert_eq!(mailbox.arrive(ask(3), &limits), refused);
    assert_eq!(serve(&mut mailbox), Some(1));
    let _ = mailbox.arrive(ask(3), &limits);
    assert_eq!(served(&mut mailbox), [2, 3]);
    let bytes = Limits {
        bytes: 15,
        ..limits
    };
    let _ = mailbox.arrive(cast(4), &bytes);
    let _ = mailbox.arrive(cast(5), &bytes);
    let refused = Arrival::Refused(cast(6), Refusal::Full);
    assert_eq!(mailbox.arrive(cast(6), &bytes), refused);
}

#[test]
fn a_flood_during_a_move_is_bounded_on_both_sides() {
    let limits = few(3);
    let mut source = Box::open();
    let _ = source.arrive(cast(1), &limits);
    assert_eq!(source.freeze(), Freeze::Frozen);
    let mut target = Box::restoring();
    target.restore(source.seal().expect("it is frozen"));
    let _ = target.activate(true, &limits);
    for number in 10..110 {
        let _ = source.arrive(cast(number), &limits);
        let _ = target.arrive(cast(number + 100), &limits);
    }
    assert_eq!((source.waiting(), target.waiting()), (1 + 3, 1 + 3));
}

#[test]
fn what_is_at_hand_is_finished_before_it_is_frozen() {
    let limits = Limits::default();
    let mut mailbox = Box::open();
    let _ = mailbox.arrive(ask(1), &limits);
    let _ = mailbox.next();
    assert_eq!(mailbox.freeze(), Freeze::Later);
    let _ = mailbox.arrive(cast(2), &limits);
    assert_eq!((mailbox.next(), mailbox.seal()), (None, None));
    let finished = mailbox.finished(Some((call(1), vec![1])));
    let (reply, frozen) = (true, true);
    assert_eq!(finished, Finished { reply, frozen });
    let sealed = mailbox.seal().expect("it is frozen");
    assert_eq!(sealed.queue, [cast(2)]);
    assert_eq!(sealed.replies[0].replies, [(1, vec![1])]);
    // What was applied is answered in the meantime too, what is new waits.
    assert_eq!(mailbox.arrive(ask(1), &limits), Arrival::Answered(vec![1]));
    assert_eq!(mailbox.arrive(cast(3), &limits), Arrival::Held);
}

#[test]
fn h5_what_was_frozen_in_vain_goes_on_in_order() {
    let limits = Limits::default();
    let mut mailbox = Box::open();
    let _ = mailbox.arrive(cast(1), &limits);
    assert_eq!(mailbox.freeze(), Freeze::Frozen);
    let _ = mailbox.seal();
    let _ = mailbox.arrive(cast(2), &limits);
    assert!(mailbox.resume(&limits).runnable);
    assert_eq!(served(&mut mailbox), [1, 2]);
    // A freeze that is not complete is called off.
    let _ = mailbox.arrive(cast(3), &limits);
    let _ = mailbox.next();
    assert_eq!(mailbox.freeze(), Freeze::Later);
    let _ = mailbox.resume(&limits);
    assert!(!mailbox.finished(None).frozen);
    assert_eq!(mailbox.phase(), Phase::Open);
}

#[test]
fn h11_latecomers_come_before_what_arrived_directly() {
    let limits = Limits::default();
    let mut source = Box::open();
    let _ = source.arrive(cast(1), &limits);
    let _ = source.freeze();
    let mut target = Box::restoring();
    target.restore(source.seal().expect("it is frozen"));
    let _ = source.arrive(cast(2), &limits);
    assert_eq!(target.arrive(cast(3), &limits), Arrival::Held);
    assert!(target.activate(true, &limits).runnable);
    assert_eq!(served(&mut target), [1]);
    assert_eq!(target.arrive(cast(4), &limits), Arrival::Held);
    let late = source.retire(TARGET, EPOCH);
    assert_eq!(late, [cast(2)]);
    assert!(target.forwarded(late, true, &limits).runnable);
    assert_eq!(served(&mut target), [2, 3, 4]);
    let (letter, to, epoch) = (cast(5), TARGET, EPOCH);
    let elsewhere = Arrival::Elsewhere { letter, to, epoch };
    assert_eq!(source.arrive(cast(5), &limits), elsewhere);
}

#[test]
fn h11_a_process_that_moves_on_waits_for_the_latecomers_of_its_last_move() {
    let limits = Limits::default();
    let mut mailbox = Box::restoring();
    mailbox.restore(Sealed::default());
    let _ = mailbox.activate(true, &limits);
    let _ = mailbox.arrive(cast(2), &limits);
    assert_eq!(mailbox.freeze(), Freeze::Later);
    assert_eq!(mailbox.arrive(cast(3), &limits), Arrival::Held);
    assert!(mailbox.forwarded(vec![cast(1)], true, &limits).frozen);
    let sealed = mailbox.seal().expect("it is frozen");
    assert_eq!(sealed.queue, [cast(1), cast(2), cast(3)]);
    // Or until their sender is given up.
    let mut mailbox = Box::restoring();
    let _ = mailbox.activate(true, &limits);
    assert_eq!(mailbox.freeze(), Freeze::Later);
    assert!(mailbox.opened(&limits).frozen);
}

#[test]
fn what_was_never_sealed_is_sent_after() {
    let limits = Limits::default();
    let mut mailbox = Box::open();
    let _ = mailbox.arrive(cast(1), &limits);
    let _ = mailbox.freeze();
    let _ = mailbox.arrive(cast(2), &limits);
    assert_eq!(mailbox.retire(TARGET, EPOCH), [cast(1), cast(2)]);
    // A message that is being served has no state any more.
    let mut mailbox = Box::open();
    let _ = mailbox.arrive(ask(3), &limits);
    let _ = mailbox.next();
    assert!(mailbox.retire(TARGET, EPOCH).is_empty());
    assert!(!mailbox.finished(Some((call(3), vec![3]))).reply);
}

#[test]
fn h12_nothing_is_served_and_no_reply_leaves_while_suspended() {
    let limits = Limits::default();
    let mut mailbox = Box::open();
    let _ = mailbox.arrive(ask(1), &limits);
    assert_eq!(serve(&mut mailbox), Some(1));
    let _ = mailbox.arrive(ask(2), &limits);
    let _ = mailbox.next();
    mailbox.suspend();
    assert!(!mailbox.finished(Some((call(2), vec![2]))).reply);
    let queued = mailbox.arrive(cast(3), &limits);
    assert_eq!(queued, Arrival::Queued { runnable: false });
    assert_eq!(mailbox.next(), None);
    assert_eq!(mailbox.arrive(ask(1), &limits), Arrival::Held);
    assert_eq!(mailbox.arrive(ask(2), &limits), Arrival::Known);
    let released = mailbox.proceed();
    assert!(released.runnable);
    let replies = [(call(2), vec![2]), (call(1), vec![1])];
    assert_eq!(released.replies, replies);
    assert_eq!(served(&mut mailbox), [3]);
}

#[test]
fn h4_a_merge_does_not_apply_what_the_other_copy_has_answered() {
    let limits = Limits::default();
    let (mut kept, mut other) = (Box::open(), Box::open());
    let _ = other.arrive(ask(1), &limits);
    assert_eq!(serve(&mut other), Some(1));
    let _ = other.arrive(ask(2), &limits);
    let _ = other.freeze();
    let _ = kept.arrive(ask(1), &limits);
    let sealed = other.seal().expect("it is frozen");
    let released = kept.merge(sealed, &limits);
    assert_eq!(released.replies, [(call(1), vec![1])]);
    assert_eq!(served(&mut kept), [2]);
}

#[test]
fn a_caller_with_too_many_under_way_is_refused_alone() {
    let limits = Limits {
        replies: ReplyLimits { calls: 1, bytes: 9 },
        ..Limits::default()
    };
    let mut mailbox = Box::open();
    let _ = mailbox.arrive(ask(1), &limits);
    let refused = Arrival::Refused(ask(2), Refusal::Full);
    assert_eq!(mailbox.arrive(ask(2), &limits), refused);
    assert_eq!(served(&mut mailbox), [1]);
    mailbox.settle(CALLER, 2);
    let _ = mailbox.arrive(ask(2), &limits);
    assert_eq!(served(&mut mailbox), [2]);
}
