//! Each kind of loss, produced by a real socket and found under exactly that kind.

mod servers;

use handover_verify::{
    Load, LossKind, Plan, Report, Slow, TriggerReport, Upload, VerifyError, run,
};
use servers::{Manner, Server, Style};
use std::time::Duration;

const BAD_FOR: Duration = Duration::from_millis(300);

fn plan(server: &Server, load: Load) -> Plan {
    let mut plan = Plan::new(&server.url()).unwrap();
    plan.new_rate = if load == Load::New { 50.0 } else { 0.0 };
    plan.keep_alive_rate = if load == Load::KeepAlive { 50.0 } else { 0.0 };
    plan.warm_up = Duration::from_millis(150);
    plan.cool_down = Duration::from_millis(150);
    plan.timeout = Duration::from_secs(5);
    plan.upgrades = 1;
    plan
}

/// The server is bad in the middle of the run, for [`BAD_FOR`].
async fn misbehave(plan: &Plan, server: &Server, manner: Manner) -> Report {
    let trigger = |_n: u32| async move {
        server.set(manner);
        tokio::time::sleep(BAD_FOR).await;
        server.set(Manner::Right);
        let (label, outcome) = (format!("{manner:?}"), "done".to_owned());
        Ok(TriggerReport {
            label,
            outcome,
            as_expected: true,
        })
    };
    run(plan, trigger, |_| {}).await.unwrap()
}

/// Loss of `kind` and of no other, found during the upgrade, with an example.
#[track_caller]
fn assert_only(report: &Report, load: Load, kind: LossKind) {
    let client = report.client(load).unwrap();
    let kinds: Vec<_> = client.failed.keys().copied().collect();
    assert_eq!(kinds, [kind], "{}", report.table());
    assert!(!report.lossless());
    assert!(report.answered > 0, "{}", report.table());
    assert_eq!(report.requests, report.answered + report.failed);
    assert_eq!(
        report.upgrades[0].failed,
        report.failed,
        "{}",
        report.table()
    );
    assert_eq!(report.lost(kind), report.failed);
    let [example] = &report.examples[..] else {
        panic!("{:?}", report.examples)
    };
    assert_eq!((example.kind, example.load), (kind, load));
    assert!(example.at_ms >= report.upgrades[0].start_ms);
    assert!(!example.text.is_empty());
    let failed: u64 = report
        .series
        .failed
        .iter()
        .map(|count| u64::from(*count))
        .sum();
    assert_eq!(failed, report.failed);
}

async fn finds(manner: Manner, kind: LossKind) {
    for load in [Load::New, Load::KeepAlive] {
        let server = Server::start(Style::Threads);
        let report = misbehave(&plan(&server, load), &server, manner).await;
        assert_only(&report, load, kind);
    }
}

#[tokio::test]
async fn a_right_server_loses_nothing() {
    let server = Server::start(Style::Threads);
    let mut plan = plan(&server, Load::New);
    plan.keep_alive_rate = 100.0;
    plan.slow = Some(Slow {
        path: "/slow".into(),
        concurrency: 2,
    });
    let hold = Duration::from_millis(100);
    plan.upload = Some(Upload {
        path: "/in".into(),
        concurrency: 2,
        bytes: 5_000,
        hold,
    });
    let report = misbehave(&plan, &server, Manner::Right).await;
    assert!(report.lossless(), "{}", report.table());
    for load in Load::ALL {
        assert!(report.client(load).unwrap().answered > 0, "{load}");
    }
    assert_eq!(report.client(Load::KeepAlive).unwrap().connections, 4);
    // One request was the probe.
    assert_eq!(report.requests + 1, server.requests());
    assert!(report.upgrades[0].requests > 0);
    assert_eq!(report.upgrades[0].failed, 0);
}

#[tokio::test]
async fn a_reset_before_the_answer_is_reset() {
    finds(Manner::ResetBefore, LossKind::Reset).await;
}

#[tokio::test]
async fn a_close_before_the_answer_is_cut() {
    finds(Manner::CloseBefore, LossKind::Cut).await;
}

#[tokio::test]
async fn half_a_head_is_truncated() {
    finds(Manner::HalfHead, LossKind::Truncated).await;
}

#[tokio::test]
async fn half_a_body_is_truncated() {
    finds(Manner::HalfBody, LossKind::Truncated).await;
}

#[tokio::test]
async fn half_a_body_and_a_reset_is_truncated() {
    finds(Manner::HalfBodyThenReset, LossKind::Truncated).await;
}

#[tokio::test]
async fn half_a_chunk_is_truncated() {
    finds(Manner::HalfChunk, LossKind::Truncated).await;
}

#[tokio::test]
async fn another_status_is_wrong() {
    finds(Manner::WrongStatus, LossKind::Wrong).await;
}

#[tokio::test]
async fn another_protocol_is_wrong() {
    finds(Manner::NotHttp, LossKind::Wrong).await;
}

#[tokio::test]
async fn another_body_is_wrong_when_one_is_expected() {
    for load in [Load::New, Load::KeepAlive] {
        let server = Server::start(Style::Threads);
        let mut plan = plan(&server, load);
        plan.expect.body = Some("all set".into());
        let report = misbehave(&plan, &server, Manner::WrongBody).await;
        assert_only(&report, load, LossKind::Wrong);
        plan.expect.body = None;
        let report = misbehave(&plan, &server, Manner::WrongBody).await;
        assert!(report.lossless(), "{}", report.table());
    }
}

