//! Status datagrams, between our codec and a reader and a writer in Node that know only the
//! description of the wire.

use std::net::Ipv4Addr;

use handover_proto::container::status::{State, StatusDatagram};
use handover_tests::eventually;
use handover_tests::network::{Bridge, STATUS, Theirs, Wire, possible};

use crate::{LONG_AGO, WIRE};

fn status(service: &str, addresses: &[[u8; 4]], status: State) -> StatusDatagram {
    StatusDatagram {
        started_ms: LONG_AGO,
        service: service.to_owned(),
        addresses: addresses.iter().copied().map(Ipv4Addr::from).collect(),
        status,
    }
}

#[test]
fn node_reads_what_we_write() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let bridge = Bridge::new();
    let container = bridge.container();
    let reader = theirs.status_reader(&container);
    let sent = [
        status("api", &[[172, 10, 0, 4], [192, 168, 0, 1]], State::Up),
        status(&"ä".repeat(31), &[[10, 0, 0, 1]; 10], State::Down),
        status("last", &[], State::Up),
    ];
    let stranger = bridge.join();
    for status in &sent {
        let datagram = status.encode().expect("it has room");
        Wire::send(&stranger, WIRE, STATUS, &datagram);
    }
    for sent in &sent {
        let heard = eventually("it reads each", || {
            let mut heard = reader.said("status").into_iter();
            heard.find(|heard| heard["name"] == sent.service)
        });
        assert_eq!(heard["started_ms"], sent.started_ms);
        let addresses: Vec<String> = sent.addresses.iter().map(Ipv4Addr::to_string).collect();
        assert_eq!(heard["addresses"], serde_json::json!(addresses));
        assert_eq!(heard["status"], sent.status.to_string());
    }
    assert!(reader.said("malformed").is_empty());
}

#[test]
fn we_read_what_node_writes() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let bridge = Bridge::new();
    let witness = Wire::listening(&bridge.join(), WIRE, &[STATUS]);
    let container = bridge.container();
    let addresses = "172.10.0.4,192.168.0.1";
    let up = theirs.status_sender(&container, "api", LONG_AGO, addresses, "UP");
    let addresses = [[172, 10, 0, 4], [192, 168, 0, 1]];
    let read = |wanted: StatusDatagram| {
        witness.until(STATUS, |datagram| {
            StatusDatagram::decode(datagram).expect("it is one") == wanted
        });
    };
    read(status("api", &addresses, State::Up));
    drop(up);
    let full = "s".repeat(63);
    let _down = theirs.status_sender(&container, &full, LONG_AGO, "10.0.0.1", "DOWN");
    read(status(&full, &[[10, 0, 0, 1]], State::Down));
}
