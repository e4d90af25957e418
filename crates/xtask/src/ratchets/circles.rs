//! Circles of files: files of a crate that use each other, so that none is understood without the
//! others.
//!
//! A file uses another when one of its paths (`crate::a::b`, `super::c`, `self::d`, or a name that
//! a `use` brought) leads to an item in it. Re-exports are followed to the file that has the
//! item. Test modules and the arguments of macros are not looked at.

use super::figures::Figures;
use crate::source::SourceFile;
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::Visit;

/// A module by its path inside the crate; the crate's root is empty.
type ModulePath = Vec<String>;

pub(super) fn measure(files: &[SourceFile], figures: &mut Figures) {
    let mut crates: BTreeMap<&str, Vec<&SourceFile>> = BTreeMap::new();
    for file in files {
        if let Some((folder, _)) = file.path.split_once("/src/") {
            crates.entry(folder).or_default().push(file);
        }
    }
    for files in crates.values() {
        for circle in circles(&uses(files)) {
            figures.insert(format!("circle {}", circle[0]), circle.len());
        }
    }
}

/// Which files each file of a crate uses, by path.
fn uses(files: &[&SourceFile]) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeMap<ModulePath, Module> = files
        .iter()
        .map(|file| (module_path(&file.path), Module::of(file)))
        .collect();
    let tests: Vec<ModulePath> = modules
        .iter()
        .flat_map(|(path, module)| {
            module.tests.iter().map(|name| {
                let mut test = path.clone();
                test.push(name.clone());
                test
            })
        })
        .collect();
    modules
        .iter()
        .filter(|(path, _)| !tests.iter().any(|test| path.starts_with(test)))
        .map(|(path, module)| {
            let used = module
                .paths
                .iter()
                .filter_map(|used| absolute(path, used))
                .filter_map(|used| file_with(&modules, &used, 0))
                .filter(|file| *file != module.file)
                .collect();
            (module.file.clone(), used)
        })
        .collect()
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are the module `a::b`; `lib.rs` and `main.rs` are the root.
fn module_path(file: &str) -> ModulePath {
    let inside = file.split_once("/src/").map_or(file, |(_, inside)| inside);
    let inside = inside.strip_suffix(".rs").unwrap_or(inside);
    let mut path: ModulePath = inside.split('/').map(str::to_owned).collect();
    if path
        .last()
        .is_some_and(|name| ["lib", "main", "mod"].contains(&name.as_str()))
    {
        path.pop();
    }
    path
}

/// The path from the crate's root, or nothing for a path that leaves the crate.
fn absolute(module: &ModulePath, used: &[String]) -> Option<ModulePath> {
    let mut base = match used.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => module.clone(),
        _ => return None,
    };
    for name in used {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => {
                base.pop()?;
            }
            name => base.push(name.to_owned()),
        }
    }
    Some(base)
}

/// The file with the item that a path names: that of the longest module in the path, or, where
/// that module only exports the next name again, the file where it comes from.
fn file_with(
    modules: &BTreeMap<ModulePath, Module>,
    path: &ModulePath,
    depth: usize,
) -> Option<String> {
    const DEEPEST: usize = 8;
    let length = (0..=path.len())
        .rev()
        .find(|length| modules.contains_key(&path[..*length]))?;
    let module = &modules[&path[..length]];
    let Some(name) = path.get(length) else {
        // The module itself is named, as in `use super::trim;`: its items are named further on.
        return Some(module.file.clone());
    };
    let exported = module
        .exports
        .get(name)
        .and_then(|from| absolute(&path[..length].to_vec(), from));
    match exported {
        Some(from) if depth < DEEPEST => file_with(modules, &from, depth + 1),
        _ => Some(module.file.clone()),
    }
}

/// One file of a crate, as far as circles care.
#[derive(Default)]
struct Module {
    file: String,
    /// Every path in the code, with those of `use` written out.
    paths: Vec<Vec<String>>,
    /// Names that `use` brings in, with the paths they stand for: modules above may use them.
    exports: BTreeMap<String, Vec<String>>,
    /// Child modules that only tests have.
    tests: Vec<String>,
    children: BTreeSet<String>,
}

/// A name that a module only exports again is not a use: a crate's root exports what its files have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Brought {
    ToUse,
    ToExport,
}

impl Module {
    fn of(file: &SourceFile) -> Self {
        let mut module = Self {
            file: file.path.clone(),
            ..Self::default()
        };
        for item in &file.syntax.items {
            if let syn::Item::Mod(child) = item {
                module.children.insert(child.ident.to_string());
            }
        }
        module.visit_file(&file.syntax);
        module
    }

