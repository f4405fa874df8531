//! The tester hides nothing: stalls count in full, every due request is
//! accounted for, and the load ends.

mod servers;

use handover_verify::{
    CommandTrigger, Load, LossKind, Phase, Plan, Report, TriggerError, TriggerReport, run,
};
use servers::{Manner, Server, Style};
use std::time::{Duration, Instant};

fn plan(server: &Server) -> Plan {
    let mut plan = Plan::new(&server.url()).unwrap();
    plan.new_rate = 200.0;
    plan.keep_alive_rate = 0.0;
    plan.warm_up = Duration::from_millis(300);
    plan.cool_down = Duration::from_millis(300);
    plan.upgrades = 1;
    plan
}

fn done() -> Result<TriggerReport, TriggerError> {
    Ok(TriggerReport {
        label: "an upgrade".into(),
        outcome: "done".into(),
        as_expected: true,
    })
}

async fn with_stall(plan: &Plan, server: &Server, stall: Duration) -> Report {
    let trigger = |_n| async move {
        server.stall_once(stall);
        tokio::time::sleep(stall * 2).await;
        done()
    };
    run(plan, trigger, |_| {}).await.unwrap()
}

#[tokio::test]
async fn a_stall_counts_for_every_request_it_delayed() {
    let stall = Duration::from_millis(500);
    for load in [Load::New, Load::KeepAlive] {
        let server = Server::start(Style::OneByOne);
        let mut plan = plan(&server);
        if load == Load::KeepAlive {
            (plan.new_rate, plan.keep_alive_rate, plan.connections) = (0.0, 200.0, 1);
        }
        let report = with_stall(&plan, &server, stall).await;
        assert!(report.lossless(), "{}", report.table());
        // The server answered a single request slowly, among a few hundred …
        assert_eq!(server.slowly_answered(), 1);
        // … and a closed loop would have had that one above the 99th percentile.
        assert!(report.during.count > 150, "{}", report.table());
        assert!(report.during.max_ms >= 490.0, "{}", report.table());
        assert!(report.during.p99_ms >= 400.0, "{}", report.table());
        assert!(report.during.p90_ms >= 100.0, "{}", report.table());
        assert!(
            report.steady.max_ms < report.during.p99_ms,
            "{}",
            report.table()
        );
        // Dark, from the first request delayed to the first answered.
        let dark = report.upgrades[0].dark_window_ms;
        assert!(
            dark >= 400.0 && dark <= report.during.max_ms + 1.0,
            "{}",
            report.table()
        );
        // The picture shows a slope: it starts as high as the stall is long.
        let highest = report.series.max_us.iter().max().unwrap();
        assert!(*highest >= 490_000);
    }
}

#[tokio::test]
async fn requests_due_beyond_the_limit_are_reported_not_dropped() {
    for load in [Load::New, Load::KeepAlive] {
        let server = Server::start(Style::OneByOne);
        let mut plan = plan(&server);
        if load == Load::KeepAlive {
            (plan.new_rate, plan.keep_alive_rate, plan.connections) = (0.0, 200.0, 1);
        }
        plan.max_in_flight = 10;
        let report = with_stall(&plan, &server, Duration::from_millis(400)).await;
        assert_eq!(report.tester.max_in_flight, 10);
        assert!(report.lost(LossKind::NotSent) > 10, "{}", report.table());
        assert_eq!(
            report.failed,
            report.lost(LossKind::NotSent),
            "{}",
            report.table()
        );
        assert!(!report.lossless());
        assert_eq!(report.requests, report.answered + report.failed);
        // Every request that fell due in the run is there.
        let least = 200.0 * 1.4 * 0.95;
        assert!(report.requests as f64 >= least, "{}", report.table());
    }
}

#[tokio::test]
async fn who_answers_is_told_by_the_version_header() {
    let server = Server::start(Style::Threads);
    let server = &server;
    let mut plan = plan(server);
    plan.upgrades = 2;
    plan.interval = Duration::from_millis(100);
    let trigger = |n| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if n == 2 {
            server.set_version("2");
        }
        done()
    };
    let report = run(&plan, trigger, |_| {}).await.unwrap();
    let [same, new] = &report.upgrades[..] else {
        panic!()
    };
    assert_eq!(
        (same.first_answer_by_new_ms, same.last_answer_by_old_ms),
        (None, None)
    );
    assert_eq!(same.version_before.as_deref(), Some("1"));
    assert!(new.first_answer_by_new_ms.unwrap() >= 100.0);
    assert!(new.last_answer_by_old_ms.is_some());
    assert_eq!(new.version_before.as_deref(), Some("1"));
    assert_eq!(new.version_after.as_deref(), Some("2"));
    assert!(new.start_ms > same.start_ms + same.duration_ms);
}

