//! Where the load goes.

use crate::error::VerifyError;
use hyper::Uri;
use hyper::header::HeaderValue;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// The port of plain HTTP (RFC 9110, section 4.2.1).
const HTTP_PORT: u16 = 80;

/// A parsed `http://host:port/path`. Only plain HTTP: a URL with `https` is
/// refused with a message that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    authority: String,
    path: String,
}

impl Target {
    /// The host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 80 when the URL has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, `/` when the URL has none.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value of the `Host` header.
    pub(crate) fn host_header(&self) -> HeaderValue {
        // The authority came out of a parsed URI, whose bytes are all visible ASCII.
        HeaderValue::from_str(&self.authority).unwrap_or(HeaderValue::from_static("localhost"))
    }

    /// The addresses of the host, at least one.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, VerifyError> {
        let host = format!("{}:{}", self.host, self.port);
        let failed = |reason: String| VerifyError::Resolve {
            host: host.clone(),
            reason,
        };
        let found: Vec<SocketAddr> = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|error| failed(error.to_string()))?
            .collect();
        if found.is_empty() {
            Err(failed("no address".to_owned()))
        } else {
            Ok(found)
        }
    }
}

impl FromStr for Target {
    type Err = VerifyError;

    fn from_str(text: &str) -> Result<Self, VerifyError> {
        let bad = |reason: &str| VerifyError::BadUrl {
            found: text.to_owned(),
            reason: reason.to_owned(),
        };
        let uri: Uri = text.parse().map_err(|error| bad(&format!("{error}")))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(VerifyError::Https {
                    found: text.to_owned(),
                });
            }
            Some(_) => return Err(bad("only http is spoken")),
            None => return Err(bad("it must begin with http://")),
        }
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("a user name in it is not supported"));
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        let port = authority.port_u16().unwrap_or(HTTP_PORT);
        if port == 0 {
            return Err(bad("port 0 cannot be connected to"));
        }
        let path = uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        Ok(Self {
            host,
            port,
            authority: authority.as_str().to_owned(),
            path,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target: Target = "http://127.0.0.1:8080/a?b=c".parse().unwrap();
        assert_eq!(
            (target.host(), target.port(), target.path()),
            ("127.0.0.1", 8080, "/a?b=c")
        );
        assert_eq!(target.to_string(), "http://127.0.0.1:8080/a?b=c");
        let target: Target = "http://[::1]:9".parse().unwrap();
        assert_eq!(
            (target.host(), target.port(), target.path()),
            ("::1", 9, "/")
        );
        assert_eq!(target.host_header(), "[::1]:9");
        let target: Target = "http://localhost".parse().unwrap();
        assert_eq!(target.port(), 80);
    }

    #[test]
    fn what_cannot_be_loaded_is_said() {
        let error = |text: &str| text.parse::<Target>().unwrap_err();
        assert!(matches!(error("https://a/"), VerifyError::Https { .. }));
        for text in [
            "",
            "localhost:80",
            "/x",
            "ftp://a/",
            "http://u@a/",
            "http://a:0/",
            "http://",
        ] {
            assert!(matches!(error(text), VerifyError::BadUrl { .. }), "{text}");
        }
    }
}
