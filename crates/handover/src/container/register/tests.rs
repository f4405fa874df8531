use super::*;

fn drawn(directory: &Path, legacy_ms: i64) -> (u64, u64, i64, RegisterId) {
    let place = draw(directory, legacy_ms).unwrap();
    assert_eq!(place.broken, None);
    let entry = place.order.entry.unwrap();
    let started = place.order.started_ns;
    (entry.epoch, started, place.legacy_ms, entry.register)
}

#[test]
fn each_place_is_younger_by_every_measure_whatever_the_wall_clock_does() {
    let directory = tempfile::tempdir().unwrap();
    let first = drawn(directory.path(), 5000);
    let second = drawn(directory.path(), 4000);
    let third = drawn(directory.path(), 9000);
    assert_eq!((first.0, second.0, third.0), (1, 2, 3));
    assert!(first.1 < second.1 && second.1 < third.1);
    assert_eq!((first.2, second.2, third.2), (5000, 5001, 9000));
    assert!(first.3 == second.3 && second.3 == third.3);
}

#[test]
fn a_clock_of_an_earlier_boot_holds_nobody_back() {
    let directory = tempfile::tempdir().unwrap();
    let page = Page {
        id: RegisterId([7; 16]),
        epoch: 41,
        boot: BootId([9; 16]),
        started_ns: u64::MAX,
        legacy_ms: 0,
    };
    write(directory.path(), &page).unwrap();
    let (epoch, started, ..) = drawn(directory.path(), 1);
    assert_eq!(epoch, 42);
    assert!(started < u64::MAX);
}

#[test]
fn a_page_is_read_as_it_was_written_and_no_part_of_it_is_one() {
    let page = Page {
        id: RegisterId([1; 16]),
        epoch: 3,
        boot: BootId([2; 16]),
        started_ns: 4,
        legacy_ms: -5,
    };
    let text = page.text();
    assert_eq!(Page::parse(&text), Some(page));
    for end in 0..text.len() {
        assert_eq!(Page::parse(&text[..end]), None, "{:?}", &text[..end]);
    }
    let later = format!("{text}more of a later version\n");
    assert_eq!(Page::parse(&later), Some(page));
}

#[test]
fn what_is_no_register_is_put_aside_and_another_one_begun() {
    let directory = tempfile::tempdir().unwrap();
    let (.., first) = drawn(directory.path(), 0);
    fs::write(directory.path().join(NAME), "handover register 1\nid zz").unwrap();
    let place = draw(directory.path(), 0).unwrap();
    assert!(place.broken.is_some());
    let entry = place.order.entry.unwrap();
    assert_eq!(entry.epoch, 1);
    assert_ne!(
        entry.register, first,
        "its numbers say nothing of the others'"
    );
    assert!(directory.path().join(BROKEN).exists());
    assert_eq!(drawn(directory.path(), 0).0, 2);
}

#[test]
fn the_last_number_is_not_followed_by_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let page = Page {
        id: RegisterId([7; 16]),
        epoch: u64::MAX,
        boot: BootId([9; 16]),
        started_ns: 1,
        legacy_ms: i64::MAX,
    };
    write(directory.path(), &page).unwrap();
    let error = draw(directory.path(), 0).unwrap_err();
    assert!(matches!(error, RegisterError::Full { .. }), "{error}");
}

#[test]
fn places_drawn_at_the_same_moment_are_all_different() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut all: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let drawn = (0..5).map(|_| drawn(path, 0));
                    drawn.map(|place| (place.0, place.1)).collect::<Vec<_>>()
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.flatten().collect()
    });
    all.sort_unstable();
    let epochs: Vec<u64> = all.iter().map(|place| place.0).collect();
    assert_eq!(epochs, (1..=40).collect::<Vec<_>>());
    assert!(all.is_sorted_by(|one, next| one.1 < next.1), "both agree");
}

#[test]
fn times_before_the_epoch_are_negative() {
    assert_eq!(wall_ms(UNIX_EPOCH + Duration::from_millis(5)), 5);
    assert_eq!(wall_ms(UNIX_EPOCH - Duration::from_millis(5)), -5);
}
