//! What the operator does about a difference, and that it does nothing about none.

#[cfg(test)]
mod common;

use common::{Namespace, cluster, desired, namespace_with, plan_for};
use kube::{Resource, ResourceExt};
use papo_operator::{
    build::Resources,
    names,
    plan::{Cause, Steps},
    validate::{PodForm, ValidatedCluster},
};
use serde_json::json;
use std::sync::Arc;

fn applied<K: Resource>(steps: &Steps<K>) -> Vec<(String, Cause)> {
    steps.apply.iter().map(|step| (step.object.name_any(), step.cause)).collect()
}

fn deleted<K>(steps: &Steps<K>) -> Vec<&str> {
    steps.delete.iter().map(|step| step.name.as_str()).collect()
}

fn change<K: Clone>(live: &mut Arc<K>, edit: impl FnOnce(&mut K)) {
    edit(Arc::make_mut(live));
}

#[test]
fn where_nothing_exists_everything_is_applied() {
    let papo = cluster("papo", json!({}));
    let plan = plan_for(&papo, &Namespace::default());
    assert_eq!(plan.secrets.apply.len(), 1);
    assert_eq!(plan.service_accounts.apply.len(), 1);
    assert_eq!(plan.config_maps.apply.len(), 1);
    assert_eq!(plan.stateful_sets.apply.len(), 2);
    assert_eq!(plan.deployments.apply.len(), 2);
    assert_eq!(plan.pod_disruption_budgets.apply.len(), 3);
    assert!(applied(&plan.client_services).contains(&("papo-server-3".to_owned(), Cause::Missing)));
    assert!(applied(&plan.aliases).contains(&("broker".to_owned(), Cause::Missing)));
}

#[test]
fn a_broker_may_serve_on_and_finish_its_longest_request_before_it_is_killed() {
    let grace = |spec| {
        let deployments = desired(&cluster("papo", spec)).deployments;
        let broker = deployments.iter().find(|deployment| deployment.name_any() == "papo-broker").unwrap();
        broker.spec.template.spec.as_ref().unwrap().termination_grace_period_seconds
    };
    assert_eq!(grace(json!({})), Some(30));
    assert_eq!(grace(json!({"broker": {"deadlineSeconds": 45}})), Some(55));
}

#[test]
fn where_everything_exists_nothing_is_done() {
    let papo = cluster("papo", json!({"bots": {"replicas": 2}}));
    assert!(plan_for(&papo, &namespace_with(&[&papo])).is_empty());
}

#[test]
fn what_the_api_server_and_others_add_is_no_difference() {
    let papo = cluster("papo", json!({}));
    let mut observed = namespace_with(&[&papo]);
    change(observed.deployments.get_mut("papo-broker").unwrap(), |live| {
        live.metadata
            .annotations
            .as_mut()
            .unwrap()
            .insert("deployment.kubernetes.io/revision".into(), "3".into());
        let spec = &mut live.spec;
        spec.progress_deadline_seconds = Some(600);
        let restarted = [("kubectl.kubernetes.io/restartedAt".to_owned(), "now".to_owned())];
        spec.template.metadata.as_mut().unwrap().annotations.as_mut().unwrap().extend(restarted);
    });
    assert!(plan_for(&papo, &observed).is_empty());
}

#[test]
fn a_hand_edit_is_put_right() {
    let papo = cluster("papo", json!({}));
    let mut observed = namespace_with(&[&papo]);
    change(observed.stateful_sets.get_mut("papo-server").unwrap(), |live| {
        live.spec.template.spec.as_mut().unwrap().containers[0].image = Some("other".into());
    });
    change(observed.services.get_mut("papo-broker").unwrap(), |live| {
        let selector = live.spec.as_mut().unwrap().selector.as_mut().unwrap();
        selector.insert("one".to_owned(), "more".to_owned());
    });
    change(observed.config_maps.get_mut("papo-settings").unwrap(), |live| live.data = None);
    change(observed.services.get_mut("ref").unwrap(), |live| {
        live.spec.as_mut().unwrap().ports.as_mut().unwrap().remove(0);
    });
    let plan = plan_for(&papo, &observed);
    assert_eq!(applied(&plan.stateful_sets), [("papo-server".to_owned(), Cause::Differs)]);
    assert_eq!(applied(&plan.client_services), [("papo-broker".to_owned(), Cause::Differs)]);
    assert_eq!(applied(&plan.config_maps), [("papo-settings".to_owned(), Cause::Differs)]);
    assert_eq!(applied(&plan.aliases), [("ref".to_owned(), Cause::Differs)]);
    assert!(plan.deployments.apply.is_empty());
}

