//! What the size rules excuse, and the ratchet: an exception that is no longer needed, or that
//! allows more than is used, is itself an offence.

use std::fs;

use crate::tree::root;
use crate::{Offence, require_none};

pub(crate) const PATH: &str = "xtask/tidy-exceptions.txt";

/// Lines an exception may allow beyond what is there, so that not every edit touches the list.
const SLACK: usize = 30;

/// One line of the list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exception {
    /// `path`, or `path::function`.
    pub(crate) place: String,
    /// The most lines it may have.
    pub(crate) lines: usize,
}

/// The list as it is in the repository.
pub(crate) fn all() -> Vec<Exception> {
    let list = fs::read_to_string(root().join(PATH)).expect("the list of exceptions");
    parse(&list).expect("the list of exceptions is well formed")
}

fn parse(list: &str) -> Result<Vec<Exception>, Offence> {
    let lines = list
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let mut fields = line.splitn(3, ' ').map(str::trim);
        let place = fields.next().filter(|place| !place.is_empty());
        let limit = fields.next().and_then(|limit| limit.parse().ok());
        let reason = fields.next().filter(|reason| !reason.is_empty());
        match (place, limit, reason) {
            (Some(place), Some(lines), Some(_)) => Ok(Exception {
                place: place.to_owned(),
                lines,
            }),
            _ => Err(Offence::new(
                PATH,
                format!("expected `place lines reason`, found `{line}`"),
            )),
        }
    });
    parsed.collect()
}

/// Compares what is there with a limit and its exceptions.
///
/// `found` is every place that was measured, with its lines.
pub(crate) fn judge(
    found: &[(String, usize)],
    limit: usize,
    exceptions: &[&Exception],
) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (place, lines) in found {
        let allowed = exceptions
            .iter()
            .find(|exception| exception.place == *place);
        let allowed = allowed.map_or(limit, |exception| exception.lines);
        if *lines > allowed {
            let advice = "split it along its ideas";
            offences.push(Offence::new(
                place,
                format!("{lines} lines, at most {allowed}; {advice}"),
            ));
        }
    }
    for Exception {
        place,
        lines: allowed,
    } in exceptions
    {
        let lines = found
            .iter()
            .filter(|(found, _)| found == place)
            .map(|(_, lines)| *lines)
            .max();
        let advice = match lines {
            None => "is not there any more: remove the exception".to_owned(),
            Some(lines) if lines <= limit => "needs no exception any more: remove it".to_owned(),
            Some(lines) if lines + SLACK < *allowed => format!("has shrunk: lower it to {lines}"),
            Some(_) => continue,
        };
        offences.push(Offence::new(PATH, format!("{place} {advice}")));
    }
    offences
}

#[test]
fn the_list_of_exceptions_is_well_formed() {
    require_none(parse("a.rs 600 because\n").err().as_slice());
    assert!(parse("a.rs 600\n").is_err(), "a reason is required");
    assert!(parse("a.rs many because\n").is_err());
    let _ = all();
}

#[test]
fn exceptions_only_shrink() {
    let found = |lines| vec![("a.rs".to_owned(), lines)];
    let exception = Exception {
        place: "a.rs".to_owned(),
        lines: 600,
    };
    let judged = |lines| judge(&found(lines), 500, &[&exception]).len();
    assert_eq!(judged(600), 0);
    assert_eq!(judged(601), 1, "more than was excused");
    assert_eq!(judged(520), 1, "less than was excused");
    assert_eq!(judged(500), 1, "nothing to excuse");
    assert_eq!(judge(&[], 500, &[&exception]).len(), 1, "nothing there");
    assert_eq!(judge(&found(501), 500, &[]).len(), 1);
}
