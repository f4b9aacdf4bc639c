//! The objects of one kind that a watch has brought, by name and by the cluster that they belong to: a look at one cluster of a
//! thousand costs what a look at one costs.

use super::Found;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The objects. Cloning shares them.
pub struct Shelf<T>(Arc<Mutex<HashMap<Box<str>, Namespace<T>>>>);

impl<T> Clone for Shelf<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

struct Namespace<T> {
    objects: HashMap<Arc<str>, Placed<T>>,
    clusters: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
}

struct Placed<T> {
    object: Arc<T>,
    cluster: Option<Arc<str>>,
}

impl<T> Default for Namespace<T> {
    fn default() -> Self {
        Self { objects: HashMap::new(), clusters: HashMap::new() }
    }
}

impl<T> Shelf<T> {
    /// The objects of a cluster.
    #[must_use]
    pub fn of_cluster(&self, namespace: &str, cluster: &str) -> Found<T> {
        let all = self.lock();
        let Some(namespace) = all.get(namespace) else { return Found::new() };
        let names = namespace.clusters.get(cluster).into_iter().flatten();
        names
            .filter_map(|name| Some((name.to_string(), Arc::clone(&namespace.objects.get(name)?.object))))
            .collect()
    }

    /// Those of these names, whoever they belong to.
    #[must_use]
    pub fn of_names(&self, namespace: &str, names: impl IntoIterator<Item = String>) -> Found<T> {
        let all = self.lock();
        let Some(namespace) = all.get(namespace) else { return Found::new() };
        let found = names.into_iter().filter_map(|name| {
            let object = Arc::clone(&namespace.objects.get(name.as_str())?.object);
            Some((name, object))
        });
        found.collect()
    }

    /// Puts an object where it belongs; it may have belonged elsewhere before.
    pub fn put(&self, namespace: &str, name: &str, cluster: Option<&str>, object: T) {
        let mut all = self.lock();
        if !all.contains_key(namespace) {
            all.insert(namespace.into(), Namespace::default());
        }
        if let Some(namespace) = all.get_mut(namespace) {
            namespace.put(name, cluster, object);
        }
    }

    /// Forgets an object.
    pub fn remove(&self, namespace: &str, name: &str) {
        let mut all = self.lock();
        let Some(here) = all.get_mut(namespace) else { return };
        here.remove(name);
        if here.objects.is_empty() {
            all.remove(namespace);
        }
    }

    /// Forgets all but these: a new list has come, and the rest went while nobody watched.
    pub fn keep_only(&self, listed: &Listed) {
        let mut all = self.lock();
        all.retain(|namespace, here| {
            let listed = listed.0.get(&**namespace);
            let is_listed = |name: &Arc<str>| listed.is_some_and(|names| names.contains(&**name));
            let gone: Vec<Arc<str>> = here.objects.keys().filter(|name| !is_listed(name)).cloned().collect();
            for name in gone {
                here.remove(&name);
            }
            !here.objects.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Namespace<T>>> {
        // Nothing in here panics between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Namespace<T> {
    fn put(&mut self, name: &str, cluster: Option<&str>, object: T) {
        if self.objects.get(name).is_some_and(|placed| placed.cluster.as_deref() != cluster) {
            self.remove(name);
        }
        let name: Arc<str> =
            self.objects.get_key_value(name).map_or_else(|| name.into(), |(name, _)| Arc::clone(name));
        let cluster = cluster.map(|cluster| {
            let cluster: Arc<str> = self
                .clusters
                .get_key_value(cluster)
                .map_or_else(|| cluster.into(), |(cluster, _)| Arc::clone(cluster));
            self.clusters.entry(Arc::clone(&cluster)).or_default().insert(Arc::clone(&name));
            cluster
        });
        self.objects.insert(name, Placed { object: Arc::new(object), cluster });
    }

    fn remove(&mut self, name: &str) {
        let Some(Placed { cluster: Some(cluster), .. }) = self.objects.remove(name) else { return };
        if let Some(names) = self.clusters.get_mut(&cluster) {
            names.remove(name);
            if names.is_empty() {
                self.clusters.remove(&cluster);
            }
        }
    }
}

/// Names that a list has brought.
#[derive(Debug, Default)]
pub struct Listed(HashMap<Box<str>, HashSet<Box<str>>>);

impl Listed {
    /// Takes note of one.
    pub fn add(&mut self, namespace: &str, name: &str) {
        self.0.entry(namespace.into()).or_default().insert(name.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<T>(found: &Found<T>) -> Vec<&str> {
        found.keys().map(String::as_str).collect()
    }

    #[test]
    fn a_cluster_finds_its_own_objects_and_any_by_its_name() {
        let shelf = Shelf::default();
        shelf.put("chat", "papo-a", Some("papo"), 1);
        shelf.put("chat", "papo-b", Some("papo"), 2);
        shelf.put("chat", "outro-a", Some("outro"), 3);
        shelf.put("chat", "broker", None, 4);
        shelf.put("else", "papo-a", Some("papo"), 5);
        assert_eq!(names(&shelf.of_cluster("chat", "papo")), ["papo-a", "papo-b"]);
        assert_eq!(
            names(&shelf.of_names("chat", ["broker", "outro-a", "none"].map(str::to_owned))),
            ["broker", "outro-a"]
        );
        shelf.remove("chat", "papo-a");
        shelf.remove("chat", "papo-a");
        assert_eq!(names(&shelf.of_cluster("chat", "papo")), ["papo-b"]);
        assert_eq!(*shelf.of_cluster("else", "papo")["papo-a"], 5);
    }

    #[test]
    fn an_object_that_gets_another_owner_is_found_with_that_one_only() {
        let shelf = Shelf::default();
        shelf.put("chat", "broker", Some("papo"), 1);
        shelf.put("chat", "broker", Some("outro"), 2);
        assert!(shelf.of_cluster("chat", "papo").is_empty());
        assert_eq!(*shelf.of_cluster("chat", "outro")["broker"], 2);
    }

    #[test]
    fn what_a_new_list_lacks_is_forgotten() {
        let shelf = Shelf::default();
        for (namespace, name) in [("a", "x"), ("a", "y"), ("b", "x")] {
            shelf.put(namespace, name, Some("papo"), ());
        }
        let mut listed = Listed::default();
        listed.add("a", "y");
        shelf.keep_only(&listed);
        assert_eq!(names(&shelf.of_cluster("a", "papo")), ["y"]);
        assert!(shelf.of_cluster("b", "papo").is_empty() && shelf.lock().len() == 1);
    }
}
