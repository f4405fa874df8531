//! `handover peer watch`: follows which containers are up.

mod queue;
mod reaction;
mod route;
mod screen;
mod template;

pub(crate) use template::TemplateError;

use crate::args::WatchArgs;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::view::quantity::duration;
use handover::container::status::{News, StatusHeard};
use handover::container::{Environment, Link, StatusListener};
use handover_proto::container::roster::{Change, Roster, Settings};
use handover_proto::moment::Moment;
use queue::Queue;
use reaction::{Reaction, ReactionError, State};
use route::Route;
use screen::Screen;
use std::collections::BTreeSet;
use std::env;
use template::Template;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until};

/// The subject when all services are one file.
const ALL: &str = "";

/// Follows until a signal, or until nobody reads standard output.
pub(super) async fn run(args: WatchArgs) -> Result<ExitCode, CliError> {
    let typed = |name| args.network.variable(name);
    let environment = Environment::read_from(|name| typed(name).or_else(|| env::var_os(name)))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::Runtime)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Runtime)?;
    let listener = StatusListener::within(&environment)?;
    let mut watch = Watch::new(&args)?;
    tokio::select! {
        ended = watch.follow(listener) => ended,
        _ = interrupt.recv() => Ok(ExitCode::Done),
        _ = terminate.recv() => Ok(ExitCode::Done),
    }
}

/// What is known, who is told.
struct Watch {
    origin: Instant,
    roster: Roster,
    /// Empty: all.
    only: BTreeSet<String>,
    screen: Screen,
    template: Option<Template>,
    /// `None` when nothing follows a change.
    reaction: Option<Reaction>,
    queue: Queue<State>,
    telling: Option<Telling>,
    /// Whether it was said that a message was left out.
    left_out: bool,
}

/// A state that is being told.
struct Telling {
    subject: String,
    task: JoinHandle<Result<(), ReactionError>>,
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    fn new(args: &WatchArgs) -> Result<Self, CliError> {
        let template = args.template.as_deref().map(Template::read).transpose()?;
        let reacts = args.exec.is_some() || template.is_some();
        let now = Instant::now();
        Ok(Self {
            origin: now,
            roster: Roster::new(Settings::default()),
            only: args.service.iter().cloned().collect(),
            screen: Screen::new(args.json, args.exec.is_some()),
            template,
            reaction: reacts.then(|| Reaction {
                output: args.output.clone(),
                command: args.exec.clone(),
                limit: args.exec_timeout,
            }),
            queue: Queue::new(now + args.settle),
            telling: None,
            left_out: false,
        })
    }

    async fn follow(&mut self, mut listener: StatusListener) -> Result<ExitCode, CliError> {
        self.draw()?;
        while !self.screen.closed() {
            self.tell();
            let expires = self.roster.next_deadline().map(|at| self.instant(at));
            let due = self.queue.due();
            let redraw = self.screen.redraws_at();
            tokio::select! {
                // What was heard meanwhile comes before what was not: after a pause of this
                // process both are due.
                biased;
                news = listener.news() => self.learn(news?, &listener)?,
                ended = ended(&mut self.telling) => self.told(ended),
                () = at(expires) => self.expire()?,
                () = at(due) => {}
                () = at(redraw) => self.draw()?,
            }
        }
        Ok(ExitCode::Done)
    }

    fn learn(&mut self, news: News, listener: &StatusListener) -> Result<(), CliError> {
        match news {
            News::Status(heard) => self.hear(&heard),
            News::Interfaces(links) => {
                self.screen.note(&interfaces(&links, listener));
                Ok(())
            }
            News::Malformed { count, from, why } => {
                let what = match count {
                    1 => "a datagram was no status: it came".to_owned(),
                    count => format!("{count} datagrams were no status; the last came"),
                };
                self.screen.note(&format!("{what} from {from}: {why}"));
                Ok(())
            }
        }
    }

