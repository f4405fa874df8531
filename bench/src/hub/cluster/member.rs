//! Node processes and what is asked of them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// A node in a process of its own; killed when dropped.
pub(super) struct Member {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Member {
    fn start(number: usize, seeds: &[String]) -> Result<Self, Failure> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .to_string();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["hub-cluster", "node", &format!("n{number}"), &address])
            .args(seeds)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".into());
        };
        let mut member = Self {
            child,
            input,
            output: BufReader::new(output),
            address,
        };
        member.answer()?;
        Ok(member)
    }

    fn answer(&mut self) -> Result<Value, Failure> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() {
            return Err(format!("node at {} is gone", self.address).into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    pub(super) fn ask(&mut self, command: &str) -> Result<Value, Failure> {
        writeln!(self.input, "{command}")?;
        self.answer()
    }

    /// Something of its status.
    pub(super) fn count(&mut self, what: &str) -> Result<u64, Failure> {
        Ok(self.ask("status")?[what].as_u64().unwrap_or_default())
    }

    /// Resident memory in bytes.
    pub(super) fn resident(&self) -> Result<u64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
            .ok_or("no VmRSS")?;
        Ok(kib.trim().parse::<u64>()? * 1024)
    }

    /// Processor time used so far.
    pub(super) fn busy(&self) -> Result<Duration, Failure> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(") ").ok_or("no name in stat")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        let second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_secs_f64(ticks as f64 / second as f64))
    }

    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may be gone, which is all that is wanted.
        let _ = self.kill();
    }
}

/// The nodes that run.
#[derive(Default)]
pub(super) struct Cluster {
    pub(super) members: Vec<Member>,
    started: usize,
}

impl Cluster {
    /// One more node, which knows all others.
    pub(super) async fn join(&mut self) -> Result<(), Failure> {
        let seeds: Vec<String> = self.members.iter().map(|m| m.address.clone()).collect();
        self.started += 1;
        self.members.push(Member::start(self.started, &seeds)?);
        Ok(())
    }

    pub(super) fn first(&mut self) -> &mut Member {
        &mut self.members[0]
    }

    /// Starts counters by the first node; until every node knows all of them.
    pub(super) async fn start(&mut self, size: u64) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let answer = self.first().ask(&format!("start {size}"))?;
        if answer["failed"] != 0 {
            return Err(format!("not all started: {answer}").into());
        }
        self.all_know("children", size).await?;
        Ok(begun.elapsed())
    }

    pub(super) async fn all_know(&mut self, what: &str, count: u64) -> Result<(), Failure> {
        self.until(|members| {
            for member in members {
                if member.count(what)? != count {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }

    /// Every process runs on one node, none is on its way, the newest node has its part.
    pub(super) async fn settled(&mut self, size: u64, newest: u64) -> Result<(), Failure> {
        self.until(|members| {
            let (mut running, mut last) = (0, 0);
            for member in members {
                let status = member.ask("status")?;
                if status["moving"] != 0 || status["children"] != size {
                    return Ok(false);
                }
                last = status["processes"].as_u64().unwrap_or_default();
                running += last;
            }
            Ok(running == size && last >= newest)
        })
        .await
    }

    async fn until(
        &mut self,
        mut holds: impl FnMut(&mut Vec<Member>) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&mut self.members)? {
            if Instant::now() > deadline {
                let mut found = Vec::new();
                for member in &mut self.members {
                    found.push(member.ask("status")?.to_string());
                }
                return Err(format!("it did not come about: {}", found.join(" ")).into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}
