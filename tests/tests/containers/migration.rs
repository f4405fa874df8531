//! `docs/migrate/handover-lib.md`: what it shows is built and run, command by command.

use std::fs;
use std::path::{Path, PathBuf};

use handover_tests::network::{Bridge, Container, Entrypoint, possible};
use handover_tests::patience::until;
use handover_tests::{peer, service};
use tempfile::TempDir;

/// The server that the page leads to, of this build.
const FROM_HANDOVER_LIB: &str = env!("CARGO_BIN_EXE_from-handover-lib");

const PAGE: &str = include_str!("../../../docs/migrate/handover-lib.md");

/// The text of the page's blocks of this kind.
fn blocks(kind: &str) -> Vec<&'static str> {
    let begin = format!("```{kind}\n");
    let parts = PAGE.split(begin.as_str()).skip(1);
    parts.filter_map(|part| part.split("```").next()).collect()
}

/// Its commands, in order.
fn commands() -> Vec<&'static str> {
    let lines = blocks("console").into_iter().flat_map(str::lines);
    lines.filter_map(|line| line.strip_prefix("$ ")).collect()
}

#[test]
fn the_page_shows_the_server_that_is_tested() {
    let built = include_str!("../../src/bin/from-handover-lib.rs");
    assert_eq!(blocks("rust"), [built]);
}

/// Where a service is, release after release.
struct World {
    bridge: Bridge,
    volume: TempDir,
    curl: PathBuf,
    modules: PathBuf,
    path: String,
}

/// A container and what runs in it.
struct Release {
    container: Container,
    entrypoint: Entrypoint,
    name: &'static str,
}

impl World {
    /// `None`, with the reason printed, where something is not installed.
    fn new() -> Option<Self> {
        let node = peer::find("HANDOVER_TEST_NODE")?;
        let modules = peer::find("HANDOVER_TEST_HANDOVER_LIB")?;
        let curl = peer::installed("curl").filter(|_| possible())?;
        // Containers have a /tmp of their own each, so it is beside the programs.
        let built = service::command_path();
        let built = built.parent().expect("a directory");
        let path = [built, node.parent().expect("a directory")];
        let path = path.map(|folder| folder.display().to_string()).join(":");
        Some(Self {
            bridge: Bridge::new(),
            volume: tempfile::tempdir_in(built).expect("a directory"),
            curl,
            modules,
            path: format!("{path}:{}", std::env::var("PATH").unwrap_or_default()),
        })
    }

    /// Starts a release by this command of the page, and waits until it serves.
    fn release(&self, name: &'static str, line: &str) -> Release {
        let container = self.bridge.container();
        let place = container.file("/tmp/srv");
        fs::create_dir(&place).expect("made");
        let files = ["server.js", "under-handover.js"];
        for (file, text) in files.into_iter().zip(blocks("js")) {
            fs::write(place.join(file), text).expect("written");
        }
        let volume = self.volume.path().display().to_string();
        let line = line.replace("/srv/", "/tmp/srv/");
        let line = line.replace("/shared", &volume);
        let mut command = container.command("sh");
        command
            .args(["-c", &format!("cd /tmp/srv && exec {line}")])
            .env("PATH", &self.path)
            .env("NODE_PATH", &self.modules)
            .env("RELEASE", name)
            .env("BALENA_SERVICE_NAME", "web")
            // As the page says, only sooner.
            .env("HANDOVER_DRAIN_NOTIFY", "1s")
            .env("HANDOVER_PROBATION", "1s");
        let entrypoint = container.start(command);
        let release = Release {
            container,
            entrypoint,
            name,
        };
        until(&format!("{name} serves"), || self.serves(&release));
        release
    }

    /// Whether the server of this release answers, in its container.
    fn serves(&self, release: &Release) -> bool {
        let mut curl = release.container.network().command(&self.curl);
        curl.args(["--silent", "--max-time", "60", "http://127.0.0.1:8080/"]);
        let output = curl.output().expect("curl runs");
        output.stdout == format!("{}\n", release.name).as_bytes()
    }

    /// The older one drains and tells the platform; the younger one serves.
    fn replaced(&self, old: &Release, young: &Release) {
        old.container.until_complete();
        until("the old server is gone", || !self.serves(old));
        assert!(old.entrypoint.is_alive(), "it waits to be stopped");
        assert!(self.serves(young));
        assert_eq!(young.container.complete(), None);
    }
}

/// From Node to Rust and back, in the page's steps.
#[test]
fn the_page_works_as_printed() {
    let Some(world) = World::new() else { return };
    let commands = commands();
    let [plain, shared, theirs, in_here, of_file] = commands.as_slice() else {
        panic!("the page has other commands: {commands:?}")
    };
    let first = world.release("node", theirs);
    let second = world.release("peer", plain);
    world.replaced(&first, &second);
    let third = world.release("shared", shared);
    world.replaced(&second, &third);
    let fourth = world.release("again", shared);
    world.replaced(&third, &fourth);
    let rust = Path::new(FROM_HANDOVER_LIB).display().to_string();
    let fifth = world.release("rust", &rust);
    world.replaced(&fourth, &fifth);
    // And back.
    let sixth = world.release("back", theirs);
    world.replaced(&fifth, &sixth);

    let doctor = |line: &str, words: &[&str]| {
        let line = line.split('#').next().unwrap_or_default();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), words);
    };
    // Tested where it is described.
    doctor(in_here, &["handover", "doctor", "--container"]);
    let compose = ["handover", "doctor", "--compose", "docker-compose.yml"];
    doctor(of_file, &compose);
}
