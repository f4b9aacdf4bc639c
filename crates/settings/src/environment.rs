//! The environment variables of papo, and those of the seeds (row A16), read without touching the process.
//!
//! papo's own names win over the seeds'. None of papo's ends in `_PORT`, `_HOST` or `_ADDR`: Kubernetes makes up such names from the
//! names of Services. Flags win over the environment, the environment over the settings file; that order is the caller's.

use crate::{
    address::{Address, ListenAddress, Peer},
    ports,
};
use std::{collections::BTreeMap, path::PathBuf, str::FromStr};

/// What the environment says. `None` and empty lists: nothing was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// A server's name: `PAPO_NAME`, `SERVER_NAME`.
    pub name: Option<String>,
    /// The settings file: `PAPO_SETTINGS`.
    pub settings: Option<PathBuf>,
    /// The data folder: `PAPO_DATA`, `PERSIST_DIR`.
    pub data: Option<PathBuf>,
    /// The file with the cluster token: `PAPO_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
    /// The brokers, on the side that the role uses: `PAPO_BROKER`, `BROKER_URL`, `BROKER_ENDPOINT`.
    pub brokers: Vec<Address>,
    /// The proxies as a server publishes to them: `PAPO_PROXY`, `PROXY_XSUB`.
    pub proxies_to_publish: Vec<Address>,
    /// The proxies as a client subscribes at them: `PAPO_PROXY`, `PROXY_XPUB`.
    pub proxies_to_subscribe: Vec<Address>,
    /// The reference service: `PAPO_REF`, `REFERENCE_URL`, `REF_HOST` with `REF_PORT`.
    pub reference: Option<Address>,
    /// The other servers: `PAPO_PEERS`, such as `server-2=host:5550,server-3=host:5550`.
    pub peers: Vec<Peer>,
    /// The pattern of the other servers' host names, with `{n}` for a member's number: `PAPO_PEER_DOMAIN`.
    pub peer_domain: Option<String>,
    /// Where a client sends its requests, a broker or one server: `PAPO_SERVER`, `SERVER_URL`.
    pub server: Option<Address>,
    /// Where the role listens for its clients: `PAPO_LISTEN`.
    pub listen: Vec<ListenAddress>,
    /// Where a broker listens for servers: `PAPO_WORKER_LISTEN`.
    pub worker_listen: Vec<ListenAddress>,
    /// Where a proxy listens for publishers: `PAPO_XSUB_LISTEN`.
    pub xsub_listen: Vec<ListenAddress>,
    /// Where a server listens for its peers: `PAPO_PEER_LISTEN`.
    pub peer_listen: Option<ListenAddress>,
    /// Where metrics and readiness are served: `PAPO_HTTP`.
    pub http: Option<ListenAddress>,
    /// Seconds that a broker or proxy serves on after SIGTERM, at least: `PAPO_DRAIN_SECONDS`.
    pub drain_seconds: Option<u32>,
    /// A client's user: `PAPO_USER`.
    pub user: Option<String>,
    /// `USERNAME`, which login shells set, too: only a client takes it, and only as a default.
    pub shell_user: Option<String>,
    /// `papo chat` writes by itself, as a bot does: `AUTO_CLIENT`.
    pub auto_client: bool,
}

/// A variable that is left aside, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentWarning {
    /// Kubernetes injected it for a Service.
    #[error(
        "{variable}={value} ignored: Kubernetes makes it up from a Service's name; set enableServiceLinks: false"
    )]
    ServiceLink {
        /// The variable.
        variable: String,
        /// Its value.
        value: String,
    },
    /// One of the seeds' names beside papo's own.
    #[error("{variable} ignored: {winner} is set, too, and wins; unset one of them")]
    Overruled {
        /// The variable.
        variable: String,
        /// The variable that wins.
        winner: String,
    },
    /// A name that begins like papo's and is none.
    #[error("{variable} ignored: papo has no such setting; look at the names in `papo help`")]
    Unknown {
        /// The variable.
        variable: String,
    },
    /// `REF_PORT` alone.
    #[error("REF_PORT={value} ignored: it says nothing without REF_HOST; set PAPO_REF=host:port")]
    PortWithoutHost {
        /// Its value.
        value: String,
    },
}

/// A variable that cannot be read, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("environment variable {variable}={value}: {remedy}")]
pub struct EnvironmentError {
    /// The variable.
    pub variable: String,
    /// Its value.
    pub value: String,
    /// What is wrong, and what to set instead.
    pub remedy: String,
}

