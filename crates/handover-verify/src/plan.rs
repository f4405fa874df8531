//! What to test, and how hard.

use crate::error::VerifyError;
use crate::target::Target;
use hyper::StatusCode;
use hyper::header::HeaderName;
use std::time::Duration;

/// The default of [`Plan::max_in_flight`]: more than a stall of three seconds
/// at 3,000 requests a second collects, fewer than the usual hard limit on
/// descriptors allows.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 10_000;

/// The highest rate of one client. One thread of this client cannot keep up
/// with more, and a report of its own lag would be no news of the server.
pub const MAX_RATE: f64 = 50_000.0;

/// The most keep-alive connections, or concurrent slow or upload requests:
/// what one thread can look after, and well under the usual hard limit on descriptors.
pub const MAX_CONNECTIONS: usize = 10_000;

/// The smallest body of an [`Upload`] that is not empty: so that the pause
/// falls inside the body, never inside the head.
pub const MIN_UPLOAD: usize = 1_024;

/// The largest body of an [`Upload`]; it is held in memory once.
pub const MAX_UPLOAD: usize = 64 * 1024 * 1024;

/// The longest wait of any kind in a plan; a longer one is surely a mistake in units.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What to load, how hard, and how often to upgrade meanwhile.
///
/// [`Plan::new`] gives a modest load and no upgrade; set the fields that
/// matter. A run takes `warm_up`, then `upgrades` times the trigger with
/// `interval` between two, then `cool_down`, then at most `timeout` until the last
/// request is answered or given up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plan {
    /// Where the load goes.
    pub url: Target,
    /// Requests a second, each on a connection of its own. 0: none.
    pub new_rate: f64,
    /// Requests a second over [`connections`](Self::connections) kept-alive
    /// connections, never retried. 0: none.
    pub keep_alive_rate: f64,
    /// How many connections the keep-alive requests are spread over.
    pub connections: usize,
    /// Slow requests, running all the time.
    pub slow: Option<Slow>,
    /// Requests sent in two halves, running all the time.
    pub upload: Option<Upload>,
    /// How long after it was due a request is given up.
    pub timeout: Duration,
    /// Which answers are right.
    pub expect: Expect,
    /// The answer's header that tells which version answered. An answer
    /// without it is fine; then nothing is known about who answered first.
    pub version_header: Option<String>,
    /// Load before the first upgrade: the baseline.
    pub warm_up: Duration,
    /// Pause between the end of an upgrade and the next one.
    pub interval: Duration,
    /// How many upgrades.
    pub upgrades: u32,
    /// Load after the last upgrade. At least [`settle`](Self::settle), or
    /// else the last upgrade is watched for less.
    pub cool_down: Duration,
    /// How long after its trigger finished an upgrade is still watched (or
    /// until the next one begins). Make it longer when the trigger only
    /// starts the upgrade, as `kill -HUP` does.
    pub settle: Duration,
    /// How long an upgrade may take before it is abandoned and counted as failed.
    pub upgrade_timeout: Duration,
    /// How many requests of one client may be due and unanswered. A request
    /// due beyond that is counted as [`NotSent`](crate::LossKind::NotSent).
    /// The limit on open descriptors may lower it; the report says what was in force.
    pub max_in_flight: usize,
}

/// Requests to a path that takes long to answer.
#[derive(Debug, Clone)]
pub struct Slow {
    /// The path, beginning with `/`.
    pub path: String,
    /// How many at any moment. Each waits for its answer before it asks
    /// again, over a new connection.
    pub concurrency: usize,
}

/// Requests of which one half is sent at once and the rest later, so that
/// some are half sent at the moment of an upgrade.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The path, beginning with `/`.
    pub path: String,
    /// How many at any moment.
    pub concurrency: usize,
    /// Bytes of the `POST`ed body, the pause inside it: [`MIN_UPLOAD`] to
    /// [`MAX_UPLOAD`]. 0 sends a `GET` with the pause inside its head.
    pub bytes: usize,
    /// How long the pause is. Latency is counted from its end.
    pub hold: Duration,
}

/// Which answers are right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expect {
    /// The status; `None`: any 2xx.
    pub status: Option<u16>,
    /// Text the body must contain within its first MiB, of `new` and
    /// `keep-alive` requests. `None`: any body.
    pub body: Option<String>,
}

impl Expect {
    pub(crate) fn status_is_right(&self, found: StatusCode) -> bool {
        self.status
            .map_or(found.is_success(), |status| status == found.as_u16())
    }
}

impl Plan {
    /// A modest load on `url`: 100 new connections and 100 kept-alive
    /// requests a second, over 4 connections; no upgrade.
    ///
    /// # Errors
    /// [`VerifyError::BadUrl`], [`VerifyError::Https`].
    pub fn new(url: &str) -> Result<Self, VerifyError> {
        Ok(Self {
            url: url.parse()?,
            new_rate: 100.0,
            keep_alive_rate: 100.0,
            connections: 4,
            slow: None,
            upload: None,
            timeout: Duration::from_secs(10),
            expect: Expect::default(),
            version_header: Some("x-version".to_owned()),
            warm_up: Duration::from_secs(3),
            interval: Duration::from_secs(2),
            upgrades: 0,
            cool_down: Duration::from_secs(2),
            settle: Duration::from_secs(1),
            upgrade_timeout: Duration::from_secs(120),
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
        })
    }

