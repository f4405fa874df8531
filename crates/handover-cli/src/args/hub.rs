//! Arguments of `hub`.

use super::FormatArgs;
use clap::{Args, Subcommand};
use handover_hub_proto::identity::{KindName, NodeName, ProcessId};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Which node answers, and what the exit codes mean here.
pub(super) const HELP: &str = "\
Any node of a hub takes any of these, through its private socket. With one node on this machine
it need not be named; with several, --socket does.

Exit codes: 0 done; 2 usage; 10 not moved, serves where it was; 11 refused, nothing was begun; 12 not
done in time, it may go on; 13 no node runs here; 20 the demo found a loss that the guarantees exclude.";

/// Arguments of `hub`.
#[derive(Args, Debug)]
pub(crate) struct HubArgs {
    #[command(subcommand)]
    pub(crate) command: HubCommand,
    /// The node's admin socket; not needed when only one node runs on this machine
    #[arg(long, global = true, value_name = "PATH", env = "HANDOVER_HUB_SOCKET")]
    pub(crate) socket: Option<PathBuf>,
}

/// What can be asked of a hub.
#[derive(Subcommand, Debug)]
pub(crate) enum HubCommand {
    /// List the nodes: what they run, how busy they are, whether they take processes
    Nodes(FormatArgs),
    /// List processes and who runs them
    Ps(PsArgs),
    /// Show one process: its hosts, epoch, home and shard
    Whereis(WhereisArgs),
    /// Move a process to a node, state and queue with it
    Move(MoveArgs),
    /// Move everything away from a node, or let it take processes again
    Evacuate(EvacuateArgs),
    /// Pin a process to nodes, or leave it to the hub's strategy again
    Pin(PinArgs),
    /// Watch a hub live
    Top,
    /// Follow what happens, one line an event
    Events(HubEventsArgs),
    /// Watch three node processes under load: a node joins, one leaves, one is killed; then count
    Demo(HubDemoArgs),
    /// A node of the demo
    #[command(name = "demo-node", hide = true)]
    DemoNode(DemoNodeArgs),
}

/// Arguments of `hub ps`.
#[derive(Args, Debug)]
pub(crate) struct PsArgs {
    /// Only those whose id begins with this
    #[arg(value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
    /// Only those that this node runs
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<NodeName>,
    /// Only those of this kind
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<KindName>,
    /// Only those with this tag
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<String>,
    /// At most so many; those that come first by shard
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Arguments of `hub whereis`.
#[derive(Args, Debug)]
pub(crate) struct WhereisArgs {
    /// The process
    #[arg(value_name = "ID")]
    pub(crate) id: ProcessId,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Arguments of `hub move`.
#[derive(Args, Debug)]
pub(crate) struct MoveArgs {
    /// The process
    #[arg(value_name = "ID")]
    pub(crate) id: ProcessId,
    /// Where it goes; it stays there until nodes come or go, unless it is pinned
    #[arg(value_name = "NODE")]
    pub(crate) node: NodeName,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Arguments of `hub evacuate`.
#[derive(Args, Debug)]
pub(crate) struct EvacuateArgs {
    /// The node that is emptied; it stays a member and takes nothing new
    #[arg(value_name = "NODE")]
    pub(crate) node: NodeName,
    /// Moves a second at most [default: the hub's own pace]
    #[arg(long, value_name = "N/s", value_parser = rate, conflicts_with = "abort")]
    pub(crate) rate: Option<u32>,
    /// Where its processes go [default: to all other nodes]
    #[arg(
        long,
        value_name = "NODE,…",
        value_delimiter = ',',
        conflicts_with = "abort"
    )]
    pub(crate) to: Vec<NodeName>,
    /// How long to wait for its end; it goes on after that, and exit code 12 says so [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = waiting, conflicts_with = "abort")]
    pub(crate) timeout: Option<Duration>,
    /// Let the node take processes again; moves that have begun end
    #[arg(long)]
    pub(crate) abort: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Arguments of `hub pin`.
#[derive(Args, Debug)]
pub(crate) struct PinArgs {
    /// The process
    #[arg(value_name = "ID")]
    pub(crate) id: ProcessId,
    /// Where it runs and nowhere else, one node for each replica
    #[arg(value_name = "NODE", required_unless_present = "free")]
    pub(crate) nodes: Vec<NodeName>,
    /// Leave it to the hub's strategy again
    #[arg(long, conflicts_with = "nodes")]
    pub(crate) free: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Arguments of `hub events`.
#[derive(Args, Debug)]
pub(crate) struct HubEventsArgs {
    /// Begin after this event; without it, with the oldest that is kept
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    pub(crate) since: u64,
    /// Also rows that come, change and go, and homes of shards: many
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Arguments of `hub demo`.
#[derive(Args, Debug, Clone)]
pub(crate) struct HubDemoArgs {
    /// How many counters run
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) processes: u32,
    /// How many nodes it begins with
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(2..=16))]
    pub(crate) nodes: u32,
    /// Passive copies of each counter that receive its state: with one, a node that is killed
    /// takes nothing acknowledged with it
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u16).range(0..=3))]
    pub(crate) replicas: u16,
    /// Clients that increment all the time
    #[arg(long, value_name = "N", default_value_t = 32,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) clients: u32,
    /// Serve the page of the first node there while it lasts
    #[arg(long, value_name = "ADDR")]
    pub(crate) dashboard: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Arguments of a node of the demo.
