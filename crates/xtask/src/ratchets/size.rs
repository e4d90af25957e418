//! Lengths of files and functions, and names that several types share.

use super::figures::Figures;
use crate::source::SourceFile;
use std::collections::BTreeMap;
use syn::visit::Visit;

/// A file that is longer has more than one purpose, in our experience.
const LONGEST_FILE: usize = 400;

/// Lines of a function, from `fn` to its last brace.
const LONGEST_FUNCTION: usize = 70;

pub(super) fn measure(files: &[SourceFile], figures: &mut Figures) {
    let mut types: BTreeMap<String, usize> = BTreeMap::new();
    for file in files {
        let lines = file.text.lines().count();
        if lines > LONGEST_FILE {
            figures.insert(format!("long-file {}", file.path), lines);
        }
        let mut found = SizeVisitor::default();
        found.visit_file(&file.syntax);
        for (name, lines) in found.long_functions {
            let longest = figures
                .entry(format!("long-function {} {name}", file.path))
                .or_default();
            *longest = lines.max(*longest);
        }
        for name in found.types {
            *types.entry(name).or_default() += 1;
        }
    }
    for (name, types) in types.into_iter().filter(|(_, types)| *types > 1) {
        figures.insert(format!("shared-name {name}"), types);
    }
}

#[derive(Default)]
struct SizeVisitor {
    /// Names and lines.
    long_functions: Vec<(String, usize)>,
    /// Names of structs, enums and traits. An alias names a type that is counted elsewhere.
    types: Vec<String>,
}

impl SizeVisitor {
    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let last = body.brace_token.span.close().end().line;
        let lines = last - first + 1;
        if lines > LONGEST_FUNCTION {
            self.long_functions
                .push((signature.ident.to_string(), lines));
        }
    }
}

impl<'a> Visit<'a> for SizeVisitor {
    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.function(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_struct(&mut self, item: &'a syn::ItemStruct) {
        self.types.push(item.ident.to_string());
        syn::visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'a syn::ItemEnum) {
        self.types.push(item.ident.to_string());
        syn::visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'a syn::ItemTrait) {
        self.types.push(item.ident.to_string());
        syn::visit::visit_item_trait(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(files: &[SourceFile]) -> Vec<(String, usize)> {
        let mut figures = Figures::new();
        measure(files, &mut figures);
        figures.into_iter().collect()
    }

    #[test]
    fn a_function_is_as_long_as_its_lines_from_fn_to_brace() {
        let body = |lines: usize| format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines));
        assert_eq!(measured(&[SourceFile::of("a.rs", &body(68))]), []);
        assert_eq!(
            measured(&[SourceFile::of("a.rs", &body(69))]),
            [("long-function a.rs f".to_owned(), 71)]
        );
    }

    #[test]
    fn a_file_may_have_four_hundred_lines() {
        assert_eq!(measured(&[SourceFile::of("a.rs", &"\n".repeat(400))]), []);
        assert_eq!(
            measured(&[SourceFile::of("a.rs", &"\n".repeat(401))]),
            [("long-file a.rs".to_owned(), 401)]
        );
    }

    #[test]
    fn names_are_shared_across_crates_and_kinds_of_types() {
        let files = [
            SourceFile::of("crates/a/src/lib.rs", "struct Cut; struct Other;"),
            SourceFile::of(
                "crates/b/src/lib.rs",
                "enum Cut {} mod inner { trait Cut {} }",
            ),
        ];
        assert_eq!(measured(&files), [("shared-name Cut".to_owned(), 3)]);
    }
}
