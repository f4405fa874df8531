//! The thread that copies lines, and decides which file they go to.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use handover_proto::event::EventKind;
use handover_proto::identity::InstanceId;
use rustix::fs::inotify;

use super::ledger::Home;
use super::sink::Sink;
use super::source::{Source, Step};
use super::{LogPolicy, Order, Standing};
use crate::bell::{Bell, poll, readable};
use crate::log_file::aside;
use crate::supervisor::bus::Bus;

/// How often a file that cannot be written to is tried, and an ended instance's process group is
/// looked at: soon enough for people, and nothing for a processor.
const AGAIN: Duration = Duration::from_secs(1);

/// Everything the thread holds.
pub(super) struct Desk {
    policy: LogPolicy,
    bus: Bus,
    watch: OwnedFd,
    sources: BTreeMap<InstanceId, Source>,
    sinks: BTreeMap<u64, Sink>,
    /// The sink that is the log file.
    current: u64,
    standing: Option<Standing>,
    /// Whose log file it was when an earlier supervisor was killed.
    left: Option<u32>,
    ending: bool,
}

impl Desk {
    pub(super) fn new(log: Sink, policy: LogPolicy, bus: Bus) -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(Self {
            policy,
            bus,
            watch: inotify::init(flags)?,
            sources: BTreeMap::new(),
            sinks: BTreeMap::from([(0, log)]),
            current: 0,
            standing: None,
            left: None,
            ending: false,
        })
    }

    /// Copies until it is told to end, or nobody is left to tell.
    pub(super) fn work(&mut self, orders: &Receiver<Order>, bell: &Bell) {
        while !self.ending {
            bell.silence();
            loop {
                match orders.try_recv() {
                    Ok(order) => self.obey(order),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        self.ending = true;
                        break;
                    }
                }
            }
            self.copy_all();
            if !self.ending {
                self.rest(bell);
            }
        }
    }

    /// Until an order comes, somebody writes, or it is time to look again.
    fn rest(&self, bell: &Bell) {
        let trouble = |sink: &Sink| sink.trouble.is_some() || sink.is_stale();
        let unannounced =
            self.sinks.values().any(trouble) || self.sources.values().any(|source| source.gone);
        let until = unannounced.then(|| Instant::now() + AGAIN);
        let watch = self.watch.as_fd();
        // Fails only for lack of memory; then it looks again at once.
        let _ = poll(&mut [readable(bell), readable(&watch)], until);
        let mut events = [0; 1024];
        while rustix::io::read(&self.watch, &mut events).is_ok_and(|n| n > 0) {}
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Follow(source, home) => self.follow(source, home),
            Order::Stand(standing) => self.stand(standing),
            Order::Gone(instance) => {
                if let Some(source) = self.sources.get_mut(&instance) {
                    source.gone = true;
                }
            }
            Order::Reopen => {
                if let Some(sink) = self.sinks.get_mut(&self.current) {
                    sink.reopen();
                }
            }
            Order::End => self.ending = true,
        }
    }

    fn follow(&mut self, mut source: Source, home: Option<Home>) {
        let modified = inotify::WatchFlags::MODIFY;
        if let Err(error) = inotify::add_watch(&self.watch, source.path(), modified) {
            self.bus.warn(format!(
                "what instance {} writes reaches the log file late, with what others write: {error}",
                source.instance
            ));
        }
        let home = home.unwrap_or_else(|| self.home_of_a_new_one());
        self.house(&mut source, &home);
        self.sources.insert(source.instance, source);
    }

    /// What an instance that is gone has left.
    pub(super) fn leave(&mut self, mut source: Source, home: &Home) {
        source.gone = true;
        if *home == Home::Log && source.name != 0 {
            self.left = Some(source.name);
        }
        self.house(&mut source, home);
        self.sources.insert(source.instance, source);
    }

    /// Beside one that serves, lines wait until it is decided whose file is the log file.
    fn home_of_a_new_one(&self) -> Home {
        let incumbent = self.standing.and_then(|s| self.sources.get(&s.incumbent));
        match (self.policy, incumbent) {
            (LogPolicy::Rename, Some(incumbent)) if !incumbent.gone => Home::Held,
            _ => Home::Log,
        }
    }

    fn house(&mut self, source: &mut Source, home: &Home) {
        let sink = match home {
            Home::Log => Some(self.current),
            Home::Held => None,
            Home::Renamed(path) => Some(self.sink_at(path)),
        };
        source.goes_to(home, sink);
    }

    fn sink_at(&mut self, path: &Path) -> u64 {
        let known = self.sinks.iter().find(|(_, sink)| sink.path() == path);
        match known.map(|(id, _)| *id) {
            Some(id) => id,
            None => self.add(Sink::new(path.into())),
        }
    }

    fn add(&mut self, sink: Sink) -> u64 {
        let id = self.sinks.keys().last().map_or(0, |last| last + 1);
        self.sinks.insert(id, sink);
        id
    }

    /// The log file is that of the instance that serves.
    fn stand(&mut self, standing: Standing) {
        self.standing = Some(standing);
        let Standing {
            incumbent,
            successor,
        } = standing;
        let others = |source: &&Source| source.instance != incumbent && !source.gone;
        let writer = self
            .sources
            .values()
            .filter(others)
            .find(|source| source.sink == Some(self.current))
            .map(|source| source.pid);
        let serving = self.sources.get(&incumbent);
        // Its lines waited for a rename that did not happen, and who wrote before has ended since.
        let left = self.left.take();
        let left = left.filter(|_| serving.is_some_and(|source| source.sink.is_none()));
        let moves = serving.is_some_and(|source| source.sink != Some(self.current));
        if let (LogPolicy::Rename, true, Some(pid)) = (self.policy, moves, writer.or(left)) {
            self.begin_another(pid);
        }
        let current = self.current;
        for source in self.sources.values_mut() {
            let serves = source.instance == incumbent && moves;
            let failed = source.sink.is_none() && Some(source.instance) != successor;
            if serves || failed {
                source.goes_to(&Home::Log, Some(current));
            }
        }
    }

    /// Renames the log file, whose writers go on writing to it, and creates the next.
    fn begin_another(&mut self, pid: u32) {
        let Some(path) = self
            .sinks
            .get(&self.current)
            .map(|s| s.path().to_path_buf())
        else {
            return;
        };
        let to = match self.rename(&path, pid) {
            Ok(to) => to,
            Err(error) => {
                self.record(&Home::Log);
                return self.bus.warn(format!(
                    "log file {} could not be renamed ({error}); the new instance writes on to it",
                    path.display()
                ));
            }
        };
        let mut next = Sink::new(path.clone());
        if let Some(old) = self.sinks.get_mut(&self.current) {
            old.renamed(to.clone());
            next.open_like(old);
        }
        self.current = self.add(next);
        self.bus.publish(EventKind::LogRenamed {
            path: path.display().to_string(),
            to: to.display().to_string(),
        });
    }

    /// The record names the new name before the file has it: whoever comes after us looks for it.
    fn rename(&mut self, path: &Path, pid: u32) -> io::Result<PathBuf> {
        let real = aside::behind_links(path)?;
        if !real.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        aside::put(&real, Some(pid), |name| {
            self.record(&Home::Renamed(name.to_owned()));
        })
    }

    /// Notes where the writers of the log file go.
    fn record(&mut self, home: &Home) {
        let current = Some(self.current);
        for source in self.sources.values_mut().filter(|s| s.sink == current) {
            source.goes_to(home, current);
        }
    }

    /// Opens the log file if it is to be opened, also while nobody writes: whoever asked looks.
    fn refresh(&mut self) {
        let Some(sink) = self.sinks.get_mut(&self.current) else {
            return;
        };
        let asked = sink.is_stale();
        match sink.open() {
            Ok(opened) if opened && (asked || sink.trouble.is_some()) => recovered(&self.bus, sink),
            Ok(_) => {}
            Err(error) => complain(&self.bus, sink, &error),
        }
    }

    /// Copies until nothing is left that can be.
    fn copy_all(&mut self) {
        self.refresh();
        let current = self.current;
        // Somebody who ended before it served has nothing to wait for.
        let left = |source: &&mut Source| source.gone && source.sink.is_none();
        for source in self.sources.values_mut().filter(left) {
            source.goes_to(&Home::Log, Some(current));
        }
        while self.copy_some() {}
        self.forget();
    }

    /// A turn for each instance. Whether any had lines.
    fn copy_some(&mut self) -> bool {
        let mut copied = false;
        for source in self.sources.values_mut() {
            let sink = source.sink.and_then(|id| self.sinks.get_mut(&id));
            let Some(sink) = sink else {
                relieve(&self.bus, source);
                continue;
            };
            let all = self.ending || source.gone;
            match source.copy(sink, all) {
                Ok(Step::Idle) => {}
                Ok(Step::Copied) => {
                    copied = true;
                    if sink.trouble.is_some() && !sink.is_stale() {
                        recovered(&self.bus, sink);
                    }
                }
                Err(error) => {
                    complain(&self.bus, sink, &error);
                    relieve(&self.bus, source);
                }
            }
        }
        copied
    }

    /// Removes sources whose last line was copied, and files that nobody writes to.
    fn forget(&mut self) {
        let (sinks, ending) = (&self.sinks, self.ending);
        self.sources.retain(|_, source| {
            let troubled = |id| sinks.get(&id).is_some_and(|sink| sink.trouble.is_some());
            let unsaved = source.sink.is_none_or(troubled);
            let stays = !source.gone || unsaved || (!ending && has_workers(source.pid));
            if !stays {
                source.remove();
            }
            stays
        });
        let (sources, current) = (&self.sources, self.current);
        let used = |id: u64| sources.values().any(|source| source.sink == Some(id));
        self.sinks.retain(|id, _| *id == current || used(*id));
    }
}