/// Reads the variables; empty ones count as not set.
///
/// # Errors
/// [`EnvironmentError`] for the first variable with a value that cannot be read.
pub fn read_environment(
    variables: impl Iterator<Item = (String, String)>,
) -> Result<(Environment, Vec<EnvironmentWarning>), EnvironmentError> {
    let mut reader = Reader {
        variables: variables.filter(|(_, value)| !value.trim().is_empty()).collect(),
        warnings: Vec::new(),
    };
    reader.drop_service_links();
    let environment = Environment {
        name: reader.text(&["PAPO_NAME", "SERVER_NAME"]),
        settings: reader.text(&["PAPO_SETTINGS"]).map(PathBuf::from),
        data: reader.text(&["PAPO_DATA", "PERSIST_DIR"]).map(PathBuf::from),
        token_file: reader.text(&["PAPO_TOKEN_FILE"]).map(PathBuf::from),
        brokers: reader.list(&["PAPO_BROKER", "BROKER_URL", "BROKER_ENDPOINT"])?,
        proxies_to_publish: reader.list(&["PAPO_PROXY", "PROXY_XSUB"])?,
        proxies_to_subscribe: reader.list(&["PAPO_PROXY", "PROXY_XPUB"])?,
        reference: reader.reference()?,
        peers: reader.list(&["PAPO_PEERS"])?,
        peer_domain: reader.text(&["PAPO_PEER_DOMAIN"]),
        server: reader.one(&["PAPO_SERVER", "SERVER_URL"])?,
        listen: reader.list(&["PAPO_LISTEN"])?,
        worker_listen: reader.list(&["PAPO_WORKER_LISTEN"])?,
        xsub_listen: reader.list(&["PAPO_XSUB_LISTEN"])?,
        peer_listen: reader.one(&["PAPO_PEER_LISTEN"])?,
        http: reader.one(&["PAPO_HTTP"])?,
        drain_seconds: reader.one(&["PAPO_DRAIN_SECONDS"])?,
        user: reader.text(&["PAPO_USER"]),
        shell_user: reader.variables.get("USERNAME").cloned(),
        auto_client: reader.switch("AUTO_CLIENT")?,
    };
    reader.warn_of_unknown_names();
    Ok((environment, reader.warnings))
}

/// Every name of papo's own that [`read_environment`] reads.
pub const OWN_NAMES: [&str; 17] = [
    "PAPO_NAME",
    "PAPO_SETTINGS",
    "PAPO_DATA",
    "PAPO_TOKEN_FILE",
    "PAPO_BROKER",
    "PAPO_PROXY",
    "PAPO_REF",
    "PAPO_PEERS",
    "PAPO_PEER_DOMAIN",
    "PAPO_SERVER",
    "PAPO_LISTEN",
    "PAPO_WORKER_LISTEN",
    "PAPO_XSUB_LISTEN",
    "PAPO_PEER_LISTEN",
    "PAPO_HTTP",
    "PAPO_DRAIN_SECONDS",
    "PAPO_USER",
];

/// Every name of the seeds that [`read_environment`] reads (row A16).
pub const SEED_NAMES: [&str; 11] = [
    "SERVER_URL",
    "SERVER_NAME",
    "REFERENCE_URL",
    "BROKER_URL",
    "REF_HOST",
    "REF_PORT",
    "BROKER_ENDPOINT",
    "PROXY_XSUB",
    "PROXY_XPUB",
    "PERSIST_DIR",
    "AUTO_CLIENT",
];

/// The seeds' names that end as Kubernetes' do.
const SEED_NAMES_LIKE_SERVICE_LINKS: [&str; 2] = ["REF_HOST", "REF_PORT"];

struct Reader {
    variables: BTreeMap<String, String>,
    warnings: Vec<EnvironmentWarning>,
}

impl Reader {
    /// Takes out what Kubernetes injects for the Services of a namespace, where it could be taken for a setting.
    fn drop_service_links(&mut self) {
        let warnings = &mut self.warnings;
        self.variables.retain(|variable, value| {
            if !variable.starts_with("PAPO") && !SEED_NAMES_LIKE_SERVICE_LINKS.contains(&variable.as_str()) {
                return true;
            }
            if variable.ends_with("_PORT") && value.starts_with("tcp://") {
                let (variable, value) = (variable.clone(), value.clone());
                warnings.push(EnvironmentWarning::ServiceLink { variable, value });
                return false;
            }
            // The rest of a Service's variables come with its `_PORT`, which was warned of.
            !(variable.starts_with("PAPO")
                && (variable.contains("_PORT_")
                    || variable.contains("_SERVICE_PORT")
                    || variable.ends_with("_SERVICE_HOST")))
        });
    }