#[test]
fn a_deleted_object_is_made_again() {
    let papo = cluster("papo", json!({}));
    let mut observed = namespace_with(&[&papo]);
    observed.deployments.remove("papo-proxy");
    observed.secrets.remove("papo-token");
    let plan = plan_for(&papo, &observed);
    assert_eq!(applied(&plan.deployments), [("papo-proxy".to_owned(), Cause::Missing)]);
    assert_eq!(applied(&plan.secrets), [("papo-token".to_owned(), Cause::Missing)]);
}

#[test]
fn bots_go_when_none_are_wanted() {
    let with = cluster("papo", json!({"bots": {"replicas": 2}}));
    let without = cluster("papo", json!({}));
    let plan = plan_for(&without, &namespace_with(&[&with]));
    assert_eq!(deleted(&plan.deployments), ["papo-bot"]);
    assert!(plan.deployments.apply.is_empty());
    // The settings say how many bots there are.
    assert_eq!(applied(&plan.config_maps), [("papo-settings".to_owned(), Cause::Differs)]);
    assert!(plan.stateful_sets.apply.is_empty(), "servers do not care");
}

#[test]
fn scaling_servers_changes_the_set_their_services_and_ref_but_no_server_pod() {
    let three = cluster("papo", json!({}));
    let one = cluster("papo", json!({"replicas": 1}));
    let template = |cluster: &ValidatedCluster| {
        let sets = desired(cluster).stateful_sets;
        let set = sets.into_iter().find(|set| set.name_any() == "papo-server").unwrap();
        set.spec.template
    };
    assert_eq!(template(&three), template(&one));

    let down = plan_for(&one, &namespace_with(&[&three]));
    assert_eq!(deleted(&down.client_services), ["papo-server-2", "papo-server-3", "server-2", "server-3"]);
    assert_eq!(deleted(&down.pod_disruption_budgets), ["papo-server"]);
    assert!(down.aliases.delete.is_empty() && down.aliases.apply.is_empty());
    let up = plan_for(&three, &namespace_with(&[&one]));
    assert!(applied(&up.stateful_sets).contains(&("papo-server".to_owned(), Cause::Differs)));
    assert_eq!(applied(&up.aliases).len(), 2);
    assert!(up.deployments.apply.is_empty());
}

#[test]
fn a_setting_reaches_the_pods_of_the_roles_that_read_it_at_their_start() {
    let before = cluster("papo", json!({}));
    let observed = namespace_with(&[&before]);
    let applied_for = |spec| {
        let plan = plan_for(&cluster("papo", spec), &observed);
        let mut names: Vec<String> = applied(&plan.stateful_sets).into_iter().map(|(name, _)| name).collect();
        names.extend(applied(&plan.deployments).into_iter().map(|(name, _)| name));
        names
    };
    assert_eq!(applied_for(json!({"broker": {"deadlineSeconds": 20}})), ["papo-broker"]);
    assert_eq!(applied_for(json!({"broker": {"replicas": 3}})), ["papo-broker"]);
    assert_eq!(applied_for(json!({"durability": "all"})), ["papo-server"]);
    assert_eq!(applied_for(json!({"logging": {"level": "debug"}})).len(), 4);
}

#[test]
fn a01_an_alias_of_another_cluster_is_reported_and_left_alone() {
    let first = cluster("first", json!({"replicas": 1}));
    let second = cluster("second", json!({"replicas": 2}));
    let plan = plan_for(&second, &namespace_with(&[&first]));
    let taken: Vec<&str> = plan.aliases.taken.iter().map(|taken| taken.name.as_str()).collect();
    assert_eq!(taken, ["broker", "proxy", "ref", "reference", "referencia", "server-1"]);
    assert_eq!(plan.aliases.taken[0].holder, "belongs to ChatCluster first");
    // Each name by itself: what is free is had.
    assert_eq!(applied(&plan.aliases), [("server-2".to_owned(), Cause::Missing)]);
    assert!(plan.aliases.delete.is_empty() && plan.client_services.delete.is_empty());
    // Both can live side by side.
    let observed = namespace_with(&[&first, &second]);
    assert!(plan_for(&first, &observed).is_empty());
    assert!(plan_for(&second, &observed).is_empty());
}