/// Whether processes of an instance's group live on: they write to the same file.
fn has_workers(leader: u32) -> bool {
    use handover_sys::process::{Liveness, liveness, process_group_members, start_time};
    // A zombie writes no more, and may wait for its parent for ever.
    let lives = |pid| start_time(pid).is_ok_and(|start| liveness(pid, start) == Liveness::Alive);
    leader != 0 && process_group_members(leader).is_ok_and(|members| members.into_iter().any(lives))
}

/// Lets nobody fill the runtime directory.
fn relieve(bus: &Bus, source: &mut Source) {
    let lost = source.relieve();
    if lost > 0 {
        let instance = source.instance;
        bus.warn(format!(
            "{lost} bytes of what instance {instance} wrote were given up: too much waits for the \
             log file"
        ));
    }
}

/// Says once that a file cannot be opened or written to.
fn complain(bus: &Bus, sink: &mut Sink, error: &io::Error) {
    let reason = error.to_string();
    if sink.trouble.as_ref() != Some(&reason) {
        let meanwhile = match sink.is_stale() && sink.is_usable() {
            true => "the file that is open is written to",
            false => "its lines wait",
        };
        bus.warn(format!(
            "log file {}: {reason}; the service goes on, {meanwhile}, and it is tried again every \
             second",
            sink.path().display()
        ));
    }
    sink.trouble = Some(reason);
}

/// Says that the file is written to, as it was asked for or after there was trouble.
fn recovered(bus: &Bus, sink: &mut Sink) {
    sink.trouble = None;
    bus.publish(EventKind::LogOpened {
        path: sink.path().display().to_string(),
    });
}
