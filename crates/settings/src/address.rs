//! Addresses as people write them: `tcp://host:port`, `host:port`, and `*:port` for listening.
//!
//! This module must not resolve names: a name may mean another machine a second later, and resolving is I/O.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// Why a text is no address; the text and the remedy are in the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another transport than TCP, such as `ipc://`.
    #[error("`{text}`: papo speaks tcp only; write tcp://host:port")]
    Transport {
        /// What was given.
        text: String,
    },
    /// No colon, or nothing behind it.
    #[error("`{text}`: the port is missing; write host:port, for example localhost:5555")]
    NoPort {
        /// What was given.
        text: String,
    },
    /// Not a whole number from 1 to 65535.
    #[error("`{text}`: `{port}` is no port; give a number from 1 to 65535")]
    BadPort {
        /// What was given.
        text: String,
        /// What stood where the port should.
        port: String,
    },
    /// No host, or one with characters that no host has.
    #[error("`{text}`: `{host}` is no host; give a DNS name or an IP address (IPv6 in brackets)")]
    BadHost {
        /// What was given.
        text: String,
        /// What stood where the host should.
        host: String,
    },
    /// A name where an interface's address is wanted.
    #[error("`{text}`: cannot listen on the name `{host}`; give `*` or an IP address of this machine")]
    ListenOnName {
        /// What was given.
        text: String,
        /// The name.
        host: String,
    },
    /// An item of a list of peers without its `name=`.
    #[error(
        "`{text}`: the server's name is missing; write name=host:port, for example server-2=localhost:5702"
    )]
    NoPeerName {
        /// What was given.
        text: String,
    },
}

/// Where to connect to: a DNS name or an IP address, and a port from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// An address from its parts.
    ///
    /// # Errors
    /// [`AddressError`] when the host is none or the port is 0.
    pub fn new(host: &str, port: u16) -> Result<Self, AddressError> {
        let text = format!("{host}:{port}");
        check_host(host, &text)?;
        if port == 0 {
            return Err(AddressError::BadPort { text, port: port.to_string() });
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split(text)?;
        check_host(host, text)?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Where to listen: an address of this machine, or all of them (`*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenAddress(SocketAddr);

impl ListenAddress {
    /// Listens on every IPv4 address of this machine.
    #[must_use]
    pub fn everywhere(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
    }

    /// The address for the operating system.
    #[must_use]
    pub fn socket(self) -> SocketAddr {
        self.0
    }

    /// Where this machine's own processes reach it: loopback in place of `*`.
    #[must_use]
    pub fn local_target(self) -> Address {
        let ip = match self.0.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        Address { host: ip.to_string(), port: self.0.port() }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address)
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split(text)?;
        let ip = match host {
            "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            // Named here because it needs no resolving.
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => host
                .parse()
                .map_err(|_| AddressError::ListenOnName { text: text.to_owned(), host: host.to_owned() })?,
        };
        Ok(Self(SocketAddr::new(ip, port)))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.ip().is_unspecified() && self.0.is_ipv4() {
            write!(f, "*:{}", self.0.port())
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// One other server and where it meets its peers, written `name=host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The server's name, such as `server-2`.
    pub name: String,
    /// Its peer address.
    pub address: Address,
}

impl FromStr for Peer {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (name, address) =
            text.split_once('=').ok_or_else(|| AddressError::NoPeerName { text: text.to_owned() })?;
        let name = name.trim();
        if name.is_empty() {
            return Err(AddressError::NoPeerName { text: text.to_owned() });
        }
        Ok(Self { name: name.to_owned(), address: address.trim().parse()? })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.address)
    }
}

/// Host (without brackets) and port of `tcp://host:port` or `host:port`.
fn split(text: &str) -> Result<(&str, u16), AddressError> {
    let trimmed = text.trim();
    let rest = match trimmed.split_once("://") {
        Some((transport, rest)) if transport.eq_ignore_ascii_case("tcp") => rest,
        Some(_) => return Err(AddressError::Transport { text: text.to_owned() }),
        None => trimmed,
    };
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| AddressError::NoPort { text: text.to_owned() })?;
    if port.is_empty() {
        return Err(AddressError::NoPort { text: text.to_owned() });
    }
    let port = match port.parse::<u16>() {
        // `+80` would parse, too.
        Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => number,
        _ => return Err(AddressError::BadPort { text: text.to_owned(), port: port.to_owned() }),
    };
    let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    Ok((host, port))
}

fn check_host(host: &str, text: &str) -> Result<(), AddressError> {
    let is_name = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if is_name || host.parse::<Ipv6Addr>().is_ok() {
        Ok(())
    } else {
        Err(AddressError::BadHost { text: text.to_owned(), host: host.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a04_an_address_is_read_with_and_without_transport() {
        for text in ["tcp://broker:5555", "broker:5555", " TCP://broker:5555 "] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), ("broker", 5555));
            assert_eq!(address.to_string(), "broker:5555");
        }
        assert_eq!("tcp://[::1]:80".parse::<Address>().unwrap().to_string(), "[::1]:80");
    }

    #[test]
    fn a05_a_star_listens_everywhere() {
        for text in ["tcp://*:5555", "*:5555", "0.0.0.0:5555"] {
            let listen: ListenAddress = text.parse().unwrap();
            assert_eq!(listen.socket(), "0.0.0.0:5555".parse().unwrap());
            assert_eq!(listen.local_target().to_string(), "127.0.0.1:5555");
            assert_eq!(listen.to_string(), "*:5555");
        }
        assert!("broker:5555".parse::<ListenAddress>().unwrap_err().to_string().contains("`*` or an IP"));
    }

    #[test]
    fn nobody_can_connect_to_a_star() {
        assert!(matches!("*:5555".parse::<Address>(), Err(AddressError::BadHost { .. })));
    }

    #[test]
    fn a_bad_address_is_named_with_its_remedy() {
        for (text, remedy) in [
            ("ipc:///tmp/x", "tcp://host:port"),
            ("broker", "write host:port"),
            ("broker:", "write host:port"),
            ("broker:0", "1 to 65535"),
            ("broker:70000", "1 to 65535"),
            ("broker:+80", "1 to 65535"),
            (":5555", "DNS name"),
            ("a b:5555", "DNS name"),
            ("1:2:5555", "in brackets"),
        ] {
            let message = text.parse::<Address>().unwrap_err().to_string();
            assert!(message.contains(text) && message.contains(remedy), "{message}");
        }
    }

    #[test]
    fn a_peer_has_a_name_and_an_address() {
        let peer: Peer = "server-2=127.0.0.1:5702".parse().unwrap();
        assert_eq!(peer.to_string(), "server-2=127.0.0.1:5702");
        assert!("127.0.0.1:5702".parse::<Peer>().unwrap_err().to_string().contains("name=host:port"));
    }
}