    /// Writes out `use a::{b, c as d}`; a path that opens with a child module's name is inside the
    /// crate, too.
    fn use_tree(&mut self, tree: &syn::UseTree, mut before: Vec<String>, brought: Brought) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.use_tree(&path.tree, before, brought);
            }
            syn::UseTree::Name(name) => {
                let name = name.ident.to_string();
                if name != "self" {
                    before.push(name);
                }
                let known = before.last().cloned().unwrap_or_default();
                self.bring(known, before, brought);
            }
            syn::UseTree::Rename(rename) => {
                before.push(rename.ident.to_string());
                self.bring(rename.rename.to_string(), before, brought);
            }
            // What a glob brings cannot be told from the text: the module counts.
            syn::UseTree::Glob(_) => {
                let path = self.inside(before);
                self.paths.push(path);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(tree, before.clone(), brought);
                }
            }
        }
    }

    fn bring(&mut self, name: String, path: Vec<String>, brought: Brought) {
        let path = self.inside(path);
        if brought == Brought::ToUse {
            self.paths.push(path.clone());
        }
        self.exports.insert(name, path);
    }

    fn inside(&self, mut path: Vec<String>) -> Vec<String> {
        if path
            .first()
            .is_some_and(|first| self.children.contains(first))
        {
            path.insert(0, "self".to_owned());
        }
        path
    }
}

fn only_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|condition| condition.is_ident("test"))
    })
}

impl<'a> Visit<'a> for Module {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if only_tests(&item.attrs) {
            self.tests.push(item.ident.to_string());
        } else {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if !only_tests(&item.attrs) {
            let brought = match item.vis {
                syn::Visibility::Inherited => Brought::ToUse,
                _ => Brought::ToExport,
            };
            self.use_tree(&item.tree, Vec::new(), brought);
        }
    }

    /// `pub(super)` names a module and uses nothing of it.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        // A name alone was brought by a `use`, or is one of this file.
        if names.len() == 1 {
            return syn::visit::visit_path(self, path);
        }
        // `trim::plan(..)` after `use super::trim` names an item of that module.
        let names = match names.first().and_then(|first| self.exports.get(first)) {
            Some(from) => from.iter().chain(&names[1..]).cloned().collect(),
            _ => self.inside(names),
        };
        self.paths.push(names);
        syn::visit::visit_path(self, path);
    }
}

/// The circles of a graph: its strongly connected parts of more than one node, sorted.
fn circles(uses: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = uses
        .keys()
        .map(|file| (file, reachable(uses, file)))
        .collect();
    let mut circles: BTreeSet<Vec<String>> = BTreeSet::new();
    for (file, others) in &reached {
        if others.contains(*file) {
            let circle = others
                .iter()
                .filter(|other| {
                    reached
                        .get(**other)
                        .is_some_and(|back| back.contains(*file))
                })
                .map(|other| (*other).clone())
                .collect();
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

fn reachable<'a>(
    uses: &'a BTreeMap<String, BTreeSet<String>>,
    from: &String,
) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&String> = uses.get(from).into_iter().flatten().collect();
    while let Some(file) = open.pop() {
        if found.insert(file) {
            open.extend(uses.get(file).into_iter().flatten());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<(String, usize)> {
        let files: Vec<SourceFile> = files
            .iter()
            .map(|(path, text)| SourceFile::of(&format!("crates/x/src/{path}"), text))
            .collect();
        let mut figures = Figures::new();
        measure(&files, &mut figures);
        figures.into_iter().collect()
    }

    #[test]
    fn files_that_use_each_other_are_a_circle() {
        assert_eq!(
            found(&[
                ("lib.rs", "mod a; mod b; mod c;"),
                ("a.rs", "use crate::b::B; pub struct A(B);"),
                ("b.rs", "pub struct B; fn f() -> crate::c::C { todo!() }"),
                ("c.rs", "use super::a; pub struct C(a::A);"),
            ]),
            [("circle crates/x/src/a.rs".to_owned(), 3)]
        );
    }

    #[test]
    fn uses_in_one_direction_are_none() {
        assert_eq!(
            found(&[
                ("lib.rs", "mod a; mod b; pub use a::A;"),
                ("a.rs", "mod c; use crate::b::B; pub struct A(B, c::C);"),
                ("a/c.rs", "pub(super) struct C;"),
                ("b.rs", "use std::fmt; pub struct B;"),
            ]),
            []
        );
    }

    #[test]
    fn a_name_that_is_exported_again_leads_to_its_own_file() {
        assert_eq!(
            found(&[
                ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
                ("a.rs", "use crate::B; pub struct A(B);"),
                ("b.rs", "pub struct B;"),
            ]),
            []
        );
    }

    #[test]
    fn modules_for_tests_do_not_count() {
        assert_eq!(
            found(&[
                ("lib.rs", "mod a; mod b;"),
                (
                    "a.rs",
                    "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }"
                ),
                ("b.rs", "use crate::a::A; pub struct B(A);"),
            ]),
            []
        );
    }

    #[test]
    fn a_child_that_uses_its_parent_is_a_circle_when_the_parent_uses_it() {
        let child = ("a/child.rs", "use super::A; impl A { pub fn f() {} }");
        assert_eq!(
            found(&[
                ("lib.rs", "mod a;"),
                ("a.rs", "mod child; pub struct A;"),
                child
            ]),
            []
        );
        assert_eq!(
            found(&[
                ("lib.rs", "mod a;"),
                ("a.rs", "mod child; pub struct A(child::C);"),
                child
            ]),
            [("circle crates/x/src/a.rs".to_owned(), 2)]
        );
    }
}
