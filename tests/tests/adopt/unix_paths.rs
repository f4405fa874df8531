//! A Unix socket's path outlives the old program, although that removes it when it ends.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use handover_tests::patience::{eventually, until};
use handover_tests::{Builder, Stranger, load, peer};

use crate::under_load::nginx_configuration;
use crate::{first_outcome, until_gone};

fn version(path: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().last().unwrap_or_default().to_owned())
}

/// nginx on a path, and another configuration of it beside.
fn old(nginx: &Path) -> Stranger {
    let path = nginx.display().to_string();
    let words = [&path, "-c", "{dir}/old.conf", "-g", "daemon off;"];
    let stranger = Stranger::launch(&words, |directory| {
        let listen = format!("unix:{}/s", directory.path().display());
        for version in ["old", "new", "bad"] {
            let text = nginx_configuration(directory.path(), version, &listen);
            let text = text.replace("version bad;", "version bad; no_such_directive on;");
            std::fs::write(directory.path().join(format!("{version}.conf")), text)
                .expect("written");
        }
    });
    eventually("it serves", || version(&stranger.file("s")).ok());
    stranger
}

fn adopt(nginx: &Path, stranger: &Stranger, configuration: &str) -> Builder {
    let configuration = stranger.file(configuration).display().to_string();
    // Both answer at the path until the old one goes.
    let ask = "curl --silent --unix-socket ../s http://nginx/ | grep --quiet new";
    let ask = ask.replace("../s", &stranger.file("s").display().to_string());
    Builder::bare(nginx)
        .args(["-c", &configuration])
        .flags([
            "--stop-signal",
            "QUIT",
            "--ready",
            &format!("command:{ask}"),
        ])
        .adopt(stranger.pid())
}

#[test]
fn the_path_is_put_back_and_removed_by_the_last() {
    let Some(nginx) = peer::find("HANDOVER_TEST_NGINX") else {
        return;
    };
    let stranger = old(&nginx);
    let path = stranger.file("s");
    let mut service = adopt(&nginx, &stranger, "new.conf").launch();
    assert!(load::committed(&first_outcome(&service)));
    until_gone(&service);
    until("the new version answers", || {
        version(&path).is_ok_and(|version| version == "new")
    });
    let names: Vec<_> = std::fs::read_dir(stranger.directory.path())
        .expect("lists")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("s.") || name == "s")
        .collect();
    assert_eq!(names, ["s"]);
    assert!(service.cli(&["stop"]).status.success());
    service.ended();
    assert!(!path.exists());
}

#[test]
fn a_failed_adoption_leaves_the_path_alone() {
    let Some(nginx) = peer::find("HANDOVER_TEST_NGINX") else {
        return;
    };
    let stranger = old(&nginx);
    let mut service = adopt(&nginx, &stranger, "bad.conf").launch();
    assert_eq!(service.ended().code(), Some(10));
    assert_eq!(version(&stranger.file("s")).expect("answers"), "old");
}