#[test]
fn a_service_of_nobody_is_left_alone_too() {
    let papo = cluster("papo", json!({}));
    let mut observed = namespace_with(&[&papo]);
    for name in ["broker", "papo-proxy"] {
        change(observed.services.get_mut(name).unwrap(), |live| {
            live.metadata.owner_references = None;
            live.spec = None;
        });
    }
    let plan = plan_for(&papo, &observed);
    assert!(plan.is_empty());
    assert_eq!(plan.aliases.taken[0].holder, "was made by somebody else");
    assert_eq!(plan.client_services.taken[0].name, "papo-proxy");
}

#[test]
fn objects_of_an_earlier_cluster_of_the_name_are_waited_out() {
    let earlier = cluster("papo", json!({}));
    let mut later = earlier.clone();
    later.uid = "later".to_owned();
    let plan = plan_for(&later, &namespace_with(&[&earlier]));
    assert!(plan.is_empty());
    assert_eq!(plan.stateful_sets.taken.len(), 2);
}

#[test]
fn what_is_going_already_is_neither_applied_nor_deleted_again() {
    let with = cluster("papo", json!({"bots": {"replicas": 1}}));
    let mut observed = namespace_with(&[&with]);
    for name in ["papo-bot", "papo-broker"] {
        change(observed.deployments.get_mut(name).unwrap(), |live| {
            live.metadata.deletion_timestamp =
                Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
            live.spec.replicas = Some(7);
        });
    }
    let plan = plan_for(&cluster("papo", json!({})), &observed);
    assert!(plan.deployments.apply.is_empty() && plan.deployments.delete.is_empty());
}

#[test]
fn the_stateful_sets_of_an_older_operator_are_taken_over_and_no_pod_is_another() {
    let papo = cluster("papo", json!({}));
    let mut older = papo.clone();
    older.pod_form = PodForm::First;
    let mut observed = namespace_with(&[&older]);
    for name in ["papo-server", "papo-ref"] {
        change(observed.stateful_sets.get_mut(name).unwrap(), |live| {
            let strategy = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } });
            live.spec.update_strategy = serde_json::from_value(strategy).unwrap();
        });
    }
    let template = |cluster: &ValidatedCluster| desired(cluster).stateful_sets.remove(1).spec.template;
    assert_eq!(observed.stateful_sets["papo-server"].spec.template, template(&older));
    let plan = plan_for(&older, &observed);
    assert_eq!(plan.taken_over, ["papo-ref", "papo-server"]);
    assert_eq!(applied(&plan.stateful_sets).len(), 2);
    assert!(plan.deployments.apply.is_empty());
    // A new image brings the new form with it.
    assert_ne!(template(&papo), template(&older));
    assert!(plan_for(&papo, &namespace_with(&[&papo])).taken_over.is_empty());
}

#[test]
fn brokers_and_proxies_are_drained_before_they_are_told_to_stop() {
    let papo = cluster("papo", json!({}));
    for deployment in desired(&papo).deployments {
        let pod = deployment.spec.template.spec.unwrap();
        let drain =
            pod.containers[0].lifecycle.as_ref().unwrap().pre_stop.as_ref().unwrap().exec.as_ref().unwrap();
        assert_eq!(drain.command.as_deref().unwrap(), ["/papo", "drain"]);
        assert!(pod.termination_grace_period_seconds >= Some(30));
    }
}

#[test]
fn a_server_may_read_a_long_history_before_anybody_asks_whether_it_lives() {
    let sets = desired(&cluster("papo", json!({}))).stateful_sets;
    let server = sets.iter().find(|set| set.name_any() == "papo-server").unwrap();
    let probe = server.spec.template.spec.as_ref().unwrap().containers[0].startup_probe.as_ref().unwrap();
    let seconds = probe.period_seconds.unwrap() * probe.failure_threshold.unwrap();
    assert!((300..=1_800).contains(&seconds), "bounded, and generous: {seconds} s");
}

#[test]
fn every_service_is_looked_for_by_its_name_whoever_has_it() {
    let papo = cluster("papo", json!({"replicas": 9, "expose": {"type": "NodePort"}}));
    let looked_for: Vec<String> = names::every_service("papo").collect();
    let Resources { node_services, client_services, aliases, .. } = desired(&papo);
    for service in node_services.iter().chain(&client_services).chain(&aliases) {
        assert!(looked_for.contains(&service.name_any()), "{}", service.name_any());
    }
}
