//! What a WebSocket keeps of its request: the credentials, with which it ends, and the place of its connection.

use std::future::pending;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::sync::watch;

use super::{Identity, Place};
use crate::http::Api;
use crate::http::auth::{self, Auth};
use crate::http::error::ApiError;

/// Why a WebSocket ends before its client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum End {
    /// The token or user changed or is gone.
    Credentials,
    /// Another connection needs the place.
    Place,
}

impl End {
    /// The code of the closing frame.
    pub(in crate::http) const fn code(self) -> u16 {
        match self {
            Self::Credentials => 4401,
            Self::Place => 4503,
        }
    }

    /// The reason in the closing frame.
    pub(in crate::http) const fn reason(self) -> &'static str {
        match self {
            Self::Credentials => "the credentials of this connection are gone",
            Self::Place => "there are too many connections",
        }
    }
}

/// The request behind a WebSocket. Its connection counts as long as this lives.
pub(in crate::http) struct Session {
    pub(in crate::http) identity: Identity,
    place: Option<Arc<Place>>,
    auth: watch::Receiver<Arc<Auth>>,
}

impl Session {
    /// Completes when the WebSocket has to end.
    pub(in crate::http) async fn ended(&self) -> End {
        let displaced = async {
            match &self.place {
                Some(place) => place.end().cancelled_owned().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = auth::ended(self.auth.clone(), self.identity.clone()) => End::Credentials,
            () = displaced => End::Place,
        }
    }
}

impl FromRequestParts<Api> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        Ok(Self {
            identity: Identity::from_request_parts(parts, api).await?,
            place: parts.extensions.get::<Arc<Place>>().cloned(),
            auth: api.auth.subscribe(),
        })
    }
}
