//! `examples/container`, as its image would be: a root directory with two static files and nothing
//! else, started by the entry point of its Dockerfile with the variables of its compose file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use handover_tests::network::{Entrypoint, Lan, possible};
use handover_tests::patience::{eventually, until};
use handover_tests::peer;
use rustix::process::Signal;
use tempfile::TempDir;

const DOCKERFILE: &str = include_str!("../../../examples/container/Dockerfile");
const COMPOSE: &str = include_str!("../../../examples/container/docker-compose.yml");

/// Mounts what an engine mounts, and enters: `sh -c … enter ROOT VOLUME PROGRAM ARGUMENT…`.
const ENTER: &str = r#"
    set -eu
    root=$1 volume=$2
    shift 2
    mount --bind "$volume" "$root/shared"
    mount --bind /dev/null "$root/dev/null"
    mount -t proc proc "$root/proc"
    exec chroot "$root" "$@"
"#;

/// The words of the last stage's entry point.
fn entrypoint() -> Vec<String> {
    let (_, last) = DOCKERFILE.rsplit_once("\nFROM ").expect("stages");
    assert!(last.starts_with("scratch\n"), "{last}");
    let words = last
        .lines()
        .find_map(|line| line.strip_prefix("ENTRYPOINT "));
    serde_json::from_str(words.expect("an entry point")).expect("a list")
}

/// What stands under `environment:`.
fn environment() -> Vec<(&'static str, &'static str)> {
    let (_, rest) = COMPOSE.split_once("    environment:\n").expect("there");
    let lines = rest.lines().map_while(|line| line.strip_prefix("      "));
    lines.filter_map(|line| line.split_once(": ")).collect()
}

/// Where the static programs are. `None`, with the reason printed, where they were not built.
fn programs() -> Option<PathBuf> {
    let found = peer::find("HANDOVER_TEST_SCRATCH")?;
    for name in ["handover", "example-container"] {
        let ldd = Command::new("ldd").arg(found.join(name)).output();
        let ldd = ldd.expect("ldd is there");
        let said = [ldd.stdout, ldd.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let is_static = said.contains("statically linked") || said.contains("not a dynamic");
        assert!(is_static, "{name}: {said}");
    }
    Some(found)
}

/// One container's root directory, and what runs in it.
struct Scratch {
    entrypoint: Entrypoint,
    root: TempDir,
}

struct World {
    lan: Lan,
    volume: TempDir,
    programs: PathBuf,
    curl: PathBuf,
}

impl World {
    fn new() -> Option<Self> {
        let programs = programs()?;
        let curl = peer::installed("curl").filter(|_| possible())?;
        Some(Self {
            lan: Lan::of(1),
            volume: tempfile::tempdir().expect("a directory"),
            programs,
            curl,
        })
    }

    fn start(&self, version: &str) -> Scratch {
        let root = tempfile::tempdir().expect("a directory");
        let at = |name: &str| root.path().join(name);
        fs::copy(self.programs.join("handover"), at("handover")).expect("copied");
        fs::copy(self.programs.join("example-container"), at("server")).expect("copied");
        // Mount points, which an engine makes.
        for place in ["dev", "proc", "shared"] {
            fs::create_dir(at(place)).expect("made");
        }
        fs::write(at("dev/null"), "").expect("made");
        let mut command = self.lan.devices()[0].network().command("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-c", ENTER, "enter"])
            .arg(root.path())
            .arg(self.volume.path())
            .args(entrypoint())
            .envs(environment())
            .env("VERSION", version)
            .env("BALENA_SERVICE_NAME", "web")
            // As shipped, only sooner.
            .env("HANDOVER_DRAIN_NOTIFY", "1s")
            .env("HANDOVER_PROBATION", "1s");
        Scratch {
            entrypoint: Entrypoint::first_process(command),
            root,
        }
    }

    /// Asks until it is dropped, one request after another, each on a connection of its own.
    fn load(&self, answers: &Path) -> Load {
        let answers = fs::File::create(answers).expect("made");
        let mut shell = self.lan.devices()[0].network().command("sh");
        let line = r#"while :; do "$0" --silent --fail --max-time 60 "$1" || echo FAILED; done"#;
        shell
            .args(["-c", line])
            .arg(&self.curl)
            .arg("http://127.0.0.1:8080/")
            .stdout(answers)
            .stderr(Stdio::null());
        Load(shell.spawn().expect("it starts"))
    }
}

struct Load(Child);

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_example_hands_over_from_one_empty_root_to_the_next_without_a_failure() {
    let Some(world) = World::new() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("answers");
    let answers = || -> Vec<String> {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let from = |version: &str| {
        let before = answers().len();
        until(&format!("version {version} answers"), || {
            answers()[before..].iter().any(|line| line == version)
        });
    };
    let mut old = world.start("1");
    old.entrypoint.until_mentions("serves");
    let _load = world.load(&file);
    from("1");
    let young = world.start("2");
    let complete = old.root.path().join("tmp/balena/handover-complete");
    eventually("the handover-complete file", || {
        fs::metadata(&complete).ok().filter(|found| found.len() > 0)
    });
    from("2");
    let before = answers().len();
    until("more answers", || answers().len() > before + 20);
    let answers = answers();
    assert!(
        answers[before..].iter().all(|line| line == "2"),
        "{answers:?}"
    );
    assert!(!answers.iter().any(|line| line == "FAILED"), "{answers:?}");
    // Quiet until the platform stops it.
    assert!(old.entrypoint.is_alive());
    old.entrypoint.signal(Signal::TERM);
    assert_eq!(old.entrypoint.ended(), 0);
    assert!(young.entrypoint.is_alive());
    assert!(
        !young
            .root
            .path()
            .join("tmp/balena/handover-complete")
            .exists()
    );
}
