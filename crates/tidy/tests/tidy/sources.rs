//! Source files: that each says what it is for, is short, is finished, and knows no machine but the reader's.

use crate::repo::{nothing, texts};

/// Lines of a source file that need no reason.
const LINES_MAX: usize = 500;

/// Longer files, each with its reason. Shorten one and take it off.
const LONGER: [(&str, &str); 0] = [];

/// What people write by hand.
const WRITTEN: [&str; 11] = [".rs", ".js", ".mjs", ".ts", ".css", ".html", ".md", ".toml", ".json", ".yml", "check"];

#[test]
fn every_source_file_says_what_it_is_for() {
    let mut silent = Vec::new();
    for file in texts() {
        if file.path.starts_with("crates/") && file.path.contains("/src/") && file.is(&[".rs"]) {
            let said = file.text.strip_prefix("//! ").is_some_and(|said| said.trim().len() > 10);
            if !said {
                silent.push(file.path);
            }
        }
    }
    nothing(&silent, "these files don't open with `//!` and what they are for");
}

#[test]
fn source_files_are_short_or_have_a_reason() {
    let mut long = Vec::new();
    for file in texts() {
        if file.is(&[".rs", ".js", ".mjs"]) && !file.is_vendored() {
            let lines = file.text.lines().count();
            let has_reason = LONGER.iter().any(|(path, _)| *path == file.path);
            if lines > LINES_MAX && !has_reason {
                long.push(format!("{} has {lines} lines", file.path));
            }
            if lines <= LINES_MAX && has_reason {
                long.push(format!("{} is short now: take it off the list", file.path));
            }
        }
    }
    nothing(&long, "a file has one noun; these may have more");
}

#[test]
fn no_file_holds_the_marks_of_a_conflict() {
    // What git writes around two versions, at a line's beginning. Its middle mark is an underline, too.
    let marks = ["<", ">", "|"].map(|mark| mark.repeat(7));
    let mut found = Vec::new();
    for file in texts() {
        for (number, line) in (1..).zip(file.text.lines()) {
            if marks
                .iter()
                .any(|mark| line.strip_prefix(mark.as_str()).is_some_and(|rest| !rest.starts_with(&mark[..1])))
            {
                found.push(format!("{}:{number}: {line}", file.path));
            }
        }
    }
    nothing(&found, "a merge was not finished");
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    // Built from parts, or this file would find itself.
    let macros = [["to", "do!("].concat(), ["unimple", "mented!("].concat()];
    let marks = [["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let mut found = Vec::new();
    for file in texts() {
        if file.is_vendored() || !file.is(&WRITTEN) || file.is(&["package-lock.json"]) {
            continue;
        }
        for (number, line) in (1..).zip(file.text.lines()) {
            let marked = line.split(|c: char| !c.is_alphanumeric()).any(|word| marks.iter().any(|mark| mark == word));
            if marked || macros.iter().any(|name| line.contains(name.as_str())) {
                found.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    nothing(&found, "finish these, or write an issue");
}

#[test]
fn tests_that_do_not_always_run_are_long_ones() {
    // Built from parts, or this file would find itself.
    let mark = ["#[ign", "ore"].concat();
    let long = format!("{mark} = \"long: ");
    let mut found = Vec::new();
    for file in texts().iter().filter(|file| file.is(&[".rs"])) {
        for (number, line) in (1..).zip(file.text.lines()) {
            let line = line.trim();
            if line.starts_with(&mark) && !line.starts_with(&long) {
                found.push(format!("{}:{number}: {line}", file.path));
            }
        }
    }
    nothing(&found, "nothing runs these; `./check --long` runs those whose reason begins with `long: `");
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    // Built from parts, or this file would find itself.
    let homes = [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat(), ["/ho", "me/"].concat(), ["/Us", "ers/"].concat()];
    let mut found = Vec::new();
    for file in texts() {
        for (number, line) in (1..).zip(file.text.lines()) {
            if homes.iter().any(|home| line.contains(home.as_str())) {
                found.push(format!("{}:{number}", file.path));
            }
        }
    }
    nothing(&found, "these lines name a folder of somebody's machine");
}
