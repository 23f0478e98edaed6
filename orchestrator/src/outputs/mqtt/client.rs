//! The connection to a broker. Only this file knows the MQTT crate.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, Broker as Address, ConnectionError, Event, EventLoop, LastWill, MqttOptions,
    Packet, PublishOptions, QoS, TlsConfiguration, Transport,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::topics::Message;
use crate::config::MqttConfig;
use crate::outputs::tls;

const KEEP_ALIVE_S: u16 = 60;
/// Messages that were handed over and wait for the socket.
const WAITING: usize = 32;
/// Largest message taken and sent.
const LARGEST: usize = 4 << 20;

/// A broker that connections can be made to.
pub(super) trait Broker {
    /// Begins to connect. What becomes of it is reported by [`Connection::incoming`].
    fn connect(&self, will: Message, filters: Vec<String>) -> Result<Connection, String>;
}

/// What a connection reports.
#[derive(Debug)]
pub(super) enum Incoming {
    /// The broker accepted it.
    Connected,
    /// A message came.
    Message(Message),
    /// It ended, or could not be made. `refused`: by the broker's decision.
    Ended { refused: bool, why: String },
}

/// A connection, or an attempt to make one. Dropping it closes it without a farewell.
pub(super) struct Connection {
    /// Messages and the end.
    pub(super) incoming: mpsc::Receiver<Incoming>,
    /// The way out.
    pub(super) outgoing: mpsc::Sender<Message>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Connection {
    /// Sends what was handed over, says goodbye, and waits for the end, but no longer than `limit`.
    pub(super) async fn close(mut self, limit: Duration) {
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.outgoing, closed));
        let end = async { while self.incoming.recv().await.is_some() {} };
        let _ = tokio::time::timeout(limit, end).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

/// A broker in the network.
pub(super) struct NetworkBroker<'a>(pub(super) &'a MqttConfig);

impl Broker for NetworkBroker<'_> {
    fn connect(&self, will: Message, filters: Vec<String>) -> Result<Connection, String> {
        let (qos, options) = options(self.0, will)?;
        let (client, events) = AsyncClient::builder(options).capacity(1).build();
        let (sender, incoming) = mpsc::channel(WAITING);
        let (outgoing, receiver) = mpsc::channel(WAITING);
        let reader = tokio::spawn(read(events, client.clone(), sender, qos, filters));
        let writer = tokio::spawn(write(client, receiver, qos));
        Ok(Connection {
            incoming,
            outgoing,
            reader,
            writer,
        })
    }
}

fn options(config: &MqttConfig, will: Message) -> Result<(QoS, MqttOptions), String> {
    let host = config.host.as_deref().unwrap_or_default();
    let mut options = MqttOptions::new(&config.client_id, Address::tcp(host, config.port));
    options.set_keep_alive(KEEP_ALIVE_S);
    options.set_max_packet_size(LARGEST, LARGEST);
    options.set_last_will(LastWill::new(
        will.topic,
        will.payload,
        QoS::AtLeastOnce,
        will.retain,
    ));
    match (&config.user, &config.password) {
        (Some(user), Some(password)) => {
            options.set_credentials(user.clone(), password.clone());
        }
        (Some(user), None) => {
            options.set_username(user.clone());
        }
        (None, _) => {}
    }
    if config.uses_tls() {
        let tls = TlsConfiguration::Rustls(Arc::new(tls_config(config)?));
        options.set_transport(Transport::tls_with_config(tls));
    }
    let qos = match config.qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    };
    Ok((qos, options))
}

async fn read(
    mut events: EventLoop,
    client: AsyncClient,
    sender: mpsc::Sender<Incoming>,
    qos: QoS,
    filters: Vec<String>,
) {
    loop {
        let incoming = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                let client = client.clone();
                let filters = filters.clone();
                // Apart: its requests are taken by this loop.
                tokio::spawn(async move {
                    for filter in filters {
                        let _ = client.subscribe(filter, qos).await;
                    }
                });
                Incoming::Connected
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => Incoming::Message(Message {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload.to_vec(),
                retain: publish.retain,
            }),
            Ok(_) => continue,
            Err(ConnectionError::RequestsDone) => return,
            Err(error) => {
                let refused = matches!(error, ConnectionError::ConnectionRefused(_));
                let why = described(&error);
                let _ = sender.send(Incoming::Ended { refused, why }).await;
                return;
            }
        };
        if sender.send(incoming).await.is_err() {
            return;
        }
    }
}

async fn write(client: AsyncClient, mut messages: mpsc::Receiver<Message>, qos: QoS) {
    while let Some(message) = messages.recv().await {
        let options = PublishOptions::new(qos).retain(message.retain);
        // An error says that the connection has ended, which the reader reports.
        if client
            .publish(message.topic, message.payload, options)
            .await
            .is_err()
        {
            return;
        }
    }
    let _ = client.disconnect().await;
}

fn described(error: &ConnectionError) -> String {
    use std::error::Error;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

fn tls_config(config: &MqttConfig) -> Result<ClientConfig, String> {
    let verifier = tls::verifier("mqtt.tls_ca_certs", config.tls_ca_certs.as_deref())?;
    let verifier: Arc<dyn ServerCertVerifier> = if config.tls_insecure {
        Arc::new(AnyName(verifier))
    } else {
        verifier
    };
    let builder = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("mqtt: TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match (&config.tls_client_cert, &config.tls_client_key) {
        (Some(certificate), Some(key)) => {
            let chain = tls::certificates("mqtt.tls_client_cert", certificate)?;
            let key_der = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("mqtt.tls_client_key {}: {error}", key.display()))?;
            builder
                .with_client_auth_cert(chain, key_der)
                .map_err(|error| format!("mqtt.tls_client_key {}: {error}", key.display()))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

/// Accepts a certificate for another host name, where everything else about it is right.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
