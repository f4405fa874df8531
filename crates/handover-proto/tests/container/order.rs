//! Who is younger.

use handover_proto::container::order::{Entry, Order, Relation};
use handover_proto::container::{BootId, IdError, PeerId, RegisterId};
use proptest::prelude::*;

const A: PeerId = PeerId([1; 16]);
const B: PeerId = PeerId([2; 16]);

fn order(boot: u8, started_ns: u64, entry: Option<(u8, u64)>) -> Order {
    Order {
        boot: BootId([boot; 16]),
        started_ns,
        entry: entry.map(|(register, epoch)| Entry {
            register: RegisterId([register; 16]),
            epoch,
        }),
    }
}

#[test]
fn the_register_comes_before_the_time_and_the_time_before_the_name() {
    let younger = |own: Order, other: Order| {
        assert_eq!(own.compare(A, &other, B), Relation::Younger);
        assert_eq!(other.compare(B, &own, A), Relation::Older);
    };
    younger(order(0, 9, Some((1, 4))), order(0, 3, Some((1, 5))));
    younger(order(0, 3, Some((1, 5))), order(0, 9, Some((2, 4))));
    younger(order(0, 3, Some((1, 5))), order(0, 9, None));
    younger(order(0, 3, None), order(0, 9, None));
    // Of one time the greater name is younger.
    younger(order(0, 3, None), order(0, 3, None));
}

#[test]
fn another_device_is_elsewhere_whatever_it_says() {
    for entry in [None, Some((1, 5))] {
        let own = order(0, 3, entry);
        let other = order(1, 9, Some((1, 6)));
        assert_eq!(own.compare(A, &other, B), Relation::Elsewhere);
        assert_eq!(other.compare(B, &own, A), Relation::Elsewhere);
    }
}

#[test]
fn whoever_serves_after_a_boot_came_after_one_of_before() {
    assert!(order(1, 3, None).came_after(&order(0, 9, None)));
    assert!(!order(0, 3, None).came_after(&order(0, 9, None)));
    assert!(order(0, 9, None).came_after(&order(0, 3, None)));
    assert!(!order(1, 9, Some((1, 5))).came_after(&order(0, 3, Some((1, 5)))));
    assert!(order(1, 3, Some((1, 6))).came_after(&order(0, 9, Some((1, 5)))));
}

#[test]
fn names_are_read_as_the_kernel_writes_them() {
    let boot = "01020304-0506-0708-090a-0b0c0d0e0f10";
    let read: BootId = boot.parse().unwrap();
    assert_eq!(read.to_string(), boot.replace('-', ""));
    assert_eq!(format!("{read:#}"), "01020304");
    let json = serde_json::to_string(&read).unwrap();
    assert_eq!(json, format!("\"{read}\""));
    assert_eq!(serde_json::from_str::<BootId>(&json).unwrap(), read);
    let parse = |text: &str| text.parse::<PeerId>().unwrap_err();
    assert_eq!(parse("0102"), IdError::Length { found: 4 });
    assert_eq!(parse(&"g".repeat(32)), IdError::Digit { found: 'g' });
}

proptest! {
    /// Of one boot and one register, as the register hands them out: later is later in both.
    #[test]
    fn one_device_has_one_order(ranks in proptest::collection::vec(0u64..6, 3)) {
        let orders: Vec<_> = ranks
            .iter()
            .zip(1u8..)
            .map(|(rank, id)| {
                let entry = rank.is_multiple_of(2).then_some((1, *rank));
                (order(0, *rank, entry), PeerId([id; 16]))
            })
            .collect();
        let younger = |a: usize, b: usize| {
            let ((own, own_id), (other, other_id)) = (orders[a], orders[b]);
            own.compare(own_id, &other, other_id) == Relation::Younger
        };
        for a in 0..3 {
            prop_assert!(!younger(a, a));
            for b in 0..3 {
                prop_assert!(a == b || younger(a, b) != younger(b, a));
                for c in 0..3 {
                    prop_assert!(!(younger(a, b) && younger(b, c)) || younger(a, c));
                }
            }
        }
    }
}
