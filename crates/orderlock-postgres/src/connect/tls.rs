//! TLS: whose certificates are trusted.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connect::error::OpenError;

/// The word by which a server knows PostgreSQL's protocol when TLS comes first.
const PROTOCOL: &[u8] = b"postgresql";

/// TLS that takes a certificate for the very host that was asked for, by an authority in the file,
/// or else by one that the operating system trusts.
pub(crate) fn verified(authorities: Option<&Path>) -> Result<MakeRustlsConnect, OpenError> {
    let roots = match authorities {
        Some(file) => in_file(file)?,
        None => of_the_system()?,
    };
    // Named here, so that nothing depends on what another part of the process has installed.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| OpenError::Authorities(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

fn in_file(file: &Path) -> Result<RootCertStore, OpenError> {
    let failed = |why: String| OpenError::Authorities(format!("{}: {why}", file.display()).into());
    let certificates = CertificateDer::pem_file_iter(file).map_err(|it| failed(it.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}

fn of_the_system() -> Result<RootCertStore, OpenError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A machine's list may hold one that nobody can read; the others are as good as ever.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(
            || "the operating system trusts no authority".to_owned(),
            |error| format!("the operating system's authorities cannot be read: {error}"),
        );
        return Err(OpenError::Authorities(why.into()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_with_its_name() {
        let folder = std::env::temp_dir();
        let missing = folder.join("orderlock-there-is-no-such-file.pem");
        let Err(error) = verified(Some(&missing)) else {
            panic!("there is no such file");
        };
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.contains("no-such-file"), "{why}");
    }
}
