use super::*;
use alloc::vec;
use proptest::prelude::*;

const OLD: [Ipv4Addr; 1] = [Ipv4Addr::new(10, 0, 0, 2)];
const YOUNG: [Ipv4Addr; 2] = [Ipv4Addr::new(172, 16, 0, 3), Ipv4Addr::new(10, 0, 0, 3)];

fn at(seconds: u64) -> Moment {
    Moment::ZERO + Duration::from_secs(seconds)
}

/// What the old or the young one says, from its address in the network 10.0.0.0.
fn says(young: bool, status: State) -> StatusDatagram {
    let (started_ms, addresses): (_, &[Ipv4Addr]) = if young { (2, &YOUNG) } else { (1, &OLD) };
    StatusDatagram {
        started_ms,
        service: "api".to_owned(),
        addresses: addresses.to_vec(),
        status,
    }
}

/// From the last of the addresses it names.
fn try_hear(
    roster: &mut Roster,
    now: Moment,
    heard: &StatusDatagram,
) -> Result<Option<Change>, Full> {
    let from = heard.addresses.last().copied().unwrap_or(OLD[0]);
    roster.hear(now, from, heard)
}

fn hear(roster: &mut Roster, now: Moment, heard: &StatusDatagram) -> Option<Change> {
    try_hear(roster, now, heard).expect("there is room")
}

/// Who is routed to, by its start time.
fn serving(roster: &Roster) -> Option<i64> {
    let service = roster.service("api")?;
    service.serving().map(Instance::started_ms)
}

#[test]
fn the_youngest_that_is_up_is_routed_to() {
    let mut roster = Roster::default();
    let first = hear(&mut roster, at(0), &says(false, State::Up)).unwrap();
    assert_eq!((first.cause, first.rerouted), (Cause::Up, true));
    assert_eq!(hear(&mut roster, at(10), &says(false, State::Up)), None);

    let young = hear(&mut roster, at(11), &says(true, State::Up)).unwrap();
    assert!(young.rerouted);
    assert_eq!(
        young.serving.unwrap().address(),
        YOUNG[1],
        "it was heard from there"
    );
    let old = hear(&mut roster, at(12), &says(false, State::Down)).unwrap();
    assert_eq!((old.cause, old.rerouted), (Cause::Down, false));
    assert_eq!(hear(&mut roster, at(12), &says(false, State::Down)), None);

    let older_comes_back = hear(&mut roster, at(13), &says(false, State::Up)).unwrap();
    assert!(!older_comes_back.rerouted);
    let young_goes = hear(&mut roster, at(14), &says(true, State::Down)).unwrap();
    assert!(young_goes.rerouted);
    assert_eq!(serving(&roster), Some(1));
}

#[test]
fn silence_takes_an_instance_out_and_then_off_the_list() {
    let mut roster = Roster::default();
    hear(&mut roster, at(0), &says(false, State::Up));
    hear(&mut roster, at(1), &says(true, State::Up));
    hear(&mut roster, at(2), &says(false, State::Up));
    assert_eq!(roster.next_deadline(), Some(at(36)));
    assert_eq!(roster.expire(at(35)), None);

    let young = roster.expire(at(37)).unwrap();
    assert_eq!(
        (young.cause, young.instance.started_ms()),
        (Cause::Silent, 2)
    );
    assert_eq!(young.serving.unwrap().started_ms(), 1);
    let old = roster.expire(at(37)).unwrap();
    assert_eq!(
        (old.cause, old.rerouted, old.serving),
        (Cause::Silent, true, None)
    );
    assert_eq!(roster.expire(at(37)), None);

    let back = hear(&mut roster, at(40), &says(true, State::Up)).unwrap();
    assert_eq!((back.cause, back.rerouted), (Cause::Up, true));
    let forgotten = roster.expire(at(72)).unwrap();
    assert_eq!(
        (forgotten.cause, forgotten.instance.started_ms()),
        (Cause::Forgotten, 1)
    );
    assert_eq!(roster.service("api").unwrap().instances().len(), 1);
}

