//! An etcd of the system (`etcd`, `etcdctl`): one member or several, killed, stopped, made slow,
//! filled up, behind TLS, with users.

mod disk;
mod pki;
mod relay;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

pub use self::disk::Disk;
pub use self::pki::Pki;
pub use self::relay::Relay;
use crate::network::Namespace;
use crate::patience::{eventually, until};
use crate::peer::installed;
use crate::process;
use crate::service::clean;

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// Attempts to start on an address that nobody has.
const ATTEMPTS: usize = 10;

/// How to start one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recipe {
    /// Three members, not one.
    pub three: bool,
    /// Clients show a certificate.
    pub tls: bool,
    /// Takes no writes once its data has this many bytes.
    pub quota: Option<u64>,
}

/// An etcd. It is gone with this.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Server>,
    pki: Option<Pki>,
    site: Site,
    _directory: TempDir,
}

/// Where it runs.
#[derive(Clone, Debug)]
enum Site {
    Here,
    Network(Arc<Namespace>),
    Disk(Arc<Disk>),
}

impl Site {
    /// A command there that does not outlive the thread that starts it.
    fn command(&self, program: &Path) -> Command {
        match self {
            Self::Here => mortal(program),
            Self::Network(network) => network.command(program),
            Self::Disk(disk) => disk.command(program),
        }
    }
}

/// One member of it.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    address: Ipv4Addr,
    arguments: Vec<String>,
    site: Site,
    child: Option<Child>,
}

impl Etcd {
    /// Starts one and waits until it answers.
    ///
    /// `None`, with the reason printed, where etcd is not installed: the test is then to return.
    ///
    /// # Panics
    /// When it does not start, or is not installed although `CI` is set.
    #[must_use]
    pub fn start(recipe: Recipe) -> Option<Self> {
        let count = if recipe.three { 3 } else { 1 };
        let addresses: Vec<Ipv4Addr> = (0..count).map(|_| own_address()).collect();
        Self::start_at(recipe, &addresses, Site::Here)
    }

