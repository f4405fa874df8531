//! Datagrams go out and come in by the chosen interface and no other. Each test makes its own
//! network namespaces, which needs root.

mod world;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use handover_sys::interface::{Changes, Interface, interfaces};
use handover_sys::multicast::{Arrival, Group, Receiver, Sender};
use world::eventually;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 16, 16);

/// Moves the calling thread, and the programs it starts, into a new network namespace that ends
/// with it. `false` without the right to.
fn alone() -> bool {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI is set, but not root");
        eprintln!("SKIPPED: it needs root, to make network namespaces");
        return false;
    }
    // SAFETY: only the namespace of the network changes; no descriptor or memory is unshared.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
    ip("link set lo up");
    true
}

#[track_caller]
fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split_whitespace())
        .status()
        .expect("ip is installed");
    assert!(status.success(), "ip {arguments}");
}

fn named(name: &str) -> Option<Interface> {
    interfaces()
        .unwrap()
        .into_iter()
        .find(|found| found.name == name)
}

/// A bridge without ports, as the one that balena's supervisor makes for host mode.
#[track_caller]
fn bridge(name: &str, address: &str) -> u32 {
    ip(&format!("link add {name} type bridge"));
    ip(&format!("addr add {address} dev {name}"));
    ip(&format!("link set {name} up"));
    named(name).expect("it was just made").index
}

fn group() -> Group {
    Group::new(GROUP.into(), 1536).unwrap()
}

/// The next datagram, or `None` when nothing is there.
fn next(receiver: &Receiver, buffer: &mut [u8]) -> Option<Arrival> {
    match receiver.receive(buffer) {
        Ok(arrival) => arrival,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
            None
        }
    }
}

#[track_caller]
fn must_hear(receiver: &Receiver, bytes: &[u8]) -> Arrival {
    let mut buffer = [0; 64];
    let mut heard = None;
    eventually("a datagram arrives", || {
        heard = next(receiver, &mut buffer);
        heard.is_some()
    });
    let heard = heard.unwrap();
    assert_eq!(&buffer[..heard.bytes], bytes);
    heard
}

#[test]
fn interfaces_are_listed_with_their_flags_and_addresses() {
    if !alone() {
        return;
    }
    let lo = named("lo").unwrap();
    assert!(lo.loopback && lo.up);
    assert_eq!(lo.ipv4, [Ipv4Addr::LOCALHOST]);
    ip("link add b0 type bridge");
    let down = named("b0").unwrap();
    assert!(!down.up && down.multicast && !down.loopback && down.ipv4.is_empty());
    ip("addr add 10.1.0.1/24 dev b0");
    ip("addr add 10.1.0.2/24 dev b0 label b0:second");
    ip("addr add fd00::1/64 dev b0");
    ip("link set b0 up");
    let up = named("b0").unwrap();
    assert!(up.up);
    assert_eq!(up.index, down.index);
    assert_eq!(
        up.ipv4,
        [Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 2)]
    );
    assert!(up.ipv6.contains(&"fd00::1".parse().unwrap()));
}

#[test]
fn a_change_of_an_address_is_news() {
    if !alone() {
        return;
    }
    bridge("b0", "10.1.0.1/24");
    let changes = Changes::open().unwrap();
    assert!(!changes.take().unwrap(), "nothing changed since");
    ip("addr add 10.1.0.7/24 dev b0");
    assert!(changes.take().unwrap());
    assert!(!changes.take().unwrap(), "it was taken");
    ip("link del b0");
    assert!(changes.take().unwrap());
}

#[test]
fn two_receivers_on_a_bridge_without_ports_hear_the_same_datagram() {
    if !alone() {
        return;
    }
    let index = bridge("supervisor0", "10.114.104.1/25");
    let (one, two) = (
        Receiver::bind(group()).unwrap(),
        Receiver::bind(group()).unwrap(),
    );
    assert!(one.join(index).unwrap() && two.join(index).unwrap());
    assert!(!one.join(index).unwrap(), "it had joined");
    let sender = Sender::open(group(), index).unwrap();
    sender.send(b"announce").unwrap();
    for receiver in [&one, &two] {
        let heard = must_hear(receiver, b"announce");
        assert_eq!(heard.interface, index);
        assert_eq!(heard.from.ip(), IpAddr::from([10, 114, 104, 1]));
        assert!(!heard.truncated);
    }
}

#[test]
fn what_goes_out_by_one_interface_is_not_heard_on_another() {
    if !alone() {
        return;
    }
    let (local, lan) = (bridge("local", "10.1.0.1/24"), bridge("lan", "10.2.0.1/24"));
    let receiver = Receiver::bind(group()).unwrap();
    receiver.join(local).unwrap();
    // Somebody else of this host joins on the LAN; without `IP_MULTICAST_ALL` off that leaks.
    let other = Receiver::bind(group()).unwrap();
    other.join(lan).unwrap();
    Sender::open(group(), lan).unwrap().send(b"lan").unwrap();
    assert_eq!(must_hear(&other, b"lan").interface, lan);
    Sender::open(group(), local).unwrap().send(b"us").unwrap();
    let heard = must_hear(&receiver, b"us");
    assert_eq!(heard.interface, local, "the first one it heard at all");
}

