use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

fn interface(index: u32, name: &str) -> Interface {
    Interface {
        index,
        name: name.to_owned(),
        up: true,
        running: true,
        loopback: false,
        multicast: true,
        ipv4: vec![Ipv4Addr::new(10, 0, 0, 1)],
        ipv6: vec![Ipv6Addr::LOCALHOST],
    }
}

fn names(network: &Network, all: &[Interface]) -> Vec<String> {
    let links = network.choose(all).into_iter();
    links.map(|link| link.name).collect()
}

#[test]
fn bridge_mode_uses_all_that_can_be_used_and_never_loopback() {
    let mut all: Vec<Interface> = (1..)
        .zip(["lo", "eth0", "eth1", "down", "tun0", "bare"])
        .map(|(index, name)| interface(index, name))
        .collect();
    all[0].loopback = true;
    all[2].running = false;
    all[3].up = false;
    all[4].multicast = false;
    all[5].ipv4.clear();
    all[5].ipv6.clear();
    assert_eq!(names(&Network::Bridge, &all), ["eth0", "eth1"]);
}

#[test]
fn host_mode_uses_the_named_one_and_falls_back_to_none() {
    let host = |name: &str| Network::Host {
        interface: name.to_owned(),
    };
    let all = [interface(1, "eth0"), interface(2, "supervisor0")];
    assert_eq!(names(&host("supervisor0"), &all), ["supervisor0"]);
    assert!(names(&host("supervisor"), &all).is_empty());
}

#[test]
fn ipv6_is_spoken_where_there_is_no_ipv4() {
    let mut all = [interface(1, "both"), interface(2, "six")];
    all[1].ipv4.clear();
    let links = Network::Bridge.choose(&all);
    let protocols: Vec<Protocol> = links.iter().map(|link| link.protocol).collect();
    assert_eq!(protocols, [Protocol::Ipv4, Protocol::Ipv6]);
}