    /// The first of `names` that is set, with a warning for each later one that says otherwise.
    fn first(&mut self, names: &[&str]) -> Option<(String, String)> {
        let mut found: Option<(String, String)> = None;
        for name in names {
            let Some(value) = self.variables.get(*name) else { continue };
            match &found {
                None => found = Some(((*name).to_owned(), value.clone())),
                Some((_, chosen)) if chosen == value => {}
                Some((winner, _)) => self.warnings.push(EnvironmentWarning::Overruled {
                    variable: (*name).to_owned(),
                    winner: winner.clone(),
                }),
            }
        }
        found
    }

    fn text(&mut self, names: &[&str]) -> Option<String> {
        self.first(names).map(|(_, value)| value.trim().to_owned())
    }

    fn one<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        names: &[&str],
    ) -> Result<Option<T>, EnvironmentError> {
        self.first(names).map(|(variable, value)| parse(&variable, &value, value.trim())).transpose()
    }

    fn list<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        names: &[&str],
    ) -> Result<Vec<T>, EnvironmentError> {
        let Some((variable, value)) = self.first(names) else { return Ok(Vec::new()) };
        let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(|item| parse(&variable, &value, item)).collect()
    }

    fn reference(&mut self) -> Result<Option<Address>, EnvironmentError> {
        let address = self.one(&["PAPO_REF", "REFERENCE_URL"])?;
        let (host, port) = (self.variables.get("REF_HOST"), self.variables.get("REF_PORT"));
        if address.is_some() {
            return Ok(address);
        }
        match (host, port) {
            (None, None) => Ok(None),
            (None, Some(value)) => {
                self.warnings.push(EnvironmentWarning::PortWithoutHost { value: value.clone() });
                Ok(None)
            }
            (Some(host), port) => {
                let number = port.map_or_else(|| ports::REF.to_string(), |port| port.trim().to_owned());
                let together = format!("{}:{number}", host.trim());
                let variable = if port.is_some() { "REF_HOST:REF_PORT" } else { "REF_HOST" };
                parse(variable, &together, &together).map(Some)
            }
        }
    }

    fn switch(&mut self, name: &str) -> Result<bool, EnvironmentError> {
        let Some(value) = self.variables.get(name) else { return Ok(false) };
        match value.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "0" | "false" | "no" | "off" => Ok(false),
            _ => Err(EnvironmentError {
                variable: name.to_owned(),
                value: value.clone(),
                remedy: "set it to true or false".to_owned(),
            }),
        }
    }

    fn warn_of_unknown_names(&mut self) {
        let unknown = self
            .variables
            .keys()
            .filter(|name| name.starts_with("PAPO_") && !OWN_NAMES.contains(&name.as_str()));
        self.warnings.extend(unknown.map(|name| EnvironmentWarning::Unknown { variable: name.clone() }));
    }
}

