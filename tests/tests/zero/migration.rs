//! `docs/migrate/zero-downtime.md`, command by command, as printed there.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use handover_tests::patience::until;
use handover_tests::{Program, eventually, http, process};

use crate::FIXTURE;
use crate::world::{World, fixture};

/// The commands of the page, in order, with the path and the address of this test.
fn commands(world: &World) -> Vec<String> {
    let page = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/migrate/zero-downtime.md"
    );
    let page = std::fs::read_to_string(page).expect("the page is there");
    let steps = page.split("## Step by step").nth(1).expect("the steps");
    let path = world.path().display().to_string();
    let lines = steps
        .lines()
        .filter_map(|line| line.trim().strip_prefix("$ "));
    lines
        .map(|line| line.replace("/tmp/zero-downtime.sock", &path))
        .map(|line| line.replace("localhost:9090", &world.address.to_string()))
        .collect()
}

/// A shell where the page's commands mean what they mean there.
struct Shell {
    directory: tempfile::TempDir,
    children: Vec<Child>,
}

impl Shell {
    fn new(world: &World, server: &Program) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        symlink(server.path(), at("server")).expect("linked");
        let zero = handover_tests::peer::find("HANDOVER_TEST_ZERO").expect("found before");
        let start = format!(
            "#!/bin/sh\nexec {} {} {} go\n",
            zero.display(),
            world.path().display(),
            world.address
        );
        std::fs::write(at("zero-downtime"), start).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(at("zero-downtime"), mode).expect("set");
        Self {
            directory,
            children: Vec::new(),
        }
    }

    fn command(&self, line: &str) -> Command {
        let bin = handover_tests::service::command_path();
        let bin = bin.parent().expect("a directory").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = handover_tests::service::clean("sh");
        command
            .args(["-c", &format!("exec {line}")])
            .current_dir(self.directory.path())
            .env("PATH", format!("{bin}:{path}"))
            .env("HANDOVER_RUNTIME_DIR", self.directory.path().join("run"))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command that stays in the foreground; its process.
    fn begin(&mut self, line: &str) -> u32 {
        let child = self.command(line).spawn().expect("sh runs");
        let pid = child.id();
        self.children.push(child);
        pid
    }

    fn run(&self, line: &str) {
        let status = self.command(line).status().expect("sh runs");
        assert!(status.success(), "{line}: {status}");
    }

    /// Waits until a command that stays in the foreground has ended; its exit code.
    fn ended(&mut self, pid: u32) -> Option<i32> {
        let at = self.children.iter().position(|child| child.id() == pid);
        let child = &mut self.children[at.expect("one of ours")];
        let status = eventually("it ends", || child.try_wait().expect("waits"));
        status.code()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let left = || process::of_service(&self.directory.path().join("run/web"));
        for pid in left() {
            process::signal(pid, rustix::process::Signal::KILL);
        }
        until("nothing is left", || left().is_empty());
    }
}

/// The page's commands do what it says, in its order, without an answer missed.
#[test]
fn the_page_works_as_printed() {
    let Some(world) = World::new() else { return };
    let commands = commands(&world);
    let [take, back, upgrade, rollback, run] = commands.as_slice() else {
        panic!("the page has other commands: {commands:?}")
    };
    let server = fixture("--version ours");
    let mut shell = Shell::new(&world, &server);
    let mut go = world.serving_go("go0");
    let taking = shell.begin(take);
    assert!(go.ended().success());
    world.until_only("ours");
    until("others can take over", || world.is_offered());

    server.replace(FIXTURE, "--plain --version better");
    shell.run(upgrade);
    http::until_version(world.address, "better");
    shell.run(rollback);
    http::until_version(world.address, "ours");

    let theirs = shell.begin(back);
    assert_eq!(shell.ended(taking), Some(0));
    world.until_only("go");
    until("others can take over", || world.is_offered());

    // Once with somebody to take over from, once without.
    let running = shell.begin(run);
    assert_eq!(shell.ended(theirs), Some(0));
    world.until_only("better");
    shell.run("handover stop --service web");
    assert_eq!(shell.ended(running), Some(0));
    assert!(!Path::new(&world.path()).exists());
    shell.begin(run);
    until("it serves", || http::get(world.address, "/").is_ok());
    world.until_only("better");
}
