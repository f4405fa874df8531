//! Durations as people write them: `30s`, `1m30s`, `250ms`.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DurationError {
    #[error("a duration is missing; write one such as 30s, 500ms or 2m")]
    Empty,
    #[error("`{found}` has no unit; write {found}s for seconds or {found}ms for milliseconds")]
    NoUnit { found: String },
    #[error("`{found}` is not a unit of time; use us, ms, s, m, h or d")]
    BadUnit { found: String },
    #[error("`{found}` is not a duration; write one such as 30s, 500ms or 1m30s")]
    NotANumber { found: String },
    #[error("`{found}` is longer than can be counted; write a shorter one")]
    TooLong { found: String },
}

/// Reads numbers with units, each once or more: `1h30m`, `1.5s`, `0s`.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let value: f64 = number.parse().map_err(|_| DurationError::NotANumber {
            found: text.to_owned(),
        })?;
        let seconds = value * factor(unit.trim(), number)?;
        let part = Duration::try_from_secs_f64(seconds);
        total = part
            .ok()
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| DurationError::TooLong {
                found: text.to_owned(),
            })?;
        rest = after.trim_start();
    }
    Ok(total)
}

/// Seconds in a unit.
fn factor(unit: &str, number: &str) -> Result<f64, DurationError> {
    Ok(match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        "" => {
            return Err(DurationError::NoUnit {
                found: number.to_owned(),
            });
        }
        _ => {
            return Err(DurationError::BadUnit {
                found: unit.to_owned(),
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("0s", 0),
            ("1.5s", 1_500),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_told_apart() {
        use DurationError as E;
        assert_eq!(parse(" "), Err(E::Empty));
        assert!(matches!(parse("30"), Err(E::NoUnit { .. })));
        assert!(matches!(parse("30 parsecs"), Err(E::BadUnit { .. })));
        assert!(matches!(parse("soon"), Err(E::NotANumber { .. })));
        assert!(matches!(parse("-1s"), Err(E::NotANumber { .. })));
        assert!(matches!(parse("1.2.3s"), Err(E::NotANumber { .. })));
        let endless = format!("{}d", "9".repeat(40));
        assert!(matches!(parse(&endless), Err(E::TooLong { .. })));
    }
}
