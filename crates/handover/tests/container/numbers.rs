//! Each instance gets a number of its own from the register of its volume.

use crate::world::World;

fn number(text: &str) -> u64 {
    let begin = text.strip_prefix("Some(").expect("a number");
    let (number, _) = begin.split_once(')').expect("a number");
    number.parse().expect("a number")
}

#[test]
fn numbers_rise_across_processes_whatever_their_wall_clocks_say() {
    let world = World::with_volume();
    let mut numbers = Vec::new();
    for name in ["1", "2", "3"] {
        let actor = world.start(name);
        numbers.push(number(&actor.says("began ")));
    }
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn processes_that_start_at_the_same_moment_have_different_numbers() {
    let world = World::with_volume();
    let actors: Vec<_> = (0..6).map(|name| world.start(&name.to_string())).collect();
    let mut numbers: Vec<u64> = actors
        .iter()
        .map(|actor| number(&actor.says("began ")))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn without_a_volume_there_is_no_number() {
    let mut world = World::new();
    world.set("ACTOR_LEGACY", "off");
    // A port of its own, since this is no namespace of its own. Nothing is announced.
    world.set("HANDOVER_PEER_PORT", 20_000 + std::process::id() % 20_000);
    let actor = world.start("1");
    assert!(actor.says("began ").starts_with("None "));
}