#[test]
fn an_interface_that_goes_and_comes_back_is_joined_again() {
    if !alone() {
        return;
    }
    let first = bridge("b0", "10.1.0.1/24");
    let receiver = Receiver::bind(group()).unwrap();
    receiver.join(first).unwrap();
    let sender = Sender::open(group(), first).unwrap();
    ip("link del b0");
    assert!(sender.send(b"x").is_err());
    assert!(receiver.leave(first).unwrap(), "the kernel kept it");
    assert!(!receiver.leave(first).unwrap());
    assert!(receiver.join(first).is_err());
    assert!(Sender::open(group(), first).is_err());
    let second = bridge("b0", "10.3.0.1/24");
    assert!(receiver.join(second).unwrap());
    Sender::open(group(), second).unwrap().send(b"y").unwrap();
    assert_eq!(must_hear(&receiver, b"y").interface, second);
    assert!(receiver.leave(second).unwrap());
}

#[test]
fn the_source_follows_a_changed_address() {
    if !alone() {
        return;
    }
    let index = bridge("b0", "10.1.0.1/24");
    let receiver = Receiver::bind(group()).unwrap();
    receiver.join(index).unwrap();
    let sender = Sender::open(group(), index).unwrap();
    ip("addr flush dev b0");
    ip("addr add 10.9.0.4/24 dev b0");
    sender.send(b"moved").unwrap();
    let heard = must_hear(&receiver, b"moved");
    assert_eq!(heard.from.ip(), IpAddr::from([10, 9, 0, 4]));
}

#[test]
fn ipv6_alone_is_enough() {
    if !alone() {
        return;
    }
    ip("link add b0 type veth peer name b1");
    ip("addr add fd00::1/64 dev b0 nodad");
    ip("link set b1 up");
    ip("link set b0 up");
    let index = named("b0").unwrap().index;
    let group = Group::new("ff12::efc0:1010".parse().unwrap(), 1538).unwrap();
    let receiver = Receiver::bind(group).unwrap();
    receiver.join(index).unwrap();
    let sender = Sender::open(group, index).unwrap();
    // Until its link-local address has been checked the interface cannot send.
    eventually("it can be sent", || sender.send(b"six").is_ok());
    assert_eq!(must_hear(&receiver, b"six").interface, index);
    // One to an address of its own, not to the group.
    let unicast = std::net::UdpSocket::bind("[::1]:0").unwrap();
    unicast.send_to(b"astray", "[fd00::1]:1538").unwrap();
    sender.send(b"again").unwrap();
    must_hear(&receiver, b"again");
}

#[test]
fn it_goes_to_another_namespace_of_the_link_and_no_further_than_the_buffer() {
    if !alone() {
        return;
    }
    let here = format!(
        "/proc/{}/task/{}/ns/net",
        std::process::id(),
        rustix::thread::gettid().as_raw_nonzero()
    );
    ip("link add v0 type veth peer name v1");
    ip("addr add 10.1.0.1/24 dev v0");
    ip("link set v0 up");
    let receiver = Receiver::bind(group()).unwrap();
    let index = named("v0").unwrap().index;
    receiver.join(index).unwrap();
    let (ready, wait) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        assert!(alone());
        ready
            .send(rustix::thread::gettid().as_raw_nonzero())
            .unwrap();
        gone.recv().unwrap();
        ip("addr add 10.1.0.2/24 dev v1");
        ip("link set v1 up");
        let index = named("v1").unwrap().index;
        let sender = Sender::open(group(), index).unwrap();
        sender.send(&[7; 100]).unwrap();
    });
    let there = wait.recv().unwrap();
    let there = format!("/proc/{}/task/{there}/ns/net", std::process::id());
    assert_ne!(
        std::fs::read_link(&here).unwrap(),
        std::fs::read_link(&there).unwrap()
    );
    ip(&format!("link set v1 netns {there}"));
    go.send(()).unwrap();
    other.join().unwrap();
    let mut buffer = [0; 64];
    let mut heard = None;
    eventually("a datagram arrives", || {
        heard = next(&receiver, &mut buffer);
        heard.is_some()
    });
    let heard = heard.unwrap();
    assert_eq!(heard.from.ip(), IpAddr::from([10, 1, 0, 2]));
    assert!(heard.truncated);
    assert_eq!((heard.bytes, heard.interface), (64, index));
}

#[test]
fn what_is_no_group_is_refused() {
    assert!(Group::new(Ipv4Addr::new(255, 255, 255, 255).into(), 1536).is_none());
    assert!(Group::new(Ipv4Addr::new(10, 0, 0, 1).into(), 1536).is_none());
    assert!(Group::new(GROUP.into(), 0).is_none());
    assert_eq!(
        Group::new(GROUP.into(), 1536).unwrap().to_string(),
        "239.192.16.16:1536"
    );
}
