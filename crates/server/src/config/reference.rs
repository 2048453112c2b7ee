//! The reference page of all settings, made of their types: `docs/reference/configuration.md`.

use std::fmt::Write as _;

use serde_json::Value;

use super::keys::{Key, Kind, keys, sections};

const HEAD: &str = "\
# Configuration

<!-- Made by `fanfare config reference`; a test compares. -->

Everything has a default; `fanfare` alone serves a developer on their own machine. What is said more closely counts:

1. a flag: `--streams-max 500`, or `--set streams.max=500` for any key but those of rules
2. the environment: `FANFARE_STREAMS_MAX=500`; lists with commas
3. the file: `--config FILE`, `FANFARE_CONFIG`, or `fanfare.toml` in the current folder
4. the default

`fanfare config check` says whether all of it can be used, `fanfare config show` what counts and where each value is from.
An unknown key is an error, in the file, in a flag, and in the environment if it is almost a known one.

A running server reads all of it again on `SIGHUP` (`systemctl reload`, `kill -HUP`). No stream is dropped. What can't be
used is told in the log, and the server goes on with what it had. Keys marked with ↻ need a restart. Stricter limits of
history hold within moments for all channels; a stream that is open keeps its heartbeat until it comes back.

Lengths of time are digits and `ms`, `s`, `m`, `h` or `d`; sizes are digits and `B`, `KiB`, `MiB`, `GiB`, `TiB`, or `KB`, `MB`,
`GB`, `TB` in powers of 1,000.

```toml
listen = [\"localhost:8080\"]

[storage]
folder = \"/var/lib/fanfare\"

[door]
allow_hosts = [\"hub.example.com\"]
allow_origins = [\"https://www.example.com\"]

[[rule]]
pattern = \"chat:typing:*\"
durability = \"transient\"

[[rule]]
pattern = \"chat:*\"
history = { count_max = 1000, age_max = \"30d\" }
```
";

/// The page, as Markdown.
pub fn reference() -> String {
    let keys = keys();
    let mut page = HEAD.to_owned();
    page.push_str("\n## At the top of the file\n");
    table(&mut page, keys.iter().filter(|key| !key.path.contains('.')), 0);
    for section in sections() {
        let is_own = |key: &&Key| key.path.rsplit_once('.').is_some_and(|(before, _)| before == section.name);
        let title = if section.name == "rule" { "[[rule]]".to_owned() } else { format!("[{}]", section.name) };
        let _ = write!(page, "\n## `{title}`\n\n{}\n", section.doc);
        table(&mut page, keys.iter().filter(is_own), section.name.len() + 1);
    }
    page
}

fn table<'a>(page: &mut String, keys: impl Iterator<Item = &'a Key>, prefix: usize) {
    page.push_str("\n| key | default | |\n|---|---|---|\n");
    for key in keys {
        let name = key.path.get(prefix..).unwrap_or_default();
        let restart = if key.restart { " ↻" } else { "" };
        let words = match &key.kind {
            Kind::Word(words) => {
                format!(" One of {}.", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
            }
            _ => String::new(),
        };
        let _ = writeln!(page, "| `{name}`{restart} | {} | {}{words} |", default(key), key.doc.replace('|', "\\|"));
    }
}

fn default(key: &Key) -> String {
    match &key.default {
        Value::Null if key.required => "must be there".into(),
        Value::Null => "none".into(),
        Value::Array(items) if items.is_empty() => "empty".into(),
        value => format!("`{value}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_page_in_the_repository_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/configuration.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == reference(), "write it anew: cargo run -- config reference > docs/reference/configuration.md");
    }

    #[test]
    fn the_example_can_be_used() {
        let example = HEAD.split("```toml").nth(1).unwrap().split("```").next().unwrap();
        let config: Config = toml::from_str(example).unwrap();
        assert_eq!(config.rules.len(), 2);
        config.check().unwrap();
    }
}
