//! What a spec says of Kubernetes, and gets wrong. Selectors and tolerations are left to the API server, which says what is wrong with
//! them when the operator applies the pods.

use super::{Problems, cpu_millis, shortened, storage_bytes};
use crate::{
    bounds,
    kubernetes::{Amounts, ExposeSpec, NetworkPeer, PodMetadataSpec, RoleResources, ServiceKind},
    spec::ChatClusterSpec,
};
use std::collections::BTreeMap;

/// Beginning of the keys of labels and annotations that are the operator's.
const OPERATORS_KEYS: &str = "papo.dev/";
/// As [`OPERATORS_KEYS`], for labels.
const RECOMMENDED_KEYS: &str = "app.kubernetes.io/";

pub(super) fn check(spec: &ChatClusterSpec, problems: &mut Problems) {
    let resources = &spec.resources;
    for (role, of_role) in [
        ("server", &resources.server),
        ("broker", &resources.broker),
        ("proxy", &resources.proxy),
        ("ref", &resources.reference),
        ("bot", &resources.bot),
    ] {
        check_resources(&format!("spec.resources.{role}"), of_role, problems);
    }
    check_pod_metadata(&spec.pod_metadata, problems);
    check_expose(&spec.expose, problems);
    check_peers("spec.networkPolicy.foreign", &spec.network_policy.foreign, problems);
    check_peers("spec.networkPolicy.metrics", &spec.network_policy.metrics, problems);
}

fn check_resources(field: &str, resources: &RoleResources, problems: &mut Problems) {
    let RoleResources { requests, limits } = resources;
    for (kind, amounts) in [("requests", requests), ("limits", limits)] {
        let Amounts { cpu, memory } = amounts;
        if let Some(cpu) = cpu
            && cpu_millis(cpu).is_none()
        {
            let remedy = "give whole processors such as \"2\", or thousandths such as 500m";
            problems.add(&format!("{field}.{kind}.cpu"), format!("`{}`", shortened(cpu)), remedy);
        }
        if let Some(memory) = memory
            && storage_bytes(memory).is_none_or(|bytes| bytes < bounds::MEMORY_BYTES_MIN)
        {
            let remedy = "give a whole number of at least 1Mi, for example 256Mi";
            problems.add(&format!("{field}.{kind}.memory"), format!("`{}`", shortened(memory)), remedy);
        }
    }
    for (resource, of, requested, limit) in [
        ("cpu", cpu_millis as fn(&str) -> Option<u64>, &requests.cpu, &limits.cpu),
        ("memory", storage_bytes, &requests.memory, &limits.memory),
    ] {
        if let (Some(requested), Some(limit)) = (requested, limit)
            && let (Some(least), Some(most)) = (of(requested), of(limit))
            && most < least
        {
            let remedy = format!("give at least the request, {requested}");
            problems.add(&format!("{field}.limits.{resource}"), format!("`{limit}`"), remedy);
        }
    }
}

fn check_pod_metadata(metadata: &PodMetadataSpec, problems: &mut Problems) {
    let PodMetadataSpec { labels, annotations } = metadata;
    check_keys("spec.podMetadata.labels", labels, &[OPERATORS_KEYS, RECOMMENDED_KEYS], problems);
    check_keys("spec.podMetadata.annotations", annotations, &[OPERATORS_KEYS], problems);
    for (key, value) in labels {
        if !is_label_value(value) {
            let remedy =
                "give at most 63 letters, digits, `-`, `_` or `.`, the first and last a letter or digit";
            problems.add(
                &format!("spec.podMetadata.labels[{}]", shortened(key)),
                format!("`{}`", shortened(value)),
                remedy,
            );
        }
    }
}

fn check_keys(field: &str, map: &BTreeMap<String, String>, reserved: &[&str], problems: &mut Problems) {
    if map.len() > bounds::POD_METADATA_MAX {
        let remedy = format!("give at most {}", bounds::POD_METADATA_MAX);
        problems.add(field, format!("a map of {}", map.len()), remedy);
    }
    for key in map.keys() {
        let shown = format!("`{}`", shortened(key));
        if reserved.iter().any(|reserved| key.starts_with(reserved)) {
            problems.add(field, shown, "leave it out: keys of that beginning are the operator's own");
        } else if !is_key(key) {
            let remedy = "give a name such as team or example.org/team, at most 63 letters, digits, `-`, `_` or `.` after the slash";
            problems.add(field, shown, remedy);
        }
    }
}

