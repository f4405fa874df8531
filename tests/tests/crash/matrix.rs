//! Which cases there are, and all of them run.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use handover_tests::crash::{How, Point, Trace};

use crate::case::{self, Ending, Setup};

/// The count of effects at the end of an upgrade depends a little on timing: a connection that is
/// open when the ladder begins is one step more. A point that was not reached is tried again so
/// often before that is a failure.
const TRIES: u32 = 5;

fn number(variable: &str) -> Option<usize> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{variable}: {error}")),
    )
}

/// Who takes part, and as what.
fn roles(setup: &Setup) -> [(&'static str, &'static str); 3] {
    let [gives_up, takes] = setup.act.instances();
    [
        ("supervisor", "supervisor"),
        (gives_up, "gives up"),
        (takes, "takes"),
    ]
}

/// The cases of one kind of service.
pub(crate) struct Matrix {
    setup: Setup,
    trace: Trace,
}

impl Matrix {
    /// Watches what happens when nobody dies.
    pub(crate) fn of(setup: Setup) -> Self {
        let trace = case::undisturbed(&setup);
        for (who, role) in roles(&setup) {
            let effects = trace.get(who).map_or(&[][..], Vec::as_slice);
            eprintln!("{} · {role}: {}", setup.name, effects.join(", "));
            assert!(
                !effects.is_empty(),
                "{role} passes no crash points; build `handover` and this test together: \
                 `cargo build --workspace`"
            );
        }
        Self { setup, trace }
    }

    fn singles(&self, how: How) -> impl Iterator<Item = Vec<Point>> {
        roles(&self.setup).into_iter().flat_map(move |(who, _)| {
            (1..=self.trace[who].len()).map(move |k| {
                let who = who.to_owned();
                vec![Point { who, k, how }]
            })
        })
    }

    /// Two roles, each at every effect of theirs.
    fn pairs(&self) -> Vec<Vec<Point>> {
        let all: Vec<Point> = self.singles(How::Kill).flatten().collect();
        let mut pairs = Vec::new();
        for (n, one) in all.iter().enumerate() {
            let others = all[n..].iter().filter(|other| other.who != one.who);
            pairs.extend(others.map(|other| vec![one.clone(), other.clone()]));
        }
        pairs
    }

    /// Runs all there is.
    ///
    /// # Panics
    /// With every case that went wrong.
    pub(crate) fn run(&self) {
        for round in 0..number("HANDOVER_CRASH_REPEAT").unwrap_or(1) {
            let kills: Vec<_> = self.singles(How::Kill).collect();
            self.all(&format!("kill, round {round}"), &kills, Fired::All);
            let stops = sample(self.singles(How::Stop).collect(), 4, round);
            self.all(&format!("stop, round {round}"), &stops, Fired::All);
            let pairs = sample(self.pairs(), 20, round);
            self.all(&format!("pairs, round {round}"), &pairs, Fired::One);
        }
    }

    /// Runs these cases, some at a time.
    fn all(&self, what: &str, cases: &[Vec<Point>], wanted: Fired) {
        // One after the other: each is as much as two processors bear.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let threads = number("HANDOVER_CRASH_THREADS").unwrap_or(3);
        let next = Mutex::new(cases.iter().enumerate());
        let failures = Mutex::new(Vec::new());
        let only = std::env::var("HANDOVER_CRASH_ONLY").ok();
        let begun = Instant::now();
        let work = || {
            while let Some((n, points)) = { next.lock().expect("no panic in here").next() } {
                let label = points.iter().map(ToString::to_string);
                let label = label.collect::<Vec<_>>().join(" + ");
                if only.as_ref().is_some_and(|only| *only != label) {
                    continue;
                }
                let outcome = self.attempt(points, wanted);
                let of = cases.len();
                let name = &self.setup.name;
                match outcome {
                    Ok(ending) => eprintln!("{name} · {what} · {}/{of} · {label}: {ending}", n + 1),
                    Err(reason) => {
                        eprintln!(
                            "{name} · {what} · {}/{of} · {label}: FAILED {reason}",
                            n + 1
                        );
                        let mut failures = failures.lock().expect("no panic in here");
                        failures.push(format!("{label}: {reason}"));
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        let took = begun.elapsed().as_secs_f64();
        eprintln!(
            "{} · {what}: {} cases in {took:.1} s",
            self.setup.name,
            cases.len()
        );
        let failures = failures.into_inner().expect("no panic in here");
        assert!(failures.is_empty(), "{what}:\n{}", failures.join("\n"));
    }

    fn attempt(&self, points: &[Point], wanted: Fired) -> Result<Ending, String> {
        for _ in 0..TRIES {
            let run = || case::run(&self.setup, points);
            let ending = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            let ending = ending.map_err(|panic| words(&*panic))?;
            let enough = match wanted {
                Fired::All => points.len(),
                Fired::One => 1,
            };
            if ending.fired.len() >= enough {
                return Ok(ending);
            }
        }
        Err(format!("it has not fired in {TRIES} tries"))
    }
}

/// How many of the points of a case must have struck. The second of a pair may never come: the
/// first has changed what happens.
#[derive(Clone, Copy)]
enum Fired {
    All,
    One,
}

/// Every so many, and others in each round.
fn sample(cases: Vec<Vec<Point>>, step: usize, round: usize) -> Vec<Vec<Point>> {
    let every = if std::env::var_os("HANDOVER_CRASH_ALL").is_some() {
        1
    } else {
        step
    };
    cases
        .into_iter()
        .skip(round % every)
        .step_by(every)
        .collect()
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}
