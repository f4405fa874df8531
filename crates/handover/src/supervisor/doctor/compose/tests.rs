use super::super::Verdict;
use super::*;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn pairs(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = of
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()));
    owned.collect()
}

/// Nothing to be said of it.
fn good() -> Composed {
    Composed {
        name: "web".into(),
        restart: Some("always".into()),
        network_mode: Some("host".into()),
        stop_grace_period: Some("1m".into()),
        labels: pairs(&[(STRATEGY, "hand-over"), (TIMEOUT, "120000")]),
        environment: pairs(&[("HANDOVER_NETWORK_MODE", "host")]),
        command: words("/handover peer --volume /shared -- /server --kill-after 9h"),
        mounts: vec![Mount {
            source: Some("handover".into()),
            target: "/shared".into(),
        }],
        published: Vec::new(),
    }
}

/// What changes when something of the good one does: all that is not right.
fn told(change: impl FnOnce(&mut Composed)) -> Vec<(String, Verdict)> {
    let mut service = good();
    change(&mut service);
    let findings = examine(&service);
    let all_fixed = findings
        .iter()
        .all(|found| (found.verdict == Verdict::Ok) == found.fix.is_empty());
    assert!(all_fixed, "{findings:?}");
    let wrong = findings
        .into_iter()
        .filter(|one| one.verdict != Verdict::Ok);
    wrong.map(|one| (one.check, one.verdict)).collect()
}

fn only(check: &str, verdict: Verdict) -> Vec<(String, Verdict)> {
    vec![(check.to_owned(), verdict)]
}

#[test]
fn a_good_service_is_left_alone() {
    assert_eq!(told(|_| ()), []);
    let bridge = |service: &mut Composed| {
        service.network_mode = None;
        service.environment.clear();
        service.restart = None;
    };
    assert_eq!(told(bridge), []);
    let by_image = |service: &mut Composed| {
        service.command.clear();
        service.mounts.clear();
    };
    assert_eq!(told(by_image), []);
}

#[test]
fn a_policy_that_revives_a_retired_instance_is_named() {
    let leaving = |policy: &'static str| {
        told(move |service| {
            service.restart = Some(policy.into());
            service.command = words("/handover peer --volume /shared --exit-when-done -- /server");
        })
    };
    assert_eq!(leaving("always"), only("restart", Verdict::Bad));
    assert_eq!(leaving("unless-stopped"), only("restart", Verdict::Bad));
    assert_eq!(leaving("on-failure"), []);
    assert_eq!(leaving("on-failure:5"), []);
    assert_eq!(leaving("no"), only("restart", Verdict::Note));
    // Balena's is `always` when nothing is said.
    let unsaid = told(|service| {
        service.restart = None;
        service.command.insert(2, "--exit-when-done".into());
    });
    assert_eq!(unsaid, only("restart", Verdict::Bad));
    // The program's own, not ours.
    let theirs = told(|service| service.command.push("--exit-when-done".into()));
    assert_eq!(theirs, []);
}

#[test]
fn a_strategy_that_stops_the_old_one_first_is_named() {
    let missing = told(|service| drop(service.labels.remove(STRATEGY)));
    assert_eq!(missing, only(STRATEGY, Verdict::Bad));
    let other = told(|service| {
        service
            .labels
            .insert(STRATEGY.into(), "kill-then-download".into());
    });
    assert_eq!(other, only(STRATEGY, Verdict::Bad));
}

#[test]
fn times_must_be_longer_than_the_ladder() {
    let timeout = |value: &'static str| {
        told(move |service| drop(service.labels.insert(TIMEOUT.into(), value.into())))
    };
    // 5 s + 30 s + 5 s to leave, 10 s of probation, 5 s of slack; 30 s to become ready.
    assert_eq!(timeout("54999"), only(TIMEOUT, Verdict::Bad));
    assert_eq!(timeout("55000"), only(TIMEOUT, Verdict::Note));
    assert_eq!(timeout("84999"), only(TIMEOUT, Verdict::Note));
    assert_eq!(timeout("85000"), []);
    assert_eq!(timeout("1m"), only(TIMEOUT, Verdict::Bad));
    let unsaid = told(|service| drop(service.labels.remove(TIMEOUT)));
    assert_eq!(unsaid, only(TIMEOUT, Verdict::Note));

    let grace = |value: Option<&'static str>| {
        told(move |service| service.stop_grace_period = value.map(str::to_owned))
    };
    assert_eq!(grace(Some("45s")), []);
    for short in [Some("44s"), Some("soon"), None] {
        assert_eq!(grace(short), only("stop_grace_period", Verdict::Bad));
    }
}

