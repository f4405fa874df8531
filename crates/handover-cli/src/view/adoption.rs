//! The screen of `handover adopt`: what will be done, or what is in the way.

use crate::output::Ink;
use handover::supervisor::stranger::{Facts, Note, Plan, Refusal, Retirement};

/// Ends with a newline. `program` is the new version, if it is known yet.
pub(crate) fn render(
    facts: &Facts,
    planned: &Result<Plan, Vec<Refusal>>,
    program: Option<&[String]>,
    ink: Ink,
) -> String {
    let command = match facts.command.is_empty() {
        true => facts.name.clone(),
        false => facts.command.join(" "),
    };
    let mut text = format!("process {} ({command}), user {}\n", facts.pid, facts.uid);
    match planned {
        Ok(plan) => text.push_str(&described(plan, program, ink)),
        Err(refusals) => {
            for refusal in refusals {
                text.push_str(&line("refused", &ink.bad(&refusal.to_string())));
            }
            text.push_str("nothing was changed; it serves on\n");
        }
    }
    text
}

fn line(what: &str, detail: &str) -> String {
    format!("  {what:<11} {detail}\n")
}

fn described(plan: &Plan, program: Option<&[String]>, ink: Ink) -> String {
    let mut text = String::new();
    for (at, one) in plan.listeners.iter().enumerate() {
        let listener = &one.listener;
        let held = match plan.workers.as_slice() {
            [] => String::new(),
            workers => format!(", shared with its workers {}", numbers(workers)),
        };
        let detail = format!(
            "{} = {}, descriptor {} of the new version{held}",
            listener.name,
            listener.address,
            at + 3
        );
        text.push_str(&line("listener", &detail));
    }
    let program = program.map(|words| words.join(" "));
    let program = program.unwrap_or_else(|| "write it after two dashes".to_owned());
    text.push_str(&line("new version", &program));
    text.push_str(&line("then", &goodbye(plan)));
    for note in &plan.notes {
        let word = match note {
            Note::Connections { .. } => "know",
            _ => "beware",
        };
        text.push_str(&line(word, &ink.bold(&note.to_string())));
    }
    text.push_str(&line(
        "otherwise",
        "if the new version does not become ready, the old one serves on untouched",
    ));
    text
}

fn numbers(pids: &[u32]) -> String {
    let texts: Vec<String> = pids.iter().map(u32::to_string).collect();
    texts.join(", ")
}

fn goodbye(plan: &Plan) -> String {
    let pid = plan.pid;
    match &plan.retirement {
        Retirement::Graceful { signal } => {
            format!("{signal} to {pid}, on which it finishes what it has; killed after the drain")
        }
        Retirement::WhenIdle { signal } => format!(
            "{signal} to {pid} in a moment in which it has no connection, since it may end at \
             once on that; at the end of the drain in any case"
        ),
        Retirement::Still { signal } => format!(
            "{pid} is held still (SIGSTOP) until it has no connection and killed in that moment, \
             since it has no handler for {signal}; at the end of the drain in any case"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover::supervisor::stranger::{self, Access, Holder, Listening, Relation, Wish};
    use handover_proto::manifest::ListenerKind;

    /// nginx with two workers on two ports, with clients, under systemd.
    fn adoptable() -> (Facts, Plan) {
        let listening = |inode, address: &str| Listening {
            inode,
            kind: ListenerKind::Tcp,
            address: address.into(),
            waiting: 0,
        };
        let worker = |pid| Holder {
            pid,
            name: "nginx".into(),
            relation: Relation::Descendant,
            inodes: [71, 72].into(),
        };
        let facts = Facts {
            pid: 4242,
            start_time: 1,
            name: "nginx".into(),
            executable: "/usr/sbin/nginx".into(),
            command: vec!["nginx: master process /usr/sbin/nginx".into()],
            uid: 0,
            own_uid: 0,
            ourselves: false,
            supervised_in: None,
            same_network: true,
            same_processes: true,
            same_files: true,
            unit: Some("nginx.service".into()),
            kept_by: None,
            listening: vec![listening(71, "0.0.0.0:80"), listening(72, "[::]:80")],
            listening_child: None,
            holders: vec![worker(4243), worker(4244)],
            hidden: 0,
            connections: 12,
            caught: [3, 15].into(),
            ignored: [].into(),
            access: Access::Granted,
        };
        let plan = stranger::plan(&facts, &Wish::default()).unwrap();
        (facts, plan)
    }

    #[test]
    fn a_server_with_workers() {
        let (facts, plan) = adoptable();
        let program = ["/usr/sbin/nginx".to_owned()];
        let screen = render(&facts, &Ok(plan), Some(&program), Ink::PLAIN);
        insta::assert_snapshot!(screen);
    }

    #[test]
    fn what_is_in_the_way() {
        let (facts, _) = adoptable();
        let refusals = vec![
            Refusal::AnotherNetwork { pid: 4242 },
            Refusal::SignalIgnored {
                pid: 4242,
                signal: "SIGTERM".into(),
            },
        ];
        insta::assert_snapshot!(render(&facts, &Err(refusals), None, Ink::PLAIN));
    }
}
