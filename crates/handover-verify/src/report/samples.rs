//! Fixed reports, and what is made of them.

use super::*;

fn latency(count: u64, scale: f64) -> Latency {
    // As in real reports, whole microseconds: what JSON keeps exactly.
    let ms = |value: f64| (value * scale * 1_000.0).round() / 1_000.0;
    Latency {
        count,
        p50_ms: ms(0.214),
        p90_ms: ms(0.402),
        p99_ms: ms(1.317),
        p999_ms: ms(2.9),
        max_ms: ms(14.25),
    }
}

fn client(load: Load, requests: u64, failed: &[(LossKind, u64)]) -> ClientReport {
    let failed: BTreeMap<_, _> = failed.iter().copied().collect();
    let lost: u64 = failed.values().sum();
    ClientReport {
        load,
        requests,
        answered: requests - lost,
        failed,
        connections: if load == Load::KeepAlive { 24 } else { 0 },
        idle_closed: 0,
        told_to_close: if load == Load::KeepAlive { 18 } else { 0 },
        max_lag_ms: 0.8,
        steady: latency(requests / 2, 1.0),
        during: latency(requests / 2, 1.5),
    }
}

fn upgrade(n: u32, label: &str, outcome: &str, as_expected: bool) -> Upgrade {
    let committed = outcome == "committed";
    Upgrade {
        n,
        label: label.into(),
        outcome: outcome.into(),
        as_expected,
        start_ms: f64::from(n) * 2_000.0,
        duration_ms: if as_expected { 212.5 } else { 1_500.0 },
        requests: 9_000,
        failed: if as_expected { 0 } else { 1_214 },
        dark_window_ms: if as_expected { 1.204 } else { 312.0 },
        first_answer_by_new_ms: committed.then_some(4.102),
        last_answer_by_old_ms: committed.then_some(5.3),
        version_before: Some(n.to_string()),
        version_after: committed.then(|| (n + 1).to_string()),
        latency: latency(9_000, 1.5),
    }
}

fn series() -> Series {
    let columns = 100_u32;
    let stalled = |i: u32| (60..75).contains(&i);
    let wave = |i: u32| 400 + (i * 37) % 300;
    Series {
        bucket_ms: 100.0,
        answered: (0..columns)
            .map(|i| if (70..75).contains(&i) { 0 } else { 600 })
            .collect(),
        p50_us: (0..columns).map(|i| wave(i) / 2).collect(),
        max_us: (0..columns)
            .map(|i| {
                if stalled(i) {
                    (75 - i) * 20_000
                } else {
                    wave(i) * 4
                }
            })
            .collect(),
        failed: (0..columns)
            .map(|i| if (70..75).contains(&i) { 250 } else { 0 })
            .collect(),
    }
}

/// Two good upgrades, a bad version meant to be rolled back, and a lossy one.
fn lossy() -> Report {
    let clients = vec![
        client(
            Load::New,
            30_000,
            &[(LossKind::Refused, 1_180), (LossKind::Reset, 12)],
        ),
        client(Load::KeepAlive, 30_000, &[(LossKind::Cut, 6)]),
        client(
            Load::Slow,
            260,
            &[(LossKind::Truncated, 8), (LossKind::Other, 8)],
        ),
    ];
    let example = |kind, load, at_ms, text: &str| Example {
        kind,
        load,
        at_ms,
        text: text.into(),
    };
    let refused = "connect: Connection refused (os error 111)";
    let strange = "connect: Host is \u{7}unreachable <by any \"route\"> & more, said at such \
                   length that it needs a second line";
    Report {
        format: FORMAT,
        target: "http://127.0.0.1:8080/".into(),
        duration_ms: 10_012.4,
        requests: 60_260,
        answered: 59_046,
        failed: 1_214,
        steady: latency(30_000, 1.0),
        during: latency(29_000, 1.5),
        steady_dark_ms: 0.9,
        settle_ms: 1_000.0,
        clients,
        upgrades: vec![
            upgrade(1, "1 → 2", "committed", true),
            upgrade(2, "crashes at start", "rolled back", true),
            upgrade(
                3,
                "2 → 3",
                "failed: the upgrade command ended with exit status: 3; it said: no space left",
                false,
            ),
        ],
        examples: vec![
            example(LossKind::Refused, Load::New, 7_001.25, refused),
            example(
                LossKind::Reset,
                Load::New,
                7_000.5,
                "reset before any byte of the answer",
            ),
            example(
                LossKind::Cut,
                Load::KeepAlive,
                7_000.5,
                "closed before any byte",
            ),
            example(
                LossKind::Truncated,
                Load::Slow,
                7_000.5,
                "closed after 19 bytes",
            ),
            example(LossKind::Other, Load::Slow, 7_100.0, strange),
        ],
        tester: Tester {
            max_in_flight: 9_900,
            max_descriptors: 20_000,
        },
        series: series(),
    }
}

