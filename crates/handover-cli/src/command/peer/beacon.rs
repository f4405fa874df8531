//! What load balancers are told: UP while the program serves, DOWN from before its drain on.

use super::voice::Voice;
use handover::container::{Environment, Status, StatusError};
use std::time::{Duration, SystemTime};

/// Sends the status of this instance, or nothing.
pub(super) struct Beacon {
    environment: Environment,
    service: String,
    /// What is sent, if anything is to be.
    status: Option<Status>,
    is_on: bool,
    /// It was told that sending fails.
    told: bool,
}

impl Beacon {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// The service's name has no room in a datagram.
    pub(super) fn new(
        environment: Environment,
        service: String,
        is_on: bool,
    ) -> Result<Self, StatusError> {
        if is_on {
            drop(Status::within(&environment, &service, SystemTime::now())?);
        }
        Ok(Self {
            environment,
            service,
            status: None,
            is_on,
            told: false,
        })
    }

    /// The program serves as an instance that legacy peers are told this time of.
    pub(super) async fn begin(&mut self, legacy_ms: Option<i64>, voice: &mut Voice) {
        if !self.is_on {
            return;
        }
        let millis = legacy_ms.and_then(|ms| u64::try_from(ms).ok());
        let started = match millis {
            Some(millis) => SystemTime::UNIX_EPOCH + Duration::from_millis(millis),
            None => SystemTime::now(),
        };
        match Status::within(&self.environment, &self.service, started) {
            Ok(status) => self.status = Some(status),
            Err(error) => return self.failed(&error, voice),
        }
        self.up(voice).await;
    }

    /// The program serves.
    pub(super) async fn up(&mut self, voice: &mut Voice) {
        let Some(status) = &self.status else { return };
        match status.up().await {
            Ok(()) => self.told = false,
            Err(error) => self.failed(&error, voice),
        }
    }

    /// The program serves no more, or is about to stop.
    pub(super) async fn down(&mut self, voice: &mut Voice) {
        let Some(status) = &self.status else { return };
        match status.down().await {
            Ok(()) => self.told = false,
            Err(error) => self.failed(&error, voice),
        }
    }

    /// Says nothing any more.
    pub(super) fn end(&mut self) {
        self.status = None;
    }

    fn failed(&mut self, error: &StatusError, voice: &mut Voice) {
        if !std::mem::replace(&mut self.told, true) {
            voice.doubt(error);
        }
    }
}
