//! Asking a program that has no supervisor: `upgrade`, `undo` and `status` with `--pid` or
//! `--socket`.

use super::interruptible;
use super::show::json_line;
use crate::args::{Format, IncumbentArgs, UpgradeArgs};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::{Ink, Output, say};
use crate::view;
use handover::takeover::{
    ConnectError, Finished, RefusedFor, Replies, Reply, Request, RequestError, Serving, request,
    socket_of,
};
use serde_json::json;
use std::path::PathBuf;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const GOES_ON: &str =
    "the handover goes on: `handover status` with the same --pid or --socket shows it";

/// Why a program could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IncumbentError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(
        "a program without a supervisor starts its own file again with its own arguments, so \
         {flag} cannot be chosen; replace the file and upgrade"
    )]
    ByItself {
        /// What was asked for.
        flag: &'static str,
    },
    #[error(
        "process {pid} ended before it said how it went; see who serves with `handover status`"
    )]
    Unfinished {
        /// Who was asked.
        pid: u32,
    },
}

impl IncumbentError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::ByItself { .. } => ExitCode::Usage,
            Self::Unfinished { .. } => ExitCode::Unexpected,
            Self::Request(error) => match error {
                RequestError::NoProcess { .. }
                | RequestError::Connect(ConnectError::Nobody { .. }) => ExitCode::NobodyServes,
                RequestError::Refused {
                    cause: RefusedFor::Fault | RefusedFor::Violation,
                    ..
                } => ExitCode::Unexpected,
                RequestError::Refused { .. }
                | RequestError::Denied { .. }
                | RequestError::NoTakeover { .. }
                | RequestError::Connect(ConnectError::Stranger { .. }) => ExitCode::Refused,
                RequestError::Connect(_) => ExitCode::Unexpected,
            },
        }
    }
}

/// The takeover socket that is meant, if a program without a supervisor is.
pub(super) fn asked(args: &IncumbentArgs) -> Result<Option<PathBuf>, IncumbentError> {
    match (args.pid, &args.socket) {
        (Some(pid), _) => Ok(Some(socket_of(pid)?)),
        (None, socket) => Ok(socket.clone()),
    }
}

/// What only a supervisor can be asked for.
pub(super) fn chooses_nothing(args: &UpgradeArgs) -> Result<(), IncumbentError> {
    let candidate = &args.candidate;
    let flag = if candidate.binary.is_some() {
        "--binary"
    } else if !candidate.listen.is_empty() {
        "--listen"
    } else if !candidate.args.is_empty() {
        "an argument"
    } else if args.busy.queue {
        "--queue"
    } else if args.busy.supersede {
        "--supersede"
    } else {
        return Ok(());
    };
    Err(IncumbentError::ByItself { flag })
}

/// Asks for an attempt, shows what happens and waits until it is over.
pub(super) async fn attempt(
    socket: PathBuf,
    wish: Request,
    format: Format,
) -> Result<ExitCode, CliError> {
    let (to, mut replies) = unbounded_channel();
    let asking = tokio::task::spawn_blocking(move || ask(socket, wish, &to));
    let shown = async {
        let mut output = Output::stdout();
        let mut latest = String::new();
        while let Some(text) = replies.recv().await {
            match format {
                Format::Text => say(&text),
                Format::Json => output
                    .write(&json_line(&json!({ "progress": text })))
                    .map_err(CliError::Stdout)?,
            }
            latest = text;
        }
        let last = asking.await.map_err(std::io::Error::other);
        Ok((last, latest))
    };
    let (last, latest) = interruptible(shown, GOES_ON).await?;
    let finished = match last.map_err(CliError::Runtime)?? {
        Reply::Finished(finished) => finished,
        // Nobody asked for anything else.
        Reply::Progress(text) => return Err(CliError::NotAsked(text)),
        Reply::Serving(serving) => return Err(CliError::NotAsked(serving.service)),
    };
    match format {
        // The last progress tells it, with the time it took.
        Format::Text if latest.contains(&finished.text) => {}
        Format::Text => say(&view::incumbent::ending(&finished, Ink::stderr())),
        Format::Json => {
            let mut output = Output::stdout();
            output
                .write(&outcome(&finished))
                .map_err(CliError::Stdout)?;
        }
    }
    Ok(ExitCode::of_service(finished.code))
}

/// The last reply; those before go to whoever shows them.
fn ask(
    socket: PathBuf,
    wish: Request,
    progress: &UnboundedSender<String>,
) -> Result<Reply, IncumbentError> {
    let replies = request(socket, wish)?;
    let pid = replies.peer().unwrap_or_default();
    for reply in replies {
        match reply? {
            Reply::Progress(text) => {
                // Whoever shows it may have been interrupted.
                let _ = progress.send(text);
            }
            last => return Ok(last),
        }
    }
    Err(IncumbentError::Unfinished { pid })
}

fn outcome(finished: &Finished) -> String {
    let Finished { code, word, text } = finished;
    json_line(&json!({ "outcome": word.replace(' ', "_"), "code": code, "text": text }))
}

/// Who serves.
pub(super) async fn status(socket: PathBuf, format: Format) -> Result<ExitCode, CliError> {
    let path = socket.clone();
    let asking = tokio::task::spawn_blocking(move || {
        let mut replies: Replies = request(socket, Request::Status)?;
        let pid = replies.peer().unwrap_or_default();
        let reply = replies.next().transpose()?;
        reply.ok_or(IncumbentError::Unfinished { pid })
    });
    let reply = asking.await.map_err(std::io::Error::other);
    let serving = match reply.map_err(CliError::Runtime)?? {
        Reply::Serving(serving) => serving,
        Reply::Progress(text) | Reply::Finished(Finished { text, .. }) => {
            return Err(CliError::NotAsked(text));
        }
    };
    let text = match format {
        Format::Text => view::incumbent::render(&serving, &path, Ink::stdout()),
        Format::Json => json_line(&as_json(&serving)),
    };
    Output::stdout().write(&text).map_err(CliError::Stdout)?;
    Ok(ExitCode::Done)
}

/// With the names that the status of a supervisor has for the same things.
fn as_json(serving: &Serving) -> serde_json::Value {
    json!({
        "service": serving.service,
        "mode": serving.mode,
        "phase": serving.phase,
        "generation": serving.generation,
        "incumbent": {
            "instance": serving.instance,
            "pid": serving.pid,
            "program": serving.program,
            "uptime_ms": serving.uptime.as_millis() as u64,
        },
        "successor": serving.successor.map(|pid| json!({ "pid": pid })),
        "listeners": serving.listeners,
    })
}
