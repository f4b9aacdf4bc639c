//! Quantities as the API server writes them back. Otherwise `1024Mi` would look changed for ever.

use papo_settings::validate::{cpu_millis, storage_bytes};

/// A size in the largest unit of its kind.
pub(super) fn canonical_size(size: &str) -> String {
    const BINARY: [(&str, u64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    const DECIMAL: [(&str, u64); 4] =
        [("T", 1_000_000_000_000), ("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)];
    let Some(bytes) = storage_bytes(size) else { return size.to_owned() };
    let units = if size.ends_with('i') { BINARY } else { DECIMAL };
    let unit = units.into_iter().find(|(_, factor)| bytes.is_multiple_of(*factor));
    unit.map_or_else(|| bytes.to_string(), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

/// Processors: whole ones, or thousandths.
pub(super) fn canonical_cpu(amount: &str) -> String {
    const WHOLE: u64 = 1_000;
    match cpu_millis(amount) {
        Some(millis) if millis.is_multiple_of(WHOLE) => canonical_size(&(millis / WHOLE).to_string()),
        Some(millis) => format!("{millis}m"),
        None => amount.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{canonical_cpu, canonical_size};

    #[test]
    fn sizes_are_written_as_the_api_server_writes_them() {
        for (written, canonical) in [
            ("1Gi", "1Gi"),
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("1000M", "1G"),
            ("1073741824", "1073741824"),
            ("32000000", "32M"),
            ("016Mi", "16Mi"),
        ] {
            assert_eq!(canonical_size(written), canonical);
        }
    }

    #[test]
    fn processors_are_written_as_the_api_server_writes_them() {
        for (written, canonical) in
            [("2", "2"), ("500m", "500m"), ("2000m", "2"), ("1500m", "1500m"), ("1000", "1k")]
        {
            assert_eq!(canonical_cpu(written), canonical);
        }
    }
}
