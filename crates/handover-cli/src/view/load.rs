//! The line that shows a running load, and what is worth a line of its own.

use super::quantity::duration;
use handover_verify::{Phase, Progress};

/// Remembers what was said, so that it is said once.
#[derive(Debug, Default)]
pub(crate) struct Line {
    phase: Option<Phase>,
    failed: u64,
}

impl Line {
    /// The state now, as one line of at most 80 columns with ordinary numbers.
    pub(crate) fn render(progress: &Progress) -> String {
        let failed = match progress.failed {
            0 => "none failed".to_owned(),
            failed => format!("{failed} FAILED"),
        };
        format!(
            "{:>5.1} s  {:<14}  {:>5.0}/s  p50 {}  max {}  {}, {failed}",
            progress.elapsed.as_secs_f64(),
            phase(&progress.phase),
            progress.rate,
            duration(progress.p50),
            duration(progress.max),
            progress.requests,
        )
    }

    /// Lines that should stay: a new phase, a loss, whatever the run notes.
    pub(crate) fn news(&mut self, progress: &Progress) -> Vec<String> {
        let at = format!("{:>5.1} s", progress.elapsed.as_secs_f64());
        let mut news = Vec::new();
        if let Some(note) = &progress.note {
            news.push(format!("{at}  {note}"));
        }
        if progress.failed > self.failed {
            let lost = progress.failed - self.failed;
            news.push(format!("{at}  {lost} requests failed"));
            self.failed = progress.failed;
        }
        if self.phase.as_ref() != Some(&progress.phase) {
            match &progress.phase {
                Phase::Warming => news.push(format!("{at}  load begins")),
                Phase::Upgrading { label, .. } => news.push(format!("{at}  {label} …")),
                Phase::Between | Phase::Cooling => {}
            }
            self.phase = Some(progress.phase.clone());
        }
        news
    }
}

fn phase(phase: &Phase) -> String {
    match phase {
        Phase::Warming => "steady".to_owned(),
        Phase::Upgrading { n, .. } => format!("upgrade {n}"),
        Phase::Between => "between".to_owned(),
        Phase::Cooling => "cooling".to_owned(),
    }
}
