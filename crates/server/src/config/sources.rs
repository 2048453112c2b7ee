//! Where settings come from: a file, the environment, flags. What is said later counts, key by key.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Deserialize;
use toml::{Table, Value};

use super::error::unknown_key;
use super::keys::{Key, Kind, flatten, keys};
use super::{Config, ConfigError};
use crate::request::query::closest;

/// The file that is read where none is named, if it is there.
const FILE: &str = "fanfare.toml";

/// What the variables of the environment begin with.
const PREFIX: &str = "FANFARE_";

/// Variables that are no settings.
const VARIABLES: [&str; 1] = ["FANFARE_CONFIG"];

/// Where settings come from. Kept for as long as the server runs, so that a reload reads the same places again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The file; `None` is `fanfare.toml` in the current folder, if it is there.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// What flags said, in their order.
    pub flags: Vec<Said>,
}

/// A value that a variable or a flag gives to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Which: `--streams-max`.
    pub origin: String,
    /// The key: `streams.max`.
    pub key: String,
    /// The value; of a list several, each of which may have commas.
    pub values: Vec<String>,
}

/// Settings, and where each is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// By key; those that aren't here are defaults.
    origins: BTreeMap<String, String>,
}

impl Sources {
    /// Reads and checks all of them.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong: with its line, variable or flag, and what was probably meant.
    pub fn read(&self) -> Result<Loaded, ConfigError> {
        let (file, mut table) = self.read_file()?;
        let mut origins = BTreeMap::new();
        if let Some(file) = &file {
            let mut flat = std::collections::BTreeSet::new();
            flatten(&Value::Table(table.clone()), "", &mut flat);
            origins.extend(flat.into_iter().map(|(key, _)| (key, file.display().to_string())));
        }
        let keys = keys();
        let mut config = parse(&table).map_err(|error| ConfigError::said("settings", error.to_string()))?;
        for said in self.variables(&keys)?.iter().chain(&self.flags) {
            let key = keys.iter().find(|key| key.path == said.key && key.variable().is_some());
            let key = key.ok_or_else(|| ConfigError::said(&said.origin, unknown_key(&said.key)))?;
            let value = value(key, &said.values).map_err(|message| ConfigError::said(&said.origin, message))?;
            insert(&mut table, &said.key, value);
            config = parse(&table).map_err(|error| ConfigError::said(&said.origin, error.message().trim()))?;
            origins.insert(said.key.clone(), said.origin.clone());
        }
        let loaded = Loaded { config, file, origins };
        loaded.config.check().map_err(|(key, message)| ConfigError::Together {
            key,
            message,
            origin: loaded.origin(key).to_owned(),
        })?;
        Ok(loaded)
    }

    /// The file's table, checked by itself, so that what is wrong with it has a line.
    fn read_file(&self) -> Result<(Option<PathBuf>, Table), ConfigError> {
        let variable = self.environment.iter().find(|(name, value)| name == "FANFARE_CONFIG" && !value.is_empty());
        let named = self.file.clone().or_else(|| variable.map(|(_, file)| file.into()));
        let Some(file) = named.or_else(|| Some(PathBuf::from(FILE)).filter(|file| file.exists())) else {
            return Ok((None, Table::new()));
        };
        let text = std::fs::read_to_string(&file).map_err(|error| ConfigError::Unreadable(file.clone(), error))?;
        toml::from_str::<Config>(&text).map_err(|error| ConfigError::file(&file, &error))?;
        let table = text.parse::<Table>().map_err(|error| ConfigError::file(&file, &error))?;
        Ok((Some(file), table))
    }

    /// What the environment says. A variable that is almost one of ours is a typing error; others that begin alike may be
    /// anybody's (an orchestrator sets some for a service of this name).
    fn variables(&self, keys: &[Key]) -> Result<Vec<Said>, ConfigError> {
        let known: Vec<(String, &Key)> = keys.iter().filter_map(|key| Some((key.variable()?, key))).collect();
        let names: Vec<&str> = known.iter().filter_map(|(name, _)| name.strip_prefix(PREFIX)).collect();
        let mut said = Vec::new();
        for (name, value) in &self.environment {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if let Some((_, key)) = known.iter().find(|(known, _)| known == name) {
                said.push(Said { origin: name.clone(), key: key.path.clone(), values: vec![value.clone()] });
            } else if !VARIABLES.contains(&name.as_str())
                && let Some(meant) = closest(rest, &names)
            {
                return Err(ConfigError::said(
                    name,
                    format!("there is no such setting; did you mean {PREFIX}{meant}?"),
                ));
            }
        }
        Ok(said)
    }
}

