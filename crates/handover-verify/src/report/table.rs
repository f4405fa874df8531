//! The report as plain text.

use super::{ClientReport, Report, Upgrade};
use crate::latency::Latency;
use crate::loss::LossKind;
use std::fmt::{self, Write as _};

/// The width every line keeps to.
const WIDTH: usize = 80;

pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_all(&mut text, report);
    text
}

fn write_all(out: &mut String, report: &Report) -> fmt::Result {
    verdict(out, report)?;
    losses(out, report)?;
    latencies(out, report)?;
    lag(out, report)?;
    if !report.upgrades.is_empty() {
        upgrades(out, report)?;
    }
    if report.clients.iter().any(|client| client.connections > 0) {
        keep_alive(out, report)?;
    }
    examples(out, report)?;
    Ok(())
}

fn verdict(out: &mut String, report: &Report) -> fmt::Result {
    let seconds = report.duration_ms / 1_000.0;
    writeln!(
        out,
        "{}",
        cut(&format!("{}, {seconds:.1} s of load", report.target), WIDTH)
    )?;
    let word = match (report.lossless(), report.answered) {
        (true, _) => "NOTHING LOST",
        (false, 0) => "NOTHING ANSWERED",
        (false, _) if report.failed > 0 => "LOSS FOUND",
        (false, _) => "NOT AS EXPECTED",
    };
    let failed = match report.failed {
        0 => "none lost".to_owned(),
        failed => format!("{} lost", grouped(failed)),
    };
    write!(
        out,
        "{word}: {} requests, {failed}",
        grouped(report.requests)
    )?;
    let upgrades = report.upgrades.len();
    if upgrades > 0 {
        let good = upgrades - report.unexpected_upgrades();
        write!(out, "; {good} of {upgrades} upgrades as expected")?;
    }
    writeln!(out)
}

fn losses(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "\nrequests due, and of these lost, by kind")?;
    let columns = [
        "due", "lost", "refused", "reset", "cut", "trunc", "time-out", "wrong", "other", "unsent",
    ];
    counts(out, "", &columns.map(str::to_owned))?;
    for client in &report.clients {
        let lost = |kind| short(client.lost(kind));
        let columns = [
            short(client.requests),
            short(client.failed_total()),
            lost(LossKind::Refused),
            lost(LossKind::Reset),
            lost(LossKind::Cut),
            lost(LossKind::Truncated),
            lost(LossKind::TimedOut),
            lost(LossKind::Wrong),
            lost(LossKind::Other),
            lost(LossKind::NotSent),
        ];
        counts(out, client.load.name(), &columns)?;
    }
    Ok(())
}

fn counts(out: &mut String, name: &str, columns: &[String; 10]) -> fmt::Result {
    const WIDTHS: [usize; 10] = [7, 6, 8, 6, 6, 6, 9, 6, 6, 7];
    write!(out, "{name:<11}")?;
    for (column, width) in columns.iter().zip(WIDTHS) {
        write!(out, "{column:>width$}")?;
    }
    writeln!(out)
}

fn latencies(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "\nlatency in ms, from when each request was due")?;
    writeln!(
        out,
        "{:<28}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "", "p50", "p90", "p99", "p99.9", "max"
    )?;
    for client in &report.clients {
        latency(out, &format!("{:<11}steady", client.load), &client.steady)?;
        if !report.upgrades.is_empty() {
            latency(out, &format!("{:<11}during upgrades", ""), &client.during)?;
        }
    }
    Ok(())
}

/// The tester's own lateness is in the figures above it.
fn lag(out: &mut String, report: &Report) -> fmt::Result {
    let lag = report
        .clients
        .iter()
        .map(|client| client.max_lag_ms)
        .fold(0.0, f64::max);
    writeln!(
        out,
        "of this, requests left this machine up to {} ms late",
        ms(lag)
    )
}

fn latency(out: &mut String, name: &str, latency: &Latency) -> fmt::Result {
    write!(out, "{name:<28}")?;
    let Latency {
        count,
        p50_ms,
        p90_ms,
        p99_ms,
        p999_ms,
        max_ms,
    } = *latency;
    for value in [p50_ms, p90_ms, p99_ms, p999_ms, max_ms] {
        let value = if count == 0 {
            "-".to_owned()
        } else {
            ms(value)
        };
        write!(out, "{value:>9}")?;
    }
    writeln!(out)
}

