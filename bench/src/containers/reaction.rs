//! From the announcement of the young instance until the callback of the old one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::network::{Network, Place, Wire};
use super::process::{Group, Kind, PATIENCE, SECOND, Said};
use super::{FIRST, percentile, ratio};
use crate::Failure;
use crate::table::{Row, Table, median, millis};

/// Samples of each kind without loss.
const SAMPLES: usize = 101;
/// Samples of the command, and of theirs beside them.
const COMMANDS: usize = 51;
/// Samples of each kind with loss, enough for the hundredth part to be several.
const LOSSY_SAMPLES: u16 = 400;
/// Pairs of ours at once; each is two processes.
const AT_ONCE: u16 = 50;
/// What the relay loses.
const LOST_PERCENT: &str = "30";
/// Names what is lost.
const SEED: u64 = 5;
/// Between two announcements, so that one pair does not wait for another.
const PAUSE: Duration = Duration::from_millis(5);
/// Nine repetitions of theirs, all lost once in 50,000 times.
const LOSSY_PATIENCE: Duration = Duration::from_secs(100);
/// After a process says that it listens, until it is asked for anything: its start is not measured.
const SETTLED: Duration = Duration::from_millis(100);

/// Without loss, in turn, each sample with fresh processes.
pub(super) fn plain(table: &mut Table) -> Result<(), Failure> {
    let network = Network::new(Wire::Bridge)?;
    let kinds = [Kind::Theirs, Kind::Ours];
    let mut times: [Vec<Duration>; 2] = Default::default();
    eprintln!("{SAMPLES} reactions of each kind …");
    for _ in 0..SAMPLES {
        for (kind, times) in kinds.iter().zip(&mut times) {
            times.extend(pairs(&network, *kind, FIRST..FIRST + 1)?);
        }
    }
    let [theirs, ours] = times;
    let tails = [&theirs, &ours].map(|times| percentile(times, 99));
    let (theirs, ours) = (median(theirs), median(ours));
    table.push(Row {
        figure: "announced → callback of the old instance, ours ÷ theirs".into(),
        measured: ratio(ours, theirs),
        detail: format!(
            "{} ÷ {}, medians of {SAMPLES}; p99 {} and {}",
            millis(ours),
            millis(theirs),
            millis(tails[1]),
            millis(tails[0]),
        ),
        wanted: "≤ 1".into(),
        met: ours <= theirs,
    });
    Ok(())
}

/// With loss, many pairs at once, each on ports of its own.
pub(super) fn lossy(table: &mut Table) -> Result<(), Failure> {
    let network = Network::new(Wire::Apart)?;
    let mut times: [Vec<Duration>; 2] = Default::default();
    let [theirs, ours] = &mut times;
    eprintln!("{LOSSY_SAMPLES} reactions of theirs with {LOST_PERCENT} % loss …");
    theirs.extend(relayed(
        &network,
        Kind::Theirs,
        FIRST..FIRST + LOSSY_SAMPLES,
    )?);
    eprintln!("{LOSSY_SAMPLES} reactions of ours with {LOST_PERCENT} % loss …");
    for first in (FIRST..FIRST + LOSSY_SAMPLES).step_by(usize::from(AT_ONCE)) {
        ours.extend(relayed(&network, Kind::Ours, first..first + AT_ONCE)?);
    }
    let tails = times.each_ref().map(|times| percentile(times, 99));
    let middles = times.map(median);
    let [theirs, ours] = tails;
    table.push(Row {
        figure: format!(
            "announced → callback of the old instance, {LOST_PERCENT} % loss, p99, ours ÷ theirs"
        ),
        measured: ratio(ours, theirs),
        detail: format!(
            "{} ÷ {}, of {LOSSY_SAMPLES} each; medians {} and {}",
            millis(ours),
            millis(theirs),
            millis(middles[1]),
            millis(middles[0]),
        ),
        wanted: "≤ 0.1".into(),
        met: ours * 10 <= theirs,
    });
    Ok(())
}

