//! The report as JUnit XML.

use super::Report;
use crate::error::ReportError;
use crate::loss::LossKind;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

pub(super) fn render(report: &Report) -> Result<String, ReportError> {
    let mut upgrades = TestSuite::new("upgrades");
    for upgrade in &report.upgrades {
        let status = if upgrade.as_expected {
            TestCaseStatus::success()
        } else {
            failure("unexpected outcome", &upgrade.outcome)
        };
        let name = format!("upgrade {}: {}", upgrade.n, upgrade.label);
        upgrades.add_test_case(case("upgrades", &name, status, upgrade.duration_ms));
    }
    let mut losses = TestSuite::new("requests");
    losses.add_test_case(case(
        "requests",
        "some request was answered",
        answered(report),
        0.0,
    ));
    for kind in LossKind::ALL {
        let name = format!("no request lost: {}", kind.name());
        losses.add_test_case(case("requests", &name, lost(report, kind), 0.0));
    }
    let mut junit = quick_junit::Report::new("handover verify");
    junit.set_time(millis(report.duration_ms));
    if !report.upgrades.is_empty() {
        junit.add_test_suite(upgrades);
    }
    junit.add_test_suite(losses);
    junit
        .to_string()
        .map_err(|error| ReportError::Junit(error.to_string()))
}

fn case(class: &str, name: &str, status: TestCaseStatus, took_ms: f64) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("handover.verify.{class}"))
        .set_time(millis(took_ms));
    case
}

fn answered(report: &Report) -> TestCaseStatus {
    if report.answered > 0 {
        TestCaseStatus::success()
    } else {
        failure("no answer", "not one request was answered as expected")
    }
}

fn lost(report: &Report, kind: LossKind) -> TestCaseStatus {
    let count = report.lost(kind);
    if count == 0 {
        return TestCaseStatus::success();
    }
    let mut message = format!("{count} requests: {}", kind.meaning());
    if let Some(example) = report.examples.iter().find(|example| example.kind == kind) {
        let at = example.at_ms / 1_000.0;
        message += &format!("; first, {} at {at:.3} s: {}", example.load, example.text);
    }
    failure(kind.name(), &message)
}

fn failure(of_type: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type(of_type).set_message(message);
    status
}

fn millis(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or_default()
}
