//! Clients that write to a store and keep a diary of every answer, and the judgement of what the
//! store has made of it.
//!
//! The store's interface is that of `examples/kv`: `PUT /k/{key}` answers `{"seq", "epoch"}` once
//! the write is durable, `GET /log?from=N` lists writes in order, `POST /visits/{name}` counts in
//! memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::http::{self, Connection};
use crate::patience::until;

/// Between two writes of a client: without a pause, the ports of closed connections would fill the
/// machine's tables, which is another test.
pub const PACE: Duration = Duration::from_millis(2);

/// A write as the store numbers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub seq: u64,
    /// By the owner of this epoch.
    pub epoch: u64,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// What one client did, in order.
#[derive(Debug, Default)]
pub struct Diary {
    /// Writes that were answered: the store's number and epoch with them.
    pub acknowledged: Vec<Entry>,
    /// Writes that were not, with the reason. They may be in the log, once.
    pub unanswered: Vec<(String, String)>,
    /// Visits that were counted, as answered.
    pub visits: Vec<u64>,
}

/// How the clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// A connection for each request.
    Fresh,
    /// One connection until the server says that it closes it.
    Kept,
}

/// Clients at work.
#[derive(Debug)]
pub struct Writers {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Diary>>,
}

impl Writers {
    /// Starts a client for each habit.
    #[must_use]
    pub fn start(address: SocketAddr, habits: &[Habit]) -> Self {
        Self::paced(address, habits, PACE)
    }

    /// The same with this pause between two writes of a client.
    #[must_use]
    pub fn paced(address: SocketAddr, habits: &[Habit], pace: Duration) -> Self {
        let mut writers = Self {
            address,
            stop: Arc::default(),
            acknowledged: Arc::default(),
            threads: Vec::new(),
        };
        for (number, habit) in habits.iter().enumerate() {
            let (stop, count) = (Arc::clone(&writers.stop), Arc::clone(&writers.acknowledged));
            let mut client = Client {
                connection: Connection::new(address, *habit == Habit::Kept),
                name: format!("c{number}"),
                diary: Diary::default(),
            };
            writers.threads.push(std::thread::spawn(move || {
                for n in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    if client.write(n) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    client.visit();
                    std::thread::sleep(pace);
                }
                client.diary
            }));
        }
        writers
    }

    /// Writes acknowledged so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until some more writes were acknowledged.
    pub fn go_on(&self) {
        let before = self.count();
        let enough = 2 * self.threads.len() as u64;
        until("writes are acknowledged", || {
            self.count() >= before + enough
        });
    }

    /// Stops them, reads the log and judges.
    ///
    /// # Panics
    /// When a client panicked or the log cannot be read.
    #[must_use]
    pub fn finish(self) -> Judgement {
        self.stop.store(true, Ordering::Relaxed);
        let join = |thread: JoinHandle<Diary>| thread.join().expect("no panic");
        let diaries: Vec<Diary> = self.threads.into_iter().map(join).collect();
        let log = read_log(self.address);
        judge(diaries, &log)
    }
}

/// What an unanswered visit is called.
const VISIT: &str = "a visit";

struct Client {
    connection: Connection,
    name: String,
    diary: Diary,
}

impl Client {
    fn write(&mut self, n: u64) -> bool {
        let (key, value) = (format!("{}-{n}", self.name), format!("v{n}"));
        let answer = self.connection.request("PUT", &format!("/k/{key}"), &value);
        let reason = match answer {
            Ok((200, body)) => match number_and_epoch(&body) {
                Some((seq, epoch)) => {
                    self.diary.acknowledged.push(Entry {
                        seq,
                        epoch,
                        key,
                        value,
                    });
                    return true;
                }
                None => format!("not understood: {body}"),
            },
            Ok((status, body)) => format!("{status}: {body}"),
            Err(error) => error.to_string(),
        };
        self.diary.unanswered.push((key, reason));
        false
    }

    fn visit(&mut self) {
        let path = format!("/visits/{}", self.name);
        match self.connection.request("POST", &path, "") {
            Ok((200, body)) => self.diary.visits.extend(body.parse::<u64>()),
            Ok((status, body)) => self.failed(format!("{status}: {body}")),
            Err(error) => self.failed(error.to_string()),
        }
    }

    fn failed(&mut self, reason: String) {
        self.diary.unanswered.push((VISIT.into(), reason));
    }
}

fn number_and_epoch(body: &str) -> Option<(u64, u64)> {
    let body: Value = serde_json::from_str(body).ok()?;
    Some((body["seq"].as_u64()?, body["epoch"].as_u64()?))
}

/// The whole log of the store at `address`.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn read_log(address: SocketAddr) -> Vec<Entry> {
    let mut log: Vec<Entry> = Vec::new();
    loop {
        let from = log.last().map_or(0, |last| last.seq + 1);
        let (status, body) = http::get(address, &format!("/log?from={from}")).expect("an answer");
        assert_eq!(status, 200, "{body}");
        let page: Vec<Value> = serde_json::from_str(&body).expect("a page of the log");
        if page.is_empty() {
            return log;
        }
        let text = |entry: &Value, field: &str| entry[field].as_str().expect("text").to_owned();
        log.extend(page.iter().map(|entry| Entry {
            seq: entry["seq"].as_u64().expect("a number"),
            epoch: entry["epoch"].as_u64().expect("a number"),
            key: text(entry, "key"),
            value: text(entry, "value"),
        }));
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Requests that failed: in a handover without a crash there is none.
    pub failed: Vec<String>,
    /// What must never be: a write lost, there twice, out of order, by an owner of the past.
    pub wrong: Vec<String>,
    /// Epochs in the log, in order, each once.
    pub epochs: Vec<u64>,
    /// Visits that were counted wrongly: state in memory that did not cross.
    pub forgotten: Vec<String>,
}

