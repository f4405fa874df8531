//! The platform: when it ends the old container, and how it learns that it may.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::super::Finding;
use super::super::told::Told;
use crate::container::CompleteFile;

const FILE: &str = "handover-complete file";
const PLATFORM: &str = "platform";

/// The first version of balena's supervisor that appears to stop the old container of a service
/// under `hand-over` without waiting for the file.
const IMPATIENT: [u64; 3] = [14, 13, 10];

pub(super) fn examine(told: Told<'_>, named: Option<PathBuf>) -> Vec<Finding> {
    let given = told.value("--complete-file").map(PathBuf::from);
    let file = given.map_or_else(|| CompleteFile::named(named), CompleteFile::new);
    let is_balena = ["BALENA", "RESIN"].iter().any(|name| {
        let value = told.environment.get(*name);
        value.is_some_and(|value| !value.is_empty())
    });
    vec![platform(told, is_balena), complete(file.path(), is_balena)]
}

fn platform(told: Told<'_>, is_balena: bool) -> Finding {
    let version = ["BALENA_SUPERVISOR_VERSION", "RESIN_SUPERVISOR_VERSION"]
        .iter()
        .find_map(|name| told.environment.get(*name));
    if !is_balena {
        return Finding::ok(
            PLATFORM,
            "no balena device (BALENA is not set): stop the old container when it says that it has \
             handed over; SIGTERM completes the handover as well",
        );
    }
    let Some(version) = version else {
        return Finding::ok(PLATFORM, "balena, by a supervisor of unknown version");
    };
    let found = format!("balena, supervisor {version}");
    match number(version) {
        Some(number) if number >= IMPATIENT => Finding::note(
            PLATFORM,
            format!(
                "{found}: from 14.13.10 on it appears to stop the old container without waiting for \
                 the file; SIGTERM then completes the handover"
            ),
            format!(
                "stop_grace_period: {}s or more, so that SIGKILL does not cut the drain",
                told.ladder().as_secs() + 5
            ),
        ),
        Some(_) | None => Finding::ok(PLATFORM, found),
    }
}

/// `14.13.10`, `v14.13.10-rc1`.
fn number(version: &str) -> Option<[u64; 3]> {
    let version = version.trim().trim_start_matches('v');
    let digits = version.split(['-', '+']).next()?;
    let mut parts = digits.split('.').map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}

fn complete(path: &Path, is_balena: bool) -> Finding {
    let shown = path.display();
    let Some(directory) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    else {
        return Finding::ok(FILE, shown.to_string());
    };
    let fix = "let the service's user write there, or give another path with --complete-file or \
               BALENA_SERVICE_HANDOVER_COMPLETE_PATH";
    if !directory.is_dir() {
        let there = directory.ancestors().find(|place| place.exists());
        let can_be_made =
            there.is_some_and(|place| place.is_dir() && access(place, Access::WRITE_OK).is_ok());
        return match (is_balena, can_be_made) {
            // The supervisor mounts it; one that is made here is seen by nobody.
            (true, _) => Finding::bad(
                FILE,
                format!(
                    "{shown}: the directory is missing, so the supervisor does not see the file"
                ),
                "update balena's supervisor (1.3 or later mounts /tmp/balena), or give the path with \
                 --complete-file",
            ),
            (false, true) => Finding::ok(FILE, format!("{shown}; its directory will be made")),
            (false, false) => {
                Finding::bad(FILE, format!("{shown}: the directory cannot be made"), fix)
            }
        };
    }
    if access(directory, Access::WRITE_OK).is_err() {
        return Finding::bad(
            FILE,
            format!("{} cannot be written", directory.display()),
            fix,
        );
    }
    if path.exists() {
        return Finding::note(
            FILE,
            format!("{shown} is there already: this container has handed over"),
            "nothing, if it has; a file left from another start is to be removed",
        );
    }
    Finding::ok(FILE, shown.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::supervisor::doctor::Verdict;

    fn found(variables: &[(&str, &str)], named: Option<&Path>) -> Vec<Verdict> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: BTreeMap<_, _> = variables.iter().map(owned).collect();
        let told = Told {
            command: &[],
            environment: &environment,
        };
        let findings = examine(told, named.map(Path::to_path_buf));
        findings.into_iter().map(|one| one.verdict).collect()
    }

    #[test]
    fn a_supervisor_that_does_not_wait_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("done");
        let with = |version| {
            let variables = [("BALENA", "1"), ("BALENA_SUPERVISOR_VERSION", version)];
            found(&variables, Some(&file))[0]
        };
        for patient in ["14.13.9", "v9.99.99", "1.3.0", "strange", "14.13"] {
            assert_eq!(with(patient), Verdict::Ok, "{patient}");
        }
        for impatient in ["14.13.10", "v14.13.10", "15.0.0-rc2", "14.14.0+rev1"] {
            assert_eq!(with(impatient), Verdict::Note, "{impatient}");
        }
        assert_eq!(found(&[], Some(&file)), [Verdict::Ok, Verdict::Ok]);
    }

    #[test]
    fn a_file_that_nobody_would_see_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let balena = [("BALENA", "1")];
        let file = directory.path().join("done");
        let of = |variables: &[(&str, &str)], file: &Path| found(variables, Some(file))[1];
        assert_eq!(of(&balena, &file), Verdict::Ok);
        let nowhere = directory.path().join("missing/done");
        assert_eq!(of(&balena, &nowhere), Verdict::Bad);
        // Elsewhere it is made when it is needed.
        assert_eq!(of(&[], &nowhere), Verdict::Ok);
        std::fs::write(&file, "").expect("written");
        assert_eq!(of(&[], &file.join("below/done")), Verdict::Bad);
        assert_eq!(of(&balena, &file), Verdict::Note);
    }
}
