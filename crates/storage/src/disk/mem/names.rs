//! The names of a simulated disk, and the changes of them that a power loss may undo.

use super::inode::Inode;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(Default)]
pub(super) struct Names {
    pub live: BTreeMap<PathBuf, Node>,
    pub durable: BTreeMap<PathBuf, Node>,
    /// Changes of names, oldest first, that no directory sync has made durable.
    pub pending: Vec<Change>,
    pub held: BTreeSet<PathBuf>,
}

#[derive(Clone)]
pub(super) enum Node {
    Dir,
    File(Arc<Mutex<Inode>>),
}

pub(super) enum Change {
    Put(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl Change {
    pub fn touches(&self, dir: &Path) -> bool {
        match self {
            Change::Put(path, _) | Change::Remove(path) => path.parent() == Some(dir),
            Change::Rename(from, to) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }

    pub fn apply(self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Change::Put(path, node) => {
                names.insert(path, node);
            }
            Change::Remove(path) => names.retain(|name, _| !name.starts_with(&path)),
            Change::Rename(from, to) => rename(names, &from, &to),
        }
    }
}

pub(super) fn rename(names: &mut BTreeMap<PathBuf, Node>, from: &Path, to: &Path) {
    let moved: Vec<_> = names
        .keys()
        .filter(|name| name.starts_with(from))
        .cloned()
        .collect();
    for name in moved {
        if let (Some(node), Ok(rest)) = (names.remove(&name), name.strip_prefix(from)) {
            let target = if rest.as_os_str().is_empty() {
                to.to_owned()
            } else {
                to.join(rest)
            };
            names.insert(target, node);
        }
    }
}

impl Names {
    /// The same names over files of their own; a file with several names stays one file. Nothing is
    /// held in the copy.
    pub fn copy(&self) -> Names {
        let mut copied = Copied::default();
        let pending = self.pending.iter().map(|change| match change {
            Change::Put(path, node) => Change::Put(path.clone(), copied.node(node)),
            Change::Remove(path) => Change::Remove(path.clone()),
            Change::Rename(from, to) => Change::Rename(from.clone(), to.clone()),
        });
        Names {
            pending: pending.collect(),
            live: copied.all(&self.live),
            durable: copied.all(&self.durable),
            held: BTreeSet::new(),
        }
    }
}

/// Files that were copied, by the address of the original: one is reached over several names.
#[derive(Default)]
struct Copied(BTreeMap<usize, Arc<Mutex<Inode>>>);

impl Copied {
    fn all(&mut self, names: &BTreeMap<PathBuf, Node>) -> BTreeMap<PathBuf, Node> {
        let copied = names
            .iter()
            .map(|(path, node)| (path.clone(), self.node(node)));
        copied.collect()
    }

    fn node(&mut self, node: &Node) -> Node {
        let Node::File(inode) = node else {
            return Node::Dir;
        };
        let copied = self
            .0
            .entry(Arc::as_ptr(inode) as usize)
            .or_insert_with(|| Arc::new(Mutex::new(inode.lock().clone())));
        Node::File(copied.clone())
    }
}

impl Node {
    pub fn file(&self) -> Option<Arc<Mutex<Inode>>> {
        match self {
            Node::Dir => None,
            Node::File(inode) => Some(inode.clone()),
        }
    }
}
