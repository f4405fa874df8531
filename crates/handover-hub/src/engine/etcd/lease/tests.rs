use std::time::Duration;

use proptest::prelude::*;

use super::{Answer, Ask, Boottime, Deed, Lease, LeaseId, RETRY};

const LIFE: Duration = Duration::from_secs(10);
const MARGIN: Duration = Duration::from_secs(1);
const LEASE: LeaseId = LeaseId(7);

fn at(milliseconds: u64) -> Boottime {
    Boottime(0).after(Duration::from_millis(milliseconds))
}

fn held() -> Lease {
    Lease::held(LEASE, LIFE, MARGIN, at(0))
}

fn deeds(lease: &mut Lease, now: Boottime) -> Vec<Deed> {
    std::iter::from_fn(|| lease.poll(now)).collect()
}

#[test]
fn a_lease_is_kept_and_counts_from_when_that_was_sent() {
    let mut lease = held();
    assert_eq!(deeds(&mut lease, at(2_499)), []);
    assert_eq!(deeds(&mut lease, at(2_500)), [Deed::Ask(Ask::Keep(LEASE))]);
    lease.answer(at(5_000), Answer::Kept);
    let renewed = Deed::Renew(at(2_500 + 9_000));
    let expected = [renewed, Deed::Ask(Ask::Keep(LEASE))];
    assert_eq!(deeds(&mut lease, at(5_000)), expected);
}

#[test]
fn without_an_answer_it_is_fenced_at_the_deadline_and_not_before() {
    let mut lease = held();
    assert_eq!(deeds(&mut lease, at(8_999)), [Deed::Ask(Ask::Keep(LEASE))]);
    assert_eq!(lease.wake(), at(9_000));
    assert_eq!(deeds(&mut lease, at(9_000)), [Deed::Fence]);
    assert_eq!(lease.current(), None);
}

#[test]
fn after_a_failure_it_is_asked_again_soon() {
    let mut lease = held();
    assert_eq!(deeds(&mut lease, at(2_500)).len(), 1);
    lease.answer(at(3_000), Answer::Failed);
    let soon = at(3_000).after(RETRY);
    assert_eq!(lease.wake(), soon);
    assert_eq!(deeds(&mut lease, at(3_000)), []);
    assert_eq!(deeds(&mut lease, soon), [Deed::Ask(Ask::Keep(LEASE))]);
}

#[test]
fn a_lease_that_has_ended_is_fenced_at_once_and_a_new_one_restores() {
    let mut lease = held();
    assert_eq!(deeds(&mut lease, at(2_500)).len(), 1);
    lease.answer(at(2_600), Answer::Ended);
    let expected = [Deed::Fence, Deed::Ask(Ask::Grant)];
    assert_eq!(deeds(&mut lease, at(2_600)), expected);
    let new = LeaseId(8);
    lease.answer(at(2_700), Answer::Granted(new, LIFE));
    assert_eq!(deeds(&mut lease, at(2_700)), [Deed::Ask(Ask::Join(new))]);
    lease.answer(at(2_800), Answer::Joined);
    assert_eq!(deeds(&mut lease, at(2_800)), [Deed::Ask(Ask::Read)]);
    assert_eq!(lease.current(), None, "what others took is not known yet");
    lease.answer(at(2_900), Answer::Read);
    // Kept at once: half of it may have gone by.
    let expected = [Deed::Restore(at(2_600 + 9_000)), Deed::Ask(Ask::Keep(new))];
    assert_eq!(deeds(&mut lease, at(2_900)), expected);
    assert_eq!(lease.current(), Some(new));
}

#[test]
fn a_lease_that_etcd_kept_over_its_own_silence_is_used_again() {
    let mut lease = held();
    let expected = [Deed::Fence, Deed::Ask(Ask::Keep(LEASE))];
    assert_eq!(deeds(&mut lease, at(30_000)), expected);
    lease.answer(at(30_100), Answer::Kept);
    assert_eq!(deeds(&mut lease, at(30_100)), [Deed::Ask(Ask::Join(LEASE))]);
    lease.answer(at(30_200), Answer::Joined);
    assert_eq!(deeds(&mut lease, at(30_200)), [Deed::Ask(Ask::Read)]);
    lease.answer(at(30_300), Answer::Read);
    let restored = Some(Deed::Restore(at(39_000)));
    assert_eq!(lease.poll(at(30_300)), restored);
}

