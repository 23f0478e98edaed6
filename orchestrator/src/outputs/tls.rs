//! Whom TLS connections to others trust.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The one provider of the workspace.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Checks servers against the certificates of a file, else against the system's. `key` names the file in errors.
pub(super) fn verifier(
    key: &str,
    file: Option<&Path>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            for certificate in certificates(key, path)? {
                roots
                    .add(certificate)
                    .map_err(|error| format!("{key} {}: {error}", path.display()))?;
            }
        }
        None => {
            let native = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(native.certs);
        }
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| {
            format!("no certificate to check the server against: {error}; give `{key}`")
        })
}

/// The certificates of a PEM file.
pub(super) fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| format!("{key} {}: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!(
            "{key} {} has no certificate, expected PEM",
            path.display()
        ));
    }
    Ok(found)
}
