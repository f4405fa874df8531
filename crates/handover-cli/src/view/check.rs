//! The screen of `handover check`.

use super::table::{Align, Table};
use crate::output::Ink;
use handover::supervisor::CheckReport;

/// A line per finding and a conclusion; ends with a newline.
pub(crate) fn render(report: &CheckReport, ink: Ink) -> String {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("CHECK", Align::Left),
        ("FOUND", Align::Left),
    ]);
    for finding in &report.findings {
        let word = if finding.ok { "ok" } else { "BAD" };
        let detail = finding.detail.replace('\n', "\n                  ");
        table.row(vec![word.to_owned(), finding.name.clone(), detail]);
    }
    let mut text = String::new();
    let goodness = std::iter::once(true).chain(report.findings.iter().map(|f| f.ok));
    for (line, good) in table.lines().into_iter().zip(goodness) {
        let line = if good { line } else { ink.bad(&line) };
        text.push_str(&format!("{line}\n"));
    }
    let bad = report.findings.iter().filter(|f| !f.ok).count();
    text.push_str(&match (report.ok, bad) {
        (true, _) => "\nfit for a handover; nothing was started\n".to_owned(),
        (false, bad) => format!(
            "\nnot fit for a handover: {bad} of {} checks failed; nothing was started\n",
            report.findings.len()
        ),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    #[test]
    fn a_fit_candidate() {
        insta::assert_snapshot!(render(&sample::fit(), Ink::PLAIN));
    }

    #[test]
    fn an_unfit_candidate() {
        insta::assert_snapshot!(render(&sample::unfit(), Ink::PLAIN));
    }
}