/// A list in one text.
fn split(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned)
}

fn parse(table: &Table) -> Result<Config, toml::de::Error> {
    Config::deserialize(Value::Table(table.clone()))
}

/// A text, or several, as a value of a key.
fn value(key: &Key, values: &[String]) -> Result<Value, String> {
    let last = values.last().map(String::as_str).unwrap_or_default();
    let refused = |what: &str| format!("`{}` is {last:?}, which is no {what}", key.path);
    match &key.kind {
        Kind::List => Ok(Value::Array(values.iter().flat_map(|text| split(text)).map(Value::String).collect())),
        Kind::Whole => last.parse().map(Value::Integer).map_err(|_| refused("whole number")),
        Kind::Number => last.parse().map(Value::Float).map_err(|_| refused("number")),
        Kind::Flag => {
            last.parse().map(Value::Boolean).map_err(|_| format!("{}; it takes true or false", refused("flag")))
        }
        Kind::Text | Kind::Word(_) => Ok(Value::String(last.to_owned())),
    }
}

/// Puts a value at a path.
fn insert(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

impl Loaded {
    /// Where a key's value is from.
    pub fn origin(&self, key: &str) -> &str {
        self.origins.get(key).map_or("the default", String::as_str)
    }

    /// All settings as they count, as TOML, each with where it is from.
    pub fn show(&self) -> String {
        let mut flat = std::collections::BTreeSet::new();
        if let Ok(Value::Table(mut table)) = Value::try_from(&self.config) {
            table.remove("rule");
            flatten(&Value::Table(table), "", &mut flat);
        }
        let mut lines: Vec<_> = flat.into_iter().collect();
        lines.sort_by_key(|(key, _)| (key.contains('.'), key.clone()));
        let width = lines.iter().map(|(key, value)| key.len() + value.len() + 3).max().unwrap_or(0);
        let mut text = String::new();
        for (key, value) in lines {
            let setting = format!("{key} = {value}");
            let _ = writeln!(text, "{setting:width$}  # {}", self.origin(&key));
        }
        if !self.config.rules.is_empty() {
            let rules = BTreeMap::from([("rule", &self.config.rules)]);
            let _ = write!(text, "\n{}", toml::to_string(&rules).unwrap_or_default());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(origin: &str, key: &str, values: &[&str]) -> Said {
        Said { origin: origin.into(), key: key.into(), values: values.iter().map(|value| (*value).into()).collect() }
    }

    fn with_file(text: &str) -> (tempfile::TempDir, Sources) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.toml");
        std::fs::write(&file, text).unwrap();
        (folder, Sources { file: Some(file), ..Sources::default() })
    }

    fn refusal(text: &str) -> String {
        with_file(text).1.read().unwrap_err().to_string()
    }

    #[test]
    fn flags_count_over_the_environment_over_the_file_over_defaults() {
        let (_folder, mut sources) = with_file(
            "[streams]\nmax = 1\nthreads = 1\n[storage]\nreaders = 1\n[[rule]]\npattern = 'a'\nhistory.count_max = 7\n\
             [[rule]]\npattern = 'b'\n",
        );
        sources.environment = vec![
            ("FANFARE_STREAMS_MAX".into(), "2".into()),
            ("FANFARE_STREAMS_THREADS".into(), "2".into()),
            ("FANFARE_DOOR_ALLOW_HOSTS".into(), "a.example, b.example".into()),
        ];
        sources.flags = vec![said("--streams-max", "streams.max", &["3"])];
        let loaded = sources.read().unwrap();
        let Config { streams, storage, door, .. } = &loaded.config;
        assert_eq!((streams.max, streams.threads, storage.readers), (3, 2, 1));
        assert_eq!(door.allow_hosts, ["a.example", "b.example"]);
        assert_eq!(streams.stall_max.to_string(), "25s");
        let origins = ["streams.max", "streams.threads", "streams.stall_max"].map(|key| loaded.origin(key));
        assert_eq!(origins, ["--streams-max", "FANFARE_STREAMS_THREADS", "the default"]);
        assert!(loaded.origin("storage.readers").ends_with("hub.toml"));
        let shown = loaded.show();
        assert!(shown.contains("streams.max = 3") && shown.contains("# --streams-max"), "{shown}");
        assert_eq!(toml::from_str::<Config>(&shown).unwrap(), loaded.config, "what is shown can be used as a file");
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named_with_its_line_and_what_was_meant() {
        for (text, parts) in [
            ("[streams]\nmaxx = 1", ["line 2", "unknown field `maxx`", "did you mean `max`?"]),
            ("stall_max = '5s'", ["line 1", "unknown field `stall_max`", "did you mean `streams.stall_max`?"]),
            ("[stream]\nmax = 1", ["line 1", "unknown field `stream`", "did you mean `streams`?"]),
            ("[streams]\nmax = 'x'", ["line 2", "invalid type", "usize"]),
            ("[streams]\nstall_max = '5 days'", ["line 2", "\"5 days\" is no length of time", "`500ms`"]),
            ("[[rule]]\npatern = 'a'", ["line 2", "unknown field `patern`", "did you mean `pattern`?"]),
            ("[[rule]]\npattern = 'a'\ndurability = 'solid'", ["line 3", "unknown variant `solid`", "`durable`"]),
            ("listen = ['80']", ["line 1", "\"80\" is no address", "`localhost:PORT`"]),
            ("[door]\nallow_hosts = ['http://a']", ["line 2", "\"http://a\"", "without a port"]),
            ("[door]\nallow_origins = ['a.example']", ["line 2", "\"a.example\"", "https://www.example.com"]),
            ("listen = [", ["line 1", "hub.toml", "listen"]),
        ] {
            let refusal = refusal(text);
            assert!(parts.iter().all(|part| refusal.contains(part)), "{text}: {refusal}");
        }
    }

    #[test]
    fn settings_that_do_not_go_together_are_named_with_where_they_are_from() {
        let refusal = refusal("[streams]\nretry_min = '9s'");
        assert!(refusal.contains("`streams.retry_min` is 9s, which is longer") && refusal.contains("hub.toml"));
        let refusal = self::refusal("[[rule]]\npattern = '@*'\nsilence_max = '1m'");
        assert!(refusal.contains("`rule` `@*` has `silence_max` without effect") && refusal.contains("hub.toml"));
        let (_folder, mut sources) = with_file("");
        sources.flags = vec![said("--listen", "listen", &[])];
        assert!(sources.read().unwrap_err().to_string().contains("`listen` is empty"));
    }

    #[test]
    fn what_is_wrong_in_the_environment_or_a_flag_is_named() {
        let environment = |name: &str, value: &str| {
            let environment = vec![(name.to_owned(), value.to_owned())];
            let (_folder, sources) = with_file("");
            Sources { environment, ..sources }.read().map(|_| ()).map_err(|error| error.to_string())
        };
        let refused = environment("FANFARE_STREAMS_MAX", "many").unwrap_err();
        assert_eq!(refused, "FANFARE_STREAMS_MAX: `streams.max` is \"many\", which is no whole number");
        let refused = environment("FANFARE_STREAM_MAX", "5").unwrap_err();
        assert!(refused.contains("did you mean FANFARE_STREAMS_MAX?"), "{refused}");
        assert!(environment("FANFARE_DOOR_ALLOW_ANYONE", "yes").unwrap_err().contains("true or false"));
        assert_eq!(environment("FANFARE_PORT_8080_TCP_ADDR", "10.0.0.1"), Ok(()), "an orchestrator's");
        let (_folder, mut sources) = with_file("");
        sources.flags = vec![said("--set streams.maximum=5", "streams.maximum", &["5"])];
        assert!(sources.read().unwrap_err().to_string().contains("there is no setting `streams.maximum`"));
        sources.flags = vec![
            said("--set", "log.filter", &["info,hyper=debug"]),
            said("--set", "door.allow_hosts", &["a.example,b.example", "c.example"]),
        ];
        let Config { log, door, .. } = sources.read().unwrap().config;
        assert_eq!(log.filter, "info,hyper=debug", "a text may have commas");
        assert_eq!(door.allow_hosts, ["a.example", "b.example", "c.example"]);
        sources.flags = vec![said("--set rule.pattern=5", "rule.pattern", &["5"])];
        assert!(sources.read().is_err(), "rules are the file's");
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let sources = Sources { file: Some("/nowhere/hub.toml".into()), ..Sources::default() };
        assert!(matches!(sources.read(), Err(ConfigError::Unreadable(..))));
    }
}