fn lossless() -> Report {
    let mut report = lossy();
    report.clients = vec![
        client(Load::New, 30_000, &[]),
        client(Load::KeepAlive, 30_000, &[]),
    ];
    (report.requests, report.answered, report.failed) = (60_000, 60_000, 0);
    report.upgrades.pop();
    report.examples.clear();
    report.series.failed.fill(0);
    report
}

#[test]
fn the_table_of_a_lossy_run() {
    let table = lossy().table();
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    insta::assert_snapshot!(table);
}

#[test]
fn the_table_of_a_lossless_run() {
    assert!(lossless().lossless());
    insta::assert_snapshot!(lossless().table());
}

#[test]
fn the_table_of_a_run_without_an_answer() {
    let mut report = lossless();
    let all = client(Load::New, 300, &[(LossKind::TimedOut, 300)]);
    report.clients = vec![ClientReport {
        steady: Latency::default(),
        ..all
    }];
    (report.requests, report.answered, report.failed) = (300, 0, 300);
    report.upgrades.clear();
    assert!(!report.lossless());
    insta::assert_snapshot!(report.table());
}

#[test]
fn junit() {
    insta::assert_snapshot!("junit_lossy", lossy().to_junit().unwrap());
    insta::assert_snapshot!("junit_lossless", lossless().to_junit().unwrap());
}

#[test]
fn svg() {
    insta::assert_snapshot!(lossy().to_svg().unwrap());
}

#[test]
fn json_is_read_back_and_another_format_is_refused() {
    let report = lossy();
    let json = report.to_json().unwrap();
    assert_eq!(Report::from_json(&json).unwrap(), report);
    let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
    value["a later field"] = true.into();
    assert_eq!(Report::from_json(&value.to_string()).unwrap(), report);
    value["format"] = 2.into();
    let error = Report::from_json(&value.to_string()).unwrap_err();
    assert!(matches!(
        error,
        ReportError::Format {
            found: 2,
            expected: 1
        }
    ));
    assert!(matches!(
        Report::from_json("{").unwrap_err(),
        ReportError::Json(_)
    ));
    // What scripts read.
    assert_eq!(value["clients"][1]["load"], "keep-alive");
    assert_eq!(value["clients"][0]["failed"]["refused"], 1_180);
    assert_eq!(value["upgrades"][0]["dark_window_ms"], 1.204);
}

#[test]
fn all_files_are_written_and_a_directory_in_the_way_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("new/report");
    lossy().write_to(&directory).unwrap();
    for name in ["report.json", "report.svg", "junit.xml", "report.txt"] {
        assert!(
            !std::fs::read_to_string(directory.join(name))
                .unwrap()
                .is_empty(),
            "{name}"
        );
    }
    std::fs::remove_file(directory.join("report.svg")).unwrap();
    std::fs::create_dir(directory.join("report.svg")).unwrap();
    let error = lossy().write_to(&directory).unwrap_err();
    assert!(error.to_string().contains("report.svg"), "{error}");
}

/// Very long runs and empty ones must not break the picture.
#[test]
fn any_series_can_be_drawn() {
    let mut report = lossless();
    report.series = Series {
        bucket_ms: 10.0,
        ..Series::default()
    };
    report.duration_ms = 0.0;
    assert!(report.to_svg().unwrap().contains("<svg"));
    let long = vec![u32::MAX; 60_000];
    report.series = Series {
        bucket_ms: 10.0,
        answered: long.clone(),
        p50_us: long.clone(),
        max_us: long.clone(),
        failed: long,
    };
    report.duration_ms = 600_000.0;
    report.upgrades = (1..=200)
        .map(|n| upgrade(n, "a → b", "committed", true))
        .collect();
    let svg = report.to_svg().unwrap();
    assert!(
        svg.contains("<svg") && svg.len() < 1_000_000,
        "{}",
        svg.len()
    );
}
