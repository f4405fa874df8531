//! `GET /metrics`.

use handover_hub_proto::view::Standing;
use metrics::{counter, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::{Desk, Flights};

/// All values as they are now. Counters begin with the node. Of moves those that `own` has, none if
/// they are not known.
pub(super) fn render(desk: &Desk, own: &Flights) -> String {
    let status = desk.status(own);
    let crashed = desk.observer.read(|tally| tally.crashed());
    let builder = PrometheusBuilder::new()
        .add_global_label("hub", status.hub.as_str())
        .add_global_label("node", status.node.as_str());
    // Made anew for each answer: whatever is gone leaves no series behind.
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        gauge!("handover_hub_suspended").set(f64::from(u8::from(status.suspended.is_some())));
        gauge!("handover_hub_shards").set(f64::from(status.shards.total));
        gauge!("handover_hub_shards_owned").set(f64::from(status.shards.here));
        gauge!("handover_hub_shards_vacant").set(f64::from(status.shards.vacant));
        gauge!("handover_hub_processes").set(status.processes as f64);
        if status.moves.unknown.is_empty() {
            gauge!("handover_hub_moves_in_flight").set(status.moves.in_flight as f64);
            counter!("handover_hub_moves_total").absolute(status.moves.moved);
            counter!("handover_hub_moves_failed_total").absolute(status.moves.failed);
            counter!("handover_hub_moves_deferred_total").absolute(status.moves.deferred);
        }
        counter!("handover_hub_crashes_total").absolute(crashed);
        gauge!("handover_hub_uptime_seconds").set(status.uptime_ms as f64 / 1e3);
        for member in desk.nodes() {
            let name = member.name.to_string();
            let serving = u8::from(member.standing == Standing::Serving);
            gauge!("handover_hub_member_serving", "member" => name.clone()).set(f64::from(serving));
            gauge!("handover_hub_member_processes", "member" => name.clone())
                .set(member.processes as f64);
            gauge!("handover_hub_member_shards", "member" => name.clone())
                .set(f64::from(member.shards));
            gauge!("handover_hub_member_queued_messages", "member" => name)
                .set(f64::from(member.load.queued));
        }
    });
    handle.render()
}
