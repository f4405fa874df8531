//! Nodes of a hub in processes of their own, and what they did.

mod deaths;
pub mod program;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::Signal;

use crate::patience::{eventually, until};
use crate::process;

pub use self::deaths::{Deaths, How};

/// A `hub-node`.
#[derive(Debug)]
pub struct Node {
    child: Child,
    input: Mutex<ChildStdin>,
    answers: Arc<Mutex<BTreeMap<u64, String>>>,
    next: AtomicU64,
}

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it listens.
    pub address: String,
    /// Where all nodes write what they count.
    pub record: &'a Path,
    /// `gossip:SEED,SEED`, or an endpoint of etcd.
    pub engine: String,
    /// In seconds; etcd's only.
    pub lease: Option<u32>,
}

impl Node {
    /// Starts one by this command, a `hub-node` in some network, and waits until it is a member.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(command: Command, place: &Place<'_>) -> Self {
        let node = Self::begin(command, place);
        node.answer(0);
        node
    }

    /// Starts one by this command, and does not wait: it is a member when it [answers](Self::answer) 0.
    ///
    /// # Panics
    /// When the command cannot be run.
    #[must_use]
    pub fn begin(mut command: Command, place: &Place<'_>) -> Self {
        command.args([place.name, &place.address]).arg(place.record);
        command.arg(&place.engine);
        command.args(place.lease.map(|seconds| seconds.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("setpriv is there");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let input = Mutex::new(child.stdin.take().expect("it is piped"));
        let answers: Arc<Mutex<BTreeMap<u64, String>>> = Arc::default();
        let heard = Arc::clone(&answers);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let (number, answer) = line.split_once(' ').expect("a number and an answer");
                let number = number.parse().expect("a number");
                let mut answers = heard.lock().unwrap_or_else(PoisonError::into_inner);
                answers.insert(number, answer.to_owned());
            }
        });
        Self {
            child,
            input,
            answers,
            next: AtomicU64::new(1),
        }
    }

    /// Asks for something; its answer comes under this number.
    ///
    /// # Panics
    /// When it has ended.
    pub fn request(&self, request: &str) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(input, "{number} {request}").expect("it runs");
        number
    }

    /// The answer under this number.
    ///
    /// # Panics
    /// When there is none for long.
    pub fn answer(&self, number: u64) -> String {
        eventually("an answer of a node", || {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.remove(&number)
        })
    }

    /// Asks for something and waits for the answer.
    ///
    /// # Panics
    /// When there is none for long.
    pub fn ask(&self, request: &str) -> String {
        self.answer(self.request(request))
    }

    /// Counts on in every counter, once; how many did.
    ///
    /// # Panics
    /// When there are no answers for long.
    pub fn count(&self, counters: u32, milliseconds: u32) -> usize {
        let answers = self.counts(counters, milliseconds);
        answers
            .filter(|answer| answer.parse::<u64>().is_ok())
            .count()
    }

    /// The same; what each of them answers.
    ///
    /// # Panics
    /// When an answer does not come for long.
    pub fn counts(&self, counters: u32, milliseconds: u32) -> impl Iterator<Item = String> {
        let asked: Vec<u64> = (0..counters)
            .map(|number| self.request(&format!("add c{number} {milliseconds}")))
            .collect();
        asked.into_iter().map(|number| self.answer(number))
    }

    /// Waits until it counts so many members, itself included.
    ///
    /// # Panics
    /// When it never does.
    pub fn until_nodes(&self, count: usize) {
        let count = count.to_string();
        until("the number of members", || self.ask("nodes") == count);
    }

    /// Waits until it stands still, or goes on.
    ///
    /// # Panics
    /// When it never does.
    pub fn until_suspended(&self, suspended: bool) {
        let wanted = suspended.to_string();
        until("it is suspended, or not", || {
            self.ask("suspended") == wanted
        });
    }

    /// Who decides on each counter, and who runs it.
    ///
    /// # Panics
    /// When there is no answer for long.
    pub fn homes(&self) -> BTreeMap<String, (String, String)> {
        let answer = self.ask("homes");
        let line = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some((words.next()?, (words.next()?, words.next()?)))
        };
        answer.split(',').filter_map(line).collect()
    }

    /// How many processes are on it, whatever the others believe.
    ///
    /// # Panics
    /// When there is no answer for long.
    pub fn processes(&self) -> usize {
        self.ask("processes").parse().expect("a number")
    }

    /// Waits until its process has ended, and is gone.
    ///
    /// # Panics
    /// When it does not end.
    pub fn until_ended(&mut self) -> ExitStatus {
        eventually("the end of a node", || {
            self.child.try_wait().expect("it is ours")
        })
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.child.id(), signal);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// When, in nanoseconds of `CLOCK_BOOTTIME`.
    pub moment: u64,
    /// By which counter.
    pub id: String,
    /// On which node.
    pub node: String,
    /// To how many.
    pub value: u64,
    /// Under which epoch: term and grant.
    pub epoch: (u64, u64),
}

/// What all nodes counted.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Record {
    /// An empty one.
    ///
    /// # Panics
    /// When there is no directory for it.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self {
            path: directory.path().join("record"),
            _directory: directory,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Forgets what was counted so far. Nobody may count meanwhile.
    ///
    /// # Panics
    /// When it cannot be emptied.
    pub fn clear(&self) {
        let file = std::fs::File::options().write(true).open(&self.path);
        let emptied = file.and_then(|file| file.set_len(0));
        emptied.expect("somebody counted");
    }

    /// All of it, in order of time.
    ///
    /// # Panics
    /// When it has lines of another form.
    #[must_use]
    pub fn counts(&self) -> Vec<Count> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let count = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let [moment, id, node, value, epoch] = words.as_slice() else {
                panic!("{line:?}");
            };
            let (term, grant) = epoch.split_once('.').expect("term and grant");
            Count {
                moment: moment.parse().expect("a number"),
                id: (*id).to_owned(),
                node: (*node).to_owned(),
                value: value.parse().expect("a number"),
                epoch: (
                    term.parse().expect("a term"),
                    grant.parse().expect("a grant"),
                ),
            }
        };
        let mut counts: Vec<Count> = text.lines().map(count).collect();
        counts.sort();
        counts
    }

    /// Which node counted last, for each counter.
    #[must_use]
    pub fn places(&self) -> BTreeMap<String, String> {
        let counts = self.counts().into_iter();
        counts.map(|count| (count.id, count.node)).collect()
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}
