//! What makes an upgrade happen.

use crate::error::TriggerError;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// The environment variable that tells an upgrade command which upgrade it is, from 1.
pub const UPGRADE_NUMBER: &str = "UPGRADE_NUMBER";

/// How much of a failed command's standard error is kept: its last words, a
/// screenful at most.
const STDERR_TAIL: u64 = 2_048;

/// Upgrades the service under test.
///
/// Closures `FnMut(u32) -> impl Future<Output = Result<TriggerReport, TriggerError>> + Send`
/// are triggers too.
pub trait Trigger {
    /// Makes upgrade `n` (from 1) happen, and returns when it has ended, one
    /// way or the other. Dropped unfinished when
    /// [`Plan::upgrade_timeout`](crate::Plan::upgrade_timeout) passes.
    ///
    /// # Errors
    /// [`TriggerError`]: recorded as a failed upgrade; the run goes on.
    fn upgrade(
        &mut self,
        n: u32,
    ) -> impl Future<Output = Result<TriggerReport, TriggerError>> + Send;

    /// What upgrade `n` is called while it runs.
    fn label(&self, n: u32) -> String {
        format!("upgrade {n}")
    }

    /// Called when upgrade `n` was abandoned after its time-out, its future
    /// dropped: ends what it may have left behind, and returns its last
    /// words, if any.
    fn abandoned(&mut self, n: u32) -> String {
        let _ = n;
        String::new()
    }
}

/// How an upgrade ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerReport {
    /// What it is called in reports: `1 → 2`, `3, crashes at start`.
    pub label: String,
    /// How it ended, in one or two words: `committed`, `rolled back`.
    pub outcome: String,
    /// Whether that was meant to happen: a bad version is meant to be rolled back.
    pub as_expected: bool,
}

impl<F, Fut> Trigger for F
where
    F: FnMut(u32) -> Fut,
    Fut: Future<Output = Result<TriggerReport, TriggerError>> + Send,
{
    fn upgrade(
        &mut self,
        n: u32,
    ) -> impl Future<Output = Result<TriggerReport, TriggerError>> + Send {
        self(n)
    }
}

/// Runs a shell command for each upgrade, with [`UPGRADE_NUMBER`] in its
/// environment. Exit status 0 is success.
///
/// The command runs in a process group of its own with nothing on its
/// standard input. Its output goes to an unlinked temporary file, not a pipe: a
/// server it leaves in the background may go on writing, and neither keeps
/// the command from being seen as ended nor dies of a closed pipe. When it is
/// abandoned, its whole group is killed.
#[derive(Debug)]
pub struct CommandTrigger {
    command: String,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    output: File,
}

impl CommandTrigger {
    /// `command` is given to `sh -c`. Nothing runs yet.
    #[must_use]
    pub fn new(command: impl Into<String>) -> Self {
        Self {
            command: command.into(),
            running: None,
        }
    }

    fn start(&self, n: u32) -> Result<Running, TriggerError> {
        let output = tempfile::tempfile().map_err(TriggerError::Output)?;
        let errors = output.try_clone().map_err(TriggerError::Output)?;
        let child = Command::new("sh")
            .arg("-c")
            .arg(&self.command)
            .env(UPGRADE_NUMBER, n.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(TriggerError::CouldNotStart)?;
        Ok(Running { child, output })
    }
}

impl Trigger for CommandTrigger {
    async fn upgrade(&mut self, n: u32) -> Result<TriggerReport, TriggerError> {
        let started = self.start(n)?;
        let running = self.running.insert(started);
        let ended = running.child.wait().await;
        let tail = tail(&running.output);
        self.running = None;
        let status = ended.map_err(TriggerError::CouldNotStart)?;
        if !status.success() {
            return Err(TriggerError::Failed {
                status: status.to_string(),
                stderr_tail: tail,
            });
        }
        let outcome = "done".to_owned();
        Ok(TriggerReport {
            label: self.label(n),
            outcome,
            as_expected: true,
        })
    }

