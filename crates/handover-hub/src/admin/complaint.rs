//! Requests that are not carried out.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};

use super::view::{Complaint, Mishap};

impl Complaint {
    pub(super) fn new(kind: Mishap, error: impl Into<String>) -> Self {
        Self {
            kind,
            error: error.into(),
        }
    }

    pub(super) fn usage(error: impl Into<String>) -> Self {
        Self::new(Mishap::Usage, error)
    }

    pub(super) fn refused(error: impl Into<String>) -> Self {
        Self::new(Mishap::Refused, error)
    }
}

impl IntoResponse for Complaint {
    fn into_response(self) -> Response {
        let status = match self.kind {
            Mishap::Usage => StatusCode::BAD_REQUEST,
            Mishap::Refused | Mishap::NotMoved => StatusCode::CONFLICT,
            Mishap::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Mishap::Denied => StatusCode::FORBIDDEN,
        };
        (status, Json(self)).into_response()
    }
}
