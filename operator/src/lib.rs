//! The operator: makes the objects of Kubernetes follow each ChatCluster, and its status follow the objects.
//!
//! One reconcile is a row of steps, a module each: [`observe`] reads what the watches have brought, [`validate`] turns the raw
//! manifest (which [`manifest`] reads) into a [`validate::ValidatedCluster`], [`membership`] takes a step where servers come or go
//! (and [`probe`] asks them), [`build`] says what shall exist, [`plan`] what is to be done about it, [`apply`] does it, [`rollout`]
//! says which pod is replaced next, [`status`] how it stands, and [`events`] what is new about that. All but `apply`, `probe` and
//! the telling of Events are free of I/O;
//! `validate`, `membership`, `build`, `plan`, `pods`, `rollout`, `status` and `events` are pure functions.
//! [`controller`] puts them together. A reconcile that finds nothing to do sends no request.
//!
//! Of several operators, the holder of a [`lease`] works.
//!
//! The operator must not know the node's code, nor what servers say to each other: it knows `papo-settings` and Kubernetes.

pub mod apply;
pub mod backoff;
pub mod build;
pub mod compare;
pub mod controller;
pub mod crd;
pub mod events;
pub mod http;
pub mod lease;
pub mod manifest;
pub mod membership;
pub mod metrics;
pub mod names;
pub mod observe;
pub mod pace;
pub mod plan;
pub mod pods;
pub mod probe;
pub mod resource;
pub mod rollout;
pub mod status;
pub mod validate;
pub mod volumes;
