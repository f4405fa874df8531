//! What people and programs read of each event.

use std::time::Duration;

use handover_proto::container::event::{Cause, Event, Successor};
use handover_proto::container::order::{Entry, Order};
use handover_proto::container::{BootId, PeerId, RegisterId};

const ORDER: Order = Order {
    boot: BootId([0xb0; 16]),
    started_ns: 83_002_500_000,
    entry: None,
};

fn events() -> Vec<Event> {
    let mut all = about_this_and_younger();
    all.extend(about_others());
    all
}

const PEER: PeerId = PeerId([0xaa; 16]);
const SILENT: Duration = Duration::from_secs(5);

fn about_this_and_younger() -> Vec<Event> {
    let peer = PEER;
    let numbered = Order {
        entry: Some(Entry {
            register: RegisterId([0x11; 16]),
            epoch: 7,
        }),
        ..ORDER
    };
    let by = Successor::Peer { peer, order: ORDER };
    let legacy = Successor::Legacy { time_ms: 7000 };
    let silent = SILENT;
    let cause = Cause::Silent { silent };
    let withdrawn = Cause::Withdrawn;
    vec![
        Event::Serving {
            peer,
            order: numbered,
            legacy_ms: Some(7000),
        },
        Event::YoungerHeard { peer, order: ORDER },
        Event::CandidateSilent {
            peer,
            asked: silent,
        },
        Event::Draining { by },
        Event::Draining { by: legacy },
        Event::Draining {
            by: Successor::Nobody,
        },
        Event::Replaced {
            from: legacy,
            to: by,
        },
        Event::SuccessorLost { peer, cause },
        Event::SuccessorBack { peer },
        Event::Probation {
            peer,
            lasts: Duration::from_secs(10),
        },
        Event::TakingBack { peer, cause },
        Event::TakingBack {
            peer,
            cause: withdrawn,
        },
        Event::NobodyServes { peer, cause },
        Event::Committed { by },
        Event::Committed { by: legacy },
        Event::Committed {
            by: Successor::Nobody,
        },
    ]
}

fn about_others() -> Vec<Event> {
    let peer = PEER;
    let silent = SILENT;
    let last = "version 9, this build speaks 3".to_owned();
    vec![
        Event::Asked { by: peer },
        Event::OlderDrains { peer },
        Event::OlderReleased { peer },
        Event::OlderCommitted { peer },
        Event::OlderResumed { peer },
        Event::OlderSilent { peer, silent },
        Event::ReadyRefused,
        Event::Failed { told: 0 },
        Event::Failed { told: 1 },
        Event::Stopping { told: 0 },
        Event::Stopping { told: 1 },
        Event::Elsewhere {
            peer,
            boot: BootId([0xb0; 16]),
        },
        Event::LegacyFromFuture {
            time_ms: 7000,
            wall_ms: 5000,
        },
        Event::LegacyNotObeyed { time_ms: 7000 },
        Event::LegacyTimeRaised {
            from: 5000,
            to: 7001,
        },
        Event::Refused {
            count: 1,
            last: last.clone(),
        },
        Event::Refused { count: 12, last },
    ]
}

#[test]
fn each_event_is_one_line_for_people() {
    let lines: Vec<_> = events().iter().map(Event::to_string).collect();
    for line in &lines {
        assert!(!line.is_empty() && !line.contains('\n'), "{line:?}");
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn each_event_is_one_object_for_programs() {
    let lines: Vec<_> = events()
        .iter()
        .map(|event| {
            let json = serde_json::to_string(event).unwrap();
            let name = format!("{{\"event\":\"{}\"", event.name());
            assert!(json.starts_with(&name), "{json}");
            assert_eq!(&serde_json::from_str::<Event>(&json).unwrap(), event);
            json
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
