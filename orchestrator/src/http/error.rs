//! Errors of the HTTP interface: one type, one place that knows the status codes.

use super::access::{Denied, NoPlace};
use crate::config::{self, ChangeError, Role};
use crate::live::NoPicture;
use crate::reload::Refusal;
use crate::supervisor::{Gone, TaskRefusal};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use watchpost_api::Refused;

/// Why a request was not served. The body is `{"error": "..."}`.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 404
    #[error("there is no camera {0:?}")]
    NoSuchCamera(String),
    /// 404
    #[error("there is nothing at {0}; /api/openapi.json says what there is")]
    NoSuchPath(String),
    /// 404
    #[error("there is no event {0}")]
    NoSuchEvent(i64),
    /// 404
    #[error("there is no media item {0}")]
    NoSuchMedia(i64),
    /// 404
    #[error("the file of media item {0} is not there, or is none that may be handed out")]
    NoMediaFile(i64),
    /// 404
    #[error("nothing is recorded from {0} to {1}")]
    NoFootage(f64, f64),
    /// 409
    #[error("the picture's size or codec changes at {} s; ask for a clip up to there and one from there", *.0 as f64 / 1000.0)]
    FootageChanges(i64),
    /// 416
    #[error("media item {0} has {1} bytes, and the range asked for begins behind them")]
    NoSuchRange(i64, u64),
    /// 500
    #[error("{0}")]
    Media(String),
    /// 404 where there is no such camera, else 503
    #[error(transparent)]
    NoPicture(#[from] NoPicture),
    /// 404
    #[error("{0}")]
    NoSuchTask(String),
    /// 409, or 503 where the camera does not run
    #[error(transparent)]
    Task(TaskRefusal),
    /// 503
    #[error("there is no store: data_dir could not be used, as the log says")]
    NoStore,
    /// 500
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// Never sent: whoever listened has gone.
    #[error("nobody listens any more")]
    NoListener,
    /// 400
    #[error("the body is not what is expected: {0}")]
    Body(String),
    /// 400
    #[error("{0}")]
    Parameter(String),
    /// 421
    #[error("this is not {0}; ask by the address it listens on")]
    Host(String),
    /// 403
    #[error("requests of pages from {0} are not answered")]
    Origin(String),
    /// 401, 403, or 404 for what may not be seen
    #[error("{}", words(.0))]
    Denied(Denied),
    /// 429
    #[error("too many failed sign-ins from this address; try again in {0} s")]
    TooSoon(u64),
    /// 429 or 503
    #[error("{}", crowded(*.0))]
    Crowded(NoPlace),
    /// 400, 403, 404 or 409: nothing of the change was applied.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// 405
    #[error("{0} is not answered at {1}")]
    WrongMethod(Method, String),
    /// 408
    #[error("the body did not come within {} s", super::STALLED.as_secs())]
    TooSlow,
    /// 400
    #[error("the body cannot be read: {0}")]
    BrokenBody(String),
    /// 413
    #[error("the body is too large: {} bytes are taken at most", super::MAX_BODY)]
    TooLarge,
    /// 415
    #[error("a change needs the header Content-Type: application/json")]
    NotJson,
    /// 503
    #[error(transparent)]
    Gone(#[from] Gone),
}

fn words(denied: &Denied) -> String {
    let name = |role: &Role| match role {
        Role::Viewer => "viewer",
        Role::ReadOnly => "read-only",
        Role::Operator => "operator",
        Role::Admin => "admin",
    };
    match denied {
        Denied::Unknown => "a token or a user's password is needed".into(),
        Denied::NotSeen(camera) => ApiError::NoSuchCamera(camera.clone()).to_string(),
        Denied::Role { has, needs } => format!(
            "this needs the role {}, and these credentials have the role {}",
            name(needs),
            name(has)
        ),
        Denied::Scope => "this token is for metrics only".into(),
        Denied::Limited => {
            "this is about all cameras, and these credentials are for some of them".into()
        }
    }
}

fn crowded(refused: NoPlace) -> &'static str {
    match refused {
        NoPlace::Address => "this address has too many connections; close some",
        NoPlace::Streams => "there are too many streams; close some, or raise http.max_connections",
    }
}

