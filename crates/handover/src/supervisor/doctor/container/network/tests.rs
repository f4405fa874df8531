use std::net::Ipv4Addr;

use super::super::super::Verdict;
use super::*;

fn interface(index: u32, name: &str) -> Interface {
    Interface {
        index,
        name: name.into(),
        up: true,
        running: true,
        loopback: name == "lo",
        multicast: name != "lo",
        ipv4: vec![Ipv4Addr::new(10, 0, 0, 1)],
        ipv6: Vec::new(),
    }
}

fn host() -> Network {
    Network::Host {
        interface: "supervisor0".into(),
    }
}

fn found(network: &Network, all: &[Interface]) -> (Verdict, String) {
    let finding = choice(network, all, false);
    assert_eq!(finding.verdict == Verdict::Ok, finding.fix.is_empty());
    // With a volume there is another way.
    let softer = choice(network, all, true).verdict;
    assert_ne!(softer, Verdict::Bad);
    (finding.verdict, finding.found)
}

#[test]
fn the_interface_of_host_mode_must_be_there() {
    let (lo, eth0) = (interface(1, "lo"), interface(2, "eth0"));
    let (verdict, text) = found(&host(), &[lo.clone(), eth0.clone()]);
    assert_eq!(verdict, Verdict::Bad);
    assert_eq!(text, "supervisor0 is missing; there are lo, eth0");
    let good = interface(3, "supervisor0");
    let with = |one: Interface| found(&host(), &[lo.clone(), eth0.clone(), one]);
    assert_eq!(with(good.clone()), (Verdict::Ok, "supervisor0".into()));
    let mut down = good.clone();
    down.up = false;
    let bad = |why: &str| (Verdict::Bad, format!("supervisor0 {why}"));
    assert_eq!(with(down), bad("is down"));
    let mut deaf = good.clone();
    deaf.multicast = false;
    assert_eq!(with(deaf), bad("takes no multicast"));
    let mut bare = good.clone();
    bare.ipv4.clear();
    assert_eq!(with(bare.clone()), bad("has no address"));
    bare.ipv6.push("fe80::1".parse().expect("an address"));
    assert_eq!(with(bare).0, Verdict::Note);
}

#[test]
fn without_an_interface_for_multicast_each_says_why() {
    let lo = interface(1, "lo");
    let mut eth0 = interface(2, "eth0");
    let usable = found(&Network::Bridge, &[lo.clone(), eth0.clone()]);
    assert_eq!(usable, (Verdict::Ok, "eth0".into()));
    eth0.multicast = false;
    let (verdict, text) = found(&Network::Bridge, &[lo, eth0]);
    assert_eq!(verdict, Verdict::Bad);
    assert_eq!(text, "none: lo is loopback, eth0 takes no multicast");
}

#[test]
fn the_mode_is_held_against_the_surroundings() {
    let around = |host: &[&str], own: &[&str]| Surroundings {
        host: host.iter().map(|sign| (*sign).to_owned()).collect(),
        own: own.iter().map(|sign| (*sign).to_owned()).collect(),
    };
    let in_host = around(&["supervisor0 is here"], &["eth0 is one end of a pair"]);
    let in_own = around(&[], &["eth0 is one end of a pair"]);
    let verdict = |network: &Network, around: &Surroundings| mode(network, around).verdict;
    assert_eq!(verdict(&Network::Bridge, &in_host), Verdict::Bad);
    assert_eq!(verdict(&host(), &in_host), Verdict::Ok);
    assert_eq!(verdict(&Network::Bridge, &in_own), Verdict::Ok);
    assert_eq!(verdict(&host(), &in_own), Verdict::Bad);
    let unknown = Surroundings::default();
    assert_eq!(verdict(&host(), &unknown), Verdict::Ok);
    assert_eq!(verdict(&Network::Bridge, &unknown), Verdict::Ok);
}

#[test]
fn an_interface_of_a_device_leads_out() {
    let class = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(class.path().join("eth0/device")).expect("made");
    std::fs::create_dir_all(class.path().join("supervisor0")).expect("made");
    assert!(leads_out("eth0", class.path()).is_some());
    assert!(leads_out("supervisor0", class.path()).is_none());
}