#[tokio::test]
async fn no_answer_in_time_is_timed_out() {
    for manner in [Manner::Never, Manner::NeverEnds] {
        for load in [Load::New, Load::KeepAlive] {
            let server = Server::start(Style::Threads);
            let mut plan = plan(&server, load);
            plan.timeout = Duration::from_millis(200);
            // With fewer connections others would wait behind the stuck ones.
            plan.connections = 40;
            let report = misbehave(&plan, &server, manner).await;
            assert_only(&report, load, LossKind::TimedOut);
            // It counts as having taken at least as long as it was given.
            assert!(report.during.max_ms >= 200.0, "{}", report.table());
        }
    }
}

#[tokio::test]
async fn a_closed_listener_is_refused() {
    let server = Server::start(Style::OneByOne);
    let mut plan = plan(&server, Load::New);
    // So slow that no connection waits in the queue when the listener closes.
    plan.new_rate = 20.0;
    let report = misbehave(&plan, &server, Manner::Refuse).await;
    assert_only(&report, Load::New, LossKind::Refused);
    // Refused at once, but dark all the while.
    assert!(
        report.upgrades[0].dark_window_ms >= 150.0,
        "{}",
        report.table()
    );
}

#[tokio::test]
async fn a_keep_alive_connection_closed_while_idle_is_no_loss() {
    let server = Server::start(Style::Threads);
    let mut plan = plan(&server, Load::KeepAlive);
    plan.connections = 2;
    let report = misbehave(&plan, &server, Manner::CloseAfter).await;
    assert!(report.lossless(), "{}", report.table());
    let client = report.client(Load::KeepAlive).unwrap();
    assert!(client.idle_closed > 0);
    assert_eq!(client.told_to_close, 0);
    assert_eq!(client.connections, 2 + client.idle_closed);
}

#[tokio::test]
async fn a_keep_alive_connection_closed_with_a_word_is_no_loss() {
    let server = Server::start(Style::Threads);
    let report = misbehave(
        &plan(&server, Load::KeepAlive),
        &server,
        Manner::AnnouncedClose,
    )
    .await;
    assert!(report.lossless(), "{}", report.table());
    let client = report.client(Load::KeepAlive).unwrap();
    assert!(client.told_to_close > 0);
    assert_eq!(client.idle_closed, 0);
}

#[tokio::test]
async fn a_request_in_two_halves_is_lost_with_its_connection() {
    for bytes in [0, 5_000] {
        let server = Server::start(Style::Threads);
        let mut plan = plan(&server, Load::New);
        let hold = Duration::from_millis(50);
        plan.upload = Some(Upload {
            path: "/in".into(),
            concurrency: 2,
            bytes,
            hold,
        });
        let report = misbehave(&plan, &server, Manner::CloseBefore).await;
        let client = report.client(Load::Upload).unwrap();
        assert!(
            client.answered > 0 && client.lost(LossKind::Cut) > 0,
            "{}",
            report.table()
        );
        assert_eq!(
            client.failed_total(),
            client.lost(LossKind::Cut),
            "{}",
            report.table()
        );
    }
}

#[tokio::test]
async fn without_an_answer_nothing_is_begun() {
    let server = Server::start(Style::Threads);
    server.set(Manner::WrongStatus);
    let plan = plan(&server, Load::New);
    let trigger = |_n| async { panic!("triggered") };
    let error = run(&plan, trigger, |_| {}).await.unwrap_err();
    assert!(matches!(&error, VerifyError::NotServing { loss, .. } if loss.contains("503")));
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let plan = Plan::new(&format!("http://{port}/")).unwrap();
    let error = run(&plan, trigger, |_| {}).await.unwrap_err();
    assert!(matches!(&error, VerifyError::NotServing { loss, .. } if loss.contains("refused")));
}

#[tokio::test]
async fn the_second_half_of_a_request_comes_only_after_the_pause() {
    use std::io::{Read, Write};
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (bytes, first, whole) in [(0, 16..17, 30..300), (5_000, 2_800..3_300, 5_000..5_300)] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        // The sizes of the pieces in which each request came.
        let (sizes, seen) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut buffer, mut pieces, mut total) = ([0; 10_000], Vec::new(), Vec::new());
                loop {
                    let count = stream.read(&mut buffer).unwrap();
                    pieces.push(count);
                    total.extend_from_slice(&buffer[..count]);
                    let text = String::from_utf8_lossy(&total);
                    if text
                        .split_once("\r\n\r\n")
                        .is_some_and(|(head, body)| head.starts_with("GET") || body.len() == bytes)
                    {
                        break;
                    }
                }
                stream.write_all(answer).unwrap();
                if sizes.send(pieces).is_err() {
                    return;
                }
            }
        });
        let mut plan = Plan::new(&format!("http://{addr}/")).unwrap();
        (plan.new_rate, plan.keep_alive_rate) = (5.0, 0.0);
        plan.timeout = Duration::from_secs(2);
        let hold = Duration::from_millis(500);
        plan.upload = Some(Upload {
            path: "/in".into(),
            concurrency: 1,
            bytes,
            hold,
        });
        plan.warm_up = Duration::from_millis(100);
        plan.cool_down = Duration::from_millis(0);
        let trigger = |_n| async { panic!("triggered") };
        let _ = run(&plan, trigger, |_| {}).await.unwrap();
        let pieces = seen
            .try_iter()
            .find(|pieces| pieces.len() > 1)
            .expect("none in halves");
        assert!(first.contains(&pieces[0]), "{pieces:?}");
        assert!(whole.contains(&pieces.iter().sum::<usize>()), "{pieces:?}");
    }
}