impl Judgement {
    /// No acknowledged write is lost, whatever else failed.
    ///
    /// # Panics
    /// With what is wrong otherwise.
    pub fn require_nothing_lost(&self, what: &str) {
        assert!(self.wrong.is_empty(), "{what}: {:#?}", self.wrong);
    }

    /// The same, and no request failed.
    ///
    /// # Panics
    /// With what is wrong otherwise.
    pub fn require_all_answered(&self, what: &str) {
        self.require_nothing_lost(what);
        assert!(self.failed.is_empty(), "{what}: {:#?}", self.failed);
    }

    /// The same, and what is in memory has crossed.
    ///
    /// # Panics
    /// With what is wrong otherwise.
    pub fn require_unnoticed(&self, what: &str) {
        self.require_all_answered(what);
        assert!(self.forgotten.is_empty(), "{what}: {:#?}", self.forgotten);
    }
}

/// Compares what clients were told with what is in the log.
#[must_use]
pub fn judge(diaries: Vec<Diary>, log: &[Entry]) -> Judgement {
    let mut found = Judgement::default();
    order(log, &mut found);
    let mut by_key: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in log {
        by_key.entry(&entry.key).or_default().push(entry);
    }
    for diary in diaries {
        let mut last = 0;
        for told in &diary.acknowledged {
            match by_key.remove(told.key.as_str()).as_deref() {
                None => found.wrong.push(format!("lost: {told:?}")),
                Some([kept]) if **kept == *told => {}
                Some(kept) => found
                    .wrong
                    .push(format!("{told:?} is in the log as {kept:?}")),
            }
            if told.seq <= last {
                found.wrong.push(format!("{told:?} follows write {last}"));
            }
            last = told.seq;
        }
        // A visit whose answer was cut may have been counted.
        let mut cut = (diary.unanswered.iter())
            .filter(|(key, _)| key == VISIT)
            .count() as u64;
        for (key, reason) in diary.unanswered {
            if by_key
                .remove(key.as_str())
                .is_some_and(|kept| kept.len() > 1)
            {
                found.wrong.push(format!("{key} is in the log twice"));
            }
            found.failed.push(format!("{key}: {reason}"));
        }
        for two in diary.visits.windows(2) {
            let unheard = two[1].checked_sub(two[0] + 1);
            match unheard.and_then(|unheard| cut.checked_sub(unheard)) {
                Some(left) => cut = left,
                None => found
                    .forgotten
                    .push(format!("visit {} after {}", two[1], two[0])),
            }
        }
        found.acknowledged += diary.acknowledged.len();
    }
    let strangers = by_key.keys().map(|key| format!("nobody wrote {key}"));
    found.wrong.extend(strangers);
    found
}

/// Numbers without a gap, epochs that never go down (I2).
fn order(log: &[Entry], found: &mut Judgement) {
    for two in log.windows(2) {
        if two[1].seq != two[0].seq + 1 || two[1].epoch < two[0].epoch {
            found
                .wrong
                .push(format!("{:?} follows {:?}", two[1], two[0]));
        }
    }
    found.epochs = log.iter().map(|entry| entry.epoch).collect();
    found.epochs.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, epoch: u64, key: &str) -> Entry {
        let (key, value) = (key.to_owned(), "v".to_owned());
        Entry {
            seq,
            epoch,
            key,
            value,
        }
    }

    fn wrong(told: Vec<Entry>, log: &[Entry]) -> usize {
        let diary = Diary {
            acknowledged: told,
            ..Diary::default()
        };
        judge(vec![diary], log).wrong.len()
    }

    #[test]
    fn each_kind_of_loss_is_found() {
        let log = [entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 4, "c")];
        assert_eq!(wrong(log.to_vec(), &log), 0);
        assert_eq!(wrong(log.to_vec(), &log[..2]), 1, "lost");
        assert_eq!(wrong(log[..2].to_vec(), &log), 1, "nobody wrote it");
        let twice = [log.as_slice(), &[entry(4, 4, "a")]].concat();
        assert_eq!(wrong(log.to_vec(), &twice), 1, "twice");
        let back = [entry(1, 2, "a"), entry(2, 1, "b")];
        assert_eq!(wrong(back.to_vec(), &back), 1, "an owner of the past");
        let swapped = vec![log[1].clone(), log[0].clone(), log[2].clone()];
        assert_eq!(wrong(swapped, &log), 1, "out of order");
    }

    fn forgotten(visits: &[u64], cut: usize) -> usize {
        let diary = Diary {
            visits: visits.to_vec(),
            unanswered: vec![(VISIT.into(), "cut".into()); cut],
            ..Diary::default()
        };
        judge(vec![diary], &[]).forgotten.len()
    }

    #[test]
    fn a_visit_is_forgotten_unless_its_answer_was_cut() {
        assert_eq!(forgotten(&[1, 2, 3], 0), 0);
        assert_eq!(forgotten(&[1, 2, 1], 5), 1, "counted anew");
        assert_eq!(forgotten(&[1, 2, 2], 5), 1, "counted twice");
        assert_eq!(forgotten(&[1, 3], 0), 1, "one that nobody made");
        assert_eq!(forgotten(&[1, 3, 5], 1), 1, "one cut, two unheard of");
        assert_eq!(forgotten(&[1, 3, 4], 1), 0);
    }
}
