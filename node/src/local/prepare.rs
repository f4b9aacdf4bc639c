//! Everything that is checked and written before the first process starts. What stands in the way is refused in one line each.

use super::layout::Purpose;
use super::plan::{Folder, Plan};
use papo_settings::{ChatCluster, NodeSettings, Problem, SettingsError};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Random bytes of the cluster token.
const TOKEN_BYTES: usize = 32;

/// Why nothing was started. Every one is for a person, who can put it right.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The manifest is not there, or not readable.
    #[error("cannot read {path}: {source}; name a ChatCluster manifest with -f FILE")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The manifest is no ChatCluster.
    #[error("{path}: {source}")]
    Settings {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: SettingsError,
    },
    /// The manifest has values that cannot work: a line each.
    #[error("{}", lines(path, problems))]
    Values {
        /// The file.
        path: PathBuf,
        /// All of them.
        problems: Vec<Problem>,
    },
    /// The data folder cannot be written to.
    #[error("cannot write to {path}: {source}; choose another data folder with --data DIR")]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another `papo local` runs on the data folder.
    #[error(
        "{data} is in use by another papo local ({holder}); stop that one, or choose another folder with --data DIR"
    )]
    Locked {
        /// The data folder.
        data: PathBuf,
        /// Its process, as far as known.
        holder: String,
    },
    /// The data folder holds another cluster's data.
    #[error(
        "{data} holds the data of the cluster {found}, not of {wanted}; choose another folder with --data DIR"
    )]
    OtherCluster {
        /// The data folder.
        data: PathBuf,
        /// Whose data it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// A port is taken.
    #[error("port {} of {} is in use, and {name} wants it for {purpose}; stop the program that listens there", address.port(), address.ip())]
    PortInUse {
        /// The port.
        address: SocketAddr,
        /// The role that wants it.
        name: String,
        /// What for.
        purpose: Purpose,
    },
    /// A port cannot be listened on for another reason.
    #[error("cannot listen on {address}, which {name} wants for {purpose}: {source}; {}", address_remedy(*address))]
    Port {
        /// The port.
        address: SocketAddr,
        /// The role that wants it.
        name: String,
        /// What for.
        purpose: Purpose,
        /// The cause.
        source: io::Error,
    },
}

fn lines(path: &Path, problems: &[Problem]) -> String {
    let lines: Vec<String> =
        problems.iter().map(|problem| format!("{}: {problem}", path.display())).collect();
    lines.join("\n")
}

fn address_remedy(address: SocketAddr) -> &'static str {
    if address.ip() == std::net::Ipv4Addr::LOCALHOST {
        "allow this user to listen there"
    } else {
        "leave --per-address out where 127.0.0.1 is the only loopback address"
    }
}

/// Reads and checks the manifest.
pub fn read_cluster(path: &Path) -> Result<ChatCluster, Refusal> {
    let text =
        fs::read_to_string(path).map_err(|source| Refusal::Manifest { path: path.to_owned(), source })?;
    let cluster = papo_settings::read_manifest(&text)
        .map_err(|source| Refusal::Settings { path: path.to_owned(), source })?;
    papo_settings::validate(&cluster)
        .map_err(|problems| Refusal::Values { path: path.to_owned(), problems })?;
    Ok(cluster)
}

/// The data folder, made ready and locked. The lock ends with the process, however that ends.
#[derive(Debug)]
pub struct Prepared {
    _lock: File,
}

/// Makes the data folder ready, takes its lock and finds the ports free; then writes the token and the settings.
pub fn prepare(cluster: &ChatCluster, plan: &Plan, folder: &Folder) -> Result<Prepared, Refusal> {
    let lock = lock(folder)?;
    check_cluster(cluster, folder)?;
    check_ports(plan)?;
    write_token(&folder.token()).map_err(|source| Refusal::Data { path: folder.token(), source })?;
    write_settings(cluster, folder)?;
    Ok(Prepared { _lock: lock })
}

fn lock(folder: &Folder) -> Result<File, Refusal> {
    let refuse = |path: PathBuf| move |source| Refusal::Data { path, source };
    fs::create_dir_all(folder.logs()).map_err(refuse(folder.0.clone()))?;
    let path = folder.lock();
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(refuse(path.clone()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message: what cannot be read is not told.
            let _ = file.read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => "process unknown".to_owned(),
                pid => format!("process {pid}"),
            };
            return Err(Refusal::Locked { data: folder.0.clone(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(Refusal::Data { path, source }),
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(refuse(path))?;
    Ok(file)
}

/// Only the identity is read, so that the settings of an older version do not stand in the way.
fn check_cluster(cluster: &ChatCluster, folder: &Folder) -> Result<(), Refusal> {
    let path = folder.settings();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Refusal::Data { path, source }),
    };
    let settings: serde_yaml::Value = serde_yaml::from_str(&text).unwrap_or_default();
    let found = settings.get("clusterId").and_then(serde_yaml::Value::as_str).unwrap_or("of an unknown name");
    let wanted = cluster.cluster_id();
    if found == wanted.as_str() {
        return Ok(());
    }
    Err(Refusal::OtherCluster { data: folder.0.clone(), found: found.to_owned(), wanted: wanted.to_string() })
}

/// Binds every port at once. The standard library sets `SO_REUSEADDR` as the roles do, so that a connection of the last run that lingers
/// in TIME_WAIT stands in nobody's way.
fn check_ports(plan: &Plan) -> Result<(), Refusal> {
    let mut held = Vec::new();
    for role in &plan.roles {
        for port in &role.ports {
            let (address, name, purpose) = (port.address, role.name.clone(), port.purpose);
            held.push(TcpListener::bind(address).map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => Refusal::PortInUse { address, name, purpose },
                _ => Refusal::Port { address, name, purpose, source },
            })?);
        }
    }
    Ok(())
}

