//! The control socket of a daemon of theirs that has just become the incumbent.

use handover_proto::beyond::{
    Birth, HELLO_WITHIN, Message, PeerEffect as Effect, PeerInput as Input, Side,
};
use handover_proto::identity::Epoch;
use handover_proto::message::{Role, ToInstance};

use super::{FIRST, PID, Under, drain, hello, ready};

#[test]
fn a_drain_waits_for_a_session_that_opens() {
    let mut under = Under::warm(Birth::Successor);
    under.say(ToInstance::Activate {
        id: FIRST,
        sealed: true,
    });
    under.heard(ready(FIRST, true, &[]));
    assert_eq!(under.say(drain()), []);
    under.put(Input::Connected);
    let opened = under.heard(Message::hello(Side::Incumbent, PID, b""));
    assert!(matches!(
        opened[1],
        Effect::Send(Message::PrepareHandoff { .. })
    ));
}

#[test]
fn a_control_socket_that_never_opens_is_told() {
    let mut under = Under::warm(Birth::Successor);
    under.say(ToInstance::Activate {
        id: FIRST,
        sealed: true,
    });
    under.heard(ready(FIRST, true, &[]));
    assert_eq!(under.after(HELLO_WITHIN), [Effect::Lost]);
    under.put(Input::Connected);
    let opened = under.heard(Message::hello(Side::Incumbent, PID, b""));
    assert_eq!(opened.last(), Some(&hello(Role::Incumbent, Some(Epoch(0)))));
}
