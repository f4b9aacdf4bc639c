//! Runs the roles as child processes: starts them, starts again what dies, and stops all, one group after the other.
//!
//! Each child holds the reading end of a pipe as its standard input and stops, as on SIGTERM, when that closes. So closing it is how
//! a child is told to stop, and no child outlives its parent, however that ends. It must not know what a role does.

use super::plan::RolePlan;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Pause before a role that died starts again; doubled at each death up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest pause before a role that died starts again.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A role that lived this long is sound: its next pause is [`PAUSE_MIN`] again.
const SOUND_AFTER: Duration = Duration::from_secs(30);
/// Time to stop; then a child is killed. A broker's longest request takes 10 s by default.
pub const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Ends that may wait to be read while nobody is ready yet; later ones are only told as lines.
const ENDS_CAPACITY: usize = 16;

/// What is told about a child, in one line.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// One role to run.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<std::ffi::OsString>,
    /// Where its output goes, at the end.
    pub log: PathBuf,
    /// It is told to stop when all with a lower number have stopped.
    pub stops_in: usize,
}

impl Task {
    /// A planned role, run by this program.
    pub fn of(role: &RolePlan, program: &Path, log: PathBuf) -> Self {
        let (name, arguments) = (role.name.clone(), role.arguments.clone());
        Self { name, program: program.to_owned(), arguments, log, stops_in: role.role.stops_in() }
    }
}

/// A child ended without being told to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The role.
    pub name: String,
    /// Exit status or signal.
    pub status: String,
    /// Where the reason may stand.
    pub log: PathBuf,
}

/// All children, until [`Supervisor::stop`].
pub struct Supervisor {
    groups: BTreeMap<usize, Group>,
    ended: mpsc::Receiver<Ended>,
    /// The children's process ids, in the order of the tasks.
    pub pids: Vec<u32>,
}

impl Supervisor {
    /// Starts every task.
    ///
    /// # Errors
    /// When one cannot be started; those before it are killed.
    pub fn start(tasks: Vec<Task>, patience: Duration, tell: &Tell) -> io::Result<Self> {
        let (ends, ended) = mpsc::channel(ENDS_CAPACITY);
        let running: Vec<(Task, Running)> = tasks
            .into_iter()
            .map(|task| spawn(&task).map(|running| (task, running)))
            .collect::<io::Result<_>>()?;
        let pids = running.iter().map(|(_, running)| running.pid).collect();
        let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
        for (task, running) in running {
            let group = groups.entry(task.stops_in).or_default();
            let (stop, ends, tell) = (group.stop.clone(), ends.clone(), Arc::clone(tell));
            group.keepers.spawn(Keeper { task, patience, stop, ends, tell }.keep(running));
        }
        Ok(Self { groups, ended, pids })
    }

    /// The next end of a child that was not told to stop. Cancel-safe.
    pub async fn ended(&mut self) -> Option<Ended> {
        self.ended.recv().await
    }

    /// Tells every child to stop, in the order of the tasks' groups, and returns when all have.
    pub async fn stop(self) {
        for mut group in self.groups.into_values() {
            group.stop.cancel();
            while group.keepers.join_next().await.is_some() {}
        }
    }
}

/// What stops together.
#[derive(Default)]
struct Group {
    stop: CancellationToken,
    keepers: JoinSet<()>,
}

struct Running {
    child: Child,
    /// Open as long as the child shall run.
    stdin: Option<ChildStdin>,
    pid: u32,
    since: Instant,
}

fn spawn(task: &Task) -> io::Result<Running> {
    let log = OpenOptions::new().create(true).append(true).open(&task.log)?;
    let mut command = Command::new(&task.program);
    command
        .args(&task.arguments)
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C at the terminal is for the parent, which then stops all in order.
        .process_group(0)
        .kill_on_drop(true);
    // The command line says all; what is meant for the parent's own shell must not leak in.
    let names = papo_settings::environment::OWN_NAMES.iter().chain(&papo_settings::environment::SEED_NAMES);
    for name in names {
        command.env_remove(name);
    }
    let mut child = command.spawn()?;
    let pid = child.id().ok_or_else(|| io::Error::other("the child has no process id"))?;
    // Taken out, because waiting for a child closes the standard input that it holds.
    let stdin = child.stdin.take();
    Ok(Running { child, stdin, pid, since: Instant::now() })
}

struct Keeper {
    task: Task,
    patience: Duration,
    stop: CancellationToken,
    ends: mpsc::Sender<Ended>,
    tell: Tell,
}

