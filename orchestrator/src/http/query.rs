//! What an address says behind its path, and the numbers in it: what is refused is named with its value and with what is
//! expected.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ApiError;
use crate::config;

/// The parameters behind the `?`. What may stand there is said in the words of their type's documentation.
pub struct QueryOf<T>(pub T);

impl<T: DeserializeOwned + JsonSchema, S: Sync> FromRequestParts<S> for QueryOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(rejection) => {
                let schema = schema_for!(T).to_value();
                let said = refusal(&rejection.body_text(), &parts.uri, &schema);
                Err(ApiError::Parameter(said))
            }
        }
    }
}

/// The number of an event or a media item in the path.
pub struct Id(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| ApiError::Parameter(rejection.body_text()))?;
        text.parse().map(Self).map_err(|_| {
            ApiError::Parameter(format!(
                "`{text}` is no id, expected a whole number as the list of them has it"
            ))
        })
    }
}

fn refusal(said: &str, uri: &Uri, schema: &Value) -> String {
    let said = said.split_once("query string: ").map_or(said, |(_, s)| s);
    let Some((key, said)) = said.split_once(": ") else {
        return said.to_owned();
    };
    let known = &schema["properties"][key];
    let Some(about) = known["description"].as_str() else {
        return format!("{key}: {}", config::in_our_words(said));
    };
    let given = Query::<Vec<(String, String)>>::try_from_uri(uri).unwrap_or_default();
    let value = given.iter().find(|(name, _)| name == key);
    let value = value.map_or("", |(_, value)| value);
    let is = |kind: &str| known["type"] == kind || known["type"][0] == kind;
    let why = match () {
        () if is("integer") && known["minimum"] == 0 => "expected a whole number from 0 on".into(),
        () if is("integer") => "expected a whole number".into(),
        () if is("number") => "expected a number".into(),
        () => config::in_our_words(said),
    };
    format!("{key}={value}: {why} ({})", about.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_api::{EventQuery, MediaQuery};

    async fn refused<T: DeserializeOwned + JsonSchema>(query: &str) -> String {
        let request = axum::http::Request::get(format!("/x?{query}")).body(());
        let (mut parts, ()) = request.unwrap().into_parts();
        match QueryOf::<T>::from_request_parts(&mut parts, &()).await {
            Ok(_) => panic!("{query} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn a_parameter_is_refused_with_its_value_and_what_is_expected() {
        for (query, said) in [
            (
                "limit=many",
                "limit=many: expected a whole number from 0 on (At most this many, 1 to 1000; 100 if not given)",
            ),
            ("limit=-1", "limit=-1: expected a whole number from 0 on"),
            (
                "before_id=x%20y",
                "before_id=x y: expected a whole number (",
            ),
            ("label=a&after=now", "after=now: expected a number ("),
            ("page=2", "page: unknown key, expected one of camera, label"),
            ("limt=2", "limt: unknown key, did you mean `limit`?"),
        ] {
            let text = refused::<EventQuery>(query).await;
            assert!(text.starts_with(said), "{query}: {text}");
        }
        let text = refused::<MediaQuery>("task=fotos").await;
        assert!(
            text.starts_with("task=fotos: `fotos` is not known, ") && text.contains("raw_photo"),
            "{text}"
        );
    }
}
