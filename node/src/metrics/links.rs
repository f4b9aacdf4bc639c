//! Metrics of connections, the same for every endpoint of every role: how many there are, and why others failed or ended.

use super::Result;
use papo_zmtp::{DownCause, Event};
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Everything that [`cause_label`] can say.
const CAUSES: [&str; 7] =
    ["peer_closed", "closed_here", "io", "protocol", "limit", "handshake_timeout", "heartbeat_timeout"];

/// The cause as a label: one of a fixed few, without what a peer can choose.
#[must_use]
pub fn cause_label(cause: &DownCause) -> &'static str {
    match cause {
        DownCause::PeerClosed => "peer_closed",
        DownCause::ClosedHere => "closed_here",
        DownCause::Io(_) => "io",
        DownCause::Protocol(_) => "protocol",
        DownCause::Limit(_) => "limit",
        DownCause::HandshakeTimeout => "handshake_timeout",
        DownCause::HeartbeatTimeout => "heartbeat_timeout",
    }
}

/// Of all endpoints of a role.
pub struct EndpointsMetrics {
    connections: IntGaugeVec,
    failed: IntCounterVec,
    ended: IntCounterVec,
}

impl EndpointsMetrics {
    /// Names them.
    pub fn register(registry: &Registry) -> Result<Self> {
        let connections = IntGaugeVec::new(
            Opts::new("papo_connections", "Connections that are up, by endpoint"),
            &["endpoint"],
        )?;
        registry.register(Box::new(connections.clone()))?;
        let causes = |name: &str, help: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &["endpoint", "cause"])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        Ok(Self {
            connections,
            failed: causes(
                "papo_connections_failed_total",
                "Connections that never came up, by endpoint and cause",
            )?,
            ended: causes("papo_connections_ended_total", "Connections that ended, by endpoint and cause")?,
        })
    }

    /// Of one endpoint. Every cause stands at 0 from the start, so that the first one is seen as a rise.
    #[must_use]
    pub fn endpoint(&self, name: &'static str) -> EndpointMetrics {
        for cause in CAUSES {
            for counters in [&self.failed, &self.ended] {
                counters.with_label_values(&[name, cause]);
            }
        }
        EndpointMetrics {
            connections: self.connections.with_label_values(&[name]),
            failed: self.failed.clone(),
            ended: self.ended.clone(),
            name,
        }
    }
}

/// Of one endpoint.
pub struct EndpointMetrics {
    connections: prometheus::IntGauge,
    failed: IntCounterVec,
    ended: IntCounterVec,
    name: &'static str,
}

impl EndpointMetrics {
    /// Counts what the endpoint tells.
    pub fn observe(&self, event: &Event) {
        match event {
            Event::Up { .. } => self.connections.inc(),
            Event::Down { cause, .. } => {
                self.connections.dec();
                self.ended.with_label_values(&[self.name, cause_label(cause)]).inc();
            }
            Event::Failed { cause, .. } => {
                self.failed.with_label_values(&[self.name, cause_label(cause)]).inc();
            }
            Event::Message { .. } | Event::Subscribe { .. } | Event::Cancel { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use papo_zmtp::PeerId;
    use prometheus::TextEncoder;

    #[test]
    fn every_cause_has_a_label_that_stands_at_0_from_the_start() {
        let of_all = [
            DownCause::PeerClosed,
            DownCause::ClosedHere,
            DownCause::Io("reset by 192.0.2.7".to_owned()),
            DownCause::Protocol("bad signature".to_owned()),
            DownCause::Limit("message size".to_owned()),
            DownCause::HandshakeTimeout,
            DownCause::HeartbeatTimeout,
        ];
        assert_eq!(of_all.each_ref().map(cause_label), CAUSES);
        let registry = Registry::new();
        let _clients = EndpointsMetrics::register(&registry).unwrap().endpoint("clients");
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert_eq!(text.lines().filter(|line| line.ends_with(" 0")).count(), 1 + 2 * CAUSES.len(), "{text}");
    }

    #[test]
    fn connections_are_counted_up_down_and_by_cause() {
        let registry = Registry::new();
        let clients = EndpointsMetrics::register(&registry).unwrap().endpoint("clients");
        clients.connections.set(3);
        clients.observe(&Event::Down { peer: PeerId(1), cause: DownCause::PeerClosed });
        clients.observe(&Event::Failed { link: None, cause: DownCause::HandshakeTimeout });
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in [
            "papo_connections{endpoint=\"clients\"} 2",
            "papo_connections_ended_total{cause=\"peer_closed\",endpoint=\"clients\"} 1",
            "papo_connections_failed_total{cause=\"handshake_timeout\",endpoint=\"clients\"} 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in:\n{text}");
        }
    }
}
