//! Finds what a manifest of the right form still gets wrong: values out of bounds, and values that do not fit each other.
//!
//! The bounds are in [`crate::bounds`]. The operator puts the same lines into a ChatCluster's status.

use crate::{
    bounds::{self, Bounds},
    cluster::ChatCluster,
    limits::LimitsSpec,
    spec::{BotsSpec, BrokerSpec, ChatClusterSpec, ImageSpec, RefSpec},
};
use std::fmt::Display;

mod kubernetes;

/// One thing to change, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {value} does not work; {remedy}")]
pub struct Problem {
    /// Path of the field, such as `spec.replicas`.
    pub field: String,
    /// Its value.
    pub value: String,
    /// What to write instead, and why.
    pub remedy: String,
}

/// Checks a manifest.
///
/// # Errors
/// Every [`Problem`] found, in the order of the fields.
pub fn validate(cluster: &ChatCluster) -> Result<(), Vec<Problem>> {
    let mut problems = Problems(Vec::new());
    let metadata = &cluster.metadata;
    problems.dns_label("metadata.name", &metadata.name, bounds::CLUSTER_NAME_BYTES_MAX);
    if let Some(namespace) = &metadata.namespace {
        problems.dns_label("metadata.namespace", namespace, bounds::DNS_LABEL_BYTES_MAX);
    }
    check_spec(&cluster.spec, &mut problems);
    if problems.0.is_empty() { Ok(()) } else { Err(problems.0) }
}

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: &str, value: impl Display, remedy: impl Into<String>) {
        self.0.push(Problem { field: field.to_owned(), value: value.to_string(), remedy: remedy.into() });
    }

    fn within(&mut self, field: &str, value: u32, bounds: Bounds) {
        if !bounds.contains(value) {
            self.add(field, value, format!("give a number from {} to {}", bounds.min, bounds.max));
        }
    }

    fn dns_label(&mut self, field: &str, value: &str, bytes_max: usize) {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let good = !value.is_empty()
            && value.len() <= bytes_max
            && value.bytes().all(inner)
            && value.starts_with(|c: char| c.is_ascii_lowercase())
            && !value.ends_with('-');
        if !good {
            let remedy = format!(
                "give 1 to {bytes_max} small letters, digits or `-`, beginning with a letter and not ending with `-`"
            );
            self.add(field, format!("`{}`", shortened(value)), remedy);
        }
    }
}

fn check_spec(spec: &ChatClusterSpec, problems: &mut Problems) {
    problems.within("spec.replicas", spec.replicas, bounds::SERVER_REPLICAS);
    if let Some(id) = &spec.cluster_id {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
        if id.is_empty() || id.len() > bounds::CLUSTER_ID_BYTES_MAX || !id.bytes().all(allowed) {
            let remedy = format!(
                "give 1 to {} letters, digits, `-`, `_`, `.` or `/`, or leave it out",
                bounds::CLUSTER_ID_BYTES_MAX
            );
            problems.add("spec.clusterId", format!("`{}`", shortened(id)), remedy);
        }
    }
    if let Some(image) = &spec.image {
        check_image(image, problems);
    }
    check_storage_size(&spec.storage.size, problems);
    if let Some(class) = &spec.storage.class
        && class.is_empty()
    {
        problems.add("spec.storage.class", "``", "name a storage class, or leave it out for the default one");
    }
    problems.within(
        "spec.election.handOverSeconds",
        spec.election.hand_over_seconds,
        bounds::HAND_OVER_SECONDS,
    );
    let clock_sync = &spec.clock_sync;
    problems.within("spec.clockSync.everyMessages", clock_sync.every_messages, bounds::CLOCK_SYNC_MESSAGES);
    problems.within("spec.clockSync.everySeconds", clock_sync.every_seconds, bounds::CLOCK_SYNC_SECONDS);
    check_ref(&spec.reference, problems);
    check_broker(&spec.broker, problems);
    problems.within("spec.proxy.replicas", spec.proxy.replicas, bounds::EXCHANGE_REPLICAS);
    check_bots(&spec.bots, problems);
    check_limits(&spec.limits, problems);
    kubernetes::check(spec, problems);
}

fn check_image(image: &ImageSpec, problems: &mut Problems) {
    let parts = [("spec.image.repository", &image.repository), ("spec.image.tag", &image.tag)];
    for (field, part) in parts {
        if let Some(text) = part
            && (text.is_empty() || text.chars().any(char::is_whitespace))
        {
            problems.add(
                field,
                format!("`{}`", shortened(text)),
                "give it without white space, or leave it out",
            );
        }
    }
}