/// Keeps the token that is there: roles of the last run that still stop know it.
fn write_token(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    replace(path, &format!("{token}\n"))
}

fn write_settings(cluster: &ChatCluster, folder: &Folder) -> Result<(), Refusal> {
    let path = folder.settings();
    let text = NodeSettings::of(cluster)
        .to_yaml()
        .map_err(|source| Refusal::Settings { path: path.clone(), source })?;
    replace(&path, &text).map_err(|source| Refusal::Data { path, source })
}

/// Writes beside and renames, so that no reader finds half a file. For the owner's eyes only.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::layout::Port;
    use crate::local::plan::{Role, RolePlan};
    use std::os::unix::fs::PermissionsExt as _;

    /// A plan that wants these ports.
    fn wanting(addresses: &[SocketAddr]) -> Plan {
        let ports =
            addresses.iter().map(|address| Port { purpose: Purpose::Requests, address: *address }).collect();
        let role = RolePlan { name: "broker".to_owned(), role: Role::Broker, ports, arguments: Vec::new() };
        Plan { roles: vec![role], brokers: Vec::new(), proxies: Vec::new() }
    }

    fn refusal(cluster: &str, plan: &Plan, folder: &Folder) -> String {
        let message = prepare(&ChatCluster::with_defaults(cluster), plan, folder).unwrap_err().to_string();
        assert_eq!(message.lines().count(), 1, "{message}");
        message
    }

    #[test]
    fn a_token_and_settings_are_written_once_and_kept() {
        let folder = Folder(tempfile::tempdir().unwrap().keep().join("data"));
        let cluster = ChatCluster::with_defaults("papo");
        drop(prepare(&cluster, &wanting(&[]), &folder).unwrap());
        let token = fs::read_to_string(folder.token()).unwrap();
        assert_eq!(token.trim().len(), 2 * TOKEN_BYTES);
        assert_eq!(fs::metadata(folder.token()).unwrap().permissions().mode() & 0o777, 0o600);
        let settings = NodeSettings::read(&fs::read_to_string(folder.settings()).unwrap()).unwrap();
        assert_eq!(settings, NodeSettings::of(&cluster));
        drop(prepare(&cluster, &wanting(&[]), &folder).unwrap());
        assert_eq!(fs::read_to_string(folder.token()).unwrap(), token);
    }

    #[test]
    fn a_second_one_on_the_same_data_is_refused_until_the_first_ends() {
        let folder = Folder(tempfile::tempdir().unwrap().keep());
        let first = prepare(&ChatCluster::with_defaults("papo"), &wanting(&[]), &folder).unwrap();
        let message = refusal("papo", &wanting(&[]), &folder);
        assert!(message.contains(&format!("process {}", std::process::id())) && message.contains("--data"));
        drop(first);
        assert!(prepare(&ChatCluster::with_defaults("papo"), &wanting(&[]), &folder).is_ok());
    }

    #[test]
    fn the_data_of_another_cluster_is_refused_by_name() {
        let folder = Folder(tempfile::tempdir().unwrap().keep());
        drop(prepare(&ChatCluster::with_defaults("papo"), &wanting(&[]), &folder).unwrap());
        let message = refusal("outra", &wanting(&[]), &folder);
        assert!(message.contains("default/papo") && message.contains("default/outra"), "{message}");
    }

    #[test]
    fn a_port_in_use_is_refused_with_the_role_that_wants_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let folder = Folder(tempfile::tempdir().unwrap().keep());
        let message = refusal("papo", &wanting(&[address]), &folder);
        let wanted = format!("port {} of 127.0.0.1 is in use, and broker wants it", address.port());
        assert!(message.starts_with(&wanted), "{message}");
        assert!(!folder.token().exists());
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let folder = Folder(tempfile::tempdir().unwrap().keep());
        let message = refusal("papo", &wanting(&["192.0.2.1:5555".parse().unwrap()]), &folder);
        assert!(message.contains("cannot listen on 192.0.2.1:5555") && message.contains("--per-address"));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_refused() {
        // A file in its place: unlike a mode, that also stops root.
        let place = tempfile::NamedTempFile::new().unwrap();
        let message = refusal("papo", &wanting(&[]), &Folder(place.path().join("data")));
        assert!(message.starts_with("cannot write to") && message.contains("--data DIR"), "{message}");
    }

    #[test]
    fn a_bad_manifest_is_named_with_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let name = file.path().display().to_string();
        let head = "apiVersion: papo.dev/v1alpha1\nkind: ChatCluster\nmetadata: {name: papo}\n";
        for (text, part) in [
            (
                format!("{head}spec: {{replicas: 0}}"),
                "spec.replicas: 0 does not work; give a number from 1 to 9",
            ),
            (format!("{head}spec: {{replicaz: 1}}"), "line 4, column 8: spec: unknown field `replicaz`"),
        ] {
            fs::write(file.path(), text).unwrap();
            let message = read_cluster(file.path()).unwrap_err().to_string();
            assert!(message.starts_with(&name) && message.contains(part), "{message}");
            assert_eq!(message.lines().count(), 1);
        }
        let message = read_cluster(Path::new("/nonexistent.yaml")).unwrap_err().to_string();
        assert!(message.contains("/nonexistent.yaml") && message.contains("-f FILE"), "{message}");
    }
}