#[test]
fn a_service_that_is_down_is_forgotten_when_it_is_closed() {
    let mut roster = Roster::default();
    hear(&mut roster, at(0), &says(false, State::Down));
    assert_eq!(serving(&roster), None);
    let change = roster.expire(at(35)).unwrap();
    assert_eq!((change.cause, change.rerouted), (Cause::Forgotten, false));
    assert_eq!(roster.services().count(), 0);
    assert_eq!(roster.next_deadline(), None);
}

#[test]
fn an_instance_may_gain_and_lose_addresses() {
    let mut roster = Roster::default();
    hear(&mut roster, at(0), &says(true, State::Up));
    let fewer = StatusDatagram {
        addresses: YOUNG[..1].to_vec(),
        ..says(true, State::Up)
    };
    let change = hear(&mut roster, at(1), &fewer).unwrap();
    assert_eq!((change.cause, change.rerouted), (Cause::Moved, true));
    assert_eq!(change.serving.unwrap().address(), YOUNG[0]);
    let back = hear(&mut roster, at(2), &says(true, State::Up)).unwrap();
    assert_eq!(
        (back.cause, back.rerouted),
        (Cause::Moved, false),
        "it stays where it is"
    );
}

#[test]
fn two_of_one_millisecond_are_two_if_their_addresses_say_so() {
    let mut roster = Roster::default();
    let twin = StatusDatagram {
        started_ms: 1,
        ..says(true, State::Up)
    };
    hear(&mut roster, at(0), &says(false, State::Up));
    hear(&mut roster, at(0), &twin);
    let down = StatusDatagram {
        status: State::Down,
        ..twin
    };
    hear(&mut roster, at(1), &down);
    let service = roster.service("api").unwrap();
    assert_eq!(service.instances().len(), 2);
    assert_eq!(service.serving().unwrap().addresses(), OLD);
}

#[test]
fn who_names_no_address_is_where_it_was_heard_from() {
    let mut roster = Roster::default();
    let nameless = StatusDatagram {
        addresses: Vec::new(),
        ..says(false, State::Up)
    };
    let change = hear(&mut roster, at(0), &nameless).unwrap();
    assert_eq!(change.instance.addresses(), OLD);
    assert_eq!(hear(&mut roster, at(1), &nameless), None);
}

#[test]
fn what_is_not_up_makes_room() {
    let mut roster = Roster::new(Settings {
        services: 1,
        instances: 2,
        ..Settings::default()
    });
    let other = StatusDatagram {
        service: "other".to_owned(),
        ..says(false, State::Up)
    };
    let third = StatusDatagram {
        started_ms: 3,
        ..says(false, State::Up)
    };
    hear(&mut roster, at(0), &says(false, State::Up));
    hear(&mut roster, at(0), &says(true, State::Up));
    assert_eq!(
        try_hear(&mut roster, at(1), &other),
        Err(Full::Services { most: 1 })
    );
    let down = StatusDatagram {
        status: State::Down,
        ..third.clone()
    };
    assert_eq!(
        try_hear(&mut roster, at(1), &down),
        Err(Full::Instances { most: 2 })
    );
    hear(&mut roster, at(2), &third);
    let left: Vec<_> = roster
        .service("api")
        .unwrap()
        .instances()
        .iter()
        .map(Instance::started_ms)
        .collect();
    assert_eq!(left, vec![3, 2]);
    assert_eq!(
        try_hear(&mut roster, at(3), &says(false, State::Up)),
        Err(Full::Instances { most: 2 })
    );

    hear(&mut roster, at(4), &down);
    hear(&mut roster, at(4), &says(true, State::Down));
    hear(&mut roster, at(5), &other);
    assert!(roster.service("api").is_none(), "nobody served it");
}

/// What may be heard: few instances of few services, so that they meet.
#[derive(Clone, Debug)]
struct Spoken {
    pause: u64,
    service: usize,
    instance: u8,
    status: State,
}

fn status() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Up), Just(State::Down)]
}

fn spoken() -> impl Strategy<Value = Spoken> {
    (0..50u64, 0..2usize, 0..4u8, status()).prop_map(|(pause, service, instance, status)| Spoken {
        pause,
        service,
        instance,
        status,
    })
}