fn check_storage_size(size: &str, problems: &mut Problems) {
    match storage_bytes(size) {
        Some(bytes) if bytes >= bounds::STORAGE_BYTES_MIN => {}
        Some(_) => problems.add("spec.storage.size", format!("`{size}`"), "give at least 16Mi"),
        None => {
            let remedy = "give a whole number with Ki, Mi, Gi, Ti, k, M, G or T, for example 1Gi";
            problems.add("spec.storage.size", format!("`{}`", shortened(size)), remedy);
        }
    }
}

/// Thousandths of a processor, of an amount such as `2` or `500m`; none when it is not one.
#[must_use]
pub fn cpu_millis(amount: &str) -> Option<u64> {
    const WHOLE: u64 = 1_000;
    const DIGITS_MAX: usize = 6;
    let (number, factor) = amount.strip_suffix('m').map_or((amount, WHOLE), |number| (number, 1));
    let good = number.len() <= DIGITS_MAX && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u64>().ok().filter(|number| good && *number > 0).map(|number| number * factor)
}

/// Bytes of a size such as `1Gi`; none when it is not one.
#[must_use]
pub fn storage_bytes(size: &str) -> Option<u64> {
    let digits = size.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = size.split_at_checked(digits)?;
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn check_ref(reference: &RefSpec, problems: &mut Problems) {
    problems.within("spec.ref.heartbeatSeconds", reference.heartbeat_seconds, bounds::HEARTBEAT_SECONDS);
    problems.within("spec.ref.expirySeconds", reference.expiry_seconds, bounds::EXPIRY_SECONDS);
    let least = reference.heartbeat_seconds.saturating_mul(bounds::HEARTBEATS_IN_EXPIRY);
    if reference.expiry_seconds < least && bounds::EXPIRY_SECONDS.contains(reference.expiry_seconds) {
        let remedy =
            format!("give at least {least}, two heartbeats, so that one lost heartbeat expires nobody");
        problems.add("spec.ref.expirySeconds", reference.expiry_seconds, remedy);
    }
}

fn check_broker(broker: &BrokerSpec, problems: &mut Problems) {
    problems.within("spec.broker.replicas", broker.replicas, bounds::EXCHANGE_REPLICAS);
    let server_deadline = broker.server_deadline_seconds;
    problems.within("spec.broker.serverDeadlineSeconds", server_deadline, bounds::SERVER_DEADLINE_SECONDS);
    problems.within("spec.broker.deadlineSeconds", broker.deadline_seconds, bounds::DEADLINE_SECONDS);
    let least = server_deadline.saturating_mul(bounds::ATTEMPTS_IN_DEADLINE);
    if broker.deadline_seconds < least && bounds::DEADLINE_SECONDS.contains(broker.deadline_seconds) {
        let remedy = format!(
            "give at least {least}, {} x serverDeadlineSeconds, so that two failovers fit",
            bounds::ATTEMPTS_IN_DEADLINE
        );
        problems.add("spec.broker.deadlineSeconds", broker.deadline_seconds, remedy);
    }
    let foreign = broker.foreign_worker_requests;
    problems.within("spec.broker.foreignWorkerRequests", foreign, bounds::FOREIGN_WORKER_REQUESTS);
    problems.within("spec.broker.waitingRequests", broker.waiting_requests, bounds::WAITING_REQUESTS);
}

fn check_bots(bots: &BotsSpec, problems: &mut Problems) {
    problems.within("spec.bots.replicas", bots.replicas, bounds::BOT_REPLICAS);
    let channels = u32::try_from(bots.channels.len()).unwrap_or(u32::MAX);
    if !bounds::BOT_CHANNELS.contains(channels) {
        let remedy = format!("name {} to {} channels", bounds::BOT_CHANNELS.min, bounds::BOT_CHANNELS.max);
        problems.add("spec.bots.channels", format!("a list of {channels}"), remedy);
    }
    for (place, channel) in bots.channels.iter().enumerate() {
        if channel.trim().is_empty() || channel.chars().any(char::is_control) {
            let field = format!("spec.bots.channels[{place}]");
            problems.add(&field, format!("{:?}", shortened(channel)), "give a name of printable characters");
        }
    }
    problems.within("spec.bots.messages", bots.messages, bounds::BOT_MESSAGES);
    let interval = bots.message_milliseconds;
    problems.within("spec.bots.messageMilliseconds", interval, bounds::BOT_MESSAGE_MILLISECONDS);
    problems.within("spec.bots.pauseSeconds.min", bots.pause_seconds.min, bounds::BOT_PAUSE_SECONDS);
    problems.within("spec.bots.pauseSeconds.max", bots.pause_seconds.max, bounds::BOT_PAUSE_SECONDS);
    if bots.pause_seconds.max < bots.pause_seconds.min {
        let remedy = format!("give at least pauseSeconds.min, {}", bots.pause_seconds.min);
        problems.add("spec.bots.pauseSeconds.max", bots.pause_seconds.max, remedy);
    }
}

fn check_limits(limits: &LimitsSpec, problems: &mut Problems) {
    for (field, value, bounds) in [
        ("requestBytes", limits.request_bytes, bounds::REQUEST_BYTES),
        ("parts", limits.parts, bounds::PARTS),
        ("handshakeSeconds", limits.handshake_seconds, bounds::HANDSHAKE_SECONDS),
        ("connections", limits.connections, bounds::CONNECTIONS),
        ("connectionsPerAddress", limits.connections_per_address, bounds::CONNECTIONS),
        ("subscriptions", limits.subscriptions, bounds::SUBSCRIPTIONS),
        ("queueMessages", limits.queue_messages, bounds::QUEUE_MESSAGES),
        ("queueBytes", limits.queue_bytes, bounds::QUEUE_BYTES),
        ("queueBytesTotal", limits.queue_bytes_total, bounds::QUEUE_BYTES_TOTAL),
        ("pingSeconds", limits.ping_seconds, bounds::PING_SECONDS),
        ("pingTimeoutSeconds", limits.ping_timeout_seconds, bounds::PING_TIMEOUT_SECONDS),
    ] {
        problems.within(&format!("spec.limits.{field}"), value, bounds);
    }
    if limits.queue_bytes <= limits.request_bytes && bounds::QUEUE_BYTES.contains(limits.queue_bytes) {
        let remedy =
            format!("give more than requestBytes ({}), so that one message fits", limits.request_bytes);
        problems.add("spec.limits.queueBytes", limits.queue_bytes, remedy);
    }
    let total = limits.queue_bytes_total;
    let least = limits.queue_bytes.saturating_mul(bounds::QUEUES_IN_TOTAL);
    if total < least && bounds::QUEUE_BYTES_TOTAL.contains(total) {
        let remedy = format!(
            "give at least {least}, {} x queueBytes, so that one slow peer leaves room for others",
            bounds::QUEUES_IN_TOTAL
        );
        problems.add("spec.limits.queueBytesTotal", total, remedy);
    }
    let timeout = limits.ping_timeout_seconds;
    let least = limits.ping_seconds.saturating_mul(bounds::PINGS_IN_TIMEOUT);
    if timeout < least && bounds::PING_TIMEOUT_SECONDS.contains(timeout) {
        let remedy = format!(
            "give at least {least}, {} x pingSeconds, so that one late answer ends no connection",
            bounds::PINGS_IN_TIMEOUT
        );
        problems.add("spec.limits.pingTimeoutSeconds", timeout, remedy);
    }
}

/// A value for a one-line message: at most 60 characters, none of them a control character.
fn shortened(value: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let mut short: String = value.chars().take(CHARACTERS_MAX).flat_map(char::escape_debug).collect();
    if value.chars().count() > CHARACTERS_MAX {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_manifest;

    fn problems(name: &str, spec: &str) -> Vec<String> {
        let text = format!(
            "apiVersion: papo.dev/v1alpha1\nkind: ChatCluster\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
        );
        match validate(&read_manifest(&text).unwrap()) {
            Ok(()) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(validate(&ChatCluster::with_defaults("papo")), Ok(()));
    }

    #[test]
    fn each_bad_value_is_one_line_with_field_value_and_remedy() {
        for (spec, field, value, remedy) in [
            ("replicas: 0", "spec.replicas", "0", "from 1 to 9"),
            ("replicas: 10", "spec.replicas", "10", "from 1 to 9"),
            ("clusterId: 'a b'", "spec.clusterId", "a b", "leave it out"),
            ("image: {tag: ''}", "spec.image.tag", "``", "leave it out"),
            ("storage: {size: big}", "spec.storage.size", "`big`", "for example 1Gi"),
            ("storage: {size: '1Ki'}", "spec.storage.size", "`1Ki`", "at least 16Mi"),
            ("election: {handOverSeconds: 0}", "spec.election.handOverSeconds", "0", "from 1"),
            ("clockSync: {everyMessages: 0}", "spec.clockSync.everyMessages", "0", "from 1"),
            ("ref: {expirySeconds: 15}", "spec.ref.expirySeconds", "15", "at least 20"),
            ("broker: {replicas: 0}", "spec.broker.replicas", "0", "from 1 to 9"),
            ("broker: {deadlineSeconds: 8}", "spec.broker.deadlineSeconds", "8", "at least 9"),
            ("broker: {deadlineSeconds: 60}", "spec.broker.deadlineSeconds", "60", "to 45"),
            ("proxy: {replicas: 0}", "spec.proxy.replicas", "0", "from 1"),
            ("bots: {replicas: 101}", "spec.bots.replicas", "101", "to 100"),
            ("bots: {channels: []}", "spec.bots.channels", "list of 0", "name 1 to"),
            ("bots: {channels: [\"a\\nb\"]}", "spec.bots.channels[0]", "a\\\\nb", "printable"),
            ("bots: {pauseSeconds: {min: 9, max: 3}}", "spec.bots.pauseSeconds.max", "3", "at least"),
            ("limits: {requestBytes: 10}", "spec.limits.requestBytes", "10", "from 1024"),
            ("limits: {parts: 8}", "spec.limits.parts", "8", "from 16"),
            ("limits: {handshakeSeconds: 0}", "spec.limits.handshakeSeconds", "0", "from 1"),
            ("limits: {subscriptions: 0}", "spec.limits.subscriptions", "0", "from 16"),
            (
                "limits: {queueBytesTotal: 1000000}",
                "spec.limits.queueBytesTotal",
                "1000000",
                "2 x queueBytes",
            ),
            ("limits: {pingTimeoutSeconds: 9}", "spec.limits.pingTimeoutSeconds", "9", "at least 10"),
            ("limits: {pingSeconds: 0}", "spec.limits.pingSeconds", "0", "from 1"),
            ("limits: {queueBytes: 65536}", "spec.limits.queueBytes", "65536", "more than requestBytes"),
            (
                "resources: {server: {requests: {cpu: '0.5'}}}",
                "spec.resources.server.requests.cpu",
                "0.5",
                "500m",
            ),
            (
                "resources: {ref: {limits: {memory: 64M i}}}",
                "spec.resources.ref.limits.memory",
                "64M i",
                "256Mi",
            ),
            (
                "resources: {broker: {requests: {memory: 1Gi}, limits: {memory: 900Mi}}}",
                "spec.resources.broker.limits.memory",
                "900Mi",
                "at least the request, 1Gi",
            ),
            ("podMetadata: {labels: {papo.dev/x: y}}", "spec.podMetadata.labels", "papo.dev/x", "operator's"),
            ("podMetadata: {labels: {team: a b}}", "spec.podMetadata.labels[team]", "a b", "at most 63"),
            ("podMetadata: {annotations: {a b: c}}", "spec.podMetadata.annotations", "a b", "a name such as"),
            ("expose: {annotations: {a: b}}", "spec.expose.annotations", "map of 1", "spec.expose.type"),
            (
                "expose: {type: NodePort, sourceRanges: [10.0.0.0/8]}",
                "spec.expose.sourceRanges",
                "list of 1",
                "LoadBalancer",
            ),
            ("networkPolicy: {foreign: [{}]}", "spec.networkPolicy.foreign[0]", "nothing", "podSelector"),
            (
                "networkPolicy: {metrics: [{ipBlock: {cidr: 10.0.0.0/40}}]}",
                "spec.networkPolicy.metrics[0].ipBlock.cidr",
                "10.0.0.0/40",
                "192.0.2.0/24",
            ),
        ] {
            let found = problems("papo", spec);
            assert_eq!(found.len(), 1, "{spec}: {found:?}");
            let line = &found[0];
            assert!(line.starts_with(field) && line.contains(value) && line.contains(remedy), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
        }
    }

    #[test]
    fn names_are_dns_labels() {
        let long = "a".repeat(41);
        for name in ["Papo", "-papo", "papo-", "pa_po", "'1papo'", &long] {
            let found = problems(name, "");
            assert!(found.len() == 1 && found[0].starts_with("metadata.name"), "{name}: {found:?}");
        }
        assert!(problems(&"a".repeat(40), "").is_empty());
    }

    #[test]
    fn every_problem_is_told_at_once() {
        assert_eq!(problems("Papo", "replicas: 0, proxy: {replicas: 0}").len(), 3);
    }

    #[test]
    fn storage_sizes_are_those_of_kubernetes() {
        assert_eq!(storage_bytes("1Gi"), Some(1 << 30));
        assert_eq!(storage_bytes("500M"), Some(500_000_000));
        for bad in ["", "Gi", "1 Gi", "-1Gi", "1gi", "99999999999999Ti"] {
            assert_eq!(storage_bytes(bad), None, "{bad}");
        }
    }
}
