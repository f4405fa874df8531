//! Numbers as people read them.

use std::time::Duration;

/// Shown where a number is not known.
pub(crate) const UNKNOWN: &str = "–";

/// `870 µs`, `4.6 ms`, `12.3 s`, `3 min 5 s`, `3 h 12 min`, `2 d 4 h`.
pub(crate) fn duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    let seconds = duration.as_secs();
    match seconds {
        0 if micros == 0 => "0".to_owned(),
        0 if micros < 1_000 => format!("{micros} µs"),
        0 if micros < 10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        0 => format!("{} ms", micros / 1_000),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// See [`duration`].
pub(crate) fn millis(millis: u64) -> String {
    duration(Duration::from_millis(millis))
}

/// `812 B`, `34.1 MB`: powers of 1000, as disks and networks have them.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1e3;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1e3;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number, or [`UNKNOWN`].
pub(crate) fn or_unknown<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), show)
}

/// Milliseconds since the Unix epoch as `2026-11-21 07:51:19Z`.
pub(crate) fn moment(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000;
    let (year, month, day) = date(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02} {}Z", clock(seconds))
}

/// The time of the day in UTC, as `07:51:19.024`.
pub(crate) fn time_of_day(unix_ms: u64) -> String {
    format!("{}.{:03}", clock(unix_ms / 1_000), unix_ms % 1_000)
}

fn clock(seconds: u64) -> String {
    let (h, m, s) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{h:02}:{m:02}:{s:02}")
}

/// Year, month and day of a day since 1970-01-01, by the rules of the Gregorian calendar: years
/// that begin in March put the leap day last, eras of 400 years have 146,097 days (H. Hinnant,
/// "chrono-compatible low-level date algorithms", `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_unit_that_fits() {
        let shown = |micros| duration(Duration::from_micros(micros));
        assert_eq!(shown(0), "0");
        assert_eq!(shown(870), "870 µs");
        assert_eq!(shown(4_640), "4.6 ms");
        assert_eq!(shown(312_900), "312 ms");
        assert_eq!(shown(12_340_000), "12.3 s");
        assert_eq!(shown(185_000_000), "3 min 5 s");
        assert_eq!(shown(11_520_000_000), "3 h 12 min");
        assert_eq!(shown(187_200_000_000), "2 d 4 h");
    }

    #[test]
    fn bytes_have_the_unit_that_fits() {
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(34_100_000), "34.1 MB");
        assert_eq!(bytes(999_990), "1.0 MB");
        assert_eq!(bytes(u64::MAX), "18446.7 PB");
    }

    #[test]
    fn moments_are_in_utc() {
        assert_eq!(moment(0), "1970-01-01 00:00:00Z");
        assert_eq!(moment(951_782_400_000), "2000-02-29 00:00:00Z");
        assert_eq!(moment(1_795_247_479_024), "2026-11-21 07:51:19Z");
        assert_eq!(moment(4_107_542_400_000), "2100-03-01 00:00:00Z");
        assert_eq!(time_of_day(1_795_247_479_024), "07:51:19.024");
    }
}