    fn abandoned(&mut self, _n: u32) -> String {
        let Some(running) = self.running.take() else {
            return String::new();
        };
        if let Some(pid) = running.child.id().and_then(|id| i32::try_from(id).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            // The child is not reaped yet, so the number is still its own.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
        tail(&running.output)
    }
}

impl Drop for CommandTrigger {
    /// A run that is dropped in the middle of an upgrade abandons it too.
    fn drop(&mut self) {
        self.abandoned(0);
    }
}

/// Reads without moving the offset, which the command's children share.
fn tail(output: &File) -> String {
    let read = || -> io::Result<String> {
        let length = output.metadata()?.len();
        let from = length.saturating_sub(STDERR_TAIL);
        let mut bytes = vec![0; usize::try_from(length - from).unwrap_or(0)];
        let count = output.read_at(&mut bytes, from)?;
        bytes.truncate(count);
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    read().unwrap_or_default()
}

/// Waits for the trigger, at most `limit`.
pub(crate) async fn upgrade_within<T: Trigger>(
    trigger: &mut T,
    n: u32,
    limit: Duration,
) -> Result<TriggerReport, TriggerError> {
    match tokio::time::timeout(limit, trigger.upgrade(n)).await {
        Ok(result) => result,
        Err(_) => {
            let stderr_tail = trigger.abandoned(n);
            Err(TriggerError::TimedOut {
                after: limit,
                stderr_tail,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn once(command: &str, limit: Duration) -> Result<TriggerReport, TriggerError> {
        upgrade_within(&mut CommandTrigger::new(command), 3, limit).await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_command_knows_its_number_and_its_exit_status_counts() {
        let report = once("test $UPGRADE_NUMBER = 3", LONG).await.unwrap();
        assert!(report.as_expected);
        let error = once("echo 'no such version' >&2; exit 7", LONG)
            .await
            .unwrap_err();
        let TriggerError::Failed {
            status,
            stderr_tail,
        } = error
        else {
            panic!("{error}")
        };
        assert!(status.contains('7'), "{status}");
        assert_eq!(stderr_tail, "no such version");
    }

    #[tokio::test]
    async fn only_the_last_words_are_kept() {
        let noise = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done >&2; exit 1";
        let error = once(noise, LONG).await.unwrap_err();
        let TriggerError::Failed { stderr_tail, .. } = error else {
            panic!("{error}")
        };
        assert!(stderr_tail.ends_with("line 1999"), "{stderr_tail}");
        assert!(stderr_tail.len() as u64 <= STDERR_TAIL);
    }

    #[tokio::test]
    async fn a_background_child_that_keeps_the_output_open_does_not_hold_it_up() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let command = format!("sleep 600 & echo $! > {}", file.display());
        once(&command, LONG).await.unwrap();
        let pid: i32 = std::fs::read_to_string(file)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        // It is still there, and ends only now.
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let command = format!(
            "sleep 600 & echo $! > {}; echo stuck >&2; wait",
            file.display()
        );
        let trigger = &mut CommandTrigger::new(command);
        let written = async {
            while std::fs::read_to_string(&file)
                .unwrap_or_default()
                .trim()
                .is_empty()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let started = async { drop(trigger.upgrade(1).await) };
        tokio::select! { () = started => panic!("it ended"), () = written => {} }
        assert!(["", "stuck"].contains(&trigger.abandoned(1).as_str()));
        let pid: i32 = std::fs::read_to_string(&file)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        let patience = std::time::Instant::now() + LONG;
        while !gone() {
            assert!(std::time::Instant::now() < patience, "the child still runs");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn an_abandoned_upgrade_says_how_long_it_was_given() {
        let error = once("sleep 600", Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(matches!(error, TriggerError::TimedOut { .. }), "{error}");
        assert!(error.to_string().contains("0.1 s"), "{error}");
    }
}
