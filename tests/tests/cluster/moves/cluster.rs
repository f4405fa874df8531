//! Four nodes with gossip whose counters are called all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use handover_tests::hub::{Count, Deaths, How, Node};
use handover_tests::patience::{eventually, until, until_nothing};
use handover_tests::process;
use rustix::process::Signal;

use crate::world::World;
use crate::{LONG, program};

/// The first one takes part in no move that is looked at; the calls are made there.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const COUNTERS: u32 = 24;

/// Who takes part in a move.
#[derive(Debug)]
pub(crate) struct Roles {
    pub(crate) home: &'static str,
    pub(crate) source: &'static str,
    pub(crate) target: &'static str,
}

/// Who dies, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// When this node is just about to do this,
    pub(crate) at: &'static str,
    pub(crate) effect: String,
    /// this one dies.
    pub(crate) victim: &'static str,
}

pub(crate) struct Cluster {
    world: World,
    deaths: Deaths,
    nodes: BTreeMap<&'static str, Node>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let mut cluster = Self {
            world: World::gossip(),
            deaths: Deaths::new(),
            nodes: BTreeMap::new(),
        };
        for name in NAMES {
            cluster.join(name);
        }
        for node in cluster.nodes.values() {
            node.until_nodes(NAMES.len());
        }
        let start = format!("start {COUNTERS}");
        assert_eq!(cluster.client().ask(&start), "done");
        cluster
    }

    fn join(&mut self, name: &'static str) {
        let mut command = program();
        self.deaths.concern(&mut command, name);
        // What did not move home while nodes came and went is asked again.
        command.env("HUB_NODE_ASK_AGAIN", "500");
        // A slow machine must not pass for a death: then a counter runs twice, as gossip promises.
        command.env("HUB_NODE_PATIENCE", "20");
        self.nodes.insert(name, self.world.start(command, name));
    }

    fn client(&self) -> &Node {
        &self.nodes["a"]
    }

    /// Waits until every counter runs where its home is, on one node only, and all nodes know it.
    fn settle(&self) {
        for node in self.nodes.values() {
            node.until_nodes(self.nodes.len());
        }
        until_nothing("every counter runs once, and at its home", || self.unrest());
    }

    /// What is not yet as it has to be before a case.
    fn unrest(&self) -> Option<String> {
        let homes = self.client().homes();
        let names: BTreeSet<&str> = homes.values().map(|(home, _)| home.as_str()).collect();
        if homes.len() != COUNTERS as usize || !names.iter().copied().eq(self.names()) {
            return Some(format!("the first node sees {homes:?}"));
        }
        let away: Vec<_> = homes
            .iter()
            .filter(|(_, (home, host))| home != host)
            .collect();
        if !away.is_empty() {
            return Some(format!("not at home: {away:?}"));
        }
        self.nodes.iter().find_map(|(name, node)| {
            let seen = node.homes();
            let here = homes.values().filter(|(_, host)| host == name).count();
            let run = node.processes();
            let different = seen
                .iter()
                .filter(|(id, place)| homes.get(*id) != Some(*place));
            let different: Vec<_> = different.collect();
            (seen.len() != homes.len() || !different.is_empty() || run != here).then(|| {
                format!(
                    "{name} sees {} with {different:?}, runs {run} of {here}",
                    seen.len()
                )
            })
        })
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().copied()
    }

    /// A counter of this home that is at the source, ready to move.
    fn departing(&self, roles: &Roles) -> String {
        self.settle();
        let homes = self.client().homes();
        let mut ours = homes.iter().filter(|(_, (home, _))| home == roles.home);
        let (id, _) = ours.next().expect("each node is the home of some");
        if roles.source != roles.home {
            self.set_out(id, roles.source);
        }
        id.clone()
    }

    fn set_out(&self, id: &str, to: &str) {
        let moved = self.client().ask(&format!("move {id} {to}"));
        assert_eq!(moved, "done");
    }

    /// The effects of a move at which nobody dies, in order.
    pub(crate) fn trace(&mut self, roles: &Roles) -> Vec<(String, String)> {
        let id = self.departing(roles);
        self.deaths.plan(&id, None);
        self.set_out(&id, roles.target);
        let last = [(roles.source, "late-last"), (roles.home, "moved")];
        let last = last.map(|(node, effect)| (node.to_owned(), effect.to_owned()));
        let trace = eventually("the end of the move", || {
            let trace = self.deaths.trace();
            let over = last.iter().all(|effect| trace.contains(effect));
            over.then_some(trace)
        });
        self.deaths.over();
        // It goes home when a node comes.
        self.count_all();
        self.nodes.remove("d");
        self.client().until_nodes(NAMES.len() - 1);
        self.join("d");
        trace
    }

    /// Counts once in every counter.
    fn count_all(&self) {
        let answers = self.client().counts(COUNTERS, LONG);
        for (counter, answer) in answers.enumerate() {
            assert!(answer.parse::<u64>().is_ok(), "c{counter}: {answer}");
        }
    }

    /// Plays one case. Returns whether the counter that moved began anew.
    pub(crate) fn play(&mut self, roles: &Roles, case: &Case, may_be_lost: bool) -> bool {
        let id = self.departing(roles);
        eprintln!("{id}: {roles:?}, {case:?}");
        self.world.record.clear();
        self.count_all();
        let homes = self.client().homes();
        let done = AtomicBool::new(false);
        let rounds = thread::scope(|scope| {
            let load = scope.spawn(|| self.call(&done));
            let over = Over(&done);
            self.die(roles, case, &id);
            drop(over);
            load.join().expect("every call is answered")
        });
        let mut dead = self.nodes.remove(case.victim).expect("it was started");
        dead.until_ended();
        self.until_each_runs_once();
        self.count_all();
        let may_begin_anew = |counter: &str| match counter == id {
            true => may_be_lost,
            false => homes[counter].1 == case.victim,
        };
        let anew = judge(&self.world.record.counts(), rounds + 1, may_begin_anew);
        self.join(case.victim);
        anew.contains(&id)
    }

    /// Calls every counter again and again; how often.
    fn call(&self, done: &AtomicBool) -> u64 {
        let mut rounds = 0;
        while !done.load(Ordering::Acquire) {
            self.count_all();
            rounds += 1;
        }
        rounds
    }

    /// Has the counter move, and the victim die on the way.
    fn die(&self, roles: &Roles, case: &Case, id: &str) {
        let how = match case.victim == case.at {
            true => How::Kill,
            false => How::Stop,
        };
        self.deaths.plan(id, Some((case.at, &case.effect, how)));
        self.client()
            .request(&format!("move {id} {}", roles.target));
        let fired = Some((case.at.to_owned(), case.effect.clone()));
        until(&format!("the death of {case:?}"), || {
            self.deaths.fired() == fired
        });
        let (victim, at) = (&self.nodes[case.victim], &self.nodes[case.at]);
        if how == How::Stop {
            until("it is stopped", || process::state(at.pid()) == Some('T'));
            victim.signal(Signal::KILL);
        }
        until("it has ended", || process::state(victim.pid()) == Some('Z'));
        at.signal(Signal::CONT);
        self.deaths.over();
        for (_, node) in self.nodes.iter().filter(|(name, _)| **name != case.victim) {
            node.until_nodes(NAMES.len() - 1);
        }
    }

    /// Waits until each counter runs on one of the nodes that are left.
    fn until_each_runs_once(&self) {
        until("each counter runs once", || {
            let hosts = self.client().homes();
            let lives = |(_, host): &(String, String)| self.nodes.contains_key(host.as_str());
            let processes: usize = self.nodes.values().map(Node::processes).sum();
            hosts.values().all(lives) && processes == COUNTERS as usize
        });
    }
}

/// Says that the calls are over, also when the case fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Each count is the one before and one more, `calls` times; or a counter that may begins anew, or where
/// its source was. Returns those that did.
fn judge(counts: &[Count], calls: u64, may_begin_anew: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut anew = BTreeSet::new();
    let mut first: BTreeMap<&str, &Count> = BTreeMap::new();
    let mut last: BTreeMap<&str, &Count> = BTreeMap::new();
    for count in counts {
        let Some(before) = last.insert(&count.id, count) else {
            first.insert(&count.id, count);
            continue;
        };
        if count.value != before.value + 1 {
            let told = count.value <= before.value && may_begin_anew(&count.id);
            assert!(told, "{before:?}, then {count:?}");
            assert!(anew.insert(count.id.clone()), "{count:?} is anew again");
        }
    }
    for (id, last) in last.iter().filter(|(id, _)| !anew.contains(**id)) {
        let counted = last.value - first[id].value;
        assert_eq!(counted, calls, "{id} was called so often");
    }
    anew
}
