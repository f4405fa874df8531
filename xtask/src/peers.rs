//! The third-party programs the tests run: found, or installed when missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::{Failure, Steps, capture, command, line, root, strict, target};

const PACKAGES: &str = "tests/peers/debian.txt";
/// Names the Go peer to whoever runs it.
pub(crate) const ZERO_VARIABLE: &str = "HANDOVER_TEST_ZERO";
/// Names the folder of the npm package to whoever runs it.
pub(crate) const HANDOVER_LIB_VARIABLE: &str = "HANDOVER_TEST_HANDOVER_LIB";
const ZERO: &str = "tests/peers/zero/main.go";
const HANDOVER_LIB: &str = "tests/peers/handover-lib";
const REQUIREMENTS: &str = "tests/peers/requirements.txt";

/// Interpreters that may build a virtual environment, first choice first. A `python3` put in
/// front of the system's (by a version manager, say) may come without `ensurepip`.
const PYTHONS: [&str; 2] = ["python3", "/usr/bin/python3"];

/// Where the peers are. A test whose variable is not set says so and skips, or fails with `CI`
/// set.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    found: Vec<(&'static str, PathBuf)>,
}

impl Peers {
    /// Tells a command where they are.
    pub(crate) fn export<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.found.iter().map(|(name, path)| (name, path)))
    }

    /// Prints where they are, as assignments a shell can read.
    pub(crate) fn print(&self) {
        for (name, path) in &self.found {
            println!("export {name}={}", path.display());
        }
    }
}

/// One line of the package list.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    probe: &'a str,
    package: &'a str,
    why: &'a str,
}

/// Installs the packages that are missing: some of them are needed to build everything.
///
/// Without `CI` set, what cannot be had is said and left out; with it, that is a failure.
pub(crate) fn install(steps: &mut Steps) -> Result<(), Failure> {
    let list = read(PACKAGES)?;
    let wanted = parse(&list)?;
    tolerate(steps, packages, &wanted)
}

/// Whether what needs `protoc` can be built.
pub(crate) fn protoc(steps: &mut Steps) -> Result<bool, Failure> {
    let found = which("protoc").is_some();
    if !found {
        missing(steps, "etcd", "the package protobuf-compiler brings protoc")?;
    }
    Ok(found)
}

/// Finds the peers and installs what is missing.
///
/// Without `CI` set, a peer that cannot be had is said and left out; with it, that is a failure.
pub(crate) fn prepare(steps: &mut Steps) -> Result<Peers, Failure> {
    install(steps)?;
    let mut peers = Peers::default();
    match which("node") {
        Some(node) => peers.found.push(("HANDOVER_TEST_NODE", node)),
        None => missing(steps, "node", "the package nodejs brings it")?,
    }
    match which("nginx") {
        Some(nginx) => peers.found.push(("HANDOVER_TEST_NGINX", nginx)),
        None => missing(steps, "nginx", "the package nginx-light brings it")?,
    }
    match gunicorn(steps) {
        Ok(path) => peers.found.push(("HANDOVER_TEST_GUNICORN", path)),
        Err(failure) if strict() => return Err(failure),
        Err(failure) => steps.note(&format!("tests with gunicorn will be skipped: {failure}")),
    }
    match which("go") {
        Some(go) => peers.found.push(("HANDOVER_TEST_GO", go)),
        None => missing(steps, "go", "the package golang-go brings it")?,
    }
    match zero(steps) {
        Ok(path) => peers.found.push((ZERO_VARIABLE, path)),
        Err(failure) if strict() => return Err(failure),
        Err(failure) => steps.note(&format!("tests with Go will be skipped: {failure}")),
    }
    match handover_lib(steps) {
        Ok(path) => peers.found.push((HANDOVER_LIB_VARIABLE, path)),
        Err(failure) if strict() => return Err(failure),
        Err(failure) => steps.note(&format!(
            "tests with handover-lib will be skipped: {failure}"
        )),
    }
    Ok(peers)
}

