//! What the chart says, against what the documents say: rights, alerts, and the names of metrics.

#[cfg(test)]
mod documents;

#[cfg(test)]
mod tests {
    use crate::documents::{documents, text};
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn strings(value: &Value) -> Vec<String> {
        value.as_array().into_iter().flatten().map(|entry| entry.as_str().unwrap().to_owned()).collect()
    }

    /// One thing that somebody may do.
    type Right = (String, String, String);

    fn every_right(groups: &[String], resources: &[String], verbs: &[String]) -> Vec<Right> {
        let mut rights = Vec::new();
        for group in groups {
            for resource in resources {
                rights.extend(verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())));
            }
        }
        rights
    }

    /// What stands in backticks in a table's cell.
    fn quoted(cell: &str) -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(|word| word.trim_matches('"').to_owned()).collect()
    }

    #[test]
    fn the_rights_of_the_operator_are_those_of_the_table() {
        let rules = documents("manifests/install.yaml")
            .into_iter()
            .filter(|document| matches!(document["kind"].as_str(), Some("ClusterRole" | "Role")))
            .flat_map(|role| role["rules"].as_array().unwrap().clone());
        let given: BTreeSet<Right> = rules
            .flat_map(|rule| {
                every_right(
                    &strings(&rule["apiGroups"]),
                    &strings(&rule["resources"]),
                    &strings(&rule["verbs"]),
                )
            })
            .collect();
        let operations = text("docs/operations.md");
        let (_, section) = operations.split_once("### What the operator may do").unwrap();
        let rows = section.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
        let documented: BTreeSet<Right> = rows
            .take_while(|line| line.starts_with('|'))
            .flat_map(|row| {
                let cells: Vec<&str> = row.split('|').collect();
                assert!(!cells[4].trim().is_empty(), "no word on what it is for: {row}");
                every_right(&quoted(cells[1]), &quoted(cells[2]), &quoted(cells[3]))
            })
            .collect();
        assert!(!given.is_empty());
        assert_eq!(given, documented);
        assert!(
            given
                .iter()
                .all(|(group, resource, verb)| [group, resource, verb].iter().all(|part| *part != "*"))
        );
    }

    fn every_alert() -> Vec<Value> {
        let groups = documents("charts/papo/files/alerts.yaml").remove(0);
        groups["groups"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap().clone())
            .collect()
    }

    #[test]
    fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
        let alerts: Vec<String> =
            every_alert().iter().map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect();
        let operations = text("docs/operations.md");
        let runbooks: Vec<&str> = operations
            .lines()
            .filter_map(|line| line.strip_prefix("### "))
            .filter(|title| title.starts_with("Papo"))
            .collect();
        assert!(alerts.len() >= 10);
        assert_eq!(alerts, runbooks);
        for alert in every_alert() {
            let name = alert["alert"].as_str().unwrap();
            assert!(matches!(alert["labels"]["severity"].as_str(), Some("warning" | "critical")), "{name}");
            assert_eq!(
                alert["annotations"]["runbook"],
                format!("docs/operations.md#{}", name.to_lowercase())
            );
            assert!(alert["for"].is_string() && alert["annotations"]["summary"].is_string(), "{name}");
        }
    }

    #[test]
    fn each_alert_is_tested_to_fire_and_not_to_fire() {
        let tests = documents("tests/alerts/alerts_test.yaml").remove(0);
        let looks = tests["tests"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|test| test["alert_rule_test"].as_array().unwrap());
        let (fires, rests): (Vec<&Value>, Vec<&Value>) =
            looks.partition(|look| look.get("exp_alerts").is_some());
        for alert in every_alert() {
            for looks in [&fires, &rests] {
                assert!(looks.iter().any(|look| look["alertname"] == alert["alert"]), "{}", alert["alert"]);
            }
        }
    }

    /// Names of papo's metrics in a text, without what Prometheus adds to those of histograms.
    fn metrics(text: &str) -> BTreeSet<String> {
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| word.starts_with("papo_"))
            .map(|word| {
                let plain = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix));
                plain.unwrap_or(word).to_owned()
            })
            .collect()
    }

    #[test]
    fn alerts_and_dashboard_ask_for_metrics_that_are_documented() {
        let documented = metrics(&(text("docs/metrics.md") + &text("docs/operations.md")));
        let dashboard: Value = serde_json::from_str(&text("charts/papo/files/dashboard.json")).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
        let shown = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
        let alerts = every_alert();
        let watched = alerts.iter().map(|alert| alert["expr"].as_str().unwrap().to_owned());
        for expression in shown.chain(watched) {
            let asked = metrics(&expression);
            assert!(!asked.is_empty(), "{expression}");
            let unknown: Vec<_> = asked.difference(&documented).collect();
            assert!(unknown.is_empty(), "{unknown:?} in {expression}");
        }
    }
}