fn relayed(
    network: &Network,
    kind: Kind,
    ports: std::ops::Range<u16>,
) -> Result<Vec<Duration>, Failure> {
    let mut command = network.command(Place::Between, &std::env::current_exe()?);
    command.args(["containers", "relay", &SEED.to_string(), LOST_PERCENT]);
    for port in ports.clone() {
        command.arg(port.to_string());
        if kind == Kind::Ours {
            command.arg((port + SECOND).to_string());
        }
    }
    let mut relay = Group::new()?;
    relay.start(command)?;
    relay.ready()?;
    pairs(network, kind, ports)
}

/// The times of one pair for each port.
fn pairs(
    network: &Network,
    kind: Kind,
    ports: std::ops::Range<u16>,
) -> Result<Vec<Duration>, Failure> {
    let count = ports.len();
    let announced = |said| match said {
        Said::Announced(port, at) => Some((port, at)),
        _ => None,
    };
    let mut old = kind.start(network, Place::Old, ports.clone())?;
    old.ready()?;
    old.tell(PAUSE)?;
    old.gather(count, PATIENCE, announced)?;
    let mut young = kind.start(network, Place::Young, ports)?;
    young.ready()?;
    std::thread::sleep(SETTLED);
    young.tell(PAUSE)?;
    let began = young.gather(count, PATIENCE, announced)?;
    let began: BTreeMap<u16, Duration> = began.into_iter().collect();
    let entered = old.gather(count, LOSSY_PATIENCE, |said| match said {
        Said::Entered(port, at) => Some((port, at)),
        _ => None,
    })?;
    let times = entered.into_iter().map(|(port, at)| {
        let began = began.get(&port).ok_or("a callback without announcement")?;
        Ok(at.saturating_sub(*began))
    });
    times.collect()
}

/// `handover peer`, in turn with theirs: from the moment in which the program of the young one says that
/// it is ready until the program of the old one is told to stop.
pub(super) fn command(table: &mut Table) -> Result<(), Failure> {
    let network = Network::new(Wire::Bridge)?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    eprintln!("{COMMANDS} reactions of theirs and of the command …");
    for _ in 0..COMMANDS {
        theirs.extend(pairs(&network, Kind::Theirs, FIRST..FIRST + 1)?);
        ours.push(commanded(&network)?);
    }
    let (theirs, ours) = (median(theirs), median(ours));
    table.push(Row {
        figure: "`handover peer`: ready → old program told to stop, ÷ announced → callback, theirs"
            .into(),
        measured: ratio(ours, theirs),
        detail: format!(
            "{} ÷ {}, medians of {COMMANDS}",
            millis(ours),
            millis(theirs)
        ),
        wanted: "≤ 1".into(),
        met: ours <= theirs,
    });
    Ok(())
}

fn commanded(network: &Network) -> Result<Duration, Failure> {
    let announced = |said| match said {
        Said::Announced(_, at) => Some(at),
        _ => None,
    };
    let entered = |said| match said {
        Said::Entered(_, at) => Some(at),
        _ => None,
    };
    let own = std::env::current_exe()?;
    let program = [
        own.display().to_string(),
        "containers".into(),
        "program".into(),
    ];
    let (mut old, mut young) = (Group::new()?, Group::new()?);
    let directories = [tempfile::tempdir()?, tempfile::tempdir()?];
    let places = [Place::Old, Place::Young];
    for ((place, directory), group) in places.iter().zip(&directories).zip([&mut old, &mut young]) {
        let mut command = super::command(network, *place, directory.path())?;
        command.args(["--ready", "notify", "--stderr", "inherit", "--"]);
        command.args(&program).arg(FIRST.to_string());
        group.start(command)?;
        if *place == Place::Old {
            group.gather(1, PATIENCE, announced)?;
            std::thread::sleep(SETTLED);
        }
    }
    let began = young.gather(1, PATIENCE, announced)?;
    let ended = old.gather(1, PATIENCE, entered)?;
    // The young one last, or the old one would take back.
    drop(old);
    match (&began[..], &ended[..]) {
        ([began], [ended]) => Ok(ended.saturating_sub(*began)),
        _ => Err("a stamp is missing".into()),
    }
}
