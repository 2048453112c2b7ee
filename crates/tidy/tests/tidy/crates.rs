//! The crates: which may know which, what the inner ones must not know at all, and what each says of itself.

use toml::{Table, Value};

use crate::repo::{files, nothing, read};

/// Each crate with the crates of this repository that it may know: `wire ← hub ← server`, and nothing back.
const MAY_KNOW: [(&str, &[&str]); 5] = [
    ("fanfare-wire", &[]),
    ("fanfare-hub", &["fanfare-wire"]),
    ("fanfare", &["fanfare-wire", "fanfare-hub"]),
    ("fanfare-bench", &["fanfare-wire", "fanfare-hub", "fanfare"]),
    ("fanfare-tidy", &[]),
];

/// What the inner crates must not know: runtimes and I/O in the wire format, HTTP and configuration in the engine.
const MUST_NOT_KNOW: [(&str, &[&str]); 2] = [
    ("fanfare-wire", &["tokio", "mio", "bytes", "http", "hyper", "axum", "serde", "serde_json"]),
    ("fanfare-hub", &["http", "hyper", "hyper-util", "axum", "tower", "tower-http", "clap", "figment", "toml"]),
];

/// The manifests of all crates of the workspace.
fn manifests() -> Vec<(String, Table)> {
    let mut manifests = Vec::new();
    for path in files() {
        let is_crate = path.starts_with("crates/") && path.ends_with("/Cargo.toml") && path.matches('/').count() == 2;
        if is_crate {
            let manifest = read(&path).parse().unwrap_or_else(|error| panic!("{path}: {error}"));
            manifests.push((path, manifest));
        }
    }
    manifests
}

/// What a package says of itself under this key, here or through the workspace.
fn said<'a>(manifest: &'a Table, key: &str) -> Option<&'a Value> {
    manifest.get("package")?.get(key)
}

fn name(manifest: &Table) -> &str {
    said(manifest, "name").and_then(Value::as_str).unwrap_or_default()
}

/// The names under `[dependencies]` and `[build-dependencies]`, for all targets. Tests may know what they like.
fn dependencies(manifest: &Table) -> Vec<String> {
    let everywhere = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = everywhere.filter_map(Value::as_table).chain([manifest]);
    let mut names = Vec::new();
    for table in tables {
        for kind in ["dependencies", "build-dependencies"] {
            let Some(known) = table.get(kind).and_then(Value::as_table) else { continue };
            for (key, how) in known {
                let renamed = how.get("package").and_then(Value::as_str);
                names.push(renamed.unwrap_or(key).to_owned());
            }
        }
    }
    names
}

#[test]
fn crates_know_only_crates_to_their_left() {
    let mut wrong = Vec::new();
    let manifests = manifests();
    assert!(manifests.len() >= MAY_KNOW.len(), "crates are missing");
    for (path, manifest) in &manifests {
        let Some((_, allowed)) = MAY_KNOW.iter().find(|(of, _)| *of == name(manifest)) else {
            wrong.push(format!("{path} is a new crate: say in this test which others it may know"));
            continue;
        };
        for other in dependencies(manifest) {
            if other.starts_with("fanfare") && !allowed.contains(&other.as_str()) {
                wrong.push(format!("{path} must not know {other}"));
            }
        }
    }
    nothing(&wrong, "the direction is wire ← hub ← server");
}

#[test]
fn the_inner_crates_know_no_runtime_no_http_and_no_configuration() {
    let mut wrong = Vec::new();
    for (path, manifest) in manifests() {
        let of_this = MUST_NOT_KNOW.iter().filter(|(of, _)| *of == name(&manifest));
        for (_, forbidden) in of_this {
            for other in dependencies(&manifest) {
                if forbidden.contains(&other.as_str()) {
                    wrong.push(format!("{path} must not know {other}"));
                }
            }
        }
    }
    nothing(&wrong, "these belong into an outer crate");
}

#[test]
fn every_crate_says_what_it_is_and_takes_the_lints_of_the_workspace() {
    let mut wrong = Vec::new();
    for (path, manifest) in manifests() {
        let is_public = said(&manifest, "publish") != Some(&Value::Boolean(false));
        let needed: &[&str] = if is_public { &["description", "license", "repository"] } else { &["description"] };
        for key in needed {
            if said(&manifest, key).is_none() {
                wrong.push(format!("{path} has no {key}"));
            }
        }
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        if lints != Some(&Value::Boolean(true)) {
            wrong.push(format!("{path} doesn't take the lints of the workspace"));
        }
    }
    nothing(&wrong, "manifests are incomplete");
}
