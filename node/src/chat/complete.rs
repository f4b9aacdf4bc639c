//! What the tab key offers: commands, channels and users.

use super::command::COMMANDS;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

/// Names remembered for completion; more are not offered.
const NAMES_MAX: usize = 10_000;

/// The names known so far. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    users: BTreeSet<String>,
    channels: BTreeSet<String>,
}

impl Names {
    pub(super) fn add_users(&self, names: impl IntoIterator<Item = String>) {
        add(&mut self.0.write().unwrap_or_else(PoisonError::into_inner).users, names);
    }

    pub(super) fn add_channels(&self, names: impl IntoIterator<Item = String>) {
        add(&mut self.0.write().unwrap_or_else(PoisonError::into_inner).channels, names);
    }

    /// Completions of the text before the cursor: where the completed word begins, in bytes, and what may stand there.
    pub(super) fn complete(&self, before: &str) -> (usize, Vec<String>) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some((command, rest)) = before.split_once(' ').filter(|_| before.starts_with('/')) else {
            if before.starts_with('/') {
                return (0, commands(before));
            }
            let start = before.rfind(' ').map_or(0, |space| space + 1);
            let word = before.get(start..).unwrap_or_default();
            let users = if word.is_empty() {
                Vec::new()
            } else {
                matching(&known.users, word, &|name| name.to_owned())
            };
            return (start, users);
        };
        let start = before.len() - rest.len();
        match command {
            "/join" | "/j" | "/leave" | "/part" => {
                let word = rest.strip_prefix('#').unwrap_or(rest);
                (before.len() - word.len(), matching(&known.channels, word, &|name| name.to_owned()))
            }
            "/msg" | "/m" => {
                let word = rest.trim_start_matches(['@', '"']);
                (start, matching(&known.users, word, &quoted))
            }
            _ => (before.len(), Vec::new()),
        }
    }
}

fn add(known: &mut BTreeSet<String>, names: impl IntoIterator<Item = String>) {
    for name in names {
        if known.len() < NAMES_MAX {
            known.insert(name);
        }
    }
}

fn commands(before: &str) -> Vec<String> {
    let matching = COMMANDS.iter().filter(|(name, _, _)| !name.starts_with("//") && name.starts_with(before));
    matching
        .map(
            |(name, arguments, _)| if arguments.is_empty() { (*name).to_owned() } else { format!("{name} ") },
        )
        .collect()
}

fn matching(names: &BTreeSet<String>, word: &str, form: &dyn Fn(&str) -> String) -> Vec<String> {
    let word = word.to_lowercase();
    names.iter().filter(|name| name.to_lowercase().starts_with(&word)).map(|name| form(name)).collect()
}

/// A recipient with spaces is written in quotes; either way the text follows.
fn quoted(name: &str) -> String {
    if name.contains(char::is_whitespace) { format!("\"{name}\" ") } else { format!("{name} ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let names = Names::default();
        names.add_users(["ana", "anabela", "José da Silva"].map(str::to_owned));
        names.add_channels(["geral", "dev"].map(str::to_owned));
        names
    }

    #[test]
    fn commands_channels_and_users_are_completed() {
        let names = names();
        assert_eq!(names.complete("/ch"), (0, vec!["/channels".to_owned()]));
        assert_eq!(names.complete("/jo"), (0, vec!["/join ".to_owned()]));
        assert_eq!(names.complete("/join ge"), (6, vec!["geral".to_owned()]));
        assert_eq!(names.complete("/join #ge"), (7, vec!["geral".to_owned()]));
        assert_eq!(names.complete("/msg an"), (5, vec!["ana ".to_owned(), "anabela ".to_owned()]));
        assert_eq!(names.complete("/msg jo"), (5, vec!["\"José da Silva\" ".to_owned()]));
        assert_eq!(names.complete("oi anab"), (3, vec!["anabela".to_owned()]));
    }

    #[test]
    fn nothing_is_offered_where_nothing_fits() {
        let names = names();
        assert_eq!(names.complete("oi ").1, Vec::<String>::new());
        assert_eq!(names.complete("/who x").1, Vec::<String>::new());
        assert_eq!(names.complete("/msg zé").1, Vec::<String>::new());
    }
}
