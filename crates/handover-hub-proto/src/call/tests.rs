use alloc::vec::Vec;

use handover_proto::moment::{Machine, Moment};

use super::{Call, Effect, Input, Ledger, Outcome, Settings};
use crate::identity::{Epoch, NodeId, ProcessId, Term};
use crate::mailbox::Refusal;
use crate::row::{Host, Role};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

const fn epoch(grant: u64) -> Epoch {
    Epoch {
        term: Term(1),
        grant,
    }
}

const fn host(node: NodeId, grant: u64) -> Host {
    Host {
        node,
        epoch: epoch(grant),
        role: Role::Active,
        filled: true,
    }
}

const fn at(millis: u64) -> Moment {
    Moment::from_nanos(millis * 1_000_000)
}

fn send(to: NodeId, grant: u64) -> Effect {
    let epoch = epoch(grant);
    Effect::Send { to, epoch }
}

fn effects(call: &mut Call) -> Vec<Effect> {
    core::iter::from_fn(|| call.poll_effect()).collect()
}

fn told(call: &mut Call, now: Moment, input: Input) -> Vec<Effect> {
    call.handle(now, input);
    effects(call)
}

/// A call that was sent to A under epoch 1.
fn sent() -> Call {
    let mut call = Call::new(at(1_000), Settings::default());
    assert_eq!(effects(&mut call), [Effect::LookUp]);
    let row = Input::Row(Some(Some(host(A, 1))));
    assert_eq!(told(&mut call, at(0), row), [send(A, 1)]);
    call
}

#[test]
fn it_follows_a_redirect_forward_and_never_in_circles() {
    let mut call = sent();
    let redirect = |from, to, grant| Input::Redirected {
        from,
        to,
        epoch: epoch(grant),
    };
    assert_eq!(told(&mut call, at(0), redirect(A, B, 2)), [send(B, 2)]);
    // B knows less than A did: it is asked again later.
    assert_eq!(told(&mut call, at(0), redirect(B, A, 1)), []);
    assert_eq!(told(&mut call, at(1), Input::Tick), [Effect::LookUp]);
    let answered = [Effect::Finish(Outcome::Answered)];
    assert_eq!(told(&mut call, at(1), Input::Answered), answered);
    assert_eq!(call.next_deadline(), None);
}

#[test]
fn it_goes_where_a_newer_row_says_and_stays_with_an_older_one() {
    let mut call = sent();
    let older = Input::Row(Some(Some(host(B, 0))));
    assert_eq!(told(&mut call, at(0), older), []);
    let newer = Input::Row(Some(Some(host(B, 2))));
    assert_eq!(told(&mut call, at(0), newer), [send(B, 2)]);
}

#[test]
fn it_waits_longer_each_time_it_is_refused() {
    let mut call = sent();
    let (mut now, mut pauses) = (at(0), Vec::new());
    for _ in 0..10 {
        let (from, why) = (A, Refusal::Full);
        assert_eq!(told(&mut call, now, Input::Refused { from, why }), []);
        let due = call.next_deadline().expect("it waits");
        pauses.push(due.since(now).as_millis());
        now = due;
        assert_eq!(told(&mut call, now, Input::Tick), [Effect::LookUp]);
        let row = Input::Row(Some(Some(host(A, 1))));
        assert_eq!(told(&mut call, now, row), [send(A, 1)]);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 200, 200]);
}

#[test]
fn a_broken_connection_matters_only_to_what_was_sent_over_it() {
    let mut call = sent();
    assert_eq!(told(&mut call, at(0), Input::Disconnected(B)), []);
    assert_eq!(call.next_deadline(), Some(at(1_000)));
    assert_eq!(told(&mut call, at(0), Input::Disconnected(A)), []);
    assert_eq!(call.next_deadline(), Some(at(1)));
    // A newer row ends the pause.
    let newer = Input::Row(Some(Some(host(A, 2))));
    assert_eq!(told(&mut call, at(0), newer), [send(A, 2)]);
}

#[test]
fn it_ends_when_nobody_has_that_name_or_its_time_is_over() {
    let mut call = sent();
    let unknown = [Effect::Finish(Outcome::Unknown)];
    assert_eq!(told(&mut call, at(0), Input::Row(None)), unknown);
    let mut call = Call::new(at(1_000), Settings::default());
    // A row without a host: it is being started again.
    assert_eq!(
        told(&mut call, at(0), Input::Row(Some(None))),
        [Effect::LookUp]
    );
    assert_eq!(call.next_deadline(), Some(at(1)));
    let over = [Effect::Finish(Outcome::TimedOut)];
    assert_eq!(told(&mut call, at(1_000), Input::Tick), over);
    assert_eq!(told(&mut call, at(1_001), Input::Answered), []);
}

#[test]
fn the_floor_of_a_process_is_its_lowest_open_call() {
    let [one, two] = ["one", "two"].map(|id| ProcessId::new(id).expect("a name"));
    let mut ledger = Ledger::new(A);
    let first = ledger.begin(&one);
    let other = ledger.begin(&two);
    let second = ledger.begin(&one);
    assert_eq!((first.floor, second.floor, other.floor), (1, 1, 2));
    assert!(ledger.end(&one, first.call));
    assert!(!ledger.end(&one, first.call), "it was ended before");
    assert_eq!(ledger.again(&one, second.call).floor, 3);
    assert_eq!(ledger.floor(&two), Some(2));
    assert!(ledger.end(&one, second.call) && ledger.end(&two, other.call));
    assert_eq!((ledger.open(), ledger.floor(&one)), (0, None));
}
