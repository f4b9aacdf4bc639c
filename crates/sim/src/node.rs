//! Who takes part, and what happens to them.

use bytes::Bytes;
use std::fmt;

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Holds a replica and a volume.
    Server,
    /// Holds a dispatch.
    Broker,
    /// Holds a routing.
    Proxy,
    /// Asks.
    Client,
    /// Listens.
    Subscriber,
    /// Holds a registry.
    Reference,
}

/// One process, over all its restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// What it is.
    pub role: Role,
    /// Which, from 0.
    pub number: usize,
}

impl Node {
    /// A server.
    #[must_use]
    pub fn server(number: usize) -> Self {
        Self { role: Role::Server, number }
    }

    /// A broker.
    #[must_use]
    pub fn broker(number: usize) -> Self {
        Self { role: Role::Broker, number }
    }

    /// A proxy.
    #[must_use]
    pub fn proxy(number: usize) -> Self {
        Self { role: Role::Proxy, number }
    }

    /// A client.
    #[must_use]
    pub fn client(number: usize) -> Self {
        Self { role: Role::Client, number }
    }

    /// A subscriber.
    #[must_use]
    pub fn subscriber(number: usize) -> Self {
        Self { role: Role::Subscriber, number }
    }

    /// The reference service.
    #[must_use]
    pub fn reference() -> Self {
        Self { role: Role::Reference, number: 0 }
    }

    /// As a number, for streams of chance and for traces.
    #[must_use]
    pub fn index(self) -> u64 {
        let role = match self.role {
            Role::Server => 1,
            Role::Broker => 2,
            Role::Proxy => 3,
            Role::Client => 4,
            Role::Subscriber => 5,
            Role::Reference => 6,
        };
        role * 1000 + self.number as u64
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Server => "server",
            Role::Broker => "broker",
            Role::Proxy => "proxy",
            Role::Client => "client",
            Role::Subscriber => "subscriber",
            Role::Reference => return f.write_str("ref"),
        };
        write!(f, "{role}-{}", self.number + 1)
    }
}

/// One connection; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Who opened it.
    Dialer,
    /// Who was called.
    Listener,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }
}

/// What a process has set itself to be woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// The mind asked for it.
    Tick,
    /// A worker's beat.
    Beat,
    /// A client thinks of something to ask.
    Think,
    /// A client has waited long enough for the answer to its request of this number.
    Patience(u64),
    /// New settings have come.
    Settings,
    /// The disk is done with the batch of this number.
    Disk(u64),
}

/// What happens to a process.
#[derive(Debug, Clone)]
pub enum Happening {
    /// A connection is up.
    Opened {
        /// Which.
        connection: ConnectionId,
        /// Who is at the other end.
        peer: Node,
        /// Which end is here.
        side: Side,
    },
    /// A message came.
    Frames {
        /// On which connection.
        connection: ConnectionId,
        /// The message.
        frames: Vec<Bytes>,
    },
    /// A connection is gone, or was never completed.
    Closed {
        /// Which.
        connection: ConnectionId,
        /// Who was at the other end.
        peer: Node,
    },
    /// Nobody answers at this address now.
    Unreachable {
        /// Whose.
        target: Node,
    },
    /// An alarm rings.
    Alarm(Alarm),
}
