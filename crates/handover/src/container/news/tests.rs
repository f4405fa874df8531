use super::*;

fn ways() -> Vec<Way> {
    let (text, medium) = (String::new, Medium::Volume);
    vec![
        Way::Chosen {
            medium,
            because: "/shared/api is shared".into(),
            key: true,
            legacy: Legacy::Announce,
        },
        Way::Joined {
            interface: text(),
            ipv6_only: true,
        },
        Way::Left { interface: text() },
        Way::NoInterface {
            expected: text(),
            only_legacy: false,
        },
        Way::Failed {
            medium,
            reason: text(),
        },
        Way::RegisterAnew { reason: text() },
        Way::VolumeDoubtful { reason: text() },
        Way::NoListeners { reason: text() },
    ]
}

#[test]
fn each_is_named_in_json_as_by_its_name_and_read_as_it_was_written() {
    for way in ways() {
        let news = News::Way(way);
        let json = serde_json::to_value(&news).unwrap();
        assert_eq!(json["event"], news.name());
        assert_eq!(serde_json::from_value::<News>(json).unwrap(), news);
    }
    let news = News::Peer(Event::ReadyRefused);
    let json = serde_json::to_value(&news).unwrap();
    assert_eq!(json["event"], news.name());
    assert_eq!(serde_json::from_value::<News>(json).unwrap(), news);
}

#[test]
fn the_way_that_was_chosen_is_told_with_its_reason() {
    assert_eq!(
        News::Way(ways().swap_remove(0)).to_string(),
        "other instances are reached by volume, with a key (/shared/api is shared); peers of \
         handover-lib are announced to and not obeyed"
    );
}