fn tolerate(
    steps: &mut Steps,
    install: impl FnOnce(&mut Steps, &[Wanted<'_>]) -> Result<(), Failure>,
    wanted: &[Wanted<'_>],
) -> Result<(), Failure> {
    match install(steps, wanted) {
        Err(failure) if !strict() => {
            steps.note(&format!("tests that need them will be skipped: {failure}"));
            Ok(())
        }
        outcome => outcome,
    }
}

fn missing(steps: &Steps, name: &str, advice: &str) -> Result<(), Failure> {
    if strict() {
        return Err(Failure::new(name, format!("is missing; {advice}")));
    }
    steps.note(&format!(
        "tests with {name} will be skipped: it is missing; {advice}"
    ));
    Ok(())
}

fn read(path: &str) -> Result<String, Failure> {
    fs::read_to_string(root().join(path))
        .map_err(|error| Failure::new(path, format!("could not be read: {error}")))
}

fn write(path: &Path, content: &str) -> Result<(), Failure> {
    fs::write(path, content).map_err(|error| {
        let what = format!("could not be written: {error}");
        Failure::new(path.display().to_string(), what)
    })
}

fn parse(list: &str) -> Result<Vec<Wanted<'_>>, Failure> {
    let lines = list.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let mut fields = line.rsplitn(3, '|').map(str::trim);
        match (fields.next(), fields.next(), fields.next()) {
            (Some(why), Some(package), Some(probe)) => Ok(Wanted {
                probe,
                package,
                why,
            }),
            _ => Err(Failure::new(
                PACKAGES,
                format!("expected probe | package | why: {line}"),
            )),
        }
    });
    parsed.collect()
}

fn packages(steps: &mut Steps, wanted: &[Wanted<'_>]) -> Result<(), Failure> {
    let mut absent: Vec<&str> = Vec::new();
    for want in wanted {
        if !present(want.probe)? && !absent.contains(&want.package) {
            steps.note(&format!("{} is missing: {}", want.package, want.why));
            absent.push(want.package);
        }
    }
    if absent.is_empty() {
        return Ok(());
    }
    apt(steps, &absent)?;
    for want in wanted {
        if !present(want.probe)? {
            let found = format!("still fails after {} was installed", want.package);
            return Err(Failure::new(want.probe, found));
        }
    }
    Ok(())
}

fn present(probe: &str) -> Result<bool, Failure> {
    let mut shell = command("sh");
    shell.args(["-c", probe]);
    Ok(capture(shell)?.status.success())
}

fn apt(steps: &mut Steps, absent: &[&str]) -> Result<(), Failure> {
    let by_hand = format!("install these by hand and run again: {}", absent.join(" "));
    if which("apt-get").is_none() {
        return Err(Failure::new(
            "apt-get",
            format!("there is none here; {by_hand}"),
        ));
    }
    let mut id = command("id");
    id.arg("-u");
    let as_root = capture(id)?.stdout.trim_ascii() == b"0";
    if !as_root && which("sudo").is_none() {
        return Err(Failure::new(
            "apt-get",
            format!("needs root and there is no sudo; {by_hand}"),
        ));
    }
    let apt_get = |arguments: &[&str]| {
        let mut command = command(if as_root { "env" } else { "sudo" });
        command.args([
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "--quiet",
            "--yes",
        ]);
        command.args(arguments);
        command
    };
    steps.command("package lists", apt_get(&["update"]))?;
    let mut install = apt_get(&["install", "--no-install-recommends"]);
    install.args(absent);
    steps.command("packages", install)
}

/// The peer that hands its listener over as zero-downtime does, built by the system's Go from the
/// standard library alone, so that nothing is fetched.
pub(crate) fn zero(steps: &mut Steps) -> Result<PathBuf, Failure> {
    let program = target().join("peers/zero");
    let mut build = command("go");
    build.envs([("GO111MODULE", "off"), ("CGO_ENABLED", "0")]);
    build.env("GOCACHE", target().join("peers/go-cache"));
    build.args(["build", "-o"]).arg(&program).arg(ZERO);
    steps.command("Go peer", build)?;
    Ok(program)
}

/// A virtual environment under the target directory, built again whenever the pinned list
/// changes.
fn gunicorn(steps: &mut Steps) -> Result<PathBuf, Failure> {
    let environment = target().join("peers/venv");
    let gunicorn = environment.join("bin/gunicorn");
    let stamp = environment.join("installed-requirements.txt");
    let list = read(REQUIREMENTS)?;
    let current = fs::read_to_string(&stamp).is_ok_and(|installed| installed == list);
    if current && runs(&gunicorn) {
        return Ok(gunicorn);
    }
    let mut create = command(python()?);
    create.args(["-m", "venv", "--clear"]).arg(&environment);
    steps.command("python environment", create)?;
    let mut install = command(environment.join("bin/python"));
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    install.args(["--require-hashes", "--requirement", REQUIREMENTS]);
    steps.command("python packages", install)?;
    if !runs(&gunicorn) {
        let path = gunicorn.display().to_string();
        return Err(Failure::new(
            path,
            format!("does not run; is it still in {REQUIREMENTS}?"),
        ));
    }
    // Last, so that an interrupted installation is not taken for a whole one.
    write(&stamp, &list)?;
    Ok(gunicorn)
}

/// The npm package and what it needs, as its lock file pins them by hash: the folder that
/// `NODE_PATH` is to name. Fetched again whenever the lock file changes, and only then.
pub(crate) fn handover_lib(steps: &mut Steps) -> Result<PathBuf, Failure> {
    let folder = target().join("peers/handover-lib");
    let modules = folder.join("node_modules");
    let stamp = folder.join("installed-package-lock.json");
    let lock = read(&format!("{HANDOVER_LIB}/package-lock.json"))?;
    let current = fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock);
    if current && modules.join("handover-lib").is_dir() {
        return Ok(modules);
    }
    fs::create_dir_all(&folder).map_err(|error| {
        let what = format!("could not be created: {error}");
        Failure::new(folder.display().to_string(), what)
    })?;
    let manifest = read(&format!("{HANDOVER_LIB}/package.json"))?;
    write(&folder.join("package.json"), &manifest)?;
    write(&folder.join("package-lock.json"), &lock)?;
    let mut install = command("npm");
    // Nothing that is fetched runs before a test asks for it.
    install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    install
        .args(["--loglevel", "error", "--prefix"])
        .arg(&folder);
    steps.command("npm packages", install)?;
    // Last, so that an interrupted installation is not taken for a whole one.
    write(&stamp, &lock)?;
    Ok(modules)
}

