//! `handover hub` as an operator types it, against nodes that are processes of their own.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use handover_tests::eventually;
use handover_tests::service::{clean, command_path};
use serde_json::Value;

/// Nodes in a runtime directory of their own.
struct Nodes {
    directory: tempfile::TempDir,
    running: Vec<(String, SocketAddr, Child)>,
}

impl Nodes {
    fn new(names: &[&str]) -> Self {
        let mut nodes = Self {
            directory: tempfile::tempdir().unwrap(),
            running: Vec::new(),
        };
        for name in names {
            nodes.start(name);
        }
        let socket = nodes.socket(names[0]);
        eventually("all are members, and homes", || {
            let listed = json_lines(&nodes.ask(&["nodes", "--socket", &socket]));
            let homes = |node: &Value| node["shards"].as_u64().is_some_and(|homes| homes > 0);
            (listed.len() == names.len() && listed.iter().all(homes)).then_some(())
        });
        nodes
    }

    fn start(&mut self, name: &str) {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = bound.local_addr().unwrap();
        drop(bound);
        let log = File::create(self.directory.path().join(format!("{name}.log"))).unwrap();
        let mut command = clean(command_path());
        command
            .args(["hub", "demo-node", "--node", name, "--listen"])
            .arg(address.to_string())
            .arg("--runtime-dir")
            .arg(self.directory.path());
        for (_, seed, _) in &self.running {
            command.arg("--seed").arg(seed.to_string());
        }
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running.push((name.to_owned(), address, child));
        eventually("the node answers", || {
            let asked = self.ask(&["nodes", "--socket", &self.socket(name)]);
            asked.status.success().then_some(())
        });
    }

    fn socket(&self, node: &str) -> String {
        let path: PathBuf = self.directory.path().join(format!("hub-demo-{node}.sock"));
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = clean(command_path());
        command
            .args(["hub", "--runtime-dir"])
            .arg(self.directory.path())
            .args(words);
        command
    }

    /// As JSON.
    fn ask(&self, words: &[&str]) -> Output {
        let mut command = self.command(words);
        command.args(["--format", "json"]).output().unwrap()
    }

    /// The exit code, and what was said.
    fn said(&self, words: &[&str]) -> (i32, String) {
        let output = self.command(words).output().unwrap();
        let words = [output.stdout, output.stderr].concat();
        let words = String::from_utf8_lossy(&words).into_owned();
        (output.status.code().unwrap(), words)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for (_, _, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn json_lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn refused(nodes: &Nodes, words: &[&str], code: i32, reason: &str) {
    let (found, said) = nodes.said(words);
    assert!(said.contains(reason), "{words:?}: {said}");
    assert_eq!(found, code, "{words:?}: {said}");
}

#[test]
fn nodes_are_found_shown_emptied_and_filled_again() {
    let nodes = Nodes::new(&["a"]);
    // The only one needs no name.
    let (code, said) = nodes.said(&["nodes"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("demo  1 node, 0 processes"), "{said}");
    refused(&nodes, &["evacuate", "a"], 11, "start another node");
    drop(nodes);

    let nodes = Nodes::new(&["a", "b", "c"]);
    refused(&nodes, &["nodes"], 2, "several nodes run here");
    let socket = nodes.socket("b");
    let on = |words: &[&'static str]| [&["--socket", socket.as_str()], words].concat();
    for (words, code, reason) in [
        (&["evacuate", "z"][..], 11, "these are: a, b, c"),
        (&["evacuate", "a", "--to", "a"], 2, "into itself"),
        (&["evacuate", "a", "--abort"], 11, "is not being emptied"),
        (&["evacuate", "a", "--rate", "0/s"], 2, "at least 1/s"),
        (&["whereis", "nobody"], 11, "`handover hub ps`"),
        (&["move", "nobody", "b"], 11, "no process is called nobody"),
        (&["pin", "nobody", "b"], 11, "no process is called nobody"),
        (&["top"], 2, "handover hub nodes"),
    ] {
        refused(&nodes, &on(words), code, reason);
    }
    let (code, said) = nodes.said(&on(&["evacuate", "c", "--rate", "500/s"]));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("node c is empty"), "{said}");
    refused(&nodes, &on(&["evacuate", "c"]), 11, "evacuate c --abort");
    let (_, said) = nodes.said(&on(&["nodes"]));
    assert!(said.contains("no, being emptied"), "{said}");
    let (code, said) = nodes.said(&on(&["evacuate", "c", "--abort"]));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("takes processes again"), "{said}");
    assert_eq!(
        nodes.said(&on(&["ps"])),
        (0, "no process fits\n".to_owned())
    );
}

#[test]
fn nobody_who_runs_is_said_to_run() {
    let empty = tempfile::tempdir().unwrap();
    let nodes = Nodes {
        directory: empty,
        running: Vec::new(),
    };
    refused(&nodes, &["nodes"], 13, "no node of a hub runs here");
    refused(
        &nodes,
        &["ps", "--socket", "/nonexistent"],
        13,
        "no node listens",
    );
}

/// A node joins, one leaves, one is killed, and nothing that is promised is lost.
#[test]
fn the_demo_keeps_what_is_promised() {
    let mut command = clean(command_path());
    command.args(["hub", "demo", "--processes", "500", "--clients", "8"]);
    let output = command.args(["--format", "json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "kept");
    let phases = report["phases"].as_array().unwrap();
    assert_eq!(phases.len(), 4);
    for (phase, moves) in phases.iter().zip([false, true, true, false]) {
        assert!(phase["calls"]["count"].as_u64().unwrap() > 0, "{phase}");
        assert_eq!(
            phase["moves"]["count"].as_u64().unwrap() > 0,
            moves,
            "{phase}"
        );
        assert_eq!(
            (&phase["lost"], &phase["doubled"]),
            (&Value::from(0), &Value::from(0))
        );
    }
    // It had something to lose: what only the killed node had is gone, and said to be.
    assert!(phases[3]["lost_with_their_node"].as_u64().unwrap() > 0);
}
