//! A POST request, and nothing of what a browser would do: no redirects, no cookies, no proxy.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HOST, LOCATION, USER_AGENT};
use axum::http::uri::Scheme;
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::outputs::tls;

/// A server that requests can be sent to.
pub(super) struct Server {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
}

/// An answer that is no success, or none at all.
#[derive(Debug)]
pub(super) struct Failure {
    /// What happened.
    pub(super) why: String,
    /// Whether another attempt could succeed.
    pub(super) may_pass: bool,
}

impl Failure {
    fn passing(why: impl std::fmt::Display) -> Self {
        Self {
            why: why.to_string(),
            may_pass: true,
        }
    }
}

impl Server {
    /// The server of a URL. `ca_certs` replaces the system's certificates.
    pub(super) fn new(url: &str, ca_certs: Option<&std::path::Path>) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("`url`: {error}"))?;
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let host = uri.host().ok_or("`url` has no host")?;
        let tls = if secure {
            let config = ClientConfig::builder_with_provider(tls::provider())
                .with_safe_default_protocol_versions()
                .map_err(|error| format!("TLS: {error}"))?
                .with_webpki_verifier(tls::verifier("ca_certs", ca_certs)?)
                .with_no_client_auth();
            Some(TlsConnector::from(Arc::new(config)))
        } else {
            None
        };
        Ok(Self {
            // IPv6 addresses have brackets in URLs only.
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            tls,
            uri,
        })
    }

    /// Sends a JSON body.
    pub(super) async fn post(&self, headers: &HeaderMap, body: Bytes) -> Result<(), Failure> {
        let address = (self.host.as_str(), self.port);
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| Failure::passing(format!("{}:{}: {error}", self.host, self.port)))?;
        let response = match &self.tls {
            None => self.send(stream, headers, body).await?,
            Some(connector) => {
                let name = ServerName::try_from(self.host.clone()).map_err(Failure::passing)?;
                let stream = connector.connect(name, stream).await.map_err(|error| {
                    Failure::passing(format!("TLS with {}: {error}", self.host))
                })?;
                self.send(stream, headers, body).await?
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let location = response.headers().get(LOCATION);
        let location = location.and_then(|to| to.to_str().ok()).unwrap_or_default();
        let why = if status.is_redirection() {
            format!(
                "the server answered {status} to {location:?}, and redirects are not followed; change `url`"
            )
        } else {
            format!("the server answered {status}")
        };
        let may_pass = status.is_server_error()
            || [
                StatusCode::REQUEST_TIMEOUT,
                StatusCode::TOO_EARLY,
                StatusCode::TOO_MANY_REQUESTS,
            ]
            .contains(&status);
        Err(Failure { why, may_pass })
    }

    async fn send(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<hyper::Response<hyper::body::Incoming>, Failure> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.uri.authority().map_or("", |it| it.as_str());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, authority)
            .header(USER_AGENT, concat!("watchpost/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .map_err(Failure::passing)?;
        for (name, value) in headers {
            request.headers_mut().insert(name, value.clone());
        }
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::passing)?;
        // Ends with the sender.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(Failure::passing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::ServerConfig;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use std::path::Path;
    use std::process::Command;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// A certificate for `localhost` and its key, made by `openssl`.
    fn certificate(folder: &Path) {
        let arguments = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \
                         -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(folder);
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// A server that answers every request with 204. Answers with its port.
    async fn server(folder: &Path) -> u16 {
        let chain = CertificateDer::pem_file_iter(folder.join("cert.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
        let config = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that refuses the certificate ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        });
        port
    }

    #[tokio::test]
    async fn a_certificate_counts_where_its_file_is_given_and_for_its_name_only() {
        let folder = tempfile::tempdir().unwrap();
        certificate(folder.path());
        let port = server(folder.path()).await;
        let ca = folder.path().join("cert.pem");
        let post = async |host: &str, ca: Option<&Path>| {
            let server = Server::new(&format!("https://{host}:{port}/hook"), ca)?;
            let body = Bytes::from_static(b"{}");
            let sent = server.post(&HeaderMap::new(), body).await;
            sent.map_err(|failure| failure.why)
        };
        assert_eq!(post("localhost", Some(&ca)).await, Ok(()));
        for (host, ca) in [("127.0.0.1", Some(ca.as_path())), ("localhost", None)] {
            let why = post(host, ca).await.unwrap_err();
            assert!(why.contains("ertificate"), "{host}: {why}");
        }
        let none = folder.path().join("none.pem");
        let why = post("localhost", Some(&none)).await.unwrap_err();
        assert!(why.contains("none.pem"), "{why}");
    }

    #[tokio::test]
    async fn nobody_there_may_pass() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let server = Server::new(&format!("http://127.0.0.1:{port}"), None).unwrap();
        let failure = server
            .post(&HeaderMap::new(), Bytes::new())
            .await
            .unwrap_err();
        assert!(
            failure.may_pass && failure.why.contains("refused"),
            "{failure:?}"
        );
    }
}
