//! The envelope that REQ and DEALER peers put before a body: address frames up to and including an empty one.

use bytes::Bytes;

/// Splits a message to a REP endpoint into its envelope, to be sent back before the reply, and its body. A single frame without an
/// envelope is a body. `None` for anything else.
#[must_use]
pub fn split_envelope(mut frames: Vec<Bytes>) -> Option<(Vec<Bytes>, Bytes)> {
    let envelope = frames.iter().position(Bytes::is_empty).map_or(0, |delimiter| delimiter + 1);
    let body = frames.pop()?;
    (frames.len() == envelope).then_some((frames, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(parts: &[&'static str]) -> Vec<Bytes> {
        parts.iter().map(|part| Bytes::from_static(part.as_bytes())).collect()
    }

    #[test]
    fn the_envelope_ends_with_the_first_empty_frame() {
        assert_eq!(split_envelope(frames(&["", "b"])), Some((frames(&[""]), "b".into())));
        assert_eq!(split_envelope(frames(&["k", "", "b"])), Some((frames(&["k", ""]), "b".into())));
        assert_eq!(split_envelope(frames(&["b"])), Some((vec![], "b".into())));
        assert_eq!(split_envelope(frames(&["", "b", "c"])), None);
        assert_eq!(split_envelope(frames(&["a", "b"])), None);
        assert_eq!(split_envelope(vec![]), None);
    }

    #[test]
    fn an_empty_body_is_a_body() {
        assert_eq!(split_envelope(frames(&["", ""])), Some((frames(&[""]), "".into())));
    }
}
