//! Who may connect: mutual TLS, or trust in the network.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use handover_hub_proto::identity::NodeName;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Who may connect to a node, and whom it connects to.
#[derive(Clone, Debug, Default)]
pub enum Security {
    /// Everybody on this machine, and nobody else: only loopback addresses are listened on and
    /// connected to.
    #[default]
    Loopback,
    /// Everybody who reaches the port. For networks that nobody else is in.
    Insecure,
    /// Who has a certificate of the hub's authority.
    Tls(Tls),
}

/// Certificates for TLS 1.3 in which both sides prove who they are.
///
/// A certificate has to be good for both ends of a connection: if it has extended key usages, both
/// `serverAuth` and `clientAuth`. The node's [name](NodeName) must be among its subject alternative
/// names as a DNS name, unless [`any_name`](Self::any_name) is set.
#[derive(Clone)]
pub struct Tls {
    source: Source,
    any_name: bool,
}

#[derive(Clone)]
enum Source {
    Files {
        authority: PathBuf,
        certificate: PathBuf,
        key: PathBuf,
    },
    Pem {
        authority: Vec<u8>,
        certificate: Vec<u8>,
        key: Vec<u8>,
    },
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is nothing of the kind in it.
    #[error("no {what} in PEM: {reason}")]
    Pem {
        /// What should be there.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The parts do not fit each other, or cannot be used for TLS.
    #[error("{what}: {reason}")]
    Unusable {
        /// Which part.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The node's own certificate does not have the node's name, so that every peer would reject it.
    #[error(
        "the certificate is not for node {name:?}: add that name to its subject alternative names, or allow any name"
    )]
    Name {
        /// The node's name.
        name: String,
    },
}

impl Tls {
    /// Reads PEM files when the hub starts: certificates of the authority that all nodes trust, the
    /// node's own certificate with those between it and the authority, its private key.
    #[must_use]
    pub fn files(
        authority: impl AsRef<Path>,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Self {
        Self {
            source: Source::Files {
                authority: authority.as_ref().to_owned(),
                certificate: certificate.as_ref().to_owned(),
                key: key.as_ref().to_owned(),
            },
            any_name: false,
        }
    }

    /// The same from memory.
    #[must_use]
    pub fn pem(
        authority: impl Into<Vec<u8>>,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            source: Source::Pem {
                authority: authority.into(),
                certificate: certificate.into(),
                key: key.into(),
            },
            any_name: false,
        }
    }

    /// Accepts every certificate of the authority under every node name, for authorities that give
    /// all nodes one certificate.
    #[must_use]
    pub fn any_name(mut self) -> Self {
        self.any_name = true;
        self
    }

    fn read(&self) -> Result<[Vec<u8>; 3], TlsError> {
        match &self.source {
            Source::Files {
                authority,
                certificate,
                key,
            } => {
                let read = |path: &PathBuf| {
                    std::fs::read(path).map_err(|source| TlsError::File {
                        path: path.clone(),
                        source,
                    })
                };
                Ok([read(authority)?, read(certificate)?, read(key)?])
            }
            Source::Pem {
                authority,
                certificate,
                key,
            } => Ok([authority.clone(), certificate.clone(), key.clone()]),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("any_name", &self.any_name)
            .finish_non_exhaustive()
    }
}

/// Both ends of TLS, ready to use.
#[derive(Clone)]
pub(super) struct Ends {
    pub(super) acceptor: TlsAcceptor,
    pub(super) connector: TlsConnector,
    any_name: bool,
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}

impl Ends {
    /// Reads and checks all that a node named `name` needs. Blocks on the files.
    pub(super) fn new(tls: &Tls, name: &NodeName) -> Result<Self, TlsError> {
        let [authority, certificate, key] = tls.read()?;
        let roots = Arc::new(roots(&authority)?);
        let chain = certificates(&certificate, "certificate")?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| TlsError::Pem {
            what: "private key",
            reason: error.to_string(),
        })?;
        let provider = Arc::new(ring::default_provider());
        let unusable = |what: &'static str| {
            move |error: rustls::Error| TlsError::Unusable {
                what,
                reason: error.to_string(),
            }
        };

        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()
                .map_err(|error| TlsError::Unusable {
                    what: "authority",
                    reason: error.to_string(),
                })?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable("protocol"))?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(unusable("certificate and key"))?;
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable("protocol"))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Chain { roots, provider }))
            .with_client_auth_cert(chain.clone(), key)
            .map_err(unusable("certificate and key"))?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        client.alpn_protocols = vec![b"h2".to_vec()];
        let ends = Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
            any_name: tls.any_name,
        };
        if ends.names(chain.first(), name) {
            Ok(ends)
        } else {
            Err(TlsError::Name {
                name: name.to_string(),
            })
        }
    }

    /// Whether a peer's certificate is for a node of that name.
    pub(super) fn names(&self, leaf: Option<&CertificateDer<'_>>, name: &NodeName) -> bool {
        if self.any_name {
            return true;
        }
        let (Some(leaf), Ok(name)) = (leaf, ServerName::try_from(name.as_str())) else {
            return false;
        };
        ParsedCertificate::try_from(leaf)
            .and_then(|leaf| verify_server_name(&leaf, &name))
            .is_ok()
    }
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(TlsError::Pem {
            what,
            reason: "there is none".to_owned(),
        }),
        Err(error) => Err(TlsError::Pem {
            what,
            reason: error.to_string(),
        }),
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "authority")? {
        roots.add(certificate).map_err(|error| TlsError::Unusable {
            what: "authority",
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// Checks the chain of the node that was dialled, not its name: which node answers at an address is
/// known only after it said so, and is checked against its certificate then.
#[derive(Debug)]
struct Chain {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Chain {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General(
            "only TLS 1.3 is spoken between nodes".to_owned(),
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl Security {
    /// Whether an address may be listened on or connected to.
    pub(super) fn allows(&self, address: SocketAddr) -> bool {
        match self {
            Self::Loopback => address.ip().is_loopback(),
            Self::Insecure | Self::Tls(_) => true,
        }
    }
}
