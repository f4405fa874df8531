use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use handover_proto::moment::{Machine, Moment};

use super::{
    Bid, Decision, Deferral, Holding, Movement, MovementEffect as Effect, MovementInput as Input,
    Outcome, Plan, Purpose, Reason, Resolution, Settings, Stray, Word, leftover, resolve,
};
use crate::identity::{Epoch, KindName, MoveId, NodeId, ProcessId, Term};
use crate::node::HostFailure;
use crate::row::{Host, Role};
use crate::spec::ChildSpec;

const HOME: NodeId = NodeId(1);
const SOURCE: NodeId = NodeId(2);
const TARGET: NodeId = NodeId(3);
const ATTEMPT: MoveId = MoveId {
    home: HOME,
    number: 1,
};

const fn epoch(grant: u64) -> Epoch {
    let term = Term(1);
    Epoch { term, grant }
}

const fn host(node: NodeId, grant: u64) -> Host {
    Host {
        node,
        epoch: epoch(grant),
        role: Role::Active,
        filled: true,
    }
}

fn plan(purpose: Purpose, kept: bool) -> Plan {
    let kind = KindName::new("kind").expect("a name");
    let id = ProcessId::new("id").expect("a name");
    Plan {
        attempt: ATTEMPT,
        spec: Arc::new(ChildSpec::new(kind, id)),
        source: host(SOURCE, 1),
        target: TARGET,
        epoch: epoch(10),
        purpose,
        forced: false,
        kept,
    }
}

/// What a movement orders and decides, in short.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    To(NodeId, &'static str),
    Row(Decision),
    Ready,
    End(Outcome),
}

fn said(movement: &mut Movement) -> Vec<Said> {
    let effects = core::iter::from_fn(|| movement.poll_effect());
    let said = effects.map(|effect| match effect {
        Effect::Send { to, order } => Said::To(to, order.bid.name()),
        Effect::Decide(decision) => Said::Row(decision),
        Effect::Ready => Said::Ready,
        Effect::Finish(outcome) => Said::End(outcome),
    });
    said.collect()
}

fn told(movement: &mut Movement, input: Input) -> Vec<Said> {
    movement.handle(Moment::ZERO, input);
    said(movement)
}

fn heard(movement: &mut Movement, from: NodeId, word: Word) -> Vec<Said> {
    told(movement, Input::Heard { from, word })
}

/// A move that has come so far that the state arrived, or not even that.
fn movement(purpose: Purpose, kept: bool, arrived: bool) -> Movement {
    let settings = Settings::default();
    let mut movement = Movement::new(Moment::ZERO, plan(purpose, kept), settings);
    assert_eq!(said(&mut movement), [Said::To(TARGET, "prepare")]);
    let ready = heard(&mut movement, TARGET, Word::Prepared(Ok(())));
    assert_eq!(ready, [Said::Ready]);
    let departs = told(&mut movement, Input::Depart);
    assert_eq!(departs, [Said::To(SOURCE, "depart")]);
    if arrived {
        let commits = heard(&mut movement, TARGET, Word::Arrived(Ok(())));
        let row = Said::Row(Decision::Commit(host(TARGET, 10)));
        assert_eq!(commits, [row, Said::To(TARGET, "commit")]);
    }
    movement
}

fn activated(grant: u64, result: Result<(), HostFailure>) -> Word {
    let epoch = epoch(grant);
    Word::Activated { epoch, result }
}

#[test]
fn undisturbed_it_commits() {
    let mut movement = movement(Purpose::Move, false, true);
    let retires = heard(&mut movement, TARGET, activated(10, Ok(())));
    assert_eq!(retires, [Said::To(SOURCE, "retire")]);
    let end = heard(&mut movement, SOURCE, Word::Retired);
    assert_eq!(end, [Said::End(Outcome::Moved(host(TARGET, 10)))]);
    assert_eq!(movement.next_deadline(), None);
}

/// A move whose target is prepared and which waits for its turn.
fn ready() -> Movement {
    let settings = Settings::default();
    let mut movement = Movement::new(Moment::ZERO, plan(Purpose::Move, false), settings);
    let _ = said(&mut movement);
    let ready = heard(&mut movement, TARGET, Word::Prepared(Ok(())));
    assert_eq!(ready, [Said::Ready]);
    assert!(movement.is_ready());
    movement
}

