//! Listeners cross the volume, within one network namespace.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use handover::container::{
    Builder, Conduct, Crossed, CrossingError, Environment, Legacy, Peer, Phase,
};
use handover_proto::manifest::{ListenerEntry, ListenerKind};

use crate::world::{Namespace, World, can_make_networks};

fn builder(volume: &tempfile::TempDir) -> Builder {
    Peer::builder("api")
        .environment(Environment::default())
        .volume(volume.path())
        .legacy(Legacy::Off)
        .complete_file(volume.path().join("complete"))
}

fn bound() -> (TcpListener, Crossed) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let entry = ListenerEntry {
        name: "http".into(),
        kind: ListenerKind::Tcp,
        address: listener.local_addr().unwrap().to_string(),
    };
    let fd = OwnedFd::from(listener.try_clone().unwrap());
    (listener, Crossed { entry, fd })
}

async fn serving(conduct: &Conduct) {
    conduct.teller().ready();
    tokio::time::timeout(Duration::from_secs(60), async {
        while conduct.standing().phase != Phase::Serving {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("it serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_very_socket_crosses_with_what_waits_in_its_queue() {
    let volume = tempfile::tempdir().unwrap();
    let old = builder(&volume).conduct().unwrap();
    let young = builder(&volume).conduct().unwrap();
    let nobody = young.take_listeners().await.unwrap_err();
    assert!(matches!(nobody, CrossingError::Nobody), "{nobody}");
    serving(&old).await;
    let none = young.take_listeners().await.unwrap_err();
    assert!(matches!(none, CrossingError::Refused { .. }), "{none}");
    let (listener, offered) = bound();
    let address = listener.local_addr().unwrap();
    old.offer_listeners(vec![offered]);
    let mut waiting = TcpStream::connect(address).unwrap();
    waiting.write_all(b"hello").unwrap();
    drop(listener);

    let crossed = young.take_listeners().await.unwrap();
    assert_eq!(crossed.len(), 1);
    let Crossed { entry, fd } = crossed.into_iter().next().unwrap();
    assert_eq!(
        (entry.name.as_str(), entry.kind),
        ("http", ListenerKind::Tcp)
    );
    assert_eq!(entry.address, address.to_string());
    drop(old);
    let (mut accepted, _) = TcpListener::from(fd).accept().unwrap();
    let mut text = [0; 5];
    accepted.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_gets_none() {
    let volume = tempfile::tempdir().unwrap();
    let api = builder(&volume).conduct().unwrap();
    serving(&api).await;
    api.offer_listeners(vec![bound().1]);
    let web = Peer::builder("web")
        .environment(Environment::default())
        .volume(volume.path())
        .legacy(Legacy::Off)
        .conduct()
        .unwrap();
    let error = web.take_listeners().await.unwrap_err();
    assert!(matches!(error, CrossingError::Nobody), "{error}");
    let same = builder(&volume).conduct().unwrap();
    assert_eq!(same.take_listeners().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_serves_is_answered_by_whoever_does() {
    let volume = tempfile::tempdir().unwrap();
    let old = builder(&volume).conduct().unwrap();
    let within = Duration::from_millis(300);
    let nobody = builder(&volume).who_serves(within).await.unwrap();
    assert_eq!(nobody, []);
    serving(&old).await;
    let within = Duration::from_secs(2);
    let found = builder(&volume).who_serves(within).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].peer, old.standing().peer);
    assert_eq!(found[0].order, old.standing().order);
}

#[tokio::test(flavor = "multi_thread")]
async fn into_another_network_none_cross_and_the_reason_is_told() {
    if !can_make_networks() {
        return;
    }
    let mut world = World::with_volume();
    let old = Peer::builder("api")
        .environment(Environment::default())
        .volume(world.path("volume"))
        .legacy(Legacy::Off)
        .conduct()
        .unwrap();
    serving(&old).await;
    old.offer_listeners(vec![bound().1]);
    world.set("ACTOR_TAKES", "yes");
    let reason = tokio::task::spawn_blocking(move || {
        let elsewhere = Namespace::new();
        let there = world
            .start_in(Some(&elsewhere), "there")
            .says("took none: ");
        // The same in the same network, so it was the network.
        assert_eq!(world.start("here").says("took "), "http");
        there
    });
    let reason = reason.await.unwrap();
    assert!(reason.contains("network_mode: host"), "{reason}");
}
