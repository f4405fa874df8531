use handover_proto::manifest::ListenerKind;

use super::*;

fn listening(inode: u64, address: &str) -> Listening {
    let kind = match address.starts_with(['/', '@']) {
        true => ListenerKind::Unix,
        false => ListenerKind::Tcp,
    };
    Listening {
        inode,
        kind,
        address: address.into(),
        waiting: 0,
    }
}

/// A plain server of ours on one port, with a handler for SIGTERM.
fn facts() -> Facts {
    Facts {
        pid: 100,
        start_time: 7,
        name: "server".into(),
        executable: "/srv/server".into(),
        command: vec!["./server".into()],
        uid: 1000,
        own_uid: 1000,
        ourselves: false,
        supervised_in: None,
        same_network: true,
        same_processes: true,
        same_files: true,
        unit: None,
        kept_by: None,
        listening: vec![listening(1, "127.0.0.1:8080")],
        listening_child: None,
        holders: Vec::new(),
        hidden: 0,
        connections: 0,
        caught: [Signal::TERM.number()].into(),
        ignored: [].into(),
        access: Access::Granted,
    }
}

fn holder(pid: u32, name: &str, relation: Relation) -> Holder {
    Holder {
        pid,
        name: name.into(),
        relation,
        inodes: [1].into(),
    }
}

fn planned(facts: &Facts) -> Plan {
    plan(facts, &Wish::default()).expect("nothing is in the way")
}

/// The only thing that is in the way.
fn refused(facts: &Facts, wish: &Wish) -> Refusal {
    let mut refusals = plan(facts, wish).expect_err("something is in the way");
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    refusals.remove(0)
}

fn names(plan: &Plan) -> Vec<&str> {
    let listeners = plan.listeners.iter();
    listeners.map(|one| one.listener.name.as_str()).collect()
}

#[test]
fn a_plain_server_is_named_by_its_port_and_sent_its_signal() {
    let plan = planned(&facts());
    assert_eq!((plan.pid, plan.start_time), (100, 7));
    assert_eq!(names(&plan), ["tcp-8080"]);
    let signal = "SIGTERM".into();
    assert_eq!(plan.retirement, Retirement::Graceful { signal });
    assert_eq!((plan.workers, plan.notes), (vec![], vec![]));
}

#[test]
fn listeners_are_named_by_port_family_and_path() {
    let mut facts = facts();
    facts.listening = vec![
        listening(1, "/run/app.sock"),
        listening(2, "[::]:80"),
        listening(3, "0.0.0.0:80"),
        listening(4, "127.0.0.1:443"),
        listening(5, "127.0.0.2:443"),
        listening(6, "@metrics"),
    ];
    let expected = [
        "tcp-80",
        "tcp6-80",
        "tcp-127.0.0.1-443",
        "tcp-127.0.0.2-443",
        "unix-run-app.sock",
        "unix-metrics",
    ];
    assert_eq!(names(&planned(&facts)), expected);
}

#[test]
fn names_that_are_given_come_first_and_the_others_follow() {
    let mut facts = facts();
    facts.listening.push(listening(2, "127.0.0.1:80"));
    facts.listening.push(listening(3, "/run/app.sock"));
    let wish = |texts: &[&str]| Wish {
        listeners: texts.iter().map(|text| text.parse().expect(text)).collect(),
        ..Wish::default()
    };
    let wished = wish(&["app=unix:/run/app.sock", "web=localhost:8080"]);
    let found = plan(&facts, &wished).expect("nothing is in the way");
    assert_eq!(names(&found), ["app", "web", "tcp-80"]);

    let elsewhere = refused(&facts, &wish(&["web=127.0.0.1:9"]));
    assert!(matches!(elsewhere, Refusal::NotThere { found, .. } if found.len() == 3));
    let twice = refused(&facts, &wish(&["tcp-80=127.0.0.1:8080"]));
    assert!(matches!(twice, Refusal::SameName { name } if name == "tcp-80"));
}

#[test]
fn workers_are_of_it_and_others_are_in_the_way() {
    let with = |holder: Holder| Facts {
        holders: vec![holder],
        ..facts()
    };
    for relation in [Relation::Descendant, Relation::Group] {
        let plan = planned(&with(holder(101, "server", relation)));
        assert_eq!(plan.workers, [101]);
    }
    let refused = |holder| refused(&with(holder), &Wish::default());
    let master = refused(holder(99, "server", Relation::Ancestor));
    assert!(matches!(master, Refusal::Worker { master: 99, .. }));
    let ours = refused(holder(99, "handover", Relation::Ancestor));
    assert_eq!(ours, Refusal::Supervisor { supervisor: 99 });
    let unit = refused(holder(1, "systemd", Relation::Ancestor));
    assert!(matches!(unit, Refusal::SocketUnit { .. }));
    let other = refused(holder(300, "other", Relation::Unrelated));
    assert!(
        matches!(other, Refusal::Shared { other: 300, addresses, .. } if addresses == ["127.0.0.1:8080"])
    );
}