#[test]
fn a_move_waits_for_its_turn_without_a_deadline_and_has_the_whole_time_then() {
    let (mut movement, timeout) = (ready(), Settings::default().timeout);
    let turn = Moment::ZERO + timeout * 10;
    movement.handle(turn, Input::Tick);
    assert_eq!(
        (movement.next_deadline(), said(&mut movement)),
        (None, Vec::new())
    );
    // The target says again that it waits.
    assert_eq!(heard(&mut movement, TARGET, Word::Prepared(Ok(()))), []);
    movement.handle(turn, Input::Depart);
    assert_eq!(said(&mut movement), [Said::To(SOURCE, "depart")]);
    movement.handle(turn + timeout / 2, Input::Tick);
    assert_eq!(said(&mut movement), [Said::To(SOURCE, "depart")]);
    movement.handle(turn + timeout, Input::Tick);
    let row = Said::Row(Decision::Return(host(SOURCE, 10)));
    assert_eq!(said(&mut movement), [row, Said::To(SOURCE, "resume")]);
}

#[test]
fn h5_a_move_that_ends_before_its_turn_leaves_the_source_as_it_was() {
    let endings = [
        (Input::Gone(TARGET), Reason::Gone(TARGET)),
        (
            Input::Abort(String::from("enough")),
            Reason::Aborted(String::from("enough")),
        ),
        (
            Input::Heard {
                from: TARGET,
                word: Word::Prepared(Err(HostFailure::NotHere)),
            },
            Reason::Failed {
                at: TARGET,
                failure: HostFailure::NotHere,
            },
        ),
    ];
    for (input, reason) in endings {
        let mut movement = ready();
        let said = told(&mut movement, input);
        let host = host(SOURCE, 1);
        let end = Said::End(Outcome::Stayed { host, reason });
        assert_eq!(said.last(), Some(&end), "{said:?}");
        assert!(!said.contains(&Said::To(SOURCE, "resume")), "{said:?}");
        assert_eq!(told(&mut movement, Input::Depart), []);
    }
    // With the source goes what it was.
    let lost = Said::End(Outcome::Lost(Reason::Gone(SOURCE)));
    let said = told(&mut ready(), Input::Gone(SOURCE));
    assert_eq!(said.last(), Some(&lost), "{said:?}");
}

#[test]
fn h6_a_deadline_after_the_decision_changes_nothing() {
    let late = Moment::ZERO + Duration::from_secs(11);
    let mut decided = movement(Purpose::Move, false, true);
    decided.handle(late, Input::Tick);
    // It is only said again.
    assert_eq!(said(&mut decided), [Said::To(TARGET, "commit")]);
    // The must beside it: before the decision the source goes on, under an epoch of its own (H5).
    let mut undecided = movement(Purpose::Move, false, false);
    undecided.handle(late, Input::Tick);
    let row = Said::Row(Decision::Return(host(SOURCE, 10)));
    assert_eq!(said(&mut undecided), [row, Said::To(SOURCE, "resume")]);
    let (epoch, result) = (epoch(10), Ok(()));
    let end = heard(&mut undecided, SOURCE, Word::Resumed { epoch, result });
    let (host, reason) = (host(SOURCE, 10), Reason::TimedOut);
    let stayed = Outcome::Stayed { host, reason };
    assert_eq!(end, [Said::To(TARGET, "discard"), Said::End(stayed)]);
}

#[test]
fn h3_what_was_kept_is_newer_than_what_the_source_has() {
    let gone = Reason::Gone(TARGET);
    let mut kept = movement(Purpose::Move, true, true);
    let end = [Said::End(Outcome::Lost(gone))];
    assert_eq!(told(&mut kept, Input::Gone(TARGET)), end);
    let mut bare = movement(Purpose::Move, false, true);
    let row = Said::Row(Decision::Return(host(SOURCE, 11)));
    let returns = [row, Said::To(SOURCE, "resume")];
    assert_eq!(told(&mut bare, Input::Gone(TARGET)), returns);
}

#[test]
fn a_copy_that_cannot_be_merged_is_dropped() {
    let purpose = Purpose::Merge { serves: epoch(5) };
    let mut merge = movement(purpose, false, true);
    let failure = HostFailure::Refused(String::from("no"));
    let retires = heard(&mut merge, TARGET, activated(10, Err(failure.clone())));
    assert_eq!(retires, [Said::To(SOURCE, "retire")]);
    let reason = Reason::Failed {
        at: TARGET,
        failure,
    };
    let host = host(TARGET, 5);
    let end = heard(&mut merge, SOURCE, Word::Retired);
    assert_eq!(end, [Said::End(Outcome::Unmerged { host, reason })]);
    // Where the other one is gone, it goes on.
    let mut alone = movement(purpose, false, false);
    let returns = told(&mut alone, Input::Gone(TARGET));
    assert_eq!(returns.last(), Some(&Said::To(SOURCE, "resume")));
}