impl Keeper {
    async fn keep(self, mut running: Running) {
        let mut pause = PAUSE_MIN;
        loop {
            let status = tokio::select! {
                () = self.stop.cancelled() => return self.end(running).await,
                status = running.child.wait() => status,
            };
            // Such as `exit status: 1` or `signal: 9 (SIGKILL)`.
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            if running.since.elapsed() >= SOUND_AFTER {
                pause = PAUSE_MIN;
            }
            let Task { name, log, .. } = &self.task;
            (self.tell)(&format!(
                "{name} ended ({status}); it starts again in {pause:?}; see {}",
                log.display()
            ));
            // Full or nobody listening: the line above was told anyway.
            let _ = self.ends.try_send(Ended { name: name.clone(), status, log: log.clone() });
            running = loop {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(PAUSE_MAX);
                match spawn(&self.task) {
                    Ok(running) => break running,
                    Err(error) => {
                        (self.tell)(&format!("{name} cannot be started: {error}; next try in {pause:?}"));
                    }
                }
            };
            (self.tell)(&format!("{name} runs again, process {}", running.pid));
        }
    }

    async fn end(&self, mut running: Running) {
        drop(running.stdin.take());
        if tokio::time::timeout(self.patience, running.child.wait()).await.is_err() {
            (self.tell)(&format!("{} did not stop within {:?}; killed", self.task.name, self.patience));
            // It cannot fail in a way that leaves something to do: either the child is dead, or it will be.
            let _ = running.child.kill().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn shell(script: &str) -> Task {
        let log = tempfile::tempdir().unwrap().keep().join("log");
        let arguments = ["-c", script].map(Into::into).to_vec();
        Task { name: "role".to_owned(), program: "/bin/sh".into(), arguments, log, stops_in: 0 }
    }

    fn teller() -> (Tell, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&lines);
        (Arc::new(move |line: &str| told.lock().unwrap().push(line.to_owned())), lines)
    }

    #[tokio::test]
    async fn a_child_stops_when_its_standard_input_closes() {
        let (tell, lines) = teller();
        let task = shell("echo started; read line; echo stopped");
        let supervisor = Supervisor::start(vec![task.clone()], STOP_PATIENCE, &tell).unwrap();
        supervisor.stop().await;
        assert_eq!(std::fs::read_to_string(task.log).unwrap(), "started\nstopped\n");
        assert!(lines.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_group_stops_when_those_before_it_have() {
        let (tell, _) = teller();
        let first = shell("read line; sleep 0.2; date +%s%N");
        let second = Task { stops_in: 1, ..shell("read line; date +%s%N") };
        let tasks = vec![second.clone(), first.clone()];
        Supervisor::start(tasks, STOP_PATIENCE, &tell).unwrap().stop().await;
        let ended = [first, second].map(|task| std::fs::read_to_string(task.log).unwrap());
        assert!(ended[0] <= ended[1], "{ended:?}");
    }

    #[tokio::test]
    async fn a_child_that_does_not_stop_is_killed() {
        let (tell, lines) = teller();
        let task = shell("exec sleep 600");
        let supervisor = Supervisor::start(vec![task], Duration::from_millis(100), &tell).unwrap();
        supervisor.stop().await;
        assert!(lines.lock().unwrap()[0].contains("did not stop within 100ms; killed"));
    }

    #[tokio::test]
    async fn a_child_that_dies_is_named_and_starts_again() {
        let (tell, lines) = teller();
        let task = shell("echo life; exit 3");
        let mut supervisor = Supervisor::start(vec![task.clone()], STOP_PATIENCE, &tell).unwrap();
        let first = supervisor.ended().await.unwrap();
        assert_eq!((first.name.as_str(), first.status.as_str()), ("role", "exit status: 3"));
        supervisor.ended().await.unwrap();
        supervisor.stop().await;
        assert!(std::fs::read_to_string(task.log).unwrap().starts_with("life\nlife\n"));
        let lines = lines.lock().unwrap();
        assert!(
            lines[0].starts_with("role ended (exit status: 3); it starts again in 500ms; see "),
            "{lines:?}"
        );
        assert!(lines[1].starts_with("role runs again, process "), "{lines:?}");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_an_error() {
        let (tell, _) = teller();
        let task = Task { program: "/nonexistent/papo".into(), ..shell("") };
        assert!(Supervisor::start(vec![task], STOP_PATIENCE, &tell).is_err());
    }
}
