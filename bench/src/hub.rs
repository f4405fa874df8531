//! What a hub costs: where nothing is sent (looking up a row, keeping one, placing shards), and a
//! cluster of processes.

pub(crate) mod cluster;
mod placement;
mod registry;

use crate::table::{self, Table};
use crate::{Failure, table as figures};

/// Rows, or placements, of a benchmark named `hub-…`.
pub(crate) fn run(name: &str, words: &[&str]) -> Result<(), Failure> {
    let table = match (name, words) {
        ("hub-registry", ["hold", rows]) => return registry::hold(rows.parse()?),
        ("hub-registry", [] | ["--write"]) => registry::measure()?,
        ("hub-placement", [] | ["--write"]) => placement::measure()?,
        _ => return Err(format!("unknown: {name} {words:?}; there is [--write]").into()),
    };
    println!("{table}");
    if words == ["--write"] {
        figures::write(name, &table)?;
    }
    Ok(())
}

fn row(figure: String, measured: String, wanted: &str, met: bool, detail: String) -> table::Row {
    table::Row {
        figure,
        measured,
        detail,
        wanted: wanted.to_owned(),
        met,
    }
}

fn empty() -> Table {
    Table::of("nothing sent, one process")
}
