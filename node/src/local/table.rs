//! The table of what runs where, as text. It must not know processes: it gets names, addresses and numbers.

use super::layout::Purpose;
use super::plan::RolePlan;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Whether text may carry colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Plain text.
    Plain,
    /// With the escape sequences of a terminal.
    Colours,
}

impl Paint {
    /// Bold.
    pub fn strong(self, text: &str) -> String {
        self.wrapped("1", text)
    }

    /// Green.
    pub fn good(self, text: &str) -> String {
        self.wrapped("32", text)
    }

    /// Red.
    pub fn bad(self, text: &str) -> String {
        self.wrapped("31", text)
    }

    fn wrapped(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colours => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// One line of the table.
pub struct Row<'a> {
    /// What was planned.
    pub role: &'a RolePlan,
    /// Its process.
    pub pid: u32,
    /// Its log file.
    pub log: PathBuf,
}

const HEADINGS: [&str; 6] = ["NAME", "REQ", "SUB", "HTTP", "PID", "LOG"];

/// The table, with a line break after each line.
pub fn table(rows: &[Row<'_>], paint: Paint) -> String {
    let cells: Vec<[String; 6]> = rows.iter().map(cells).collect();
    let mut widths = HEADINGS.map(str::len);
    for line in &cells {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let padded = |line: &[String; 6]| {
        let padded: Vec<String> =
            line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut text = paint.strong(&padded(&HEADINGS.map(str::to_owned)));
    text.push('\n');
    for line in &cells {
        text.push_str(&padded(line));
        text.push('\n');
    }
    text
}

fn cells(row: &Row<'_>) -> [String; 6] {
    let addresses = |purpose| together(row.role.addresses(purpose));
    [
        row.role.name.clone(),
        addresses(Purpose::Requests),
        addresses(Purpose::Subscriptions),
        addresses(Purpose::Http),
        row.pid.to_string(),
        row.log.display().to_string(),
    ]
}

/// `127.0.0.1:5558 :5560`: the address once, since all are on one.
fn together(addresses: impl Iterator<Item = SocketAddr>) -> String {
    let parts: Vec<String> = addresses
        .enumerate()
        .map(|(place, address)| if place == 0 { address.to_string() } else { format!(":{}", address.port()) })
        .collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::plan::{Folder, plan};
    use papo_settings::ChatCluster;

    fn shown(paint: Paint) -> String {
        let mut cluster = ChatCluster::with_defaults("papo");
        cluster.spec.replicas = 1;
        cluster.spec.proxy.replicas = 1;
        cluster.spec.bots.replicas = 1;
        let folder = Folder("d".into());
        let plan = plan(&cluster, &folder, false);
        let rows: Vec<Row<'_>> = (101..)
            .zip(&plan.roles)
            .map(|(pid, role)| Row { role, pid, log: folder.log(&role.name) })
            .collect();
        table(&rows, paint)
    }

    #[test]
    fn the_table_says_what_runs_where() {
        assert_eq!(
            shown(Paint::Plain),
            "NAME      REQ                   SUB                   HTTP            PID  LOG\n\
             broker-1  127.0.0.1:5555        -                     127.0.0.1:8081  101  d/logs/broker-1.log\n\
             broker-2  127.0.0.1:5802        -                     127.0.0.1:8082  102  d/logs/broker-2.log\n\
             proxy     -                     127.0.0.1:5558 :5560  127.0.0.1:8083  103  d/logs/proxy.log\n\
             ref       127.0.0.1:5559 :6000  -                     127.0.0.1:8084  104  d/logs/ref.log\n\
             server-1  127.0.0.1:5601        -                     127.0.0.1:8085  105  d/logs/server-1.log\n\
             bot-1     -                     -                     -               106  d/logs/bot-1.log\n"
        );
    }

    #[test]
    fn colours_are_for_terminals_only() {
        assert!(!shown(Paint::Plain).contains('\x1b'));
        assert!(shown(Paint::Colours).contains('\x1b'));
    }
}