#[test]
fn the_ladder_is_the_one_of_the_command() {
    let with = |flags: &'static str| {
        told(move |service| service.command = words(&format!("/handover peer {flags} -- /server")))
    };
    let checks = |found: Vec<(String, Verdict)>| -> Vec<String> {
        let names = found.into_iter().map(|(check, _)| check);
        names.filter(|name| name != "shared volume").collect()
    };
    let long = checks(with("--drain-grace 5m"));
    assert_eq!(long, [TIMEOUT, "stop_grace_period"]);
    assert_eq!(checks(with("--probation=1h")), [TIMEOUT]);
    assert_eq!(checks(with("--ready-timeout=3m")), [TIMEOUT]);
    assert!(checks(with("--drain-grace 1s --drain-grace-not 9h")).is_empty());
    let by_variable = |value: &'static str| {
        told(move |service| {
            let variable = "HANDOVER_DRAIN_GRACE".to_owned();
            drop(service.environment.insert(variable, value.into()));
        })
    };
    assert_eq!(checks(by_variable("5m")), [TIMEOUT, "stop_grace_period"]);
    assert!(checks(by_variable("5s")).is_empty());
}

#[test]
fn the_mode_must_be_what_the_network_is() {
    let with = |mode: &'static str, told_mode: Option<&'static str>| {
        told(move |service| {
            service.network_mode = Some(mode.into());
            service.environment.clear();
            let variable = "HANDOVER_NETWORK_MODE".to_owned();
            service
                .environment
                .extend(told_mode.map(|value| (variable, value.to_owned())));
        })
    };
    let bad = || only("network_mode", Verdict::Bad);
    assert_eq!(with("host", Some("host")), []);
    assert_eq!(with("host", None), bad());
    assert_eq!(with("host", Some("bridge")), bad());
    assert_eq!(with("bridge", None), []);
    assert_eq!(with("bridge", Some("host")), bad());
    assert_eq!(with("none", None), only("network_mode", Verdict::Note));
    let undecided = only("network_mode", Verdict::Note);
    assert_eq!(with("${MODE}", Some("host")), undecided);
    let flag = told(|service| {
        service.environment.clear();
        service.command.insert(2, "--network-mode=host".into());
    });
    assert_eq!(flag, []);
}

#[test]
fn a_volume_must_be_shared() {
    let bad = || only("shared volume", Verdict::Bad);
    let note = || only("shared volume", Verdict::Note);
    assert_eq!(told(|service| service.mounts.clear()), bad());
    let unnamed = told(|service| service.mounts[0].source = None);
    assert_eq!(unnamed, bad());
    let below = told(|service| service.command[3] = "/shared/handover".into());
    assert_eq!(below, []);
    let covered = told(|service| {
        service.command[3] = "/shared/own/handover".into();
        service.mounts.push(Mount {
            source: None,
            target: "/shared/own".into(),
        });
    });
    assert_eq!(covered, bad());
    let unused = told(|service| service.command = words("/handover peer -- /server"));
    assert_eq!(unused, note());
    let none = told(|service| {
        service.mounts.clear();
        service.command = words("/handover peer -- /server");
    });
    assert_eq!(none, note());
}

#[test]
fn a_port_of_the_host_keeps_the_new_container_from_starting() {
    let bridge = told(|service| {
        service.network_mode = None;
        service.environment.clear();
        service.published = vec!["80:8080".into()];
    });
    assert_eq!(bridge, only("ports", Verdict::Bad));
    let host = told(|service| service.published = vec!["80:8080".into()]);
    assert_eq!(host, []);
}

#[test]
fn an_entry_point_that_never_meets_another_container_is_named() {
    let run = told(|service| service.command[1] = "run".into());
    assert_eq!(run, only("entrypoint", Verdict::Bad));
    let library = told(|service| service.command = words("/server --volume /shared"));
    assert_eq!(library, []);
}
