//! Where the handover-complete file is, by the environment.

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;

use handover::container::{CompleteFile, DEFAULT_INTERFACE, Environment, Network};

fn environment(
    variables: &[(&'static str, &str)],
) -> Result<Environment, handover::container::EnvironmentError> {
    let variables: HashMap<&str, OsString> = variables
        .iter()
        .map(|(name, value)| (*name, OsString::from(value)))
        .collect();
    Environment::read_from(|name| variables.get(name).cloned())
}

#[test]
fn the_path_that_the_platform_names_is_taken_the_newer_variable_first() {
    let both = [
        ("BALENA_SERVICE_HANDOVER_COMPLETE_PATH", "/a/complete"),
        ("RESIN_SERVICE_KILL_ME_PATH", "/b/kill-me"),
    ];
    let found = environment(&both).unwrap().complete;
    assert_eq!(CompleteFile::named(found).path(), Path::new("/a/complete"));
    let found = environment(&both[1..]).unwrap().complete;
    assert_eq!(CompleteFile::named(found).path(), Path::new("/b/kill-me"));
    let empty = [("BALENA_SERVICE_HANDOVER_COMPLETE_PATH", ""), both[1]];
    let found = environment(&empty).unwrap().complete;
    assert_eq!(CompleteFile::named(found).path(), Path::new("/b/kill-me"));
}

#[test]
fn the_file_is_written_into_a_directory_that_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("balena/handover-complete");
    let file = CompleteFile::new(&path);
    file.write().unwrap();
    assert!(path.exists());
    file.write().expect("a second time changes nothing");
}

#[test]
fn a_file_that_cannot_be_written_says_what_follows() {
    let directory = tempfile::tempdir().unwrap();
    let in_the_way = directory.path().join("balena");
    std::fs::write(&in_the_way, "").unwrap();
    let error = CompleteFile::new(in_the_way.join("handover-complete")).write();
    let text = error.unwrap_err().to_string();
    assert!(text.contains("the successor serves"), "{text}");
}

#[test]
fn everything_has_the_defaults_of_handover_lib() {
    let usual = environment(&[]).unwrap();
    let group = Ipv4Addr::new(239, 192, 16, 16);
    assert_eq!((usual.group, usual.status_group), (group, group));
    let ports = (usual.legacy_port, usual.status_port, usual.peer_port);
    assert_eq!(ports, (1536, 1537, 1538));
    assert_eq!(usual.network, Network::Bridge);
    assert_eq!((usual.service, usual.complete), (None, None));
}

#[test]
fn every_variable_is_honoured() {
    let found = environment(&[
        ("BALENA_SERVICE_NAME", "api"),
        ("HANDOVER_NETWORK_MODE", "host"),
        ("NETWORK_INTERFACE", "br7"),
        ("SHUTDOWN_BROADCAST_ADDRESS", "239.1.2.3"),
        ("SHUTDOWN_PORT", "7"),
        ("HANDOVER_STATUS_BROADCAST_ADDRESS", "239.4.5.6"),
        ("HANDOVER_STATUS_PORT", "8"),
        ("HANDOVER_PEER_PORT", "9"),
    ]);
    let expected = Environment {
        service: Some("api".into()),
        network: Network::Host {
            interface: "br7".into(),
        },
        group: Ipv4Addr::new(239, 1, 2, 3),
        legacy_port: 7,
        status_group: Ipv4Addr::new(239, 4, 5, 6),
        status_port: 8,
        peer_port: 9,
        complete: None,
    };
    assert_eq!(found, Ok(expected));
    let host = environment(&[("HANDOVER_NETWORK_MODE", "host")]).unwrap();
    let interface = DEFAULT_INTERFACE.to_owned();
    assert_eq!(host.network, Network::Host { interface });
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_the_variable() {
    for (name, value) in [
        ("HANDOVER_NETWORK_MODE", "overlay"),
        ("SHUTDOWN_PORT", "0"),
        ("SHUTDOWN_PORT", "65536"),
        ("HANDOVER_STATUS_PORT", "x"),
        ("HANDOVER_PEER_PORT", "-1"),
        ("SHUTDOWN_BROADCAST_ADDRESS", "10.0.0.1"),
        ("HANDOVER_STATUS_BROADCAST_ADDRESS", "ff12::1"),
    ] {
        let error = environment(&[(name, value)]).unwrap_err();
        assert_eq!((error.variable, error.found.as_str()), (name, value));
        assert!(error.to_string().contains(name), "{error}");
    }
}