#[tokio::test]
async fn a_failed_or_unmeant_upgrade_refutes_the_claim() {
    let server = Server::start(Style::Threads);
    let mut plan = plan(&server);
    plan.upgrades = 2;
    plan.interval = Duration::from_millis(50);
    let command = "test $UPGRADE_NUMBER = 1 || { echo disk full >&2; exit 3; }";
    let report = run(&plan, CommandTrigger::new(command), |_| {})
        .await
        .unwrap();
    assert_eq!((report.failed, report.unexpected_upgrades()), (0, 1));
    assert!(!report.lossless());
    let failed = &report.upgrades[1];
    assert!(failed.outcome.contains("disk full"), "{}", failed.outcome);
    assert!(report.to_junit().unwrap().contains("disk full"));

    plan.upgrades = 1;
    plan.upgrade_timeout = Duration::from_millis(100);
    let report = run(&plan, CommandTrigger::new("sleep 600"), |_| {})
        .await
        .unwrap();
    assert!(!report.lossless());
    assert!(report.upgrades[0].outcome.contains("did not finish"));

    let unmeant = |_n| async {
        let (label, outcome) = ("2".to_owned(), "rolled back".to_owned());
        Ok(TriggerReport {
            label,
            outcome,
            as_expected: false,
        })
    };
    let report = run(&plan, unmeant, |_| {}).await.unwrap();
    assert!(!report.lossless());
}

#[tokio::test]
async fn progress_is_told_in_every_phase() {
    let server = Server::start(Style::Threads);
    let server = &server;
    let mut plan = plan(server);
    plan.upgrades = 2;
    plan.interval = Duration::from_millis(250);
    let trigger = |n| async move {
        server.set(if n == 1 {
            Manner::WrongStatus
        } else {
            Manner::Right
        });
        tokio::time::sleep(Duration::from_millis(250)).await;
        server.set(Manner::Right);
        done()
    };
    let mut told = Vec::new();
    let report = run(&plan, trigger, |progress| told.push(progress))
        .await
        .unwrap();
    let mut phases: Vec<Phase> = told.iter().map(|progress| progress.phase.clone()).collect();
    phases.dedup();
    let upgrading = |n| Phase::Upgrading {
        n,
        label: format!("upgrade {n}"),
    };
    let expected = [
        Phase::Warming,
        upgrading(1),
        Phase::Between,
        upgrading(2),
        Phase::Cooling,
    ];
    assert_eq!(phases, expected);
    assert!(told.is_sorted_by_key(|progress| progress.requests));
    assert!(
        told.iter()
            .any(|p| p.rate > 0.0 && p.p50 > Duration::ZERO && p.max >= p.p50)
    );
    let last = told.last().unwrap();
    assert!(last.failed > 0 && last.failed <= report.failed);
    let notes: Vec<&str> = told.iter().filter_map(|p| p.note.as_deref()).collect();
    assert!(
        notes.iter().any(|note| note.contains("lost as wrong")),
        "{notes:?}"
    );
    assert!(
        notes.iter().any(|note| note.contains("an upgrade: done")),
        "{notes:?}"
    );
}

#[tokio::test]
async fn a_dropped_run_stops_the_load() {
    let server = Server::start(Style::Threads);
    let mut plan = plan(&server);
    plan.warm_up = Duration::from_secs(600);
    let running = run(&plan, |_n| async { done() }, |_| {});
    let loaded = async {
        while server.requests() < 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = running => panic!("the run ended"),
        () = loaded => {}
    }
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let before = server.requests();
        tokio::time::sleep(Duration::from_millis(100)).await;
        if server.requests() == before {
            break;
        }
        assert!(Instant::now() < patience, "the load goes on");
    }
}

#[tokio::test]
async fn a_run_without_upgrades_is_a_baseline() {
    let server = Server::start(Style::Threads);
    let mut plan = plan(&server);
    plan.upgrades = 0;
    let report = run(&plan, |_n| async { panic!("triggered") }, |_| {})
        .await
        .unwrap();
    assert!(report.lossless(), "{}", report.table());
    assert_eq!(report.during.count, 0);
    assert_eq!(report.steady.count, report.requests);
}
