//! The crate against itself, against hostile raw peers, and against the `zeromq` crate, over loopback.
//!
//! One binary, so that the helpers are built once. A test that waits for something waits without bound of its own: [`support::within`]
//! fails it after a time that only a hang reaches.

#[cfg(test)]
mod codec;
#[cfg(test)]
mod heartbeats;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod interop;
#[cfg(test)]
mod links;
#[cfg(test)]
mod support;
