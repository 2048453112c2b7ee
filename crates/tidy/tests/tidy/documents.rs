//! The documents: that links lead somewhere, and that ARCHITECTURE.md names every room.

use std::collections::HashSet;

use crate::repo::{files, folders, nothing, read, texts};

/// A Markdown file without its code: what is left is prose, headings and links.
fn prose(text: &str) -> String {
    let mut prose = String::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            // Every second piece between backticks is code; a heading keeps its words, so only brackets go.
            for (at, piece) in line.split('`').enumerate() {
                let piece = if at % 2 == 1 { piece.replace(['[', ']', '(', ')'], "") } else { piece.to_owned() };
                prose.push_str(&piece);
            }
            prose.push('\n');
        }
    }
    prose
}

/// Where the links of a Markdown file lead: `[text](target)` and `[name]: target`.
fn targets(prose: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose.lines() {
        for (at, _) in line.match_indices("](") {
            let rest = line.get(at + 2..).unwrap_or_default();
            targets.extend(rest.split_once(')').map(|(target, _)| target.to_owned()));
        }
        if line.starts_with('[')
            && let Some((_, target)) = line.split_once("]: ")
        {
            targets.push(target.trim().to_owned());
        }
    }
    targets
}

/// The anchors of a Markdown file's headings, as code hosts make them.
fn anchors(prose: &str) -> HashSet<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// The path that a link in `from` leads to, or `None` where it leads above the root.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[test]
fn links_between_documents_lead_somewhere() {
    let known: HashSet<String> = files().into_iter().chain(folders()).collect();
    let mut broken = Vec::new();
    for file in texts() {
        if !file.is(&[".md"]) || file.is_vendored() {
            continue;
        }
        for target in targets(&prose(&file.text)) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let to = if path.is_empty() { Some(file.path.clone()) } else { resolve(&file.path, path) };
            let found = to.filter(|to| known.contains(to));
            let leads = found.is_some_and(|to| anchor.is_empty() || anchors(&prose(&read(&to))).contains(anchor));
            if !leads {
                broken.push(format!("{}: {target}", file.path));
            }
        }
    }
    nothing(&broken, "these links lead nowhere");
}

#[test]
fn architecture_names_every_folder_of_the_first_two_levels() {
    let architecture = read("ARCHITECTURE.md");
    let mut unnamed = Vec::new();
    for folder in folders() {
        if folder.matches('/').count() < 2 && !architecture.contains(&format!("{folder}/")) {
            unnamed.push(format!("{folder}/"));
        }
    }
    nothing(&unnamed, "ARCHITECTURE.md doesn't say what these are for");
}

#[test]
fn the_protocol_names_every_error_code() {
    // `Variant: "code", STATUS, "title";` within `codes! { … }`.
    let source = read("crates/server/src/error.rs");
    let list = source.split_once("\ncodes! {").and_then(|(_, rest)| rest.split_once("\n}")).map(|(list, _)| list);
    let lines = list.unwrap_or_default().lines().filter(|line| !line.trim_start().starts_with("///"));
    let codes: Vec<&str> = lines.filter_map(|line| line.split_once(": \"")?.1.split('"').next()).collect();
    assert!(codes.len() > 15, "only {} codes were found; has their list moved?", codes.len());
    let protocol = read("PROTOCOL.md");
    let unnamed = codes.iter().filter(|code| !protocol.contains(&format!("| `{code}` |")));
    let unnamed: Vec<String> = unnamed.map(|code| (*code).to_owned()).collect();
    nothing(&unnamed, "PROTOCOL.md doesn't say what these codes mean");
}

#[test]
fn links_and_headings_are_read_as_code_hosts_read_them() {
    let prose =
        prose("# Frames of `the hub`\n```\n[not](a-link)\n```\n`[nor](this)` but [this](a.md#b)\n[x]: ../y.md\n");
    assert_eq!(targets(&prose), ["a.md#b", "../y.md"]);
    assert!(anchors(&prose).contains("frames-of-the-hub"));
    assert_eq!(resolve("docs/a.md", "../README.md"), Some("README.md".to_owned()));
    assert_eq!(resolve("a.md", "../README.md"), None);
}
