//! The migration page's commands do what the page says, as they are printed; only its port is
//! another one.

use std::fs;
use std::path::Path;

use handover_tests::patience::until;
use handover_tests::service::{clean, command_path};
use handover_tests::stranger::free_port;
use handover_tests::{peer, process};
use rustix::process::Signal;

const PAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/migrate/nginx-signals.md"
);

/// The fenced blocks of this language, in order.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let mut blocks = page.split(&fence).skip(1);
    let mut found = Vec::new();
    for block in &mut blocks {
        let (block, _) = block.split_once("```").expect("a fence");
        found.push(block.to_owned());
    }
    found
}

/// Whatever was left of the page's commands.
struct Leftovers<'a>(&'a Path);

impl Drop for Leftovers<'_> {
    fn drop(&mut self) {
        for pid in process::with_in_environment(self.0) {
            if pid != std::process::id() {
                process::signal(pid, Signal::KILL);
            }
        }
    }
}

#[test]
fn the_page_works_as_printed() {
    let Some(nginx) = peer::find("HANDOVER_TEST_NGINX") else {
        return;
    };
    // Debian's has directories of its own compiled in.
    if !peer::root() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let port = free_port().to_string();
    let page = fs::read_to_string(PAGE).expect("the page");
    let page = page.replace("8080", &port);
    let configuration = blocks(&page, "nginx").remove(0);
    fs::write(directory.path().join("nginx.conf"), configuration).expect("written");
    let commands = blocks(&page, "sh");
    assert!(commands.len() >= 8, "{}", commands.len());
    let script = format!("set -eu\n{}", commands.join("\necho \"== done\"\n"));

    let folders = [command_path(), nginx].map(|path| path.parent().expect("a folder").to_owned());
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = folders.into_iter().chain(std::env::split_paths(&inherited));
    let _leftovers = Leftovers(directory.path());
    let output = clean("timeout")
        .args(["120", "sh", "-c", &script])
        .current_dir(directory.path())
        .env("PATH", std::env::join_paths(path).expect("a path"))
        .env("HANDOVER_RUNTIME_DIR", directory.path().join("run"))
        .output()
        .expect("a shell");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let log = fs::read_to_string(directory.path().join("handover.log")).unwrap_or_default();
    assert!(output.status.success(), "{stdout}\n{stderr}\n{log}");
    let said = |text: &str| assert!(stdout.contains(text), "no {text:?} in {stdout}\n{stderr}");
    said("exit code 11, and still: hello");
    assert!(stderr.contains("SIGQUIT"), "{stderr}");
    assert_eq!(stdout.matches("== done").count(), commands.len() - 1);
    until("nothing is left", || {
        process::with_in_environment(directory.path()).is_empty()
    });
}
