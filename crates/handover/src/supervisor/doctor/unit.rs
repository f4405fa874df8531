//! A unit of systemd: whether it lets a supervisor do its work.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Finding;

/// Longest a stop takes by default: the ladder, `kill-after`, and a moment.
const STOP: Duration = Duration::from_secs(45);

/// What is asked of systemd, with what stands for it in a unit file and systemd's default
/// (systemd.service(5), systemd.exec(5), systemd.kill(5)).
const PROPERTIES: [(&str, &str, &str); 12] = [
    ("Type", "Type", "simple"),
    ("NotifyAccess", "NotifyAccess", ""),
    ("KillMode", "KillMode", "control-group"),
    ("TimeoutStartUSec", "TimeoutStartSec", "1min 30s"),
    ("TimeoutStopUSec", "TimeoutStopSec", "1min 30s"),
    ("Restart", "Restart", "no"),
    ("FileDescriptorStoreMax", "FileDescriptorStoreMax", "0"),
    ("LimitNOFILESoft", "LimitNOFILE", "1024"),
    ("PrivateNetwork", "PrivateNetwork", "no"),
    ("MainPID", "", "0"),
    ("LoadState", "", "loaded"),
    ("RuntimeDirectoryPreserve", "RuntimeDirectoryPreserve", "no"),
];

type Properties = BTreeMap<&'static str, String>;

/// What was found, and the main process if it runs.
pub(super) fn examine(unit: &str) -> (Vec<Finding>, Option<u32>) {
    let read = if unit.contains('/') {
        std::fs::read_to_string(unit)
            .map(|text| from_file(&text))
            .map_err(|e| e.to_string())
    } else {
        ask(unit)
    };
    let properties = match read {
        Ok(properties) => properties,
        Err(reason) => {
            let fix = "give the name of a unit that is loaded, or the path of its file";
            return (
                vec![Finding::bad("unit", format!("{unit}: {reason}"), fix)],
                None,
            );
        }
    };
    let pid = properties.get("MainPID").and_then(|pid| pid.parse().ok());
    (judge(&properties), pid.filter(|pid| *pid != 0))
}

fn ask(unit: &str) -> Result<Properties, String> {
    let names: Vec<&str> = PROPERTIES.iter().map(|(name, ..)| *name).collect();
    let output = Command::new("systemctl")
        .args(["show", "--property", &names.join(","), "--", unit])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("systemctl: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr)
            .trim()
            .replace('\n', " "));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = |wanted: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value.to_owned())
    };
    let found: Properties = names
        .iter()
        .filter_map(|name| Some((*name, value(name)?)))
        .collect();
    match found.get("LoadState").map(String::as_str) {
        Some("loaded") => Ok(found),
        other => Err(format!("it is {}", other.unwrap_or("not known"))),
    }
}

/// The last assignment counts, as for systemd; drop-ins are not looked at.
fn from_file(text: &str) -> Properties {
    let last = |key: &str| {
        let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
        let mut values = pairs.filter(|(name, _)| name.trim() == key);
        values.next_back().map(|(_, value)| value.trim().to_owned())
    };
    PROPERTIES
        .iter()
        .map(|(name, key, default)| (*name, last(key).unwrap_or_else(|| (*default).into())))
        .collect()
}

fn judge(properties: &Properties) -> Vec<Finding> {
    let of = |name: &str| properties.get(name).map_or("", String::as_str);
    vec![
        kind(of("Type")),
        access(of("NotifyAccess"), of("Type")),
        killing(of("KillMode")),
        stop(of("TimeoutStopUSec")),
        restart(of("Restart")),
        store(of("FileDescriptorStoreMax")),
        files(of("LimitNOFILESoft")),
        match of("PrivateNetwork") {
            "yes" | "true" | "1" | "on" => Finding::note(
                "PrivateNetwork",
                "its network is its own",
                "nothing, if nobody outside is to reach it; a successor must share it",
            ),
            _ => Finding::ok("PrivateNetwork", "no"),
        },
    ]
}

fn kind(found: &str) -> Finding {
    match found {
        "notify" | "notify-reload" => Finding::ok("Type", found),
        "forking" => Finding::bad(
            "Type",
            "forking: systemd takes a new version for the old one's end",
            "Type=notify: the supervisor stays in the foreground and says when it is ready",
        ),
        _ => Finding::note(
            "Type",
            format!("{found}: systemd believes it is up before it serves"),
            "Type=notify (notify-reload from systemd 253)",
        ),
    }
}

fn access(found: &str, kind: &str) -> Finding {
    match found {
        "none" => Finding::bad(
            "NotifyAccess",
            "none: READY=1 is not heard",
            "NotifyAccess=main",
        ),
        "" | "main" => Finding::ok(
            "NotifyAccess",
            if kind.starts_with("notify") {
                "main"
            } else {
                found
            },
        ),
        _ => Finding::note(
            "NotifyAccess",
            format!("{found}: any process of the service may say that it is ready"),
            "NotifyAccess=main: instances speak to their supervisor, and it to systemd",
        ),
    }
}

