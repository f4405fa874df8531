//! The screen of `handover doctor`.

use super::table::{Align, Table};
use crate::output::Ink;
use handover::supervisor::doctor::{Finding, Verdict};

/// A line per finding, what to do about those that are not right, and a conclusion; ends with a
/// newline.
pub(crate) fn render(findings: &[Finding], ink: Ink) -> String {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("CHECK", Align::Left),
        ("FOUND", Align::Left),
    ]);
    for finding in findings {
        let word = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Bad => "BAD",
        };
        table.row(vec![
            word.to_owned(),
            finding.check.clone(),
            finding.found.clone(),
        ]);
    }
    let mut text = String::new();
    let fixes = std::iter::once(None).chain(findings.iter().map(Some));
    for (line, finding) in table.lines().into_iter().zip(fixes) {
        let bad = finding.is_some_and(|finding| finding.verdict == Verdict::Bad);
        let line = if bad { ink.bad(&line) } else { line };
        text.push_str(&format!("{line}\n"));
        if let Some(finding) = finding.filter(|finding| !finding.fix.is_empty()) {
            text.push_str(&ink.dim(&format!("      fix: {}", finding.fix)));
            text.push('\n');
        }
    }
    let count = |verdict| {
        findings
            .iter()
            .filter(|found| found.verdict == verdict)
            .count()
    };
    text.push_str(&match (count(Verdict::Bad), count(Verdict::Note)) {
        (0, 0) => "\nnothing stands in the way\n".to_owned(),
        (0, notes) => format!("\nnothing stands in the way; {notes} could be better\n"),
        (bad, _) => format!("\n{bad} of {} must be put right\n", findings.len()),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(check: &str, verdict: Verdict, fix: &str) -> Finding {
        Finding {
            check: check.into(),
            verdict,
            found: "something".into(),
            fix: fix.into(),
        }
    }

    #[test]
    fn a_fix_stands_under_what_it_puts_right() {
        let findings = [
            finding("pidfd_open", Verdict::Ok, ""),
            finding("KillMode", Verdict::Bad, "KillMode=process"),
            finding("Restart", Verdict::Note, "Restart=on-failure"),
        ];
        insta::assert_snapshot!(render(&findings, Ink::PLAIN));
        let good = render(&findings[..1], Ink::PLAIN);
        assert!(good.ends_with("nothing stands in the way\n"), "{good}");
    }
}
