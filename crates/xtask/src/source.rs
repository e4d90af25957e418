//! The repository's Rust files, found and parsed once for every rule that looks at them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders at the root that hold our Rust code.
const CODE: &[&str] = &["crates", "proto-tests", "bench"];

/// One parsed Rust file.
pub struct SourceFile {
    /// From the repository's root, with `/`.
    pub path: String,
    pub text: String,
    pub syntax: syn::File,
}

impl SourceFile {
    /// The crate that the file belongs to, by its folder's name.
    pub fn crate_name(&self) -> &str {
        let inside = self.path.strip_prefix("crates/").unwrap_or(&self.path);
        inside.split('/').next().unwrap_or_default()
    }

    /// A file that a test makes up.
    #[cfg(test)]
    pub(crate) fn of(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            syntax: syn::parse_file(text).expect("the test's code is Rust"),
        }
    }
}

/// The repository's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace has a root")
}

/// Every Rust file of ours, by path.
///
/// # Errors
///
/// A sentence that names the file that cannot be read or parsed.
pub fn parsed() -> Result<Vec<SourceFile>, String> {
    let root = root();
    let mut paths = Vec::new();
    for folder in CODE {
        files_ending(&root.join(folder), &["rs"], &mut paths);
    }
    paths.sort();
    paths.iter().map(|path| parse(&root, path)).collect()
}

fn parse(root: &Path, file: &Path) -> Result<SourceFile, String> {
    let path = file
        .strip_prefix(root)
        .map_err(|e| format!("{}: {e}", file.display()))?
        .to_string_lossy()
        .replace('\\', "/");
    let text = fs::read_to_string(file).map_err(|e| format!("cannot read {path}: {e}"))?;
    let syntax = syn::parse_file(&text).map_err(|e| format!("cannot parse {path}: {e}"))?;
    Ok(SourceFile { path, text, syntax })
}

/// Adds the files below a folder whose names end in one of `endings` (without the dot). Build
/// output and installed packages are left out.
pub fn files_ending(below: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(below).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() {
            let name = path.file_name().unwrap_or_default();
            if name != "target" && name != "node_modules" {
                files_ending(&path, endings, found);
            }
        } else if path
            .extension()
            .is_some_and(|extension| endings.iter().any(|ending| extension == *ending))
        {
            found.push(path);
        }
    }
}
