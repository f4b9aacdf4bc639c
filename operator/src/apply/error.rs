//! Why a request to the API server came to nothing, and what that means.

use super::REQUEST_TIMEOUT;
use crate::plan::Taken;

/// HTTP statuses of the API server that mean something here.
pub(super) const NOT_FOUND: u16 = 404;
pub(super) const CONFLICT: u16 = 409;

/// Cause of a refusal to make anything in a namespace that is being deleted.
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

/// Why an object is not as it shall be.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused it, or could not be reached.
    #[error("cannot {verb} {kind} {name}: {}", message(.source))]
    Request {
        /// What was tried.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// No answer.
    #[error("cannot {verb} {kind} {name}: the API server did not answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout {
        /// What was tried.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
    },
    /// Somebody else's object has the name.
    #[error("{0}")]
    Taken(Taken),
    /// Kubernetes does not know the kind.
    #[error(
        "cannot apply {kind}: when the operator started, this Kubernetes did not know the kind; install what brings it, then restart the operator"
    )]
    UnknownKind {
        /// The kind.
        kind: String,
    },
    /// The cluster's Secret is there, and the watches have not heard of it: the pods' template would name a wrong token.
    #[error("the watches are behind: Secret {name} is there already")]
    Behind {
        /// The Secret.
        name: String,
    },
}

impl ApplyError {
    /// The HTTP status that the API server refused with.
    pub(super) fn status(&self) -> Option<u16> {
        match self.cause()? {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        }
    }

    /// What it was about is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.status() == Some(NOT_FOUND)
    }

    /// Nothing can be made there any more, now or later.
    #[must_use]
    pub fn says_namespace_is_going(&self) -> bool {
        self.cause().is_some_and(says_namespace_is_going)
    }

    fn cause(&self) -> Option<&kube::Error> {
        match self {
            Self::Request { source, .. } => Some(source),
            Self::Timeout { .. } | Self::Taken(_) | Self::UnknownKind { .. } | Self::Behind { .. } => None,
        }
    }
}

/// Whether something was refused because its namespace is being deleted, which nothing undoes.
#[must_use]
pub fn says_namespace_is_going(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == NAMESPACE_TERMINATING)
}

/// What the API server says, without the debug output of its answer.
fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn refused(answer: Value) -> ApplyError {
        let source = Box::new(kube::Error::Api(serde_json::from_value(answer).unwrap()));
        ApplyError::Request { verb: "apply", kind: "ConfigMap".to_owned(), name: "x".to_owned(), source }
    }

    #[test]
    fn a_namespace_that_is_being_deleted_is_told_from_a_right_that_is_missing() {
        // As Kubernetes 1.36 answers.
        let going = refused(json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "configmaps \"x\" is forbidden: unable to create new content in namespace a because it is being terminated",
            "reason": "Forbidden",
            "details": { "name": "x", "kind": "configmaps", "causes": [
                { "reason": "NamespaceTerminating", "message": "namespace a is being terminated", "field": "metadata.namespace" },
            ] },
            "code": 403,
        }));
        assert!(going.says_namespace_is_going() && !going.is_gone());
        let not_allowed = refused(json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "configmaps is forbidden: User \"u\" cannot create resource \"configmaps\" in API group \"\" in the namespace \"a\"",
            "reason": "Forbidden", "details": { "kind": "configmaps" }, "code": 403,
        }));
        assert!(!not_allowed.says_namespace_is_going());
    }
}