/// Starting it is the only proof: an environment that was moved has all its files and an
/// interpreter path that leads nowhere.
fn runs(program: &Path) -> bool {
    let mut version = command(program);
    version.arg("--version");
    capture(version).is_ok_and(|output| output.status.success())
}

fn python() -> Result<&'static str, Failure> {
    let able = |python: &&str| {
        let mut check = command(python);
        check.args(["-c", "import ensurepip, venv"]);
        capture(check).is_ok_and(|output| output.status.success())
    };
    PYTHONS.into_iter().find(able).ok_or_else(|| {
        let mut wish = command(PYTHONS[0]);
        wish.args(["-c", "import ensurepip, venv"]);
        Failure::new(
            line(&wish),
            "fails; on Debian the package python3-venv brings both",
        )
    })
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::{Wanted, parse, present};

    #[test]
    fn a_probe_may_contain_a_pipe() {
        let list = "# words\n\nyes | grep y | coreutils | to say yes\n";
        let wanted = Wanted {
            probe: "yes | grep y",
            package: "coreutils",
            why: "to say yes",
        };
        assert_eq!(parse(list).expect("the list is well formed"), [wanted]);
    }

    #[test]
    fn a_line_without_a_reason_is_refused() {
        assert!(parse("command -v node | nodejs").is_err());
    }

    #[test]
    fn the_real_list_is_well_formed() {
        let list = super::read(super::PACKAGES).expect("the list is there");
        let wanted = parse(&list).expect("the list is well formed");
        assert!(
            wanted.iter().any(|want| want.package == "nodejs"),
            "{wanted:?}"
        );
    }

    #[test]
    fn a_probe_tells_present_from_absent() {
        assert!(present("command -v sh").expect("a shell"));
        assert!(!present("command -v no-such-program-anywhere").expect("a shell"));
    }
}
