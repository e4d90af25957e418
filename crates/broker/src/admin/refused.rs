//! Requests that are not carried out, as the client sees them.
//!
//! A refusal is `{"code": "...", "message": "..."}` with the codes of the Connect protocol, as
//! `rpk` expects them.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// A request that is not carried out.
#[derive(Debug, Serialize)]
pub struct Refused {
    #[serde(skip)]
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: impl ToString) -> Refused {
        Refused {
            status,
            code,
            message: message.to_string(),
        }
    }

    /// There is no such thing.
    pub fn not_found(message: impl ToString) -> Refused {
        Refused::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub fn already_exists(message: impl ToString) -> Refused {
        Refused::new(StatusCode::CONFLICT, "already_exists", message)
    }

    /// The request is wrong.
    pub fn invalid_argument(message: impl ToString) -> Refused {
        Refused::new(StatusCode::BAD_REQUEST, "invalid_argument", message)
    }

    /// The body is of a type that is not taken here.
    pub fn unsupported_type(message: impl ToString) -> Refused {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Refused::new(status, "invalid_argument", message)
    }

    /// The body is too large.
    pub fn too_large(message: impl ToString) -> Refused {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Refused::new(status, "resource_exhausted", message)
    }

    /// The request did not arrive in time.
    pub fn too_slow(message: impl ToString) -> Refused {
        Refused::new(StatusCode::REQUEST_TIMEOUT, "deadline_exceeded", message)
    }

    /// The client may not ask this.
    pub fn forbidden(message: impl ToString) -> Refused {
        Refused::new(StatusCode::FORBIDDEN, "permission_denied", message)
    }

    /// Not in this state.
    pub fn failed_precondition(message: impl ToString) -> Refused {
        Refused::new(StatusCode::BAD_REQUEST, "failed_precondition", message)
    }

    /// Not now.
    pub fn unavailable(message: impl ToString) -> Refused {
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}
