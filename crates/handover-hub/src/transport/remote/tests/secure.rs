//! Mutual TLS.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::{Node, control, introduction, settings, socket};
use crate::transport::remote::{ListenError, Remote};
use crate::transport::{PeerEvent, Rejection, Security, Tls, TlsError, Transport};

/// An authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for names, and its key.
    pub(super) fn issue(&self, names: &[&str]) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &self.0)
            .unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub(super) fn tls(&self, names: &[&str]) -> Tls {
        let (certificate, key) = self.issue(names);
        Tls::pem(self.pem(), certificate, key)
    }
}

pub(super) fn node(number: u64, name: &str, tls: Tls) -> Node {
    Node::start(
        introduction(number, name),
        socket(),
        Security::Tls(tls),
        settings(),
    )
}

async fn unauthorised(node: &mut Node, by_us: bool) {
    let wanted = |event: &PeerEvent| {
        matches!(
            event,
            PeerEvent::Rejected { by_us: by, rejection: Rejection::Unauthorised { .. }, .. }
                if *by == by_us
        )
    };
    node.event(wanted).await;
}

#[tokio::test]
async fn nodes_of_one_authority_speak() {
    let authority = Authority::new();
    let mut a = node(1, "a", authority.tls(&["a"]));
    let mut b = node(2, "b", authority.tls(&["other", "b"]));
    a.learn(&b);
    b.learn(&a);
    a.connected(b.id()).await;
    b.connected(a.id()).await;
    a.transport.send(b.id(), control("secret")).unwrap();
    assert_eq!(b.control().await, (a.id(), control("secret")));
}

#[tokio::test]
async fn another_authority_is_not_trusted_either_way() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let mut a = node(1, "a", ours.tls(&["a"]));
    let mut b = node(2, "b", theirs.tls(&["b"]));
    // Who dials sees the certificate of who answers first.
    a.learn(&b);
    unauthorised(&mut a, true).await;
    b.learn(&a);
    unauthorised(&mut b, true).await;
    assert!(a.transport.send(b.id(), control("x")).is_err());

    // One that trusts both is still not trusted by who trusts only one.
    let (certificate, key) = theirs.issue(&["c"]);
    let both = Tls::pem(ours.pem() + &theirs.pem(), certificate, key);
    let c = node(3, "c", both);
    c.learn(&a);
    tokio::time::timeout(super::PATIENCE, async {
        while a.transport.counts().rejected == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    assert!(c.transport.send(a.id(), control("x")).is_err() || a.incoming.control.is_empty());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_rejected_by_who_answers_and_by_who_dials() {
    let authority = Authority::new();
    let mut a = node(1, "a", authority.tls(&["a"]));
    // It does not check names, so that it starts with a certificate for another one.
    let mut b = node(2, "b", authority.tls(&["c"]).any_name());
    b.learn(&a);
    unauthorised(&mut a, true).await;
    unauthorised(&mut b, false).await;
    a.learn(&b);
    unauthorised(&mut a, true).await;
    unauthorised(&mut b, false).await;

    let mut any = node(4, "d", authority.tls(&["d"]).any_name());
    b.learn(&any);
    b.connected(any.id()).await;
    any.learn(&b);
    any.connected(b.id()).await;
}

#[tokio::test]
async fn certificates_that_cannot_work_are_said_at_the_start() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue(&["a"]);
    let (_, other_key) = authority.issue(&["a"]);
    let start = |tls: Tls| {
        let security = Security::Tls(tls);
        match Remote::listen(introduction(1, "a"), socket(), security, settings()) {
            Err(ListenError::Tls(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(
        start(authority.tls(&["b"])),
        TlsError::Name { .. }
    ));
    assert!(matches!(
        start(Tls::pem("", certificate.clone(), key.clone())),
        TlsError::Pem {
            what: "authority",
            ..
        }
    ));
    assert!(matches!(
        start(Tls::pem(authority.pem(), certificate.clone(), "nonsense")),
        TlsError::Pem {
            what: "private key",
            ..
        }
    ));
    assert!(matches!(
        start(Tls::pem(authority.pem(), certificate, other_key)),
        TlsError::Unusable { .. }
    ));
    assert!(matches!(
        start(Tls::files(
            "/nonexistent/ca",
            "/nonexistent/c",
            "/nonexistent/k"
        )),
        TlsError::File { .. }
    ));
}

#[tokio::test]
async fn files_are_as_good_as_memory() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = authority.issue(&["a"]);
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("ca"), authority.pem()).unwrap();
    std::fs::write(path("cert"), certificate).unwrap();
    std::fs::write(path("key"), key).unwrap();
    let a = node(1, "a", Tls::files(path("ca"), path("cert"), path("key")));
    let mut b = node(2, "b", authority.tls(&["b"]));
    b.learn(&a);
    b.connected(a.id()).await;
}

#[tokio::test]
async fn without_tls_only_loopback_is_spoken_with() {
    let everywhere = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let refused = Remote::listen(
        introduction(1, "a"),
        everywhere.try_clone().unwrap(),
        Security::Loopback,
        settings(),
    );
    assert!(matches!(refused, Err(ListenError::NotLoopback { .. })));
    let unspecified = Remote::listen(
        introduction(1, "a"),
        everywhere,
        Security::Insecure,
        settings(),
    );
    assert!(matches!(unspecified, Err(ListenError::Unspecified { .. })));

    let mut a = Node::plain(1, "a");
    // TEST-NET-1: nothing is sent there.
    a.transport
        .learn(handover_hub_proto::identity::NodeId(9), "192.0.2.1:1");
    unauthorised(&mut a, true).await;
}
