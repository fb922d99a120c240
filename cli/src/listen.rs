//! Opening ports, and what to tell the others about them.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::error::{CliError, Exit};

/// Listens at `HOST:PORT`; `flag` is what the user would change.
pub(crate) async fn bind(address: &str, flag: &str) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        let what = match error.kind() {
            std::io::ErrorKind::AddrInUse => format!("{address} is taken; another program listens there"),
            _ => format!("cannot listen at {address}"),
        };
        CliError::new(Exit::Other, what).why(error).next(format!("the same with another {flag} HOST:PORT"))
    })
}

/// What other engines are told: what was configured, or the address that is listened at. One that stands for all
/// interfaces is nobody's address: then this machine's name, if it has one.
pub(crate) fn advertised(configured: Option<&str>, bound: SocketAddr) -> Result<String, CliError> {
    match configured {
        Some(address) => Ok(address.to_owned()),
        None if !bound.ip().is_unspecified() => Ok(bound.to_string()),
        None => match host_name() {
            Some(host) => Ok(format!("{host}:{}", bound.port())),
            None => Err(CliError::new(Exit::Usage, format!("{bound} is no address at which others reach this engine"))
                .why("this machine has no name either")
                .next(format!("amends serve --advertise HOST:{} …", bound.port()))),
        },
    }
}

#[cfg(unix)]
fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.to_owned();
    // What a machine is called that has been given no name.
    (!name.is_empty() && name != "(none)" && name != "localhost").then_some(name)
}

#[cfg(not(unix))]
fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_an_address_that_leads_here() {
        let own: SocketAddr = "10.1.2.3:7400".parse().expect("an address");
        let all: SocketAddr = "0.0.0.0:7400".parse().expect("an address");
        assert_eq!(advertised(Some("engine-1:80"), all).expect("given"), "engine-1:80");
        assert_eq!(advertised(None, own).expect("bound"), "10.1.2.3:7400");
        if let Ok(address) = advertised(None, all) {
            assert!(address.ends_with(":7400") && !address.starts_with("0.0.0.0"), "{address}");
        }
    }

    #[tokio::test]
    async fn a_taken_port_names_the_flag() {
        let first = bind("127.0.0.1:0", "--http").await.expect("a port");
        let address = first.local_addr().expect("an address").to_string();
        let error = bind(&address, "--http").await.expect_err("it is taken");
        assert!(error.parts().0.contains("is taken") && error.parts().2.is_some_and(|next| next.contains("--http")));
    }
}
