use proptest::prelude::*;

use super::*;

const ME: NodeId = NodeId(7);
const OTHER: NodeId = NodeId(9);

fn owner(node: u64, term: u64) -> Owner {
    Owner {
        node: NodeId(node),
        term: Term(term),
    }
}

fn claim(shard: u16, over: Option<u64>) -> Claim {
    Claim {
        shard: ShardId(shard),
        over: over.map(Term),
    }
}

#[test]
fn a_free_shard_is_claimed_and_a_taken_one_is_not() {
    let mut claims = Claims::new(ME, 4);
    assert_eq!(claims.claim(claim(0, None), |_| false), Some(owner(7, 1)));
    claims.hear(OTHER, &[(ShardId(1), owner(9, 3))]);
    assert_eq!(
        claims.claim(claim(1, Some(3)), |_| false),
        Some(owner(9, 3))
    );
    assert_eq!(claims.claim(claim(1, Some(2)), |_| true), Some(owner(9, 3)));
    assert_eq!(claims.claim(claim(1, Some(3)), |_| true), Some(owner(7, 4)));
    assert_eq!(claims.claim(claim(4, None), |_| true), None);
}

#[test]
fn what_is_given_is_published_until_its_owner_does() {
    let mut claims = Claims::new(ME, 4);
    claims.claim(claim(2, None), |_| false);
    let given = Transfer {
        shard: ShardId(2),
        term: Term(1),
        to: OTHER,
    };
    assert_eq!(claims.transfer(given), Some(owner(9, 2)));
    assert_eq!(claims.transfer(given), Some(owner(9, 2)), "given once");
    assert_eq!(claims.published(0), [(ShardId(2), owner(9, 2))]);
    // Somebody else repeats it: its owner may still not know.
    assert_eq!(claims.hear(NodeId(8), &[(ShardId(2), owner(9, 2))]), []);
    assert_eq!(claims.published(0).len(), 1);
    claims.hear(OTHER, &[(ShardId(2), owner(9, 2))]);
    assert_eq!(claims.published(0), []);
}

#[test]
fn what_was_given_to_the_dead_is_not_published_for_ever() {
    let mut claims = Claims::new(ME, 4);
    claims.claim(claim(2, None), |_| false);
    claims.transfer(Transfer {
        shard: ShardId(2),
        term: Term(1),
        to: OTHER,
    });
    claims.forget(OTHER);
    assert_eq!(claims.published(0), []);
    assert_eq!(claims.owner(ShardId(2)), Some(owner(9, 2)));
}

#[test]
fn segments_cover_all_shards_once() {
    let mut claims = Claims::new(ME, u16::MAX);
    for shard in [0, 255, 256, 1023, u16::MAX - 1] {
        claims.claim(claim(shard, None), |_| false);
    }
    let segments = u16::MAX.div_ceil(SEGMENT);
    let all: Vec<u16> = (0..segments)
        .flat_map(|segment| claims.published(segment))
        .map(|(shard, _)| shard.0)
        .collect();
    assert_eq!(all, [0, 255, 256, 1023, u16::MAX - 1]);
}

#[test]
fn claims_of_many_shards_are_short() {
    for (shards, nodes, limit) in [
        (1024_u16, 3_u64, 500),
        (16_384, 3, 7_500),
        (16_384, 1_000, 120),
    ] {
        let mine: Vec<(ShardId, Owner)> = (0..shards)
            .filter(|shard| {
                u64::from(*shard).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 0xffff_ffff
                    < (1 << 32) / nodes
            })
            .map(|shard| (ShardId(shard), owner(7, 1 + u64::from(shard % 9))))
            .collect();
        let text = encode(&mine);
        assert!(text.len() <= limit, "{shards} {nodes}: {}", text.len());
        assert_eq!(decode(&text, shards).unwrap(), mine);
    }
}

#[test]
fn other_texts_are_refused() {
    let text = encode(&[(ShardId(9), owner(7, 1))]);
    assert_eq!(
        decode(&text, 9),
        Err(TextError::Shard {
            shards: 9,
            found: 9
        })
    );
    assert_eq!(decode("?", 9), Err(TextError::Base64));
    assert!(matches!(
        decode(&text[..4], 10),
        Err(TextError::Malformed(_))
    ));
}

fn any_owner() -> impl Strategy<Value = Owner> {
    (1_u64..4, 1_u64..5).prop_map(|(node, term)| owner(node, term))
}

fn any_claims() -> impl Strategy<Value = Vec<(ShardId, Owner)>> {
    prop::collection::vec(((0_u16..600).prop_map(ShardId), any_owner()), 0..200)
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        a in any_owner(), b in any_owner(), c in any_owner(),
    ) {
        prop_assert_eq!(winner(a, b), winner(b, a));
        prop_assert_eq!(winner(a, winner(b, c)), winner(winner(a, b), c));
        prop_assert_eq!(winner(a, a), a);
    }

    #[test]
    fn whoever_heard_the_same_names_the_same_owners(
        said in any_claims(), cut in 0_usize..200, again in 0_usize..200,
    ) {
        let (mut one, mut other) = (Claims::new(ME, 500), Claims::new(OTHER, 500));
        one.hear(NodeId(1), &said);
        let cut = cut.min(said.len());
        other.hear(NodeId(2), &said[cut..]);
        other.hear(NodeId(3), &said[..cut]);
        other.hear(NodeId(1), &said[again.min(said.len())..]);
        prop_assert!(one.owners().eq(other.owners()));
    }

    #[test]
    fn what_was_written_is_read(said in any_claims(), far in any::<u64>()) {
        let mut last: BTreeMap<ShardId, Owner> = said.into_iter().collect();
        last.insert(ShardId(u16::MAX - 1), owner(far, far));
        let list: Vec<(ShardId, Owner)> = last.clone().into_iter().collect();
        let read = decode(&encode(&list), u16::MAX).unwrap();
        prop_assert_eq!(read.into_iter().collect::<BTreeMap<_, _>>(), last);
    }

    #[test]
    fn no_text_does_harm(text in "[A-Za-z0-9+/]{0,64}", shards: u16) {
        if let Ok(claims) = decode(&text, shards) {
            prop_assert!(claims.iter().all(|(shard, _)| shard.0 < shards));
        }
    }
}