    fn hear(&mut self, heard: &StatusHeard) -> Result<(), CliError> {
        let datagram = &heard.datagram;
        if !self.only.is_empty() && !self.only.contains(&datagram.service) {
            return Ok(());
        }
        if !route::is_plain(&datagram.service) {
            self.leave_out(heard, "its name has control characters");
            return Ok(());
        }
        let now = self.now();
        match self.roster.hear(now, heard.from, datagram) {
            Ok(Some(change)) => self.changed(&change),
            Ok(None) => Ok(()),
            Err(error) => {
                self.leave_out(heard, &error.to_string());
                Ok(())
            }
        }
    }

    /// Said once: who floods us is not to flood the screen.
    fn leave_out(&mut self, heard: &StatusHeard, why: &str) {
        if !std::mem::replace(&mut self.left_out, true) {
            let service = heard.datagram.service.escape_debug();
            self.screen.note(&format!(
                "{service} from {} is left out, as others may be from now on: {why}; name those \
                 that matter with --service",
                heard.from
            ));
        }
    }

    fn expire(&mut self) -> Result<(), CliError> {
        while let Some(change) = self.roster.expire(self.now()) {
            self.changed(&change)?;
        }
        Ok(())
    }

    fn changed(&mut self, change: &Change) -> Result<(), CliError> {
        let now = self.now();
        self.screen
            .change(change, &self.roster, now)
            .map_err(CliError::Stdout)?;
        if self.reaction.is_none() {
            return Ok(());
        }
        // Of a service that is forgotten there is no news: it was not up before either.
        let service = self.roster.service(&change.service);
        let route = service.and_then(|service| Route::of(&change.service, service));
        match &self.template {
            None => {
                if let Some(route) = route {
                    let state = State { route, text: None };
                    self.queue.want(Instant::now(), &change.service, state);
                }
                let roster = &self.roster;
                self.queue.keep(|name| roster.service(name).is_some());
            }
            Some(template) => match template.render(&self.roster) {
                Ok(text) => {
                    let route = route.unwrap_or_else(|| Route::forgotten(change));
                    let text = Some(text);
                    self.queue.want(Instant::now(), ALL, State { route, text });
                }
                Err(error) => self.screen.note(&format!(
                    "the template cannot be rendered, the file is as it was: {error:#}"
                )),
            },
        }
        Ok(())
    }

    /// Tells what is due, if nothing is being told.
    fn tell(&mut self) {
        let Some(reaction) = &self.reaction else {
            return;
        };
        if let Some((subject, state)) = self.queue.take(Instant::now()) {
            let task = tokio::spawn(reaction.clone().tell(state));
            self.telling = Some(Telling { subject, task });
        }
    }

    fn told(&mut self, ended: Result<Result<(), ReactionError>, JoinError>) {
        let Some(telling) = self.telling.take() else {
            return;
        };
        let failure = match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let well = failure.is_none();
        let again = self.queue.told(Instant::now(), &telling.subject, well);
        if let (Some(failure), Some(again)) = (failure, again) {
            let again = match again.is_zero() {
                true => "what is known by now is told at once".to_owned(),
                false => format!("tried again in {}", duration(again)),
            };
            self.screen.note(&format!("{failure}; {again}"));
        }
    }

    fn draw(&mut self) -> Result<(), CliError> {
        let now = self.now();
        self.screen
            .draw(&self.roster, now)
            .map_err(CliError::Stdout)
    }

    fn now(&self) -> Moment {
        Moment::ZERO + self.origin.elapsed()
    }

    fn instant(&self, at: Moment) -> Instant {
        self.origin + at.since(Moment::ZERO)
    }
}

fn interfaces(links: &[Link], listener: &StatusListener) -> String {
    let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
    match names.is_empty() {
        false => format!("listens to {} on {}", listener.group(), names.join(", ")),
        true => format!("{}; it is waited for", listener.nowhere()),
    }
}

/// Until then; for ever without a time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Until what is being told was told; for ever when nothing is.
async fn ended(telling: &mut Option<Telling>) -> Result<Result<(), ReactionError>, JoinError> {
    match telling {
        Some(telling) => (&mut telling.task).await,
        None => std::future::pending().await,
    }
}
