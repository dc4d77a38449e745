//! The city that a request comes from, for the one page that it asks for.
//!
//! INVARIANT: neither the address nor the city is stored, logged or counted; with the person's location switched
//! off, nothing is looked up at all.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use maxminddb::{MaxMindDbError, Reader, geoip2};
use thiserror::Error;

use crate::app::App;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The database of cities cannot be used.
#[derive(Debug, Error)]
#[error("cannot use the database of cities `{}` (`server.cities`)", path.display())]
pub struct CitiesError {
    path: PathBuf,
    source: MaxMindDbError,
}

/// Cities by address: a database in the `MaxMind` format, such as `GeoLite2` City or `DB-IP` City.
pub(super) struct Cities(Reader<Vec<u8>>);

impl fmt::Debug for Cities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cities").field(&self.0.metadata().database_type).finish()
    }
}

impl Cities {
    pub(super) fn open(path: &Path) -> Result<Self, CitiesError> {
        let fault = |source| CitiesError { path: path.to_owned(), source };
        let reader = Reader::open_readfile(path).map_err(fault)?;
        // A database of something else would answer every address with nothing.
        if !reader.metadata().database_type.contains("City") {
            let reason = format!("it is a database of `{}`", reader.metadata().database_type);
            return Err(fault(MaxMindDbError::invalid_database(reason)));
        }
        Ok(Self(reader))
    }

    /// The English name of the city, where the database knows one.
    pub(super) fn city(&self, address: IpAddr) -> Option<String> {
        let city = self.0.lookup(address).ok()?.decode::<geoip2::City<'_>>().ok()??;
        city.city.names.english.map(str::to_owned)
    }
}

/// The address of whoever asks. It has no text form, so that it cannot come to be logged.
pub(super) struct Address(Option<IpAddr>);

impl Address {
    /// The peer, or behind a proxy of one's own the nearest address that is not one.
    fn of(peer: Option<IpAddr>, headers: &HeaderMap, proxies: &[IpAddr]) -> Self {
        let is_proxy = |address: &IpAddr| proxies.contains(&address.to_canonical());
        let Some(peer) = peer.filter(is_proxy) else { return Self(peer) };
        let forwarded = headers.get_all(FORWARDED_FOR).into_iter().rev();
        let mut hops = forwarded
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.rsplit(','))
            .map(|hop| hop.trim().parse::<IpAddr>());
        // What is no address ends the chain that can be trusted.
        let address = hops.find(|hop| !hop.as_ref().is_ok_and(is_proxy));
        Self(address.map_or(Some(peer), Result::ok))
    }

    pub(super) fn city(&self, cities: &Cities) -> Option<String> {
        cities.city(self.0?.to_canonical())
    }
}

impl FromRequestParts<App> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        Ok(Self::of(peer, &parts.headers, &app.config.server.trusted_proxies))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(peer: &str, forwarded: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let proxies = ["10.0.0.1", "10.0.0.2"].map(|proxy| proxy.parse().unwrap());
        Address::of(Some(peer.parse().unwrap()), &headers, &proxies).0.map(|address| address.to_string())
    }

    #[test]
    fn only_a_proxy_of_one_s_own_may_say_for_whom_it_asks() {
        let found = |peer, forwarded: &[&str]| address(peer, forwarded);
        assert_eq!(found("9.9.9.9", &["8.8.8.8"]).as_deref(), Some("9.9.9.9"));
        assert_eq!(found("10.0.0.1", &["1.1.1.1, 8.8.8.8"]).as_deref(), Some("8.8.8.8"));
        assert_eq!(found("10.0.0.1", &["8.8.8.8", "10.0.0.2"]).as_deref(), Some("8.8.8.8"));
        assert_eq!(found("::ffff:10.0.0.1", &["8.8.8.8"]).as_deref(), Some("8.8.8.8"));
        assert_eq!(found("10.0.0.1", &[]).as_deref(), Some("10.0.0.1"));
        assert_eq!(found("10.0.0.1", &["8.8.8.8, unknown"]), None);
    }

    #[test]
    fn a_file_that_is_no_database_of_cities_is_one_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for bytes in [&b""[..], b"something else"] {
            std::fs::write(file.path(), bytes).unwrap();
            let line = Cities::open(file.path()).unwrap_err().to_string();
            assert!(line.contains("server.cities") && !line.contains('\n'), "{line}");
        }
        assert!(Cities::open(Path::new("nowhere.mmdb")).is_err());
    }
}
