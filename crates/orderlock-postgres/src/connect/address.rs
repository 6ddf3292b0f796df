//! Reads a store's address: where the database is, how the way to it is protected, and whether a pooler
//! stands between.

use std::net::IpAddr;
use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::connect::error::OpenError;

/// An address as it was understood.
#[derive(Debug)]
pub(crate) struct Address {
    /// What the driver understands of it. Its `Debug` leaves the password out.
    pub(crate) config: Config,
    pub(crate) protection: Protection,
    /// Whether a pooler stands between that gives each transaction to another session.
    pub(crate) pooler: bool,
}

/// How the way to the server is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Plain text.
    None,
    /// TLS, with a certificate for this very host by an authority of the operating system's, or by
    /// one in this file.
    Verified(Option<PathBuf>),
}

/// What an address says for this store, and the driver does not understand.
#[derive(Debug, Default)]
struct Own {
    mode: Option<String>,
    authorities: Option<PathBuf>,
    pooler: bool,
}

impl Address {
    /// Reads an address: `postgres://user:password@host:port/database?parameter=value`.
    pub(crate) fn parse(url: &str) -> Result<Self, OpenError> {
        let known = ["postgres://", "postgresql://"];
        if !known.iter().any(|scheme| url.starts_with(scheme)) {
            return Err(OpenError::address("it does not begin with postgres://"));
        }
        let (own, rest) = split(url)?;
        let mut config: Config = rest.parse().map_err(OpenError::address)?;
        let protection = protection(&config, &own)?;
        config.ssl_mode(match protection {
            Protection::None => SslMode::Disable,
            Protection::Verified(_) => SslMode::Require,
        });
        Ok(Self {
            config,
            protection,
            pooler: own.pooler,
        })
    }

    /// Where it is, without credentials.
    pub(crate) fn location(&self) -> String {
        let ports = self.config.get_ports();
        let hosts = self.config.get_hosts().iter().enumerate();
        let places = hosts.map(|(index, host)| {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                #[cfg(unix)]
                Host::Unix(folder) => folder.display().to_string(),
            }
        });
        let database = self.config.get_dbname().or(self.config.get_user());
        let places: Vec<_> = places.collect();
        format!("{}/{}", places.join(","), database.unwrap_or_default())
    }
}

/// Takes this store's own parameters out of an address.
fn split(url: &str) -> Result<(Own, String), OpenError> {
    let Some((base, query)) = url.split_once('?') else {
        return Ok((Own::default(), url.to_owned()));
    };
    let (mut own, mut rest) = (Own::default(), Vec::new());
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "sslmode" => own.mode = Some(decoded(value)?),
            "sslrootcert" => {
                own.authorities = Some(decoded(value)?)
                    .filter(|path| path != "system")
                    .map(Into::into);
            }
            "orderlock_pooler" => {
                own.pooler = match value {
                    "transaction" => true,
                    "none" => false,
                    _ => {
                        let why = "orderlock_pooler is either `transaction` or `none`";
                        return Err(OpenError::address(why));
                    }
                }
            }
            _ => rest.push(pair),
        }
    }
    Ok((own, format!("{base}?{}", rest.join("&"))))
}

/// Decides how the way is protected. Whoever asks for TLS gets the whole of it: a certificate that
/// nobody checks keeps out nobody who can stand in the way.
fn protection(config: &Config, own: &Own) -> Result<Protection, OpenError> {
    let verified = Protection::Verified(own.authorities.clone());
    match own.mode.as_deref() {
        Some("require" | "verify-ca" | "verify-full") => Ok(verified),
        Some("disable") => Ok(Protection::None),
        None | Some("allow" | "prefer") if is_local(config) && own.authorities.is_none() => {
            Ok(Protection::None)
        }
        None => Ok(verified),
        Some("allow" | "prefer") => Err(OpenError::Unprotected),
        Some(_) => Err(OpenError::address(
            "sslmode is one of `disable`, `require`, `verify-ca` and `verify-full`",
        )),
    }
}

/// Whether no other machine is on the way.
fn is_local(config: &Config) -> bool {
    let local = |host: &Host| match host {
        Host::Tcp(name) => {
            let address = name.parse::<IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    };
    config.get_hosts().iter().all(local) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

/// A value without its percent signs.
fn decoded(value: &str) -> Result<String, OpenError> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(OpenError::address("a percent sign stands for itself in it")),
            },
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(OpenError::address)
}

fn digit(byte: Option<u8>) -> Option<u8> {
    let digit = char::from(byte?).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(rest: &str) -> Address {
        Address::parse(&format!("postgres://u:secret@{rest}")).unwrap()
    }

    #[test]
    fn another_machine_is_reached_by_tls_unless_plain_text_is_asked_for() {
        let system = Protection::Verified(None);
        for (rest, expected) in [
            ("db.example/o", &system),
            ("db.example/o?sslmode=require", &system),
            (
                "db.example/o?sslmode=verify-full&sslrootcert=system",
                &system,
            ),
            ("127.0.0.1,db.example/o", &system),
            ("localhost/o?hostaddr=192.0.2.7", &system),
            ("db.example/o?sslmode=disable", &Protection::None),
            ("localhost/o", &Protection::None),
            ("[::1]:5433/o", &Protection::None),
            ("%2Ftmp%2Fsocket/o?sslmode=prefer", &Protection::None),
        ] {
            assert_eq!(&parsed(rest).protection, expected, "{rest}");
        }
        let file = parsed("localhost/o?sslrootcert=%2Fetc%2Fmy%20ca.pem").protection;
        assert_eq!(file, Protection::Verified(Some("/etc/my ca.pem".into())));
    }

    #[test]
    fn what_might_fall_back_to_plain_text_is_refused() {
        let refused = Address::parse("postgres://db.example/o?sslmode=prefer");
        assert!(
            matches!(refused, Err(OpenError::Unprotected)),
            "{refused:?}"
        );
    }

    #[test]
    fn the_driver_gets_its_own_parameters_and_no_others() {
        let address =
            parsed("h/o?orderlock_pooler=transaction&application_name=shop&sslmode=disable");
        assert!(address.pooler);
        assert_eq!(address.config.get_application_name(), Some("shop"));
        assert!(!parsed("h/o").pooler);
        for wrong in [
            "mysql://h/o",
            "postgres://h/o?sslmode=maybe",
            "postgres://h/o?orderlock_pooler=session",
            "postgres://h/o?nonsense=1",
            "postgres://h/o?sslrootcert=%2",
        ] {
            let refused = Address::parse(wrong);
            assert!(matches!(refused, Err(OpenError::Address(_))), "{wrong}");
        }
    }

    #[test]
    fn nobody_is_shown_the_password() {
        let address = parsed("h1:1,h2:2/orders");
        assert_eq!(address.location(), "h1:1,h2:2/orders");
        assert!(!format!("{address:?}").contains("secret"));
        assert_eq!(parsed("h").location(), "h:5432/u");
    }
}