/// One change to the facts, and the word of what it is refused for.
type Change = (fn(&mut Facts), &'static str);

#[test]
fn whatever_cannot_be_done_is_refused() {
    let changes: &[Change] = &[
        (|f| f.ourselves = true, "ourselves"),
        (|f| f.supervised_in = Some("/run/x".into()), "supervised"),
        (|f| f.name = "handover".into(), "supervised"),
        (|f| f.own_uid = 1001, "another_user"),
        (|f| f.same_network = false, "another_network"),
        (|f| f.same_processes = false, "another_process_namespace"),
        (|f| f.listening.clear(), "not_listening"),
        (|f| f.access = Access::Unsupported, "no_such_call"),
        (|f| f.access = Access::Forbidden, "not_permitted"),
        (|f| f.access = Access::Failed("x".into()), "cannot_take"),
        (|f| f.ignored = f.caught.clone(), "signal_ignored"),
        (
            |f| {
                f.listening = (1..2000)
                    .map(|i| listening(i, &format!("/s/{i}")))
                    .collect()
            },
            "too_many",
        ),
    ];
    for (change, word) in changes {
        let mut facts = facts();
        change(&mut facts);
        assert_eq!(refused(&facts, &Wish::default()).word(), *word);
    }
    let mut shared = facts();
    shared.listening.push(listening(2, "127.0.0.1:8080"));
    let refusals = plan(&shared, &Wish::default()).expect_err("two queues");
    assert!(refusals.contains(&Refusal::ReusePort {
        address: "127.0.0.1:8080".into(),
        count: 2
    }));
    let wish = Wish {
        exclusive: true,
        ..Wish::default()
    };
    assert_eq!(refused(&facts(), &wish), Refusal::Exclusive);
}

/// Root may have whose it likes.
#[test]
fn another_users_program_is_roots_to_adopt() {
    let root = Facts {
        own_uid: 0,
        ..facts()
    };
    planned(&root);
}

#[test]
fn everything_in_the_way_is_named_at_once() {
    let facts = Facts {
        same_processes: false,
        access: Access::Forbidden,
        ..facts()
    };
    let refusals = plan(&facts, &Wish::default()).expect_err("two reasons");
    let words: Vec<_> = refusals.iter().map(Refusal::word).collect();
    assert_eq!(words, ["another_process_namespace", "not_permitted"]);
}

#[test]
fn the_stop_signal_is_wished_or_known_or_term() {
    let retires = |facts: &Facts, wish: Option<&str>| {
        let wish = Wish {
            stop_signal: wish.map(str::to_owned),
            ..Wish::default()
        };
        plan(facts, &wish).map(|plan| plan.retirement)
    };
    let graceful = |signal: &str| {
        let signal = signal.to_owned();
        Ok(Retirement::Graceful { signal })
    };
    let mut nginx = facts();
    nginx.executable = "/usr/sbin/nginx".into();
    nginx.caught.insert(Signal::QUIT.number());
    assert_eq!(retires(&nginx, None), graceful("SIGQUIT"));
    assert_eq!(retires(&nginx, Some("term")), graceful("SIGTERM"));

    let mut plain = facts();
    plain.caught.clear();
    let still = |signal: &str| {
        let signal = signal.to_owned();
        Ok(Retirement::Still { signal })
    };
    assert_eq!(retires(&plain, None), still("SIGTERM"));
    assert_eq!(retires(&plain, Some("KILL")), still("SIGKILL"));

    let mut node = facts();
    node.executable = "/usr/bin/node".into();
    let signal = "SIGTERM".to_owned();
    let idle = Ok(Retirement::WhenIdle { signal });
    assert_eq!(retires(&node, None), idle);
    let mut go = facts();
    go.caught = (1..=31).collect();
    assert_eq!(retires(&go, None), idle);

    for wrong in ["STOP", "CONT", "NONSENSE"] {
        let refusals = retires(&facts(), Some(wrong)).expect_err(wrong);
        assert!(matches!(refusals[..], [Refusal::BadSignal { .. }]));
    }
    // Without a handler nothing comes of it.
    let refusals = retires(&plain, Some("WINCH")).expect_err("harmless");
    assert!(matches!(refusals[..], [Refusal::SignalIgnored { .. }]));
}

#[test]
fn what_is_to_be_known_is_noted() {
    let facts = Facts {
        connections: 3,
        unit: Some("app.service".into()),
        kept_by: Some((50, "supervisord".into())),
        same_files: false,
        hidden: 2,
        listening: vec![listening(1, "/run/app.sock")],
        ..facts()
    };
    let notes = planned(&facts).notes;
    assert_eq!(notes.len(), 7, "{notes:?}");
    let text = notes[1].to_string();
    assert!(text.contains("/run/systemd/system/app.service.d"), "{text}");
}