/// H3: what a copy has that ran apart is not dropped because a connection broke.
#[test]
fn a_copy_whose_state_did_not_arrive_goes_on_beside_and_is_merged_later() {
    let purpose = Purpose::Merge { serves: epoch(5) };
    let mut merge = movement(purpose, false, false);
    let (at, failure) = (SOURCE, HostFailure::Transfer(String::from("broken")));
    let (epoch_of_source, result) = (epoch(1), Err(failure.clone()));
    let departed = Word::Departed {
        epoch: epoch_of_source,
        result,
    };
    // The row goes on to say who was kept.
    assert_eq!(
        heard(&mut merge, SOURCE, departed),
        [Said::To(SOURCE, "resume")]
    );
    let (epoch, result) = (epoch(10), Ok(()));
    let end = heard(&mut merge, SOURCE, Word::Resumed { epoch, result });
    let (host, reason) = (host(SOURCE, 10), Reason::Failed { at, failure });
    let apart = Outcome::Apart { host, reason };
    assert_eq!(end, [Said::To(TARGET, "discard"), Said::End(apart)]);
}

/// Whoever serves goes on when the other copy is gone: it is not started from nothing.
#[test]
fn a_merge_whose_source_is_gone_changes_nothing() {
    let purpose = Purpose::Merge { serves: epoch(5) };
    let mut merge = movement(purpose, false, false);
    assert_eq!(
        told(&mut merge, Input::Gone(SOURCE)),
        [Said::To(TARGET, "inquire")]
    );
    let failure = HostFailure::Transfer(String::from("its source is gone"));
    let end = heard(&mut merge, TARGET, Word::Arrived(Err(failure)));
    let (host, reason) = (host(TARGET, 5), Reason::Gone(SOURCE));
    let unmerged = Outcome::Unmerged { host, reason };
    assert_eq!(end, [Said::To(TARGET, "discard"), Said::End(unmerged)]);
}

#[test]
fn the_census_decides_by_who_came_furthest() {
    let runs = (TARGET, Holding::Running { epoch: epoch(2) });
    let (attempt, from) = (ATTEMPT, SOURCE);
    let begins = Holding::Activating {
        attempt,
        epoch: epoch(2),
        from,
    };
    let departs = Holding::Departing {
        attempt,
        epoch: epoch(1),
        to: TARGET,
        sent: true,
    };
    let departs = (SOURCE, departs);
    let lands = Holding::Landing {
        attempt,
        epoch: epoch(2),
        from,
        whole: true,
    };
    let (begins, lands) = ((TARGET, begins), (TARGET, lands));
    let row = Some(epoch(1));
    let serves = Resolution::Serves(host(TARGET, 2));
    assert_eq!(resolve(&[departs, runs], row, false), serves);
    let activate = Resolution::Activate {
        host: host(TARGET, 2),
        attempt,
        source: SOURCE,
    };
    assert_eq!(resolve(&[departs, begins], row, false), activate);
    let returns = Resolution::Return {
        source: host(SOURCE, 1),
        attempt,
        target: TARGET,
    };
    assert_eq!(resolve(&[departs, lands], row, true), returns);
    assert_eq!(resolve(&[departs], row, false), returns);
    // The target may have served before it died: what was kept is newer.
    assert_eq!(resolve(&[departs], row, true), Resolution::Restart);
    let land = Resolution::Land {
        target: TARGET,
        attempt,
        source: SOURCE,
    };
    assert_eq!(resolve(&[lands], row, true), land);
    assert_eq!(resolve(&[lands], Some(epoch(3)), true), Resolution::Restart);
    assert_eq!(resolve(&[], row, false), Resolution::Restart);
}

#[test]
fn h7_what_is_left_over_is_told_where_it_stands() {
    let departs = Stray::Departing { epoch: epoch(1) };
    let grant = epoch(9);
    let resume = Some(Bid::Resume { epoch: grant });
    let same = Some(host(SOURCE, 1));
    assert_eq!(leftover(same, SOURCE, departs, grant), resume);
    let gone_on = Some(host(SOURCE, 2));
    assert_eq!(leftover(gone_on, SOURCE, departs, grant), None);
    let (to, at) = (TARGET, epoch(2));
    let retire = Some(Bid::Retire { to, epoch: at });
    let elsewhere = Some(host(TARGET, 2));
    assert_eq!(leftover(elsewhere, SOURCE, departs, grant), retire);
    assert_eq!(leftover(None, SOURCE, departs, grant), None);
    let lands = leftover(same, TARGET, Stray::Landing, grant);
    assert_eq!(lands, Some(Bid::Discard));
}

#[test]
fn a_process_defers_until_it_is_not_asked_any_more() {
    let settings = Settings::default();
    let at = |seconds| Moment::ZERO + Duration::from_secs(seconds);
    let mut deferral = Deferral::new(at(0));
    assert_eq!(deferral.due(&settings), at(10));
    deferral.again(at(595));
    assert_eq!(deferral.due(&settings), at(600));
    assert!(!deferral.is_over(at(599), &settings));
    assert!(deferral.is_over(at(600), &settings));
}