    /// Starts one with a single member in a network, at this address of it.
    ///
    /// `None`, with the reason printed, where etcd is not installed.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_in(network: &Arc<Namespace>, address: Ipv4Addr) -> Option<Self> {
        let site = Site::Network(Arc::clone(network));
        Self::start_at(Recipe::default(), &[address], site)
    }

    /// Starts one with a single member whose data are on this disk.
    ///
    /// `None`, with the reason printed, where etcd is not installed.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_on(disk: &Arc<Disk>) -> Option<Self> {
        let site = Site::Disk(Arc::clone(disk));
        Self::start_at(Recipe::default(), &[own_address()], site)
    }

    fn start_at(recipe: Recipe, addresses: &[Ipv4Addr], site: Site) -> Option<Self> {
        let program = installed("etcd")?;
        installed("etcdctl")?;
        let directory = tempfile::tempdir().expect("a directory");
        let pki = recipe.tls.then(|| Pki::new(directory.path(), addresses));
        let scheme = if recipe.tls { "https" } else { "http" };
        let cluster: Vec<String> = addresses
            .iter()
            .map(|address| format!("{address}=http://{address}:{PEER_PORT}"))
            .collect();
        let cluster = cluster.join(",");
        let members = addresses.iter().map(|&address| {
            let client = format!("{scheme}://{address}:{CLIENT_PORT}");
            let peer = format!("http://{address}:{PEER_PORT}");
            let log = directory.path().join(format!("{address}.log"));
            let place = match &site {
                Site::Disk(disk) => disk.path(),
                Site::Here | Site::Network(_) => directory.path(),
            };
            let data = place.join(address.to_string());
            let mut arguments = vec![
                format!("--name={address}"),
                format!("--data-dir={}", data.display()),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster={cluster}"),
                "--logger=zap".to_owned(),
                format!("--log-outputs={}", log.display()),
            ];
            arguments.extend(pki.iter().flat_map(Pki::server_arguments));
            let quota = recipe.quota;
            arguments.extend(quota.map(|bytes| format!("--quota-backend-bytes={bytes}")));
            Server {
                program: program.clone(),
                address,
                arguments,
                site: site.clone(),
                child: None,
            }
        });
        let mut etcd = Self {
            members: members.collect(),
            pki,
            site: site.clone(),
            _directory: directory,
        };
        for member in &mut etcd.members {
            member.start();
        }
        etcd.until_healthy();
        Some(etcd)
    }

    /// What its clients connect to.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let scheme = if self.pki.is_some() { "https" } else { "http" };
        let url = |member: &Server| format!("{scheme}://{}:{CLIENT_PORT}", member.address);
        self.members.iter().map(url).collect()
    }

    /// What a relay in front of its first member connects to.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        (self.members[0].address, CLIENT_PORT).into()
    }

    /// Its certificates.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn pki(&self) -> &Pki {
        self.pki.as_ref().expect("started with TLS")
    }

    /// One of its members, from 0.
    pub fn member(&mut self, number: usize) -> &mut Server {
        &mut self.members[number]
    }

    /// `etcdctl` with these arguments, as whoever may do everything unless said otherwise.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn try_ctl(&self, arguments: &[&str]) -> Output {
        let mut command = match &self.site {
            Site::Network(network) => network.command("etcdctl"),
            Site::Here | Site::Disk(_) => clean("etcdctl"),
        };
        command.env("ETCDCTL_API", "3");
        command.arg(format!("--endpoints={}", self.endpoints().join(",")));
        if let Some(pki) = &self.pki {
            command.args(pki.client_arguments());
        }
        command.args(arguments);
        command.output().expect("etcdctl is there")
    }

    /// The same, and what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let output = self.try_ctl(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "etcdctl {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until every member answers.
    ///
    /// # Panics
    /// When one does not.
    pub fn until_healthy(&self) {
        until("etcd answers", || {
            let output = self.try_ctl(&["endpoint", "health"]);
            output.status.success()
        });
    }

    /// Which member leads, from 0.
    ///
    /// # Panics
    /// When none does.
    #[must_use]
    pub fn leader(&self) -> usize {
        eventually("etcd has a leader", || {
            let output = self.try_ctl(&["endpoint", "status", "--write-out=json"]);
            let all: Value = serde_json::from_slice(&output.stdout).ok()?;
            let leads = |one: &Value| {
                let status = &one["Status"];
                status["leader"] == status["header"]["member_id"]
            };
            let leader = all.as_array()?.iter().find(|one| leads(one))?;
            let url = leader["Endpoint"].as_str()?;
            self.endpoints().iter().position(|endpoint| endpoint == url)
        })
    }

    /// The revision of what it holds.
    ///
    /// # Panics
    /// When it does not say.
    #[must_use]
    pub fn revision(&self) -> i64 {
        let status = self.ctl(&["endpoint", "status", "--write-out=json"]);
        let all: Value = serde_json::from_str(&status).expect("JSON");
        let revision = all[0]["Status"]["header"]["revision"].as_i64();
        revision.expect("a revision")
    }

    /// Wants users from now on: `root` with the password `root`, and `hub` with the password `hub`,
    /// who may use what is below this prefix.
    ///
    /// # Panics
    /// When etcd refuses.
    pub fn want_users(&self, prefix: &str) {
        self.ctl(&["user", "add", "root:root"]);
        self.ctl(&["user", "grant-role", "root", "root"]);
        self.ctl(&["role", "add", "hubs"]);
        let grant = [
            "role",
            "grant-permission",
            "hubs",
            "readwrite",
            "--prefix=true",
        ];
        self.ctl(&[&grant[..], &[prefix]].concat());
        self.ctl(&["user", "add", "hub:hub"]);
        self.ctl(&["user", "grant-role", "hub", "hubs"]);
        self.ctl(&["auth", "enable"]);
    }

    /// Fills it up to its quota: it takes no writes any more.
    ///
    /// # Panics
    /// When it goes on taking them.
    pub fn fill(&self) {
        let value = "x".repeat(64 * 1024);
        until("etcd is full", || {
            !self.try_ctl(&["put", "filler", &value]).status.success()
        });
    }

    /// Has it write to its disk until that ends it, which is what it does when it cannot.
    ///
    /// # Panics
    /// When it goes on.
    pub fn put_until_it_ends(&mut self) {
        let value = "x".repeat(64 * 1024);
        until("etcd cannot write and ends", || {
            let put = ["put", "filler", &value, "--command-timeout=1s"];
            let _ = self.try_ctl(&put);
            self.members[0].has_ended()
        });
    }

    /// Makes room again and takes writes.
    ///
    /// # Panics
    /// When etcd refuses.
    pub fn make_room(&self) {
        self.ctl(&["compact", &self.revision().to_string()]);
        self.ctl(&["defrag"]);
        self.ctl(&["alarm", "disarm"]);
    }
}

impl Server {
    /// Starts it, again too.
    ///
    /// # Panics
    /// When it runs, or cannot be started.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let mut command = self.site.command(&self.program);
        command.args(&self.arguments);
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("setpriv is there"));
    }

    /// Kills it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }

    /// Whether it has ended by itself; it can be started again then.
    fn has_ended(&mut self) -> bool {
        let child = self.child.as_mut();
        let ended = child.is_none_or(|child| child.try_wait().expect("it is ours").is_some());
        if ended {
            self.child = None;
        }
        ended
    }

    /// Stops it where it is; its connections stay.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            process::signal(child.id(), signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An address of this machine at which nobody listens for etcd's clients and peers. Nobody else is
/// given it: it is drawn from sixteen million.
fn own_address() -> Ipv4Addr {
    for _ in 0..ATTEMPTS {
        let [a, b, c, ..] = random();
        let address = Ipv4Addr::new(127, 1 + a % 254, b, 1 + c % 254);
        let free = |port| TcpListener::bind((address, port)).is_ok();
        if free(CLIENT_PORT) && free(PEER_PORT) {
            return address;
        }
    }
    panic!("no address is free");
}

fn random() -> [u8; 8] {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    RandomState::new().build_hasher().finish().to_be_bytes()
}

/// A command that ends with the thread that starts it.
#[must_use]
pub fn mortal(program: &Path) -> Command {
    let mut command = clean("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}
