//! The section `mqtt`, with Frigate's keys.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Publishing to an MQTT broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MqttConfig {
    /// Whether there is a connection to the broker. Without `host` there is none.
    pub enabled: bool,
    /// The broker's host name or address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The broker's port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// User name at the broker. `${NAME}` takes it from the environment, `file:PATH` from a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password at the broker. `${NAME}` takes it from the environment, `file:PATH` from a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// First part of every topic. Frigate's clients expect `frigate`.
    pub topic_prefix: String,
    /// Client id at the broker, different for each Watchpost at one broker.
    pub client_id: String,
    /// Seconds from one message on the topic `stats` to the next.
    #[schemars(range(min = 15, max = 86400))]
    pub stats_interval: u32,
    /// Quality of service of what is published and subscribed to.
    #[schemars(range(min = 0, max = 2))]
    pub qos: u8,
    /// File with the certificates (PEM) that the broker's certificate is checked against. With it the connection uses
    /// TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca_certs: Option<PathBuf>,
    /// File with the client certificate (PEM). With it the connection uses TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_cert: Option<PathBuf>,
    /// File with the key (PEM) of the client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_key: Option<PathBuf>,
    /// Accept a broker whose certificate is for another host name. Its issuer is checked all the same.
    pub tls_insecure: bool,
    /// Announcing the cameras to Home Assistant.
    pub discovery: DiscoveryConfig,
}

/// Announcing the cameras to Home Assistant, whose own MQTT integration then shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiscoveryConfig {
    /// Whether the cameras are announced.
    pub enabled: bool,
    /// The discovery prefix of Home Assistant.
    pub prefix: String,
}

impl Default for MqttConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            host: None,
            port: 1883,
            user: None,
            password: None,
            topic_prefix: "watchpost".to_owned(),
            client_id: "watchpost".to_owned(),
            stats_interval: 60,
            qos: 0,
            tls_ca_certs: None,
            tls_client_cert: None,
            tls_client_key: None,
            tls_insecure: false,
            discovery: DiscoveryConfig::default(),
        }
    }
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            prefix: "homeassistant".to_owned(),
        }
    }
}

impl MqttConfig {
    /// The broker's host, where a connection is wanted.
    pub fn wanted_host(&self) -> Option<&str> {
        self.host.as_deref().filter(|_| self.enabled)
    }

    /// Whether the connection uses TLS.
    pub fn uses_tls(&self) -> bool {
        self.tls_ca_certs.is_some() || self.tls_client_cert.is_some()
    }

    /// The files it names.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [
            &mut self.tls_ca_certs,
            &mut self.tls_client_cert,
            &mut self.tls_client_key,
        ]
        .into_iter()
        .flatten()
    }

    /// The files it names, with their keys.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        [
            ("tls_ca_certs", &self.tls_ca_certs),
            ("tls_client_cert", &self.tls_client_cert),
            ("tls_client_key", &self.tls_client_key),
        ]
        .into_iter()
        .filter_map(|(key, path)| Some((key, path.as_ref()?)))
    }
}
