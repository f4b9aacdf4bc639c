//! The Secret with the cluster token, by which nodes of one cluster know each other. Made once; afterwards what is there stays.

use super::{hash, metadata};
use crate::{names, validate::ValidatedCluster};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use std::fmt;

/// The Secret's key, and so the file's name in the pods.
pub const TOKEN_KEY: &str = "token";
/// Random bytes of a token: nobody guesses 256 bits.
const TOKEN_BYTES: usize = 32;

/// The cluster token, as it is or as it shall be.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Vec<u8>);

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()))
    }

    /// The one that a Secret holds.
    #[must_use]
    pub fn of(secret: &Secret) -> Option<Self> {
        let ByteString(token) = secret.data.as_ref()?.get(TOKEN_KEY)?;
        (!token.is_empty()).then(|| Self(token.clone()))
    }

    pub(super) fn hash(&self) -> String {
        hash(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

pub(super) fn build(cluster: &ValidatedCluster, token: &Token) -> Secret {
    Secret {
        metadata: metadata(cluster, names::token(&cluster.name), None),
        data: Some([(TOKEN_KEY.to_owned(), ByteString(token.0.clone()))].into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_64_hexadecimal_digits_and_never_printed() {
        let token = Token::random().unwrap();
        assert_eq!(token.0.len(), 64);
        assert!(token.0.iter().all(u8::is_ascii_hexdigit));
        assert_ne!(token, Token::random().unwrap());
        assert_eq!(format!("{token:?}"), "Token(secret)");
    }

    #[test]
    fn an_empty_token_is_none() {
        let secret = |token: &[u8]| Secret {
            data: Some([(TOKEN_KEY.to_owned(), ByteString(token.to_vec()))].into()),
            ..Secret::default()
        };
        assert!(Token::of(&secret(b"")).is_none());
        assert!(Token::of(&Secret::default()).is_none());
        assert_eq!(Token::of(&secret(b"ab")), Some(Token(b"ab".to_vec())));
    }
}
