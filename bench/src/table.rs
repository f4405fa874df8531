//! The table of figures, with the machine they were measured on.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::Failure;

/// One figure.
pub(crate) struct Row {
    pub(crate) figure: String,
    pub(crate) measured: String,
    pub(crate) detail: String,
    pub(crate) wanted: String,
    pub(crate) met: bool,
}

/// Figures of one run.
pub(crate) struct Table {
    rows: Vec<Row>,
    surroundings: &'static str,
}

impl Default for Table {
    fn default() -> Self {
        Self::of("loopback, load and servers on the same cores")
    }
}

impl Table {
    /// Figures that were measured in these surroundings.
    pub(crate) fn of(surroundings: &'static str) -> Self {
        Self {
            rows: Vec::new(),
            surroundings,
        }
    }

    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {}.\n", machine(), self.surroundings)?;
        writeln!(f, "| figure | measured | wanted | met | how |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        for Row {
            figure,
            measured,
            detail,
            wanted,
            met,
        } in &self.rows
        {
            let met = if *met { "yes" } else { "**no**" };
            writeln!(f, "| {figure} | {measured} | {wanted} | {met} | {detail} |")?;
        }
        Ok(())
    }
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo");
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let kib = memory.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
    });
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores ({}), {} GiB, Linux {}",
        model.unwrap_or("unknown"),
        kib.unwrap_or(0) >> 20,
        kernel.trim().split('-').next().unwrap_or_default(),
    )
}

/// The middle one; half of them are longer.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

pub(crate) fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Replaces what stands between the markers of `bench/README.md`, or of the hub's page, for this
/// benchmark.
pub(crate) fn write(name: &str, table: &Table) -> Result<(), Failure> {
    let begin = format!("<!-- {name}: begin -->");
    let end = format!("<!-- {name}: end -->");
    let page = match name.starts_with("hub-") {
        true => "hub/README.md",
        false => "README.md",
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(&path)?;
    let lost = |marker: &str| format!("bench/{page} has lost its marker {marker}");
    let (before, rest) = text.split_once(&begin).ok_or_else(|| lost(&begin))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| lost(&end))?;
    fs::write(&path, format!("{before}{begin}\n{table}{end}{after}"))?;
    Ok(())
}