/// Whether this may be the key of a label or annotation.
fn is_key(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let domain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    prefix.is_none_or(|prefix| {
        !prefix.is_empty() && prefix.len() <= bounds::OBJECT_NAME_BYTES_MAX && prefix.bytes().all(domain)
    }) && !name.is_empty()
        && is_label_value(name)
}

/// Whether this may be the value of a label.
fn is_label_value(value: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let end = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    value.len() <= bounds::DNS_LABEL_BYTES_MAX
        && value.bytes().all(inner)
        && end(value.bytes().next())
        && end(value.bytes().last())
}

fn check_expose(expose: &ExposeSpec, problems: &mut Problems) {
    let ExposeSpec { kind, annotations, source_ranges } = expose;
    check_keys("spec.expose.annotations", annotations, &[OPERATORS_KEYS], problems);
    if *kind == ServiceKind::ClusterIP && !annotations.is_empty() {
        let remedy = "set spec.expose.type to NodePort or LoadBalancer, or leave them out: there is no Service to bear them";
        problems.add("spec.expose.annotations", format!("a map of {}", annotations.len()), remedy);
    }
    if *kind != ServiceKind::LoadBalancer && !source_ranges.is_empty() {
        let remedy = "set spec.expose.type to LoadBalancer, or leave them out: nothing else obeys them";
        problems.add("spec.expose.sourceRanges", format!("a list of {}", source_ranges.len()), remedy);
    }
    for range in source_ranges {
        if !is_cidr(range) {
            let remedy = "give addresses such as 192.0.2.0/24";
            problems.add("spec.expose.sourceRanges", format!("`{}`", shortened(range)), remedy);
        }
    }
}

fn check_peers(field: &str, peers: &[NetworkPeer], problems: &mut Problems) {
    for (place, peer) in peers.iter().enumerate() {
        let field = format!("{field}[{place}]");
        let NetworkPeer { pod_selector, namespace_selector, ip_block } = peer;
        let selects = pod_selector.is_some() || namespace_selector.is_some();
        if selects == ip_block.is_some() {
            let value = if selects { "selectors and ipBlock" } else { "nothing" };
            problems.add(&field, value, "give podSelector, namespaceSelector or both; or else ipBlock");
        }
        if let Some(block) = ip_block
            && !is_cidr(&block.cidr)
        {
            let remedy = "give addresses such as 192.0.2.0/24";
            problems.add(&format!("{field}.ipBlock.cidr"), format!("`{}`", shortened(&block.cidr)), remedy);
        }
    }
}

/// Whether this is an address and the length of its prefix.
fn is_cidr(range: &str) -> bool {
    range.split_once('/').is_some_and(|(address, bits)| {
        let bits_max = match address.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(_)) => 32,
            Ok(std::net::IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= bits_max)
    })
}

#[cfg(test)]
mod tests {
    use super::{cpu_millis, is_cidr, is_key, is_label_value};

    #[test]
    fn processors_are_whole_or_thousandths() {
        for (amount, millis) in [("2", 2_000), ("500m", 500), ("1500m", 1_500)] {
            assert_eq!(cpu_millis(amount), Some(millis), "{amount}");
        }
        for bad in ["", "m", "0", "0.5", "-1", "+1", "2Gi", "1234567"] {
            assert_eq!(cpu_millis(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_values_and_ranges_are_those_of_kubernetes() {
        assert!(["team", "example.org/team", "a.b_c-1"].into_iter().all(is_key));
        assert!(!["", "/team", "example.org/", "-team", "Example.org/team", "a b"].into_iter().any(is_key));
        assert!(["", "chat", "v1.2_x"].into_iter().all(is_label_value));
        assert!(!["chat ", "-chat", "chä"].into_iter().any(is_label_value));
        assert!(["10.0.0.0/8", "2001:db8::/32"].into_iter().all(is_cidr));
        assert!(!["10.0.0.0", "10.0.0.0/33", "chat/8", "10.0.0.0/-1"].into_iter().any(is_cidr));
    }
}