fn upgrades(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(
        out,
        "\nupgrades (times in ms; dark: requests were due, none was answered)"
    )?;
    writeln!(
        out,
        "{:>3} {:>7} {:>7} {:>7} {:>7} {:>7} {:>5}  what and how it ended",
        "", "at s", "took", "dark", "1st new", "max", "lost"
    )?;
    for upgrade in &report.upgrades {
        writeln!(
            out,
            "{:>3} {:>7.1} {:>7} {:>7} {:>7} {:>7} {:>5}  {}",
            upgrade.n,
            upgrade.start_ms / 1_000.0,
            ms(upgrade.duration_ms),
            ms(upgrade.dark_window_ms),
            upgrade.first_answer_by_new_ms.map_or("-".to_owned(), ms),
            if upgrade.latency.count == 0 {
                "-".to_owned()
            } else {
                ms(upgrade.latency.max_ms)
            },
            short(upgrade.failed),
            cut(&ending(upgrade), WIDTH - 51),
        )?;
    }
    for upgrade in report
        .upgrades
        .iter()
        .filter(|upgrade| !upgrade.as_expected)
    {
        let line = format!("! {}: {}", upgrade.label, upgrade.outcome);
        wrapped(out, &line)?;
    }
    writeln!(
        out,
        "longest dark stretch outside upgrades: {} ms",
        ms(report.steady_dark_ms)
    )?;
    if report
        .upgrades
        .iter()
        .all(|upgrade| upgrade.first_answer_by_new_ms.is_none())
    {
        writeln!(
            out,
            "no answer by a new version was seen (no version header, or no change)"
        )?;
    }
    Ok(())
}

fn ending(upgrade: &Upgrade) -> String {
    let mark = if upgrade.as_expected { "" } else { "! " };
    format!("{mark}{}: {}", upgrade.label, upgrade.outcome)
}

fn keep_alive(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out)?;
    for client in report
        .clients
        .iter()
        .filter(|client| client.connections > 0)
    {
        let ClientReport {
            load,
            connections,
            told_to_close,
            idle_closed,
            ..
        } = client;
        let line = format!(
            "{load}: {} connections made; the server announced the close of {}, and closed {} \
             idle ones without a word (no loss)",
            grouped(*connections),
            grouped(*told_to_close),
            grouped(*idle_closed),
        );
        wrapped(out, &line)?;
    }
    Ok(())
}

fn examples(out: &mut String, report: &Report) -> fmt::Result {
    if report.examples.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nfirst of each kind")?;
    for example in &report.examples {
        let line = format!(
            "{}: {} request at {:.3} s: {}",
            example.kind.name(),
            example.load,
            example.at_ms / 1_000.0,
            example.text,
        );
        wrapped(out, &line)?;
    }
    Ok(())
}

/// Breaks at spaces; control characters from a server's words are shown as spaces.
fn wrapped(out: &mut String, text: &str) -> fmt::Result {
    let mut width = 0;
    for word in text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|w| !w.is_empty())
    {
        let word = cut(word, WIDTH - 2);
        let length = word.chars().count();
        if width == 0 {
            width = length;
        } else if width + 1 + length > WIDTH {
            write!(out, "\n  ")?;
            width = 2 + length;
        } else {
            write!(out, " ")?;
            width += 1 + length;
        }
        write!(out, "{word}")?;
    }
    writeln!(out)
}

fn cut(text: &str, width: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= width {
        return text.chars().map(clean).collect();
    }
    text.chars()
        .map(clean)
        .take(width.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// Three digits or so, at most seven characters.
fn ms(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 1_000.0 => format!("{value:.1}"),
        value => short(value.round() as u64),
    }
}

/// `1,234,567`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// At most five characters: `99999`, `100k`, `12M`.
fn short(count: u64) -> String {
    match count {
        0..=99_999 => count.to_string(),
        100_000..=9_999_999 => format!("{}k", count / 1_000),
        10_000_000..=9_999_999_999 => format!("{}M", count / 1_000_000),
        _ => format!("{}G", count / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_columns() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(12), "12");
        assert_eq!(short(99_999), "99999");
        assert_eq!(short(9_999_999), "9999k");
        assert_eq!(short(10_000_000), "10M");
        assert_eq!(ms(0.214), "0.21");
        assert_eq!(ms(123.45), "123.5");
        assert_eq!(ms(12_345.6), "12346");
    }

    #[test]
    fn long_words_and_control_characters_do_not_break_lines() {
        let mut out = String::new();
        let text = format!("a\u{1b}[31mred\nb {}", "x".repeat(200));
        wrapped(&mut out, &text).unwrap();
        assert!(
            out.lines().all(|line| line.chars().count() <= WIDTH),
            "{out}"
        );
        assert!(!out.contains('\u{1b}'));
    }
}