#[derive(Args, Debug)]
pub(crate) struct DemoNodeArgs {
    /// The hub.
    #[arg(long, default_value = "demo")]
    pub(crate) hub: String,
    /// Its name.
    #[arg(long)]
    pub(crate) node: NodeName,
    /// Where its peers reach it.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Nodes that are there already.
    #[arg(long)]
    pub(crate) seed: Vec<SocketAddr>,
    /// Passive copies of each counter.
    #[arg(long, default_value_t = 0)]
    pub(crate) replicas: u16,
    /// Where its page is.
    #[arg(long)]
    pub(crate) dashboard: Option<SocketAddr>,
}

/// `500/s`, or `500`.
fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    match number.parse() {
        Ok(0) => Err("at 0 a second nothing would ever move; give at least 1/s".to_owned()),
        Ok(rate) => Ok(rate),
        Err(_) => Err("not moves a second, such as 500/s".to_owned()),
    }
}

/// `90s`, but not none.
fn waiting(text: &str) -> Result<Duration, String> {
    match crate::duration::parse(text) {
        Ok(time) if time < Duration::from_millis(1) => {
            Err("in no time nothing ends; give at least 1ms".to_owned())
        }
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn accepted(line: &str) -> bool {
        let words = ["handover", "hub"].into_iter().chain(line.split(' '));
        Cli::try_parse_from(words).is_ok()
    }

    #[test]
    fn what_cannot_be_meant_is_refused_before_anybody_is_asked() {
        for line in [
            "evacuate b --rate 500/s --to a,c",
            "evacuate b --abort",
            "evacuate b --timeout 1m30s",
            "pin alice a b",
            "pin alice --free",
            "nodes --socket /x --format json",
            "ps user- --node a --limit 5",
        ] {
            assert!(accepted(line), "{line}");
        }
        for line in [
            "evacuate b --rate 0",
            "evacuate b --rate 0/s",
            "evacuate b --rate 5/h",
            "evacuate b --abort --rate 5",
            "evacuate b --abort --timeout 5s",
            "evacuate b --timeout 0s",
            "evacuate b --timeout 5",
            "evacuate",
            "pin alice",
            "pin alice a --free",
            "move alice",
            "ps --limit 0",
            "demo --nodes 1",
        ] {
            assert!(!accepted(line), "{line}");
        }
    }

    #[test]
    fn nodes_to_move_to_are_divided_by_commas() {
        let line = ["handover", "hub", "evacuate", "b", "--to", "a,c"];
        let Command::Hub(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!("not hub")
        };
        let super::HubCommand::Evacuate(args) = args.command else {
            panic!("not evacuate")
        };
        let names: Vec<&str> = args.to.iter().map(|name| name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
    }
}
