//! Licences of everything that is built in, whatever the platform. Which ones are allowed stands in `deny.toml` alone.

use std::process::Command;

use serde_json::Value;
use toml::Table;

use crate::repo::{nothing, read, root};

/// A licence expression as SPDX writes them, with the old `/` for `OR`, read from left to right.
struct Expression<'a> {
    /// What is left to read.
    tokens: std::iter::Peekable<std::vec::IntoIter<&'a str>>,
    allowed: &'a [String],
}

impl Expression<'_> {
    /// Whether what is allowed is enough for the expression.
    fn is_met(text: &str, allowed: &[String]) -> bool {
        let spaced = text.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let tokens: Vec<&str> = spaced.split_whitespace().collect();
        let mut expression = Expression { tokens: tokens.into_iter().peekable(), allowed };
        expression.either() && expression.tokens.next().is_none()
    }

    fn either(&mut self) -> bool {
        let mut met = self.both();
        while self.tokens.next_if_eq(&"OR").is_some() {
            // Not `||`: what is right of it has to be read all the same.
            met |= self.both();
        }
        met
    }

    fn both(&mut self) -> bool {
        let mut met = self.one();
        while self.tokens.next_if_eq(&"AND").is_some() {
            met &= self.one();
        }
        met
    }

    fn one(&mut self) -> bool {
        match self.tokens.next() {
            Some("(") => {
                let met = self.either();
                met && self.tokens.next() == Some(")")
            }
            Some(name) => {
                let name = match self.tokens.next_if_eq(&"WITH").and_then(|_| self.tokens.next()) {
                    Some(exception) => format!("{name} WITH {exception}"),
                    None => name.to_owned(),
                };
                self.allowed.contains(&name)
            }
            None => false,
        }
    }
}

/// The licences that `deny.toml` allows.
fn allowed() -> Vec<String> {
    let deny: Table = read("deny.toml").parse().unwrap_or_else(|error| panic!("deny.toml: {error}"));
    let list = deny.get("licenses").and_then(|licences| licences.get("allow")).and_then(toml::Value::as_array);
    list.into_iter().flatten().filter_map(toml::Value::as_str).map(str::to_owned).collect()
}

#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--quiet"])
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("cargo metadata can't be run: {error}"));
    assert!(output.status.success(), "cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}"));
    let packages = metadata.get("packages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    assert!(packages.len() > 20, "only {} packages were found", packages.len());

    let allowed = allowed();
    let mut wrong = Vec::new();
    for package in packages {
        let said = |key| package.get(key).and_then(Value::as_str).unwrap_or("none");
        if !Expression::is_met(said("license"), &allowed) {
            wrong.push(format!("{} {}: {}", said("name"), said("version"), said("license")));
        }
    }
    nothing(&wrong, "`deny.toml` doesn't allow the licences of these");
}

#[test]
fn a_licence_expression_is_met_as_its_words_say() {
    let allowed = ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    let is_met = |text| Expression::is_met(text, &allowed);
    for met in ["MIT", "GPL-2.0 OR MIT", "MIT/Apache-2.0", "(MIT OR GPL-2.0) AND Unicode-3.0", "MIT AND Unicode-3.0"] {
        assert!(is_met(met), "{met}");
    }
    assert!(is_met("Apache-2.0 WITH LLVM-exception OR GPL-2.0"));
    for unmet in ["", "none", "GPL-2.0", "MIT AND GPL-2.0", "Apache-2.0", "MIT Unicode-3.0", "(MIT", "GPL-2.0 OR BSD"] {
        assert!(!is_met(unmet), "{unmet}");
    }
}
