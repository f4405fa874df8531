use handover_hub_proto::identity::{HubName, NodeId, NodeName, ShardId, Term};
use handover_hub_proto::view::{Departure, EngineEvent, Load, Member, Owner, Standing};

use super::super::keys::{Keys, Record};
use super::{Change, Table};

fn keys() -> Keys {
    Keys::new("handover", &HubName::new("sessions").expect("a name"))
}

fn member(id: u64) -> Member {
    Member {
        id: NodeId(id),
        name: NodeName::new(&format!("node-{id}")).expect("a name"),
        address: format!("127.0.0.1:{id}"),
        weight: 100,
        version: "1".to_owned(),
        joined_ms: id,
        standing: Standing::Serving,
        load: Load::default(),
    }
}

fn joined(id: u64, created: i64, changed: i64, left: bool) -> Change {
    let record = Record {
        member: member(id),
        agreement: None,
        left,
    };
    Change {
        key: keys().member(NodeId(id)).into_bytes(),
        value: Some(serde_json::to_vec(&record).expect("plain data")),
        created,
        changed,
    }
}

fn gone(id: u64, changed: i64) -> Change {
    Change {
        key: keys().member(NodeId(id)).into_bytes(),
        value: None,
        created: 0,
        changed,
    }
}

fn owned(shard: u16, id: u64, changed: i64) -> Change {
    Change {
        key: keys().shard(ShardId(shard)).into_bytes(),
        value: Some(NodeId(id).to_string().into_bytes()),
        created: 1,
        changed,
    }
}

fn owner(id: u64, term: u64) -> Owner {
    Owner {
        node: NodeId(id),
        term: Term(term),
    }
}

fn departed(id: u64, cause: Departure) -> EngineEvent {
    EngineEvent::Gone {
        node: NodeId(id),
        cause,
    }
}

fn table() -> Table {
    let mut table = Table::new(keys(), 16);
    let all = [
        joined(1, 2, 2, false),
        joined(2, 3, 3, false),
        owned(0, 1, 4),
    ];
    let events = table.replace(4, &all).expect("nothing was known");
    let expected = vec![
        EngineEvent::Member(member(1)),
        EngineEvent::Member(member(2)),
        EngineEvent::Owners(vec![(ShardId(0), owner(1, 4))]),
    ];
    assert_eq!(events, expected);
    table
}

#[test]
fn who_said_that_it_leaves_has_left_and_who_did_not_is_lost() {
    let mut table = table();
    assert_eq!(table.news(vec![joined(1, 2, 5, true)]), []);
    let news = table.news(vec![gone(1, 6), gone(2, 7)]);
    let expected = [departed(1, Departure::Left), departed(2, Departure::Lost)];
    assert_eq!(news, expected);
}

#[test]
fn news_that_are_known_change_nothing() {
    let mut table = table();
    assert_eq!(table.news(vec![gone(2, 3), owned(0, 2, 4)]), []);
    assert_eq!(table.owner(ShardId(0)), Some(owner(1, 4)));
    let news = table.news(vec![owned(0, 2, 5)]);
    let expected = [EngineEvent::Owners(vec![(ShardId(0), owner(2, 5))])];
    assert_eq!(news, expected);
}

#[test]
fn an_older_owner_does_not_replace_a_later_one() {
    let mut table = table();
    assert!(table.learn(ShardId(0), owner(2, 9)));
    assert_eq!(table.news(vec![owned(0, 1, 8)]), []);
    assert!(!table.learn(ShardId(0), owner(1, 8)));
    assert!(
        !table.learn(ShardId(16), owner(1, 8)),
        "there is no such shard"
    );
    assert_eq!(table.all(), [(ShardId(0), owner(2, 9))]);
}

#[test]
fn what_was_missed_is_told_when_all_is_read_again() {
    let mut table = table();
    let all = [
        joined(2, 7, 7, false),
        joined(3, 8, 8, false),
        owned(0, 3, 9),
    ];
    let events = table.replace(9, &all).expect("later");
    let expected = [
        departed(1, Departure::Lost),
        departed(2, Departure::Lost),
        EngineEvent::Member(member(2)),
        EngineEvent::Member(member(3)),
        EngineEvent::Owners(vec![(ShardId(0), owner(3, 9))]),
    ];
    assert_eq!(events, expected, "member 2 was gone and came back");
    assert!(table.replace(8, &[]).is_none(), "read before");
    assert_eq!(table.owned([ShardId(0), ShardId(1)]).len(), 1);
}

#[test]
fn what_nobody_here_wrote_is_left_alone() {
    let mut table = table();
    let nonsense = |key: String| Change {
        key: key.into_bytes(),
        value: Some(b"nonsense".to_vec()),
        created: 9,
        changed: 9,
    };
    let other = Change {
        key: keys().member(NodeId(9)).into_bytes(),
        ..joined(1, 9, 9, false)
    };
    let news = vec![
        nonsense(keys().member(NodeId(1))),
        nonsense(keys().shard(ShardId(0))),
        nonsense(keys().shards()),
        other,
    ];
    assert_eq!(table.news(news), []);
}
