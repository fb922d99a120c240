//! Who asks.

use axum::http::HeaderMap;

use crate::service::{ServiceError, field};

/// Names of the header over HTTP and of the metadata over gRPC.
const HEADERS: [&str; 2] = ["x-amends-user", "amends-user"];

/// Who acts where nobody says so, as on a developer's machine.
const ANYBODY: &str = "dev";

/// The name under which a request's actions are recorded.
pub fn principal(headers: &HeaderMap) -> Result<String, ServiceError> {
    let Some((name, value)) = HEADERS.iter().find_map(|name| Some((name, headers.get(*name)?))) else {
        return Ok(ANYBODY.to_owned());
    };
    let who = std::str::from_utf8(value.as_bytes()).map_err(|_| ServiceError::invalid(*name, "is not UTF-8"))?;
    if who.trim().is_empty() { Ok(ANYBODY.to_owned()) } else { field::who(name, who.trim()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_principal_is_named_by_either_header() {
        let with = |name: &'static str, value: &[u8]| {
            HeaderMap::from_iter([(name.parse().unwrap(), axum::http::HeaderValue::from_bytes(value).unwrap())])
        };
        assert_eq!(principal(&HeaderMap::new()).unwrap(), "dev");
        assert_eq!(principal(&with("x-amends-user", b"")).unwrap(), "dev");
        assert_eq!(principal(&with("amends-user", "zoë".as_bytes())).unwrap(), "zoë");
        assert!(principal(&with("x-amends-user", b"\xff")).is_err());
        assert!(principal(&with("x-amends-user", &[b'a'; 200])).is_err());
    }
}
