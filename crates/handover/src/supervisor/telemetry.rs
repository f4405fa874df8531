//! Counters and gauges, rendered as Prometheus text.

use handover_proto::event::EventKind;
use handover_proto::status::Status;
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

/// Upper bounds of the duration histograms, in seconds: from a bare spawn to a long drain.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0,
];

pub(super) struct Telemetry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    pub(super) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        let suffixed = Matcher::Suffix("_seconds".into());
        // Only an empty list of buckets is refused, and it is not.
        let builder = builder
            .set_buckets_for_metric(suffixed, &BUCKETS)
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        Self { recorder, handle }
    }

    /// Counts what happened.
    pub(super) fn count(&self, kind: &EventKind) {
        metrics::with_local_recorder(&self.recorder, || {
            counter!("handover_events_total", "event" => kind.name()).increment(1);
            match kind {
                EventKind::HandoverFinished {
                    outcome,
                    took,
                    dark,
                    ..
                } => {
                    let outcome = outcome.word().replace(' ', "_");
                    counter!("handover_handovers_total", "outcome" => outcome).increment(1);
                    histogram!("handover_duration_seconds").record(took.as_secs_f64());
                    histogram!("handover_dark_seconds").record(dark.as_secs_f64());
                }
                EventKind::InstanceDrained { report, .. } => {
                    counter!("handover_connections_finished_total").increment(report.finished);
                    counter!("handover_connections_cut_total").increment(report.cut);
                }
                EventKind::InstanceExited {
                    expected: false, ..
                } => {
                    counter!("handover_unexpected_exits_total").increment(1);
                }
                _ => {}
            }
        });
    }

    /// The text of `GET /metrics`.
    pub(super) fn render(&self, status: &Status) -> String {
        metrics::with_local_recorder(&self.recorder, || {
            let count = |present: bool| if present { 1.0 } else { 0.0 };
            let serving = status.incumbent.is_some() || !status.candidates.is_empty();
            gauge!("handover_serving").set(count(serving));
            gauge!("handover_in_progress").set(count(status.handover.is_some()));
            gauge!("handover_generation").set(status.generation.0 as f64);
            gauge!("handover_leaving_instances").set(status.leaving.len() as f64);
            gauge!("handover_parked_instances").set(count(status.parked.is_some()));
            if let Some(lease) = status.lease {
                gauge!("handover_lease_epoch").set(lease.epoch.0 as f64);
            }
            gauge!("handover_supervisor_resident_bytes").set(status.supervisor_rss_bytes as f64);
            gauge!("handover_supervisor_descriptors").set(status.supervisor_descriptors as f64);
            if let Some(open) = status
                .incumbent
                .as_ref()
                .and_then(|serving| serving.connections)
            {
                gauge!("handover_incumbent_connections").set(open as f64);
            }
        });
        self.handle.render()
    }
}
