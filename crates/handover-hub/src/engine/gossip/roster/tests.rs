use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use handover_hub_proto::identity::NodeId;
use handover_hub_proto::view::{Departure, EngineEvent};

use super::{DOUBT, Published, Roster};
use crate::engine::gossip::tests::{introduction, member};

const GRACE: Duration = Duration::from_secs(10);

fn said(number: u64, revision: u64) -> Published {
    Published {
        revision,
        member: member(&introduction(number, &format!("n{number}"))),
    }
}

fn joined(number: u64) -> Vec<EngineEvent> {
    vec![EngineEvent::Member(said(number, 1).member)]
}

fn gone(number: u64, cause: Departure) -> Vec<EngineEvent> {
    vec![EngineEvent::Gone {
        node: NodeId(number),
        cause,
    }]
}

fn alive(nodes: &[u64]) -> BTreeMap<NodeId, Option<Published>> {
    let known = |number: &u64| (NodeId(*number), Some(said(*number, 1)));
    nodes.iter().map(known).collect()
}

fn roster(now: Instant) -> Roster {
    Roster::new(said(1, 1), GRACE, now)
}

#[test]
fn who_was_heard_but_never_gossiped_about_is_lost_after_the_grace() {
    let now = Instant::now();
    let mut roster = roster(now);
    assert_eq!(roster.heard(said(2, 1), now), joined(2));
    assert_eq!(roster.alive(&alive(&[1]), now), []);
    assert_eq!(roster.tick(now + GRACE / 2), []);
    assert_eq!(roster.tick(now + GRACE), gone(2, Departure::Lost));
}

#[test]
fn who_was_gossiped_about_is_lost_when_gossip_says_so() {
    let now = Instant::now();
    let mut roster = roster(now);
    assert_eq!(roster.alive(&alive(&[1, 2]), now), joined(2));
    assert_eq!(roster.tick(now + GRACE), []);
    assert_eq!(roster.alive(&alive(&[1]), now), gone(2, Departure::Lost));
    assert_eq!(roster.alive(&alive(&[1, 2]), now), joined(2));
}

#[test]
fn who_was_refused_is_not_revived_by_late_gossip() {
    let now = Instant::now();
    let mut roster = roster(now);
    roster.alive(&alive(&[2]), now);
    assert_eq!(roster.refused(NodeId(2), now), gone(2, Departure::Lost));
    assert_eq!(roster.refused(NodeId(2), now), []);
    assert_eq!(roster.alive(&alive(&[2]), now), []);
    // Once gossip has found it dead, it knows what it says.
    assert_eq!(roster.alive(&alive(&[]), now), []);
    assert_eq!(roster.alive(&alive(&[2]), now), joined(2));
}

#[test]
fn who_was_refused_before_gossip_knew_it_is_not_revived_by_what_others_tell_of_it() {
    let now = Instant::now();
    let mut roster = roster(now);
    assert_eq!(roster.heard(said(2, 1), now), joined(2));
    assert_eq!(roster.refused(NodeId(2), now), gone(2, Departure::Lost));
    assert_eq!(roster.alive(&alive(&[]), now), []);
    assert_eq!(roster.alive(&alive(&[2]), now), []);
    // That was the first gossip of it; now it knows what it says.
    assert_eq!(roster.alive(&alive(&[]), now), []);
    assert_eq!(roster.alive(&alive(&[2]), now), joined(2));
}

#[test]
fn who_was_refused_wrongly_comes_back_by_its_own_word_or_after_a_while() {
    let now = Instant::now();
    let mut roster = roster(now);
    roster.alive(&alive(&[2, 3]), now);
    roster.refused(NodeId(2), now);
    roster.refused(NodeId(3), now);
    assert_eq!(roster.heard(said(2, 1), now), joined(2));
    assert_eq!(roster.alive(&alive(&[2, 3]), now + DOUBT / 2), []);
    assert_eq!(roster.alive(&alive(&[2, 3]), now + DOUBT), joined(3));
}

#[test]
fn who_left_does_not_come_back() {
    let now = Instant::now();
    let mut roster = roster(now);
    roster.heard(said(2, 1), now);
    assert_eq!(roster.left(NodeId(2), now), gone(2, Departure::Left));
    assert_eq!(roster.heard(said(2, 5), now), []);
    assert_eq!(roster.alive(&alive(&[2]), now), []);
}

#[test]
fn what_is_older_does_not_replace_what_is_newer() {
    let now = Instant::now();
    let mut roster = roster(now);
    let mut newer = said(2, 2);
    newer.member.weight = 7;
    roster.heard(said(2, 1), now);
    assert_eq!(
        roster.heard(newer.clone(), now),
        [EngineEvent::Member(newer.member)]
    );
    assert_eq!(roster.heard(said(2, 1), now), []);
    assert_eq!(roster.alive(&alive(&[2]), now), []);
}

#[test]
fn a_namesake_of_a_live_member_waits_until_it_is_gone() {
    let now = Instant::now();
    let mut roster = roster(now);
    let mut namesake = said(3, 1);
    namesake.member.name = said(2, 1).member.name;
    roster.heard(said(2, 1), now);
    assert_eq!(roster.heard(namesake.clone(), now), []);
    roster.refused(NodeId(2), now);
    assert_eq!(
        roster.heard(namesake.clone(), now),
        [EngineEvent::Member(namesake.member)]
    );
}

#[test]
fn nobody_says_that_oneself_is_gone() {
    let now = Instant::now();
    let mut roster = roster(now);
    assert_eq!(roster.refused(NodeId(1), now), []);
    assert_eq!(roster.left(NodeId(1), now), []);
    assert_eq!(roster.alive(&alive(&[]), now), []);
    assert_eq!(roster.tick(now + GRACE), []);
    assert!(roster.has(NodeId(1)));
}
