//! Why settings can't be used: where it is, what is wrong, and what was probably meant.

use std::path::{Path, PathBuf};

use super::keys::keys;
use crate::request::query::closest;

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the settings in {} can't be read", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// The file isn't TOML, or has a key or a value that can't be.
    #[error("{}: {message}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What is wrong, with the line.
        message: String,
    },
    /// A variable of the environment or a flag names no key, or has a value that its key can't have.
    #[error("{origin}: {message}")]
    Said {
        /// Which variable or flag.
        origin: String,
        /// What is wrong.
        message: String,
    },
    /// Settings that each could be, but not together.
    #[error("`{key}` {message} (from {origin})")]
    Together {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        message: String,
        /// Where its value is from.
        origin: String,
    },
}

impl ConfigError {
    /// Of a file that could be read.
    pub(super) fn file(file: &Path, error: &toml::de::Error) -> Self {
        Self::File { file: file.to_owned(), message: with_advice(error.to_string().trim_end(), error.message()) }
    }

    /// Of a variable or a flag.
    pub(super) fn said(origin: &str, message: impl Into<String>) -> Self {
        Self::Said { origin: origin.to_owned(), message: message.into() }
    }
}

/// An unknown key, with the one that was probably meant.
pub(super) fn unknown_key(key: &str) -> String {
    let all = keys();
    let paths: Vec<&str> = all.iter().map(|key| key.path.as_str()).collect();
    match closest(key, &paths) {
        Some(meant) => format!("there is no setting `{key}`; did you mean `{meant}`?"),
        None => format!("there is no setting `{key}`; `fanfare config reference` lists all"),
    }
}

/// A message of the parser, with what was probably meant by a key that it doesn't know.
fn with_advice(whole: &str, message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (Some(unknown), true) = (quoted.next(), message.starts_with("unknown field")) else { return whole.to_owned() };
    let here: Vec<&str> = quoted.collect();
    let all = keys();
    let elsewhere = || all.iter().find(|key| key.path.rsplit('.').next() == Some(unknown)).map(|key| key.path.as_str());
    match closest(unknown, &here).or_else(elsewhere) {
        Some(meant) => format!("{whole}\ndid you mean `{meant}`?"),
        None => whole.to_owned(),
    }
}
