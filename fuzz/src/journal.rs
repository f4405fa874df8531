//! The supervisor's journal, and what a new supervisor makes of it.

use handover_proto::identity::{InstanceId, InstancePid};
use handover_proto::journal::{Observation, Record, Recovery, Stance, recover};

/// A file of the journal, as it is read from disk.
pub fn journal(data: &[u8]) {
    handover::supervisor::fuzzing::journal(data);
}

/// Whatever a record says and whoever of it is alive: no living process is forgotten (I12). The
/// first byte says who is alive, the rest is the record.
pub fn recovery(data: &[u8]) {
    let Some((&alive, text)) = data.split_first() else {
        return;
    };
    let Ok(record) = serde_json::from_slice::<Record>(text) else {
        return;
    };
    let text = serde_json::to_vec(&record).expect("a record has a JSON form");
    let again: Record = serde_json::from_slice(&text).expect("reads what was written");
    assert_eq!(again, record);
    let members = record.members().enumerate();
    let mut observed = Observation::default();
    for (place, member) in members {
        let known = observed.pid(member.instance).is_some();
        if alive >> (place % 7) & 1 == 1 && !known {
            let pid = InstancePid(place as u32 + 1);
            observed.alive.push((member.instance, pid));
        }
    }
    // One that no record names.
    if alive >> 7 == 1 {
        let stray = InstanceId(record.last_instance.0.wrapping_add(1));
        if observed.pid(stray).is_none() {
            observed.alive.push((stray, InstancePid(u32::MAX)));
        }
    }
    let recovery = recover(&record, &observed);
    for (instance, _) in &observed.alive {
        assert!(
            accounts_for(&recovery, *instance),
            "{instance:?} is forgotten"
        );
    }
}

fn accounts_for(recovery: &Recovery, instance: InstanceId) -> bool {
    let serving: &[_] = match &recovery.stance {
        Stance::Serve(one) | Stance::Replace(one) => std::slice::from_ref(one),
        Stance::Await(several) => several,
        Stance::Start => &[],
    };
    let rest = recovery.retire.iter().chain(&recovery.kill);
    let mut all = serving.iter().chain(rest);
    all.any(|recorded| recorded.instance == instance)
}

pub(crate) mod seeds {
    const MEMBER: &str = r#"{"instance":4,"candidate":2,"pid":77}"#;

    pub(crate) fn recovery() -> Vec<Vec<u8>> {
        let records = records();
        let seeds = records.iter().enumerate();
        let bytes =
            |(at, record): (usize, &String)| [&[(37 * at) as u8][..], record.as_bytes()].concat();
        seeds.map(bytes).collect()
    }

    /// Of every phase in both modes.
    fn records() -> Vec<String> {
        let phases = [
            "serving",
            "warm",
            "drain",
            "seal",
            "activate",
            "probation",
            "abort",
            "resume",
            "vacant",
            "stop",
        ];
        let mut records = Vec::new();
        for mode in ["overlap", "exclusive"] {
            for phase in phases {
                records.push(
                    format!(
                        r#"{{"mode":"{mode}","phase":"{phase}","handover":3,"incumbent":{MEMBER},"#
                    ) + r#""successor":{"instance":5,"candidate":2,"pid":null},"#
                        + r#""leaving":[{"instance":3,"candidate":1,"pid":70}],"generation":4,"#
                        + r#""last_instance":5,"current":2,"previous":1}"#,
                );
            }
        }
        records
    }

    pub(crate) fn journal() -> Vec<Vec<u8>> {
        let envelope = |record: &String| {
            let head = r#"{"format":1,"seq":9,"boot_id":"5f9d","supervisor":12,"record":"#;
            let tail = r#","candidates":[],"listeners":[{"spec":"http=127.0.0.1:0","entry":"#;
            let entry = r#"{"name":"http","kind":"tcp","address":"127.0.0.1:8080"}}]}   "#;
            format!("{head}{record}{tail}{entry}").into_bytes()
        };
        records().iter().map(envelope).collect()
    }
}