    /// Whether every field is within its range. [`run`](crate::run) asks too.
    ///
    /// # Errors
    /// [`VerifyError::BadPlan`], naming the first field that is not.
    pub fn validate(&self) -> Result<(), VerifyError> {
        rate("new_rate", self.new_rate)?;
        rate("keep_alive_rate", self.keep_alive_rate)?;
        count("connections", self.connections, 0, MAX_CONNECTIONS)?;
        if self.keep_alive_rate > 0.0 {
            count("connections", self.connections, 1, MAX_CONNECTIONS)?;
        }
        if let Some(slow) = &self.slow {
            path("slow.path", &slow.path)?;
            count("slow.concurrency", slow.concurrency, 1, MAX_CONNECTIONS)?;
        }
        if let Some(upload) = &self.upload {
            path("upload.path", &upload.path)?;
            count("upload.concurrency", upload.concurrency, 1, MAX_CONNECTIONS)?;
            if upload.bytes > 0 {
                count("upload.bytes", upload.bytes, MIN_UPLOAD, MAX_UPLOAD)?;
            }
            wait("upload.hold", upload.hold)?;
        }
        if self.new_rate <= 0.0 && self.keep_alive_rate <= 0.0 {
            return Err(bad(
                "new_rate",
                "0 as keep_alive_rate is",
                "a rate above 0 for one of them",
            ));
        }
        if let Some(status) = self.expect.status
            && StatusCode::from_u16(status).is_err()
        {
            return Err(bad("expect.status", status, "an HTTP status, 100 to 999"));
        }
        if let Some(name) = &self.version_header {
            HeaderName::try_from(name.as_str())
                .map_err(|_| bad("version_header", format!("`{name}`"), "a header name"))?;
        }
        if self.timeout.is_zero() {
            return Err(bad("timeout", "0 s", "more than 0 s"));
        }
        wait("timeout", self.timeout)?;
        wait("warm_up", self.warm_up)?;
        wait("interval", self.interval)?;
        wait("cool_down", self.cool_down)?;
        wait("settle", self.settle)?;
        wait("upgrade_timeout", self.upgrade_timeout)?;
        count("max_in_flight", self.max_in_flight, 1, usize::MAX)
    }
}

fn bad(field: &'static str, found: impl ToString, expected: impl ToString) -> VerifyError {
    VerifyError::BadPlan {
        field,
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

fn rate(field: &'static str, found: f64) -> Result<(), VerifyError> {
    if (0.0..=MAX_RATE).contains(&found) {
        Ok(())
    } else {
        Err(bad(
            field,
            found,
            format!("0 to {MAX_RATE} requests a second"),
        ))
    }
}

fn count(field: &'static str, found: usize, least: usize, most: usize) -> Result<(), VerifyError> {
    if (least..=most).contains(&found) {
        Ok(())
    } else {
        Err(bad(field, found, format!("{least} to {most}")))
    }
}

fn wait(field: &'static str, found: Duration) -> Result<(), VerifyError> {
    if found <= MAX_WAIT {
        Ok(())
    } else {
        Err(bad(
            field,
            format!("{} s", found.as_secs()),
            "a day at most",
        ))
    }
}

fn path(field: &'static str, found: &str) -> Result<(), VerifyError> {
    let right = found.starts_with('/') && found.parse::<hyper::Uri>().is_ok();
    if right {
        Ok(())
    } else {
        Err(bad(field, format!("`{found}`"), "a path beginning with /"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Plan)) -> &'static str {
        let mut plan = Plan::new("http://127.0.0.1:1/").unwrap();
        assert!(plan.validate().is_ok());
        change(&mut plan);
        match plan.validate() {
            Err(VerifyError::BadPlan { field, .. }) => field,
            other => panic!("expected a refusal, found {other:?}"),
        }
    }

    #[test]
    fn each_field_has_its_range() {
        assert_eq!(refused(|p| p.new_rate = -1.0), "new_rate");
        assert_eq!(refused(|p| p.new_rate = f64::NAN), "new_rate");
        assert_eq!(refused(|p| p.keep_alive_rate = 1e9), "keep_alive_rate");
        assert_eq!(refused(|p| p.connections = 0), "connections");
        assert_eq!(
            refused(|p| (p.new_rate, p.keep_alive_rate) = (0.0, 0.0)),
            "new_rate"
        );
        assert_eq!(refused(|p| p.timeout = Duration::ZERO), "timeout");
        assert_eq!(refused(|p| p.interval = Duration::MAX), "interval");
        assert_eq!(
            refused(|p| p.version_header = Some("a b".into())),
            "version_header"
        );
        assert_eq!(refused(|p| p.expect.status = Some(7)), "expect.status");
        assert_eq!(refused(|p| p.max_in_flight = 0), "max_in_flight");
        let slow = |path: &str, concurrency| {
            Some(Slow {
                path: path.into(),
                concurrency,
            })
        };
        assert_eq!(refused(|p| p.slow = slow("slow", 1)), "slow.path");
        assert_eq!(refused(|p| p.slow = slow("/slow", 0)), "slow.concurrency");
        let upload = |bytes| {
            let hold = Duration::from_secs(1);
            Some(Upload {
                path: "/".into(),
                concurrency: 1,
                bytes,
                hold,
            })
        };
        assert_eq!(refused(|p| p.upload = upload(1)), "upload.bytes");
    }
}
