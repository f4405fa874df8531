//! Handovers in a row: what the supervisor and the instances hold must not grow.

use serde_json::Value;

use super::dark::Case;
use crate::Failure;
use crate::table::{Row, Table};

/// In a row.
const HANDOVERS: usize = 1000;
/// Before the first look: what is allocated once has been by then.
const WARM_UP: usize = 20;
/// MiB of base state in each, so that leaked memory or a leaked descriptor would show.
const BASE: usize = 1;
/// Growth that is none: pages the allocator keeps or gives back by chance.
const NOISE: f64 = 1.1;

/// What was held at one time.
#[derive(Clone, Copy)]
struct Held {
    memory: u64,
    descriptors: u64,
}

fn held(status: &Value) -> Result<(Held, Held), Failure> {
    let number = |value: &Value| {
        value
            .as_u64()
            .ok_or_else(|| format!("no number in {status}"))
    };
    let supervisor = Held {
        memory: number(&status["supervisor_rss_bytes"])?,
        descriptors: number(&status["supervisor_descriptors"])?,
    };
    let instance = &status["incumbent"];
    let instance = Held {
        memory: number(&instance["rss_bytes"])?,
        descriptors: number(&instance["descriptors"])?,
    };
    Ok((supervisor, instance))
}

/// Adds the rows.
pub(crate) fn measure(table: &mut Table) -> Result<(), Failure> {
    let mut case = Case::with_base(BASE)?;
    let mut first = None;
    for done in 1..=HANDOVERS {
        case.hand_over()?;
        if done == WARM_UP {
            first = Some(held(&case.status()?)?);
        }
        if done % 100 == 0 {
            eprintln!("{done} handovers of {HANDOVERS} …");
        }
    }
    let first = first.ok_or("too few handovers")?;
    let last = held(&case.status()?)?;
    row(table, "supervisor", first.0, last.0);
    row(table, "instance", first.1, last.1);
    Ok(())
}

fn row(table: &mut Table, who: &str, first: Held, last: Held) {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let grown = last.memory as f64 / first.memory as f64;
    table.push(Row {
        figure: format!("{who} after {HANDOVERS} handovers ÷ after {WARM_UP}: memory"),
        measured: format!("{grown:.2}"),
        detail: format!(
            "{:.1} MiB ÷ {:.1} MiB resident; descriptors {} and {}",
            mib(last.memory),
            mib(first.memory),
            last.descriptors,
            first.descriptors
        ),
        wanted: "≤ 1.1, no descriptor more".into(),
        met: grown <= NOISE && last.descriptors <= first.descriptors,
    });
}
