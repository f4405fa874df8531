//! Recovery is total (I7, I12): every phase, every record a coordinator can write, every
//! observation has an answer, and the answer accounts for every process exactly once.

use handover_proto::identity::{CandidateId, Generation, InstanceId, InstancePid};
use handover_proto::journal::{Observation, Record, Recorded, Recovery, Stance, recover};
use handover_proto::phase::{Mode, Phase};

const PHASES: [Phase; 10] = [
    Phase::Serving,
    Phase::Warm,
    Phase::Drain,
    Phase::Seal,
    Phase::Activate,
    Phase::Probation,
    Phase::Abort,
    Phase::Resume,
    Phase::Vacant,
    Phase::Stop,
];

/// Incumbent, successor, two leavers, and one that no record names.
const EVERYBODY: [u64; 5] = [1, 2, 3, 4, 5];

fn recorded(instance: u64) -> Recorded {
    Recorded {
        instance: InstanceId(instance),
        candidate: CandidateId(1),
        pid: Some(InstancePid(100)),
    }
}

fn record(mode: Mode, phase: Phase, undo: bool, named: u32) -> Record {
    let names = |instance: u64| (named & (1 << instance) != 0).then(|| recorded(instance));
    Record {
        mode,
        phase,
        handover: None,
        incumbent: names(1),
        successor: names(2),
        leaving: [3, 4].into_iter().filter_map(names).collect(),
        generation: Generation(1),
        last_instance: InstanceId(4),
        current: CandidateId(1),
        previous: None,
        undo,
    }
}

fn observation(alive: u32) -> Observation {
    let alive = EVERYBODY
        .into_iter()
        .filter(|instance| alive & (1 << instance) != 0);
    Observation {
        alive: alive
            .map(|instance| (InstanceId(instance), InstancePid(100)))
            .collect(),
    }
}

fn serves(stance: &Stance) -> Vec<InstanceId> {
    match stance {
        Stance::Serve(recorded) | Stance::Replace(recorded) => vec![recorded.instance],
        Stance::Await(several) => several.iter().map(|recorded| recorded.instance).collect(),
        Stance::Start => Vec::new(),
    }
}

fn each(mut judge: impl FnMut(&Record, &Observation, &Recovery)) {
    let sets = |but: u32| (0..1u32 << (EVERYBODY.len() + 1)).filter(move |set| set & but == 0);
    for mode in [Mode::Overlap, Mode::Exclusive] {
        for (phase, undo) in PHASES.into_iter().flat_map(|p| [(p, false), (p, true)]) {
            for named in sets(1 | 1 << 5) {
                for alive in sets(1) {
                    let record = record(mode, phase, undo, named);
                    let observed = observation(alive);
                    judge(&record, &observed, &recover(&record, &observed));
                }
            }
        }
    }
}

#[test]
fn i7_recovery_accounts_for_every_process_once() {
    let mut cases = 0;
    each(|record, observed, found| {
        cases += 1;
        let mut told = serves(&found.stance);
        told.extend(found.retire.iter().map(|recorded| recorded.instance));
        told.extend(found.kill.iter().map(|recorded| recorded.instance));
        told.sort();
        let alive: Vec<InstanceId> = observed
            .alive
            .iter()
            .map(|(instance, _)| *instance)
            .collect();
        assert_eq!(told, alive, "{record:?} {observed:?} {found:?}");
        let last = alive.last().copied().unwrap_or_default();
        assert!(found.last_instance >= last.max(record.last_instance));
    });
    assert_eq!(cases, 2 * 2 * 10 * 16 * 32);
}

#[test]
fn i12_recovery_keeps_the_incumbent_that_lives() {
    each(|record, observed, found| {
        let lives = |named: Option<Recorded>| {
            named.is_some_and(|named| {
                let mut alive = observed.alive.iter();
                alive.any(|(instance, _)| *instance == named.instance)
            })
        };
        let incumbent = record.incumbent.map(|incumbent| incumbent.instance);
        if record.phase != Phase::Stop && lives(record.incumbent) {
            let kept = serves(&found.stance);
            assert!(
                incumbent.is_some_and(|incumbent| kept.contains(&incumbent)),
                "{record:?} {observed:?} {found:?}"
            );
        }
        if record.phase == Phase::Stop {
            assert_eq!(found.stance, Stance::Start);
        }
    });
}

/// Nobody but a successor is killed, in exclusive mode, and never while it may be all there is.
#[test]
fn i6_recovery_kills_only_who_never_served() {
    each(|record, observed, found| {
        for killed in &found.kill {
            let successor = record.successor.map(|successor| successor.instance);
            let (mode, phase) = (record.mode, record.phase);
            assert_eq!(Some(killed.instance), successor, "{record:?} {observed:?}");
            assert_eq!(mode, Mode::Exclusive);
            assert!(phase != Phase::Activate);
        }
    });
}

/// While an undo runs either of the two may hold the lease, so both are waited for.
#[test]
fn i12_recovery_waits_for_both_sides_of_an_undo() {
    each(|record, observed, found| {
        let parked = record.leaving.last().copied();
        let (Some(new), Some(parked)) = (record.incumbent, parked) else {
            return;
        };
        let lives = |named: Recorded| observed.pid(named.instance).is_some();
        let running = record.undo && record.phase != Phase::Stop;
        if running && record.mode == Mode::Exclusive && lives(new) && lives(parked) {
            let awaited = serves(&found.stance);
            assert!(
                awaited.contains(&new.instance) && awaited.contains(&parked.instance),
                "{record:?} {observed:?}"
            );
        }
    });
}

/// Old data, new reader: a record of the version that undid nothing.
#[test]
fn i7_a_record_without_the_undo_field_is_read() {
    let record = record(Mode::Exclusive, Phase::Probation, false, 0b1010);
    let mut old = serde_json::to_value(&record).expect("a record is JSON");
    let fields = old.as_object_mut().expect("with fields");
    assert_eq!(fields.remove("undo"), Some(false.into()));
    let read: Record = serde_json::from_value(old).expect("the field has a default");
    assert_eq!(read, record);
}
