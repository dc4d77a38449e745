//! Where connections of a protocol come in, and how they are encrypted.
//!
//! INVARIANT: where a certificate is configured nothing is answered in plain text, and without one only
//! addresses of this machine are listened on (the configuration is refused otherwise).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion_postgres::pgwire::tokio::tokio_rustls::TlsAcceptor;
use datafusion_postgres::pgwire::tokio::tokio_rustls::rustls::ServerConfig;
use datafusion_postgres::pgwire::tokio::tokio_rustls::rustls::crypto::ring;
use datafusion_postgres::pgwire::tokio::tokio_rustls::rustls::pki_types::pem::PemObject as _;
use datafusion_postgres::pgwire::tokio::tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio::net::TcpListener;

use super::{flight, postgres};
use crate::app::App;
use crate::config::AnalyticsConfig;

/// The protocols beside HTTP that the lake is asked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Postgres,
    FlightSql,
}

impl Protocol {
    /// What clients name in the handshake of TLS.
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Postgres => b"postgresql",
            Self::FlightSql => b"h2",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "PostgreSQL",
            Self::FlightSql => "Flight SQL",
        })
    }
}

/// Why an endpoint could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EndpointError {
    #[error("cannot listen on {address} for {protocol} connections")]
    Listen { protocol: Protocol, address: SocketAddr, source: io::Error },
    #[error("cannot use {} for {protocol} connections: {reason}", path.display())]
    Tls { protocol: Protocol, path: PathBuf, reason: String },
}

/// An open port and the certificate behind which it answers.
pub(crate) struct Endpoint {
    pub(crate) protocol: Protocol,
    pub(crate) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
}

impl Endpoint {
    /// Opens what the configuration asks for; nothing where it does not.
    ///
    /// # Errors
    ///
    /// An address that is taken, and a certificate that cannot be used: nothing goes on in plain text.
    pub(crate) async fn open(
        protocol: Protocol,
        config: &AnalyticsConfig,
    ) -> Result<Option<Self>, EndpointError> {
        let address = match protocol {
            Protocol::Postgres => config.postgres,
            Protocol::FlightSql => config.flight_sql,
        };
        let Some(address) = address else { return Ok(None) };
        let tls = match (&config.tls_certificate, &config.tls_key) {
            (Some(certificate), Some(key)) => Some(acceptor(protocol, certificate, key)?),
            _ => None,
        };
        let listener = TcpListener::bind(address).await.map_err(|source| EndpointError::Listen {
            protocol,
            address,
            source,
        })?;
        Ok(Some(Self { protocol, listener, tls }))
    }

    /// Answers connections until the server is asked to stop.
    pub(crate) async fn serve(self, app: App) {
        match self.protocol {
            Protocol::Postgres => postgres::serve(app, self).await,
            Protocol::FlightSql => flight::serve(app, self).await,
        }
    }
}

fn acceptor(protocol: Protocol, certificate: &Path, key: &Path) -> Result<TlsAcceptor, EndpointError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error: &dyn fmt::Display| EndpointError::Tls { protocol, path, reason: error.to_string() }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| at(certificate)(&error))?;
    if chain.is_empty() {
        return Err(at(certificate)(&"it holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| at(key)(&error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| at(certificate)(&error))?;
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