fn tell(roster: &mut Roster, now: Moment, spoken: &Spoken) -> Option<Change> {
    let from = Ipv4Addr::new(10, 0, 0, spoken.instance);
    let heard = StatusDatagram {
        started_ms: i64::from(spoken.instance),
        service: ["api", "web"][spoken.service].to_owned(),
        addresses: vec![from],
        status: spoken.status,
    };
    hear(roster, now, &heard)
}

proptest! {
    /// Whatever is heard and however late time is looked at: who is routed to is the youngest whose
    /// last word, not older than the limit, was UP.
    #[test]
    fn the_last_word_of_each_decides(words in prop::collection::vec(spoken(), 1..60)) {
        let mut roster = Roster::default();
        let mut now = 0;
        for (n, word) in words.iter().enumerate() {
            now += word.pause;
            tell(&mut roster, at(now), word);
            while roster.expire(at(now)).is_some() {}
            for (service, name) in ["api", "web"].into_iter().enumerate() {
                let up = (0..4u8).rev().find(|instance| {
                    let mut age = 0;
                    let last = words[..=n].iter().rev().find_map(|w| {
                        let found = w.service == service && w.instance == *instance;
                        let then = age;
                        age += w.pause;
                        found.then_some((w.status, then))
                    });
                    last.is_some_and(|(said, age)| said == State::Up && age < 35)
                });
                let believed = roster.service(name).and_then(Service::serving);
                prop_assert_eq!(believed.map(Instance::started_ms), up.map(i64::from));
            }
        }
    }

    /// A follower of the changes alone knows what the roster knows, and each change is one.
    #[test]
    fn changes_tell_all(words in prop::collection::vec(spoken(), 1..60)) {
        let mut roster = Roster::default();
        let mut known: BTreeMap<String, Vec<Instance>> = BTreeMap::new();
        let mut now = 0;
        for word in &words {
            now += word.pause;
            let mut changes: Vec<Change> = Vec::new();
            while let Some(change) = roster.expire(at(now)) {
                changes.push(change);
            }
            changes.extend(tell(&mut roster, at(now), word));
            for change in changes {
                let instances = known.entry(change.service.clone()).or_default();
                let was = instances.iter().position(|i| i.started_ms == change.instance.started_ms);
                let was = was.map(|at| instances.remove(at));
                prop_assert_ne!(was.map(|i| i.standing), (change.cause != Cause::Forgotten).then_some(change.instance.standing));
                if change.cause != Cause::Forgotten {
                    instances.push(change.instance);
                }
                instances.sort_by_key(|i| Reverse(i.started_ms));
                known.retain(|_, instances| !instances.is_empty());
            }
            let told: Vec<_> = known.iter().map(|(name, s)| (name.as_str(), s.iter().map(|i| (i.started_ms, i.standing)).collect::<Vec<_>>())).collect();
            let knows: Vec<_> = roster.services().map(|(name, s)| (name, s.instances().iter().map(|i| (i.started_ms, i.standing)).collect::<Vec<_>>())).collect();
            prop_assert_eq!(told, knows);
        }
    }

    /// A flood of strangers takes no more room than there is, and never pushes out who serves.
    #[test]
    fn a_flood_is_bounded(flood in prop::collection::vec((0..40u8, 0..40i64, status()), 0..300)) {
        let mut roster = Roster::new(Settings { services: 4, instances: 3, ..Settings::default() });
        hear(&mut roster, at(0), &says(false, State::Up));
        for (n, (name, started_ms, status)) in flood.into_iter().enumerate() {
            let service = alloc::format!("s{name}");
            let from = Ipv4Addr::from(u32::try_from(n).unwrap());
            let heard = StatusDatagram { started_ms, service, addresses: Vec::new(), status };
            let _ = roster.hear(at(1), from, &heard);
            prop_assert!(roster.services().count() <= 4);
            prop_assert!(roster.services().all(|(_, s)| s.instances().len() <= 3));
        }
        prop_assert_eq!(serving(&roster), Some(1));
    }
}
