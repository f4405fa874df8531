//! Who cannot join is told why.

use std::path::PathBuf;
use std::time::Duration;

use handover_hub::engine::etcd::Etcd as Engine;
use handover_hub::engine::{Charter, Engine as _, EngineError, Post};
use handover_hub_proto::identity::NodeId;
use handover_hub_proto::placement::Distribution;
use handover_hub_proto::view::EngineOrder;
use handover_tests::etcd::{Etcd, Recipe};

use crate::seat::{Checker, SHARDS, Seat, charter, hub, member, start};

const TLS: Recipe = Recipe {
    three: false,
    tls: true,
    quota: None,
};

async fn refusal(engine: Engine) -> EngineError {
    match start(engine, member(9)).await {
        Err(error) => error,
        Ok(_) => panic!("it joined"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_right_password_joins_and_others_are_told() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    etcd.want_users("/handover/");
    let engine = || Engine::connect(etcd.endpoints());
    let mut a = Seat::join(engine().user("hub", "hub"), 1, &Checker::default()).await;
    a.take(0..4).await;
    let wrong = refusal(engine().user("hub", "wrong")).await;
    assert!(
        matches!(&wrong, EngineError::Credentials { user, .. } if user == "user hub"),
        "{wrong}"
    );
    let nobody = refusal(engine()).await;
    assert!(
        matches!(&nobody, EngineError::Credentials { user, .. } if user == "nobody"),
        "{nobody}"
    );
    let elsewhere = refusal(engine().user("hub", "hub").prefix("/elsewhere")).await;
    assert!(
        matches!(&elsewhere, EngineError::Forbidden { prefix, .. } if prefix == "/elsewhere/sessions/"),
        "{elsewhere}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_is_replaced() {
    let Some(mut etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    etcd.want_users("/handover/");
    let engine = Engine::connect(etcd.endpoints()).user("hub", "hub");
    let mut a = Seat::join(engine, 1, &Checker::default()).await;
    // etcd's simple tokens are in its memory only.
    etcd.member(0).kill();
    etcd.member(0).start();
    a.take(0..4).await;
    assert!(a.session.valid.holds());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_right_authority_joins_and_others_are_told() {
    let Some(etcd) = Etcd::start(TLS) else {
        return;
    };
    let pki = etcd.pki();
    let engine = || Engine::connect(etcd.endpoints());
    let (certificate, key) = &pki.client;
    let trusted = engine().certificate_authority(&pki.authority);
    let whole = trusted.clone().certificate(certificate, key);
    let mut a = Seat::join(whole, 1, &Checker::default()).await;
    a.take(0..4).await;
    let stranger = engine().certificate_authority(&pki.stranger);
    let stranger = refusal(stranger.certificate(certificate, key)).await;
    assert!(
        matches!(stranger, EngineError::Untrusted { .. }),
        "{stranger}"
    );
    let without = refusal(trusted.start_timeout(Duration::from_secs(1))).await;
    // Its answer is an alert, behind which it closes the connection: the alert may be lost.
    let said = match &without {
        EngineError::Untrusted { .. } => true,
        EngineError::Unreachable { reason, .. } => reason.contains("a certificate of its clients"),
        _ => false,
    };
    assert!(said, "{without}");
    let missing = refusal(engine().certificate_authority(PathBuf::from("/nowhere.pem"))).await;
    assert!(
        matches!(&missing, EngineError::File { path, .. } if path == "/nowhere.pem"),
        "{missing}"
    );
    let plain = etcd.endpoints()[0].replace("https", "http");
    let plain = Engine::connect([plain]).start_timeout(Duration::from_secs(1));
    let plain = refusal(plain).await;
    assert!(matches!(plain, EngineError::Unreachable { .. }), "{plain}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_used_once_and_free_when_its_lease_has_ended() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let engine = || Engine::connect(etcd.endpoints()).lease(Duration::from_secs(2));
    let a = Seat::join(engine(), 1, &Checker::default()).await;
    let mut namesake = member(2);
    namesake.name = member(1).name;
    let Err(error) = start(engine(), namesake.clone()).await else {
        panic!("it joined");
    };
    let taken = EngineError::NameTaken {
        name: member(1).name,
        node: NodeId(1),
        address: member(1).address,
    };
    assert_eq!(error, taken);
    assert!(a.session.valid.holds());
    drop(a);
    let second = start(engine(), namesake).await;
    assert!(second.is_ok_and(|session| session.valid.holds()));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_of_a_hub_have_the_same_number_of_shards() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let engine = || Engine::connect(etcd.endpoints());
    let _a = Seat::join(engine(), 1, &Checker::default()).await;
    let more = Charter {
        shards: SHARDS + 1,
        ..charter()
    };
    let other = Box::new(engine()).start(member(2), more, Post::new().0);
    let expected = EngineError::Shards {
        hub: hub(),
        expected: SHARDS,
        found: SHARDS + 1,
    };
    assert_eq!(other.await.map(drop), Err(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_that_run_have_the_same_settings() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let engine = || Engine::connect(etcd.endpoints());
    let mut other = charter();
    other.agreement.distribution = Distribution::Guided;
    let join = |id| Box::new(engine()).start(member(id), other.clone(), Post::new().0);
    let mut first = Seat::join(engine(), 1, &Checker::default()).await;
    first.take(0..4).await;
    let expected = EngineError::Disagreement {
        hub: hub(),
        setting: "distribution".to_owned(),
        expected: "Consistent".to_owned(),
        found: "Guided".to_owned(),
    };
    assert_eq!(join(2).await.map(drop), Err(expected));
    // Nobody was disturbed by it, and the name is free.
    assert!(first.session.valid.holds());
    let second = Seat::join(engine(), 2, &Checker::default()).await;

    // Once no node runs the setting may be another one, and again there is one only.
    for mut seat in [first, second] {
        seat.order(EngineOrder::Leave).await;
    }
    let mut id = 3;
    let third = loop {
        match join(id).await {
            Ok(session) => break session,
            Err(error) => assert!(matches!(error, EngineError::Disagreement { .. }), "{error}"),
        }
        id += 1;
    };
    let usual = start(engine(), member(2)).await.map(drop);
    assert!(matches!(usual, Err(EngineError::Disagreement { .. })));
    assert!(third.valid.holds());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_etcd_is_that_is_said() {
    let nowhere = Engine::connect(["http://127.0.0.1:1"]).start_timeout(Duration::from_secs(1));
    let error = refusal(nowhere).await;
    assert!(
        matches!(&error, EngineError::Unreachable { reason, .. } if reason.contains("refused")),
        "{error}"
    );
    let none = refusal(Engine::connect(Vec::<String>::new())).await;
    assert!(matches!(none, EngineError::Setting { .. }), "{none}");
    let short = Engine::connect(["http://127.0.0.1:1"]).lease(Duration::from_millis(1500));
    let short = refusal(short).await;
    assert!(
        matches!(
            short,
            EngineError::Setting {
                setting: "the lease",
                ..
            }
        ),
        "{short}"
    );
}