impl ApiError {
    pub(super) fn code(&self) -> StatusCode {
        match self {
            ApiError::NoSuchCamera(_)
            | ApiError::NoSuchPath(_)
            | ApiError::NoSuchEvent(_)
            | ApiError::NoSuchTask(_)
            | ApiError::NoSuchMedia(_)
            | ApiError::NoMediaFile(_)
            | ApiError::NoFootage(..)
            | ApiError::NoPicture(NoPicture::NoCamera(_))
            | ApiError::Task(TaskRefusal::NoCamera(_)) => StatusCode::NOT_FOUND,
            ApiError::Task(TaskRefusal::NotRunning(_)) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Task(TaskRefusal::Refused(_)) | ApiError::FootageChanges(_) => {
                StatusCode::CONFLICT
            }
            ApiError::Store(_) | ApiError::Media(_) | ApiError::NoListener => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            ApiError::Body(_) | ApiError::BrokenBody(_) | ApiError::Parameter(_) => {
                StatusCode::BAD_REQUEST
            }
            ApiError::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            ApiError::Denied(Denied::Unknown) => StatusCode::UNAUTHORIZED,
            ApiError::Denied(Denied::NotSeen(_)) => StatusCode::NOT_FOUND,
            ApiError::Denied(_) | ApiError::Origin(_) => StatusCode::FORBIDDEN,
            ApiError::TooSoon(_) | ApiError::Crowded(NoPlace::Address) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            ApiError::Crowded(NoPlace::Streams) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Refused(refusal) => match refusal {
                Refusal::Change(ChangeError::NoCamera(_)) => StatusCode::NOT_FOUND,
                Refusal::Change(ChangeError::Request(_)) | Refusal::Wrong(_) => {
                    StatusCode::BAD_REQUEST
                }
                Refusal::Local(..)
                | Refusal::LocalFile(_)
                | Refusal::Permission
                | Refusal::Hooks
                | Refusal::Reference(_) => StatusCode::FORBIDDEN,
                Refusal::Change(ChangeError::Edit(_))
                | Refusal::Write(_)
                | Refusal::FileWrong(_)
                | Refusal::Listen(..)
                | Refusal::Unsettled
                | Refusal::Unreadable(_) => StatusCode::CONFLICT,
                Refusal::Gone(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            ApiError::NoSuchRange(..) => StatusCode::RANGE_NOT_SATISFIABLE,
            ApiError::WrongMethod(..) => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::TooSlow => StatusCode::REQUEST_TIMEOUT,
            ApiError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::NoStore | ApiError::NoPicture(_) | ApiError::Gone(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = self.code();
        let mut response = (
            code,
            Json(Refused {
                error: self.to_string(),
            }),
        )
            .into_response();
        if code == StatusCode::UNAUTHORIZED {
            let schemes = HeaderValue::from_static("Basic realm=\"watchpost\", Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, schemes);
        }
        if let ApiError::TooSoon(seconds) = self {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let text = rejection.body_text();
        let text = text.strip_prefix("Failed to deserialize the JSON body into the target type: ");
        Self::Body(text.map_or_else(|| rejection.body_text(), in_our_words))
    }
}

/// A key, and what serde says of it.
pub fn in_our_words(text: &str) -> String {
    match text.split_once(": ") {
        Some((key, said)) if !key.contains(' ') => {
            format!("{key}: {}", config::in_our_words(said))
        }
        _ => config::in_our_words(text),
    }
}

/// What the libraries below refuse by themselves they say in plain text.
pub async fn as_json(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE);
    let is_text = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !is_text || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::TooLarge.into_response();
    }
    let text = axum::body::to_bytes(response.into_body(), 4096).await;
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    (status, Json(Refused { error: text })).into_response()
}

/// Answers every method that a path does not know.
pub async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::WrongMethod(method, uri.path().to_owned())
}

/// Answers every path that does not exist.
pub async fn no_such_path(uri: Uri) -> ApiError {
    ApiError::NoSuchPath(uri.path().to_owned())
}