fn killing(found: &str) -> Finding {
    match found {
        "process" => Finding::ok("KillMode", found),
        "none" => Finding::bad(
            "KillMode",
            "none: a supervisor that hangs is never ended",
            "KillMode=process",
        ),
        "mixed" => Finding::note(
            "KillMode",
            "mixed: when the supervisor dies, its instances are killed",
            "KillMode=process lets them serve on until the next supervisor takes charge of them",
        ),
        _ => Finding::bad(
            "KillMode",
            format!(
                "{found}: at a stop instances get SIGTERM from systemd too, before their ladder \
                     has begun; when the supervisor dies they are killed"
            ),
            "KillMode=process",
        ),
    }
}

fn stop(found: &str) -> Finding {
    match time(found) {
        Some(time) if time < STOP => Finding::note(
            "TimeoutStopSec",
            format!("{found}: shorter than the ladder of a drain takes by default"),
            format!(
                "TimeoutStopSec={} or more: drain-announce, drain-notify, drain-grace and \
                 kill-after together, and some seconds",
                STOP.as_secs()
            ),
        ),
        _ => Finding::ok("TimeoutStopSec", found),
    }
}

fn restart(found: &str) -> Finding {
    match found {
        "on-failure" | "always" | "on-abnormal" | "on-abort" => Finding::ok("Restart", found),
        _ => Finding::note(
            "Restart",
            format!("{found}: a supervisor that dies is not started again"),
            "Restart=on-failure",
        ),
    }
}

fn store(found: &str) -> Finding {
    match found.parse::<u32>() {
        Ok(0) => Finding::note(
            "FileDescriptorStoreMax",
            "0: if all processes of the service die, waiting connections are refused",
            "FileDescriptorStoreMax=16: listeners are left with systemd meanwhile",
        ),
        _ => Finding::ok("FileDescriptorStoreMax", found),
    }
}

fn files(found: &str) -> Finding {
    let soft = found.split(':').next().unwrap_or(found);
    match soft.parse::<u64>() {
        Ok(files) if files < super::process::FILES => Finding::note(
            "LimitNOFILE",
            format!("{files}: during a handover two versions hold connections"),
            "LimitNOFILE=65536",
        ),
        _ => Finding::ok("LimitNOFILE", found),
    }
}

/// A time as systemd writes it: `1min 30s`, `90`, `infinity`. `None`: endless, or not understood.
fn time(text: &str) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    for part in text.split_whitespace() {
        let digits = part
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(part.len());
        let (number, unit) = part.split_at(digits);
        let number: u64 = number.parse().ok()?;
        sum += match unit {
            "" | "s" | "sec" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            "us" => Duration::from_micros(number),
            "min" | "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            _ => return None,
        };
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn verdicts(text: &str) -> BTreeMap<String, Verdict> {
        let findings = judge(&from_file(text));
        let all_fixed = findings
            .iter()
            .all(|found| (found.verdict == Verdict::Ok) == found.fix.is_empty());
        assert!(all_fixed, "{findings:?}");
        findings
            .into_iter()
            .map(|found| (found.check, found.verdict))
            .collect()
    }

    #[test]
    fn a_bare_unit_is_told_what_it_lacks() {
        let found = verdicts("[Service]\nExecStart=/bin/server\n");
        assert_eq!(found["KillMode"], Verdict::Bad);
        assert_eq!(found["Type"], Verdict::Note);
        assert_eq!(found["FileDescriptorStoreMax"], Verdict::Note);
        assert_eq!(found["Restart"], Verdict::Note);
        assert_eq!(found["LimitNOFILE"], Verdict::Note);
        assert_eq!(found["TimeoutStopSec"], Verdict::Ok);
    }

    #[test]
    fn the_last_assignment_counts() {
        let found = verdicts("Type=forking\nType=notify\nTimeoutStopSec=10\nKillMode = process\n");
        assert_eq!(found["Type"], Verdict::Ok);
        assert_eq!(found["KillMode"], Verdict::Ok);
        assert_eq!(found["TimeoutStopSec"], Verdict::Note);
    }

    #[test]
    fn times_are_read_as_systemd_writes_them() {
        assert_eq!(time("1min 30s"), Some(Duration::from_secs(90)));
        assert_eq!(time("90"), Some(Duration::from_secs(90)));
        assert_eq!(time("1h 500ms"), Some(Duration::from_millis(3_600_500)));
        assert_eq!(time("infinity"), None);
        assert_eq!(time("99999999999999999999h"), None);
    }
}
