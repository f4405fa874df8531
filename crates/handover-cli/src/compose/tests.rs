use super::*;

fn service(text: &str, name: Option<&str>) -> Result<Composed, ComposeError> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    read(file.path(), name, |variable| match variable {
        "SET" => Some("host".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    })
}

fn only(body: &str) -> Composed {
    service(&format!("services:\n  web:\n{body}"), None).expect("read")
}

#[test]
fn every_way_to_write_a_service_means_the_same() {
    let short = only(
        "    entrypoint: /handover peer --volume /shared -- '/my server' \"a b\" c\\ d\n\
         \x20   labels: [io.balena.update.strategy=hand-over]\n\
         \x20   environment: [HANDOVER_NETWORK_MODE=host, PASSED]\n\
         \x20   volumes: ['data:/shared:rw', /scratch]\n\
         \x20   ports: ['8080:80', '90']\n",
    );
    let long = only(
        "    entrypoint: [/handover, peer]\n\
         \x20   command: [--volume, /shared, --, /my server, a b, c d]\n\
         \x20   labels: {io.balena.update.strategy: hand-over}\n\
         \x20   environment: {HANDOVER_NETWORK_MODE: host, PASSED: }\n\
         \x20   volumes:\n\
         \x20     - {type: volume, source: data, target: /shared}\n\
         \x20     - {type: tmpfs, source: x, target: /scratch}\n\
         \x20   ports:\n\
         \x20     - {target: 80, published: '8080:80'}\n\
         \x20     - {target: 90}\n",
    );
    assert_eq!(short, long);
    let words = ["/handover", "peer", "--volume", "/shared", "--"];
    let program = ["/my server", "a b", "c d"];
    assert_eq!(short.command, [&words[..], &program[..]].concat());
    assert_eq!(short.mounts.len(), 2);
    assert_eq!(short.mounts[1].source, None);
    assert_eq!(short.published, ["8080:80"]);
    assert_eq!(short.environment["PASSED"], "");
}

#[test]
fn a_command_for_the_entry_point_of_the_image_is_left_out() {
    assert!(
        only("    command: [--volume, /shared]\n")
            .command
            .is_empty()
    );
    let words = only("    command: handover peer\n").command;
    assert_eq!(words, ["handover", "peer"]);
}

#[test]
fn variables_are_put_in_as_compose_does() {
    let of = |value: &str| only(&format!("    network_mode: '{value}'\n")).network_mode;
    for (text, value) in [
        ("$SET", "host"),
        ("${SET}", "host"),
        ("${SET:-bridge}", "host"),
        ("${NONE:-bridge}", "bridge"),
        ("${NONE-bridge}", "bridge"),
        ("${EMPTY:-bridge}", "bridge"),
        ("a${SET}b", "ahostb"),
        ("$$SET", "$SET"),
        ("${NONE}", "${NONE}"),
        ("x$NONE.y", "x$NONE.y"),
        ("${NONE:?it is needed}", "${NONE:?it is needed}"),
        ("${SET", "${SET"),
        ("end$", "end$"),
        ("$ SET", "$ SET"),
    ] {
        assert_eq!(of(text).as_deref(), Some(value), "{text}");
    }
}

#[test]
fn the_service_that_is_handed_over_is_found() {
    let text = "services:\n  db: {image: x}\n  web:\n    entrypoint: [/handover, peer]\n";
    assert_eq!(service(text, None).unwrap().name, "web");
    assert_eq!(service(text, Some("db")).unwrap().name, "db");
    let error = service(text, Some("api")).unwrap_err();
    assert!(
        matches!(&error, ComposeError::NoSuchService { found, .. } if found == "db, web"),
        "{error}"
    );
    let error = service("services: {a: {image: x}, b: {image: y}}", None).unwrap_err();
    assert!(matches!(error, ComposeError::Ambiguous { .. }), "{error}");
}

#[test]
fn what_is_no_compose_file_is_told_apart() {
    let error = read(Path::new("/nowhere/compose.yml"), None, |_| None).unwrap_err();
    assert!(matches!(error, ComposeError::Read { .. }));
    for text in ["", "services:", "services: []", "a: b"] {
        let error = service(text, None).unwrap_err();
        assert!(matches!(error, ComposeError::NoServices { .. }), "{error}");
    }
    let error = service("a: [", None).unwrap_err();
    assert!(matches!(error, ComposeError::Yaml { .. }), "{error}");
    let endless = "#".repeat(usize::try_from(SIZE).unwrap() + 1);
    let error = service(&endless, None).unwrap_err();
    assert!(matches!(error, ComposeError::TooLong { .. }), "{error}");
}
