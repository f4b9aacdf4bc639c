//! Where pods may run: Kubernetes' own fields, in its own words, so that what people know of them holds here.
//!
//! They are written down here and not taken from a crate, so that this crate does not know Kubernetes' API.

use crate::bounds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where the pods of every role may run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SchedulingSpec {
    /// Labels that a node must have.
    #[schemars(extend("maxProperties" = bounds::POD_METADATA_MAX))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that the pods bear.
    #[schemars(length(max = bounds::SCHEDULING_ENTRIES_MAX))]
    pub tolerations: Vec<Toleration>,
    /// Which nodes, and which neighbours, the pods need or prefer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How the pods of one role are spread. Default: over nodes, as evenly as may be (maxSkew 1, ScheduleAnyway over kubernetes.io/hostname);
    /// in a cluster made by an operator that did not know this field, only from the next change of its image on. An empty list spreads nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::SCHEDULING_ENTRIES_MAX))]
    pub topology_spread_constraints: Option<Vec<TopologySpread>>,
    /// The pods' PriorityClass. Default: Kubernetes'.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::OBJECT_NAME_BYTES_MAX))]
    pub priority_class_name: Option<String>,
}

/// A taint of nodes that the pods bear.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Toleration {
    /// The taint's key. Default: every key, with the operator Exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::LABEL_KEY_BYTES_MAX))]
    pub key: Option<String>,
    /// How the taint's value is looked at.
    pub operator: TolerationOperator,
    /// The taint's value, with Equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::DNS_LABEL_BYTES_MAX))]
    pub value: Option<String>,
    /// The taint's effect. Default: every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// Seconds for which a pod stays on a node that got this taint, with NoExecute. Default: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = bounds::TOLERATION_SECONDS.min, max = bounds::TOLERATION_SECONDS.max))]
    pub toleration_seconds: Option<u32>,
}

/// How the value of a taint is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// It must be `value`.
    #[default]
    Equal,
    /// Any value.
    Exists,
}

/// What a taint does to pods that do not bear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// They do not come.
    NoSchedule,
    /// They come only where else there is no room.
    PreferNoSchedule,
    /// They do not come, and go.
    NoExecute,
}

/// How the pods of one role are spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TopologySpread {
    /// By how many pods two domains may differ.
    #[schemars(range(min = bounds::MAX_SKEW.min, max = bounds::MAX_SKEW.max))]
    pub max_skew: u32,
    /// Label of nodes whose values are the domains.
    #[schemars(length(min = 1, max = bounds::LABEL_KEY_BYTES_MAX))]
    pub topology_key: String,
    /// What becomes of a pod that cannot be placed so.
    pub when_unsatisfiable: WhenUnsatisfiable,
}

impl Default for TopologySpread {
    fn default() -> Self {
        Self {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".to_owned(),
            when_unsatisfiable: WhenUnsatisfiable::default(),
        }
    }
}

/// What becomes of a pod that cannot be placed as it should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenUnsatisfiable {
    /// It is placed anyway.
    #[default]
    ScheduleAnyway,
    /// It waits.
    DoNotSchedule,
}

/// Which nodes and neighbours pods need or prefer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Affinity {
    /// Nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_affinity: Option<NodeAffinity>,
    /// Pods to be near to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_affinity: Option<PodAffinity>,
    /// Pods to be away from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_anti_affinity: Option<PodAffinity>,
}

/// Nodes that pods need or prefer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeAffinity {
    /// Needed when a pod is placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_during_scheduling_ignored_during_execution: Option<NodeSelector>,
    /// Preferred when a pod is placed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::SCHEDULING_ENTRIES_MAX))]
    pub preferred_during_scheduling_ignored_during_execution: Vec<PreferredNodes>,
}

/// Nodes of which one term holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeSelector {
    /// The terms.
    #[schemars(length(min = 1, max = bounds::SCHEDULING_ENTRIES_MAX))]
    pub node_selector_terms: Vec<NodeTerm>,
}

/// Nodes of which all of this holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeTerm {
    /// About labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::SCHEDULING_ENTRIES_MAX))]
    pub match_expressions: Vec<NodeRequirement>,
    /// About fields: metadata.name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::SCHEDULING_ENTRIES_MAX))]
    pub match_fields: Vec<NodeRequirement>,
}

/// What must hold of a node's label or field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeRequirement {
    /// The label or field.
    #[schemars(length(min = 1, max = bounds::LABEL_KEY_BYTES_MAX))]
    pub key: String,
    /// How it relates to the values.
    pub operator: NodeOperator,
    /// The values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::SCHEDULING_ENTRIES_MAX))]
    pub values: Vec<String>,
}

/// How a node's label relates to values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeOperator {
    /// It is one of them.
    In,
    /// It is none of them.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
    /// It is a larger number.
    Gt,
    /// It is a smaller number.
    Lt,
}

/// Nodes, and how much they are preferred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PreferredNodes {
    /// How much.
    #[schemars(range(min = bounds::AFFINITY_WEIGHT.min, max = bounds::AFFINITY_WEIGHT.max))]
    pub weight: u32,
    /// Which.
    pub preference: NodeTerm,
}

/// Pods to be near to, or away from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodAffinity {
    /// Needed when a pod is placed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::SCHEDULING_ENTRIES_MAX))]
    pub required_during_scheduling_ignored_during_execution: Vec<PodTerm>,
    /// Preferred when a pod is placed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::SCHEDULING_ENTRIES_MAX))]
    pub preferred_during_scheduling_ignored_during_execution: Vec<PreferredPods>,
}

/// Pods, and what counts as near.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodTerm {
    /// Label of nodes: those with the same value are near.
    #[schemars(length(min = 1, max = bounds::LABEL_KEY_BYTES_MAX))]
    pub topology_key: String,
    /// Which pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// In these namespaces. Default: the ChatCluster's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::SCHEDULING_ENTRIES_MAX))]
    pub namespaces: Vec<String>,
    /// In namespaces with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
}

/// Pods, and how much they are preferred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PreferredPods {
    /// How much.
    #[schemars(range(min = bounds::AFFINITY_WEIGHT.min, max = bounds::AFFINITY_WEIGHT.max))]
    pub weight: u32,
    /// Which.
    pub pod_affinity_term: PodTerm,
}

/// Objects of whose labels all of this holds; all objects when it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LabelSelector {
    /// Labels that they have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = bounds::POD_METADATA_MAX))]
    pub match_labels: BTreeMap<String, String>,
    /// What must hold of their labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::SCHEDULING_ENTRIES_MAX))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// What must hold of a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelRequirement {
    /// The label.
    #[schemars(length(min = 1, max = bounds::LABEL_KEY_BYTES_MAX))]
    pub key: String,
    /// How it relates to the values.
    pub operator: LabelOperator,
    /// The values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::SCHEDULING_ENTRIES_MAX))]
    pub values: Vec<String>,
}

/// How a label relates to values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// It is one of them.
    In,
    /// It is none of them.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}
