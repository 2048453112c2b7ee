//! The repository as files. What builds and runs leave behind is not part of it.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that builds and runs leave behind; `.gitignore` names them too.
const LEFT_BEHIND: [&str; 4] = [".git", "target", "node_modules", "fanfare-data"];

/// One text file of the repository.
pub(crate) struct Text {
    /// Its path from the root, with `/` between the parts.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
}

impl Text {
    /// Whether its name ends with one of these.
    pub(crate) fn is(&self, ends: &[&str]) -> bool {
        ends.iter().any(|end| self.path.ends_with(end))
    }

    /// Whether somebody else wrote it and it is kept as it came.
    pub(crate) fn is_vendored(&self) -> bool {
        self.path.split('/').any(|part| part == "vendor")
    }
}

/// The folder that holds everything.
pub(crate) fn root() -> PathBuf {
    // As cargo says it now, not when this was compiled: a checkout may have moved since.
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// What a file of the repository holds.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path} can't be read: {error}"))
}

/// All text files. What isn't UTF-8 is left out.
pub(crate) fn texts() -> Vec<Text> {
    let mut texts = Vec::new();
    for path in files() {
        if let Ok(text) = fs::read_to_string(root().join(&path)) {
            texts.push(Text { path, text });
        }
    }
    assert!(texts.len() > 100, "only {} files were found in {}", texts.len(), root().display());
    texts
}

/// The paths of all files, from the root.
pub(crate) fn files() -> Vec<String> {
    let mut files = Vec::new();
    walk("", &mut |path, is_folder| {
        if !is_folder {
            files.push(path.to_owned());
        }
    });
    files
}

/// The paths of all folders, from the root.
pub(crate) fn folders() -> Vec<String> {
    let mut folders = Vec::new();
    walk("", &mut |path, is_folder| {
        if is_folder {
            folders.push(path.to_owned());
        }
    });
    folders
}

/// Shows everything in a folder and below, in the order of the names. Links are not followed.
fn walk(folder: &str, visit: &mut impl FnMut(&str, bool)) {
    let listing = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder:?} can't be read: {error}"));
    let mut children = Vec::new();
    for child in listing.flatten() {
        let Ok(kind) = child.file_type() else { continue };
        if let Ok(name) = child.file_name().into_string()
            && !LEFT_BEHIND.contains(&name.as_str())
            && !kind.is_symlink()
        {
            children.push((name, kind.is_dir()));
        }
    }
    children.sort();
    for (name, is_folder) in children {
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        visit(&path, is_folder);
        if is_folder {
            walk(&path, visit);
        }
    }
}

/// Fails with everything that was found, if anything was.
#[track_caller]
pub(crate) fn nothing(found: &[String], what: &str) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}