#[test]
fn an_answer_that_comes_after_a_stop_does_not_undo_the_deadline() {
    let mut lease = held();
    assert_eq!(deeds(&mut lease, at(2_500)).len(), 1);
    lease.answer(at(20_000), Answer::Kept);
    let fenced = deeds(&mut lease, at(20_000));
    assert_eq!(fenced, [Deed::Fence], "the answer itself is too old");
    let again = at(20_000).after(RETRY);
    assert_eq!(deeds(&mut lease, again), [Deed::Ask(Ask::Keep(LEASE))]);
}

#[test]
fn a_key_that_is_gone_fences_and_is_put_anew() {
    let mut lease = held();
    lease.unseated(at(100));
    let expected = [Deed::Fence, Deed::Ask(Ask::Keep(LEASE))];
    assert_eq!(deeds(&mut lease, at(100)), expected);
    lease.answer(at(200), Answer::Kept);
    assert_eq!(deeds(&mut lease, at(200)), [Deed::Ask(Ask::Join(LEASE))]);
}

/// What etcd does with a request, and what this side hears of it.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    /// Done, and the answer is lost.
    Unheard,
    Lost,
}

/// etcd, as far as leases go: it knows when it heard.
#[derive(Debug, Default)]
struct Server {
    granted: i64,
    /// When the lease ends unless it is kept; the number is its id.
    ends: Option<(LeaseId, Boottime)>,
    /// The member key is under this lease.
    key: Option<LeaseId>,
}

impl Server {
    /// Until when nobody can take this node's shards.
    fn protected(&self) -> Boottime {
        match (self.ends, self.key) {
            (Some((lease, ends)), Some(key)) if lease == key => ends,
            _ => Boottime(0),
        }
    }

    fn take(&mut self, now: Boottime, ask: Ask) -> Answer {
        if self.ends.is_some_and(|(_, ends)| now >= ends) {
            *self = Self {
                granted: self.granted,
                ..Self::default()
            };
        }
        let alive = |lease| self.ends.is_some_and(|(id, _)| id == lease);
        match ask {
            Ask::Grant => {
                self.granted += 1;
                let lease = LeaseId(self.granted);
                self.ends = Some((lease, now.after(LIFE)));
                Answer::Granted(lease, LIFE)
            }
            Ask::Keep(lease) if alive(lease) => {
                self.ends = Some((lease, now.after(LIFE)));
                Answer::Kept
            }
            Ask::Join(lease) if alive(lease) => {
                self.key = Some(lease);
                Answer::Joined
            }
            Ask::Keep(_) | Ask::Join(_) => Answer::Ended,
            Ask::Read => Answer::Read,
        }
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Answered),
        1 => Just(Fate::Unheard),
        1 => Just(Fate::Lost),
    ]
}

fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..500_u64, 1 => 0..12_000_u64]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_may_act_is_protected_and_a_quiet_etcd_gives_it_back(
        steps in prop::collection::vec((delay(), delay(), delay(), fate()), 1..60)
    ) {
        let mut server = Server { granted: 1, ..Server::default() };
        server.ends = Some((LeaseId(1), at(0).after(LIFE)));
        server.key = Some(LeaseId(1));
        let mut lease = Lease::held(LeaseId(1), LIFE, MARGIN, at(0));
        let mut may = Some(at(9_000));
        let mut now = at(0);
        let calm = std::iter::repeat_n((0, 1, 1, Fate::Answered), 12);
        let disturbed = steps.len();
        for (turn, (wait, there, back, fate)) in steps.into_iter().chain(calm).enumerate() {
            if turn >= disturbed {
                now = now.max(lease.wake());
            }
            now = now.after(Duration::from_millis(wait));
            let mut asked = None;
            while let Some(deed) = lease.poll(now) {
                match deed {
                    Deed::Ask(ask) => asked = Some(ask),
                    Deed::Fence => {
                        prop_assert!(may.take().is_some(), "fenced twice");
                    }
                    Deed::Renew(until) => {
                        prop_assert!(may.is_some_and(|before| before <= until));
                        may = Some(until);
                    }
                    Deed::Restore(until) => {
                        prop_assert!(may.is_none(), "restored without a fence");
                        may = Some(until);
                    }
                }
                if let Some(until) = may {
                    prop_assert!(until <= server.protected(), "{until:?} {server:?}");
                }
            }
            let Some(ask) = asked else { continue };
            let heard = now.after(Duration::from_millis(there));
            now = heard.after(Duration::from_millis(back));
            let answer = match fate {
                Fate::Lost => Answer::Failed,
                Fate::Unheard => {
                    server.take(heard, ask);
                    Answer::Failed
                }
                Fate::Answered => server.take(heard, ask),
            };
            lease.answer(now, answer);
        }
        prop_assert!(lease.current().is_some(), "{lease:?}");
    }
}