fn parse<T: FromStr<Err: std::fmt::Display>>(
    variable: &str,
    value: &str,
    item: &str,
) -> Result<T, EnvironmentError> {
    item.parse().map_err(|error: T::Err| EnvironmentError {
        variable: variable.to_owned(),
        value: value.to_owned(),
        remedy: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Environment, Vec<String>) {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (environment, warnings) = read_environment(variables).unwrap();
        (environment, warnings.iter().map(ToString::to_string).collect())
    }

    fn error(variable: &str, value: &str) -> String {
        read_environment([(variable.to_owned(), value.to_owned())].into_iter()).unwrap_err().to_string()
    }

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn a16_the_seeds_names_are_read() {
        let (environment, warnings) = read(&[
            ("SERVER_URL", "tcp://server-1:5555"),
            ("SERVER_NAME", "server-1"),
            ("REFERENCE_URL", "tcp://reference:5559"),
            ("BROKER_URL", "tcp://broker:5556"),
            ("PROXY_XSUB", "tcp://proxy:5557"),
            ("PROXY_XPUB", "tcp://proxy:5558"),
            ("PERSIST_DIR", "/data"),
            ("AUTO_CLIENT", "1"),
            ("USERNAME", "ana"),
            ("HOME", "/root"),
        ]);
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(environment.server, Some(address("server-1:5555")));
        assert_eq!(environment.name.as_deref(), Some("server-1"));
        assert_eq!(environment.reference, Some(address("reference:5559")));
        assert_eq!(environment.brokers, [address("broker:5556")]);
        assert_eq!(environment.proxies_to_publish, [address("proxy:5557")]);
        assert_eq!(environment.proxies_to_subscribe, [address("proxy:5558")]);
        assert_eq!(environment.data, Some(PathBuf::from("/data")));
        assert!(environment.auto_client);
        assert_eq!((environment.user, environment.shell_user.as_deref()), (None, Some("ana")));
    }

    #[test]
    fn a16_ref_is_also_read_as_host_and_port() {
        assert_eq!(read(&[("REF_HOST", "ref"), ("REF_PORT", "6000")]).0.reference, Some(address("ref:6000")));
        assert_eq!(read(&[("REF_HOST", "ref")]).0.reference, Some(address("ref:5559")));
        let (environment, warnings) = read(&[("REF_PORT", "6000")]);
        assert_eq!(environment.reference, None);
        assert!(warnings[0].contains("REF_PORT=6000") && warnings[0].contains("PAPO_REF=host:port"));
        assert_eq!(read(&[("BROKER_ENDPOINT", "tcp://b:5555")]).0.brokers, [address("b:5555")]);
    }

    #[test]
    fn a16_our_names_win_and_say_so() {
        let (environment, warnings) = read(&[
            ("PAPO_BROKER", "ours:1,two:2"),
            ("BROKER_URL", "tcp://theirs:1"),
            ("PAPO_NAME", "server-2"),
        ]);
        assert_eq!(environment.brokers, [address("ours:1"), address("two:2")]);
        assert_eq!(warnings, ["BROKER_URL ignored: PAPO_BROKER is set, too, and wins; unset one of them"]);
    }

    #[test]
    fn a16_what_kubernetes_injects_is_ignored_with_a_warning() {
        let (environment, warnings) = read(&[
            ("REF_PORT", "tcp://10.96.0.7:5559"),
            ("REF_HOST", "ref"),
            ("PAPO_BROKER_PORT", "tcp://10.96.0.8:5555"),
            ("PAPO_BROKER_PORT_5555_TCP_ADDR", "10.96.0.8"),
            ("PAPO_BROKER_SERVICE_HOST", "10.96.0.8"),
            ("PAPO_BROKER_SERVICE_PORT", "5555"),
        ]);
        assert_eq!(
            environment,
            Environment { reference: Some(address("ref:5559")), ..Environment::default() }
        );
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings.iter().any(|warning| warning.starts_with("REF_PORT=tcp://10.96.0.7:5559 ignored")));
    }

    #[test]
    fn no_name_of_ours_can_be_taken_for_a_service_link() {
        for name in OWN_NAMES {
            assert!(name.starts_with("PAPO_"));
            assert!(!["_PORT", "_HOST", "_ADDR"].iter().any(|end| name.ends_with(end)), "{name}");
        }
    }

    #[test]
    fn every_name_of_ours_is_read() {
        for name in OWN_NAMES {
            let value = match name {
                "PAPO_PEERS" => "server-2=127.0.0.1:1",
                "PAPO_DRAIN_SECONDS" => "5",
                _ => "127.0.0.1:1",
            };
            let (environment, warnings) = read(&[(name, value)]);
            assert_ne!(environment, Environment::default(), "{name}");
            assert!(warnings.is_empty(), "{warnings:?}");
        }
    }

    #[test]
    fn a_bad_value_is_named_with_variable_value_and_remedy() {
        for (variable, value, remedy) in [
            ("PAPO_BROKER", "broker", "write host:port"),
            ("BROKER_URL", "amqp://broker:5672", "write tcp://host:port"),
            ("PAPO_LISTEN", "*:0", "1 to 65535"),
            ("PAPO_PEERS", "localhost:5550", "name=host:port"),
            ("AUTO_CLIENT", "perhaps", "true or false"),
            ("REF_HOST", "a b", "DNS name"),
        ] {
            let line = error(variable, value);
            assert!(line.contains(variable) && line.contains(value) && line.contains(remedy), "{line}");
            assert_eq!(line.lines().count(), 1);
        }
    }

    #[test]
    fn a_slip_in_a_name_of_ours_is_told_and_an_empty_value_is_none() {
        let (environment, warnings) = read(&[("PAPO_BROKR", "b:1"), ("PAPO_NAME", " ")]);
        assert_eq!(environment, Environment::default());
        assert!(warnings[0].starts_with("PAPO_BROKR ignored"));
    }
}
