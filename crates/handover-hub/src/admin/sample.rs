//! A hub made up for tests: three nodes, some processes, orders that are written down.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use handover_hub_proto::identity::{
    Epoch, HubName, KindName, NodeId, NodeName, ProcessId, ShardId, Term,
};
use handover_hub_proto::node::{Answer, Command, Failure, Ordered};
use handover_hub_proto::row::{Host, Role, Row};
use handover_hub_proto::spec::ChildSpec;
use handover_hub_proto::view::{Load, Member, Owner, Standing};

use super::Operated;

pub(crate) const SHARDS: u16 = 8;

/// The hub that is made up.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    pub(crate) members: Mutex<Vec<Member>>,
    pub(crate) rows: Mutex<Vec<Row>>,
    pub(crate) commands: Mutex<Vec<Command>>,
    pub(crate) answer: Mutex<Option<Answer>>,
    /// What nodes order; the first is this one.
    pub(crate) moves: Mutex<Vec<(NodeId, Option<Ordered>)>>,
    /// How often they were asked, this one alone and all.
    pub(crate) looks: Mutex<(usize, usize)>,
    /// Nothing is answered.
    pub(crate) mute: Mutex<bool>,
}

pub(crate) fn member(number: u64, name: &str) -> Member {
    Member {
        id: NodeId(number),
        name: NodeName::new(name).unwrap(),
        address: format!("127.0.0.1:760{number}"),
        weight: 100,
        version: "1.2.0".to_owned(),
        joined_ms: 1_795_247_479_000 + number,
        standing: Standing::Serving,
        load: Load::default(),
    }
}

pub(crate) fn row(id: &str, node: u64) -> Row {
    let id = ProcessId::new(id).unwrap();
    let spec = ChildSpec::new(KindName::new("counter").unwrap(), id);
    let host = Host {
        node: NodeId(node),
        epoch: Epoch {
            term: Term(3),
            grant: 1,
        },
        role: Role::Active,
        filled: true,
    };
    Row::new(Arc::new(spec), &[host])
}

impl Sample {
    /// Nodes a, b and c, with `processes` called `p0`, `p1`… in turn on each.
    pub(crate) fn three(processes: u64) -> Arc<Self> {
        let sample = Self::default();
        *sample.members.lock().unwrap() = vec![member(1, "a"), member(2, "b"), member(3, "c")];
        let rows = (0..processes).map(|number| row(&format!("p{number}"), number % 3 + 1));
        *sample.rows.lock().unwrap() = rows.collect();
        Arc::new(sample)
    }
}

impl Operated for Sample {
    fn hub(&self) -> HubName {
        HubName::new("sessions").unwrap()
    }

    fn name(&self) -> NodeName {
        NodeName::new("a").unwrap()
    }

    fn id(&self) -> NodeId {
        NodeId(1)
    }

    fn exclusive(&self) -> bool {
        false
    }

    fn suspended(&self) -> Option<String> {
        None
    }

    fn members(&self) -> Vec<Member> {
        self.members.lock().unwrap().clone()
    }

    fn shards(&self) -> u16 {
        SHARDS
    }

    fn owner(&self, shard: ShardId) -> Option<Owner> {
        Some(Owner {
            node: NodeId(u64::from(shard.0 % 3) + 1),
            term: Term(3),
        })
    }

    fn shard(&self, process: &ProcessId) -> ShardId {
        let sum: u32 = process.as_str().bytes().map(u32::from).sum();
        ShardId(u16::try_from(sum % u32::from(SHARDS)).unwrap())
    }

    fn rows(&self, shard: ShardId) -> Vec<Row> {
        let rows = self.rows.lock().unwrap();
        let rows = rows.iter().filter(|row| self.shard(row.id()) == shard);
        rows.cloned().collect()
    }

    fn each(&self, visit: &mut dyn FnMut(&Row)) {
        self.rows.lock().unwrap().iter().for_each(visit);
    }

    fn row(&self, process: &ProcessId) -> Option<Row> {
        let rows = self.rows.lock().unwrap();
        rows.iter().find(|row| row.id() == process).cloned()
    }

    fn execute(&self, command: Command) -> BoxFuture<'static, Answer> {
        if *self.mute.lock().unwrap() {
            return Box::pin(std::future::pending());
        }
        if let Command::Moves { others } = command {
            let mut moves = self.moves.lock().unwrap().clone();
            let mut looks = self.looks.lock().unwrap();
            if others {
                looks.1 += 1;
            } else {
                looks.0 += 1;
                moves.truncate(1);
            }
            return Box::pin(async move { Answer::Moves(moves) });
        }
        self.commands.lock().unwrap().push(command);
        let answer = self.answer.lock().unwrap().clone();
        Box::pin(async move { answer.unwrap_or(Answer::Failed(Failure::Nowhere)) })
    }
}
