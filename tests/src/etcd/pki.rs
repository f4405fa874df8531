//! An authority and what it vouches for: the servers, one client; and a stranger to it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};

/// Certificates and keys in files.
#[derive(Debug)]
pub struct Pki {
    /// The authority.
    pub authority: PathBuf,
    /// Another authority, which vouches for nothing here.
    pub stranger: PathBuf,
    /// A client's certificate and key.
    pub client: (PathBuf, PathBuf),
    server: (PathBuf, PathBuf),
}

impl Pki {
    pub(super) fn new(directory: &Path, addresses: &[Ipv4Addr]) -> Self {
        let (authority, issuer) = authority(directory, "authority");
        let (stranger, _) = self::authority(directory, "stranger");
        Self {
            authority,
            stranger,
            client: leaf(directory, "client", &[], &issuer),
            server: leaf(directory, "server", addresses, &issuer),
        }
    }

    pub(super) fn server_arguments(&self) -> [String; 4] {
        [
            format!("--cert-file={}", self.server.0.display()),
            format!("--key-file={}", self.server.1.display()),
            format!("--trusted-ca-file={}", self.authority.display()),
            "--client-cert-auth".to_owned(),
        ]
    }

    pub(super) fn client_arguments(&self) -> [String; 3] {
        [
            format!("--cacert={}", self.authority.display()),
            format!("--cert={}", self.client.0.display()),
            format!("--key={}", self.client.1.display()),
        ]
    }
}

fn authority(directory: &Path, name: &str) -> (PathBuf, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let file = directory.join(format!("{name}.pem"));
    fs::write(&file, certificate.pem()).expect("written");
    (file, Issuer::new(params, key))
}

fn leaf(
    directory: &Path,
    name: &str,
    addresses: &[Ipv4Addr],
    issuer: &Issuer<'_, KeyPair>,
) -> (PathBuf, PathBuf) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let names = addresses.iter().chain([&Ipv4Addr::LOCALHOST]);
    let names = names.map(|address| SanType::IpAddress(IpAddr::V4(*address)));
    params.subject_alt_names = names.collect();
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    let files = (
        directory.join(format!("{name}.pem")),
        directory.join(format!("{name}.key")),
    );
    fs::write(&files.0, certificate.pem()).expect("written");
    fs::write(&files.1, key.serialize_pem()).expect("written");
    files
}
