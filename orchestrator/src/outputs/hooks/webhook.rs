//! Webhooks: an event as JSON to a server.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};

use super::Job;
use super::http::{Failure, Server};
use crate::config::WebhookConfig;

/// The pause after the first failure; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// A webhook that is ready to be sent.
pub(super) struct Webhook {
    server: Server,
    headers: HeaderMap,
    key: Option<hmac::Key>,
    body: Option<Value>,
    /// Attempts after the first failed.
    retries: u32,
    /// For one attempt.
    limit: Duration,
}

impl Webhook {
    pub(super) fn new(config: &WebhookConfig, limit: Duration) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        let token = config.token.as_ref().map(|token| format!("Bearer {token}"));
        let token = token.as_ref().map(|value| (AUTHORIZATION.as_str(), value));
        let others = config
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value));
        for (name, value) in others.chain(token) {
            let key: HeaderName = name
                .parse()
                .map_err(|_| format!("`{name}` is no name of a header"))?;
            let mut value: HeaderValue = value
                .parse()
                .map_err(|_| format!("the header `{name}` has characters that cannot be sent"))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let body = config.body.as_ref().map(|body| json!(body));
        Ok(Self {
            server: Server::new(&config.url, config.ca_certs.as_deref())?,
            headers,
            key: config
                .secret
                .as_ref()
                .map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())),
            body,
            retries: config.retries,
            limit,
        })
    }

    /// Sends a job, with further attempts where one fails that could succeed later.
    pub(super) async fn send(&self, job: &Job, picture: Option<&[u8]>) -> Result<(), String> {
        let body = Bytes::from(self.body(job, picture).to_string());
        let headers = self.headers(job, &body);
        let mut attempt = 0;
        loop {
            let sent = tokio::time::timeout(self.limit, self.server.post(&headers, body.clone()));
            let failure = match sent.await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(failure)) => failure,
                Err(_) => Failure {
                    why: format!("no answer within {} s", self.limit.as_secs()),
                    may_pass: true,
                },
            };
            if !failure.may_pass || attempt >= self.retries {
                return Err(match attempt {
                    0 => failure.why,
                    _ => format!("{} ({} attempts)", failure.why, attempt + 1),
                });
            }
            tokio::time::sleep(pause(attempt)).await;
            attempt += 1;
        }
    }

    fn headers(&self, job: &Job, body: &[u8]) -> HeaderMap {
        let mut headers = self.headers.clone();
        // The same for each attempt, by which a receiver knows a repeated one.
        headers.insert("x-watchpost-delivery", HeaderValue::from(job.number));
        if let Some(key) = &self.key {
            let signature = format!("sha256={}", hex(hmac::sign(key, body).as_ref()));
            if let Ok(value) = signature.parse() {
                headers.insert("x-watchpost-signature", value);
            }
        }
        headers
    }

    fn body(&self, job: &Job, picture: Option<&[u8]>) -> Value {
        let picture = picture
            .map(|picture| STANDARD.encode(picture))
            .unwrap_or_default();
        if let Some(body) = &self.body {
            let mut body = body.clone();
            fill(&mut body, &placeholders(job, picture));
            return body;
        }
        let mut body = job.json.clone();
        if !picture.is_empty() {
            body["picture"] = json!(picture);
        }
        body
    }
}

fn pause(attempt: u32) -> Duration {
    let factor = 1u32.checked_shl(attempt).unwrap_or(u32::MAX);
    FIRST.saturating_mul(factor).min(LONGEST)
}

fn placeholders(job: &Job, picture: String) -> Vec<(&'static str, String)> {
    let json = &job.json;
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let zones = match &json["zone"] {
        Value::String(zone) => zone.clone(),
        _ => {
            let zones = json["zones"].as_array().into_iter().flatten();
            zones.map(text).collect::<Vec<_>>().join(", ")
        }
    };
    let score = json["score"].as_f64();
    vec![
        ("{type}", text(&json["hook_event"])),
        ("{camera}", text(&json["camera"])),
        ("{label}", text(&json["label"])),
        ("{zones}", zones),
        (
            "{score}",
            score.map_or(String::new(), |score| format!("{:.0} %", score * 100.0)),
        ),
        ("{time}", text(&json["time"])),
        ("{picture}", picture),
    ]
}

/// Puts values in place of their names, in one pass: a value is never taken for a name.
fn fill(value: &mut Value, values: &[(&str, String)]) {
    match value {
        Value::String(text) => {
            let mut out = String::with_capacity(text.len());
            let mut rest = text.as_str();
            while let Some(start) = rest.find('{') {
                out.push_str(&rest[..start]);
                rest = &rest[start..];
                let known = values.iter().find(|(name, _)| rest.starts_with(name));
                let length = known.map_or(1, |(name, _)| name.len());
                out.push_str(known.map_or("{", |(_, value)| value));
                rest = &rest[length..];
            }
            out.push_str(rest);
            *text = out;
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, values)),
        Value::Object(keys) => keys.values_mut().for_each(|item| fill(item, values)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job {
            number: 7,
            camera: Some("front".to_owned()),
            json: json!({"hook_event": "object_started", "camera": "front", "label": "{score}",
                "zones": ["yard", "road"], "score": 0.826, "time": 12.5}),
        }
    }

    fn webhook(config: Value) -> Webhook {
        let config = serde_json::from_value(config).unwrap();
        Webhook::new(&config, Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn a_body_is_filled_with_values_of_the_event() {
        let webhook = webhook(json!({"url": "http://h/x", "body": {
            "message": "{label} at {camera} ({zones}) {score} {other} {", "n": [1, "{type}"], "at": "{picture}"}}));
        assert_eq!(
            webhook.body(&job(), Some(b"Man")),
            json!({"message": "{score} at front (yard, road) 83 % {other} {", "n": [1, "object_started"], "at": "TWFu"})
        );
    }

    #[test]
    fn without_a_body_the_event_is_sent_with_its_picture() {
        let webhook = webhook(json!({"url": "http://h/x"}));
        assert_eq!(webhook.body(&job(), None), job().json);
        assert_eq!(webhook.body(&job(), Some(b"M"))["picture"], "TQ==");
    }

    #[test]
    fn the_signature_is_that_of_rfc_4231() {
        let webhook = webhook(json!({"url": "http://h/x", "secret": "Jefe", "token": "t"}));
        let headers = webhook.headers(&job(), b"what do ya want for nothing?");
        assert_eq!(
            headers["x-watchpost-signature"],
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(headers["x-watchpost-delivery"], "7");
        assert_eq!(headers["authorization"], "Bearer t");
    }

    #[test]
    fn pauses_become_longer_up_to_a_minute() {
        let pauses: Vec<u64> = (0..8).map(|attempt| pause(attempt).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
