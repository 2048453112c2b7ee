//! The keys of all settings, read off the sections' types: what the environment, flags and the reference page go by.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Config;

/// What values a key takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text of some form.
    Text,
    /// One of these words.
    Word(Vec<String>),
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// `true` or `false`.
    Flag,
    /// Several texts.
    List,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its place in the file: `streams.max`. Those of rules begin with `rule.`.
    pub path: String,
    /// What values it takes.
    pub kind: Kind,
    /// Its default as JSON; `null` where it has none.
    pub default: Value,
    /// Whether it must be there.
    pub required: bool,
    /// What it means.
    pub doc: String,
    /// Whether a change needs a restart.
    pub restart: bool,
}

impl Key {
    /// The variable of the environment that sets it; rules have none.
    pub fn variable(&self) -> Option<String> {
        let is_of_rule = self.path.starts_with("rule.");
        (!is_of_rule).then(|| format!("FANFARE_{}", self.path.replace('.', "_").to_ascii_uppercase()))
    }
}

/// A part of the file: its name, empty at the top; what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) doc: String,
}

/// All keys, in the order of their paths, those without a section first.
pub fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    walk(&schema(), "", &mut keys, &mut Vec::new());
    keys.sort_by_key(|key| (key.path.contains('.'), key.path.clone()));
    keys
}

/// All sections in the order of their names, rules last.
pub(super) fn sections() -> Vec<Section> {
    let mut sections = Vec::new();
    walk(&schema(), "", &mut Vec::new(), &mut sections);
    sections.sort_by_key(|section| (section.name.starts_with("rule"), section.name.clone()));
    sections
}

/// The settings' JSON schema, without references.
fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Config>().to_value()
}

/// Collects the keys and sections below a schema.
fn walk(schema: &Value, prefix: &str, keys: &mut Vec<Key>, sections: &mut Vec<Section>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let doc = text(property, "description");
        let items = property.get("items").filter(|items| items.get("properties").is_some());
        if let Some(inner) = items.or_else(|| property.get("properties").map(|_| property)) {
            sections.push(Section { name: path.clone(), doc });
            walk(inner, &path, keys, sections);
        } else {
            let default = property.get("default").cloned().unwrap_or_default();
            let restart = property.get("x-restart") == Some(&Value::Bool(true));
            let required =
                schema.get("required").and_then(Value::as_array).is_some_and(|all| all.contains(&name.as_str().into()));
            keys.push(Key { path, kind: kind(property), default, required, doc, restart });
        }
    }
}

fn text(schema: &Value, field: &str) -> String {
    // Lines of a documentation comment that are only wrapped belong together.
    schema.get(field).and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
}

fn kind(property: &Value) -> Kind {
    let words = words(property);
    if !words.is_empty() {
        return Kind::Word(words);
    }
    let kinds: BTreeSet<&str> = match property.get("type") {
        Some(Value::String(kind)) => [kind.as_str()].into(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => BTreeSet::new(),
    };
    match () {
        () if kinds.contains("array") => Kind::List,
        () if kinds.contains("integer") => Kind::Whole,
        () if kinds.contains("number") => Kind::Number,
        () if kinds.contains("boolean") => Kind::Flag,
        () => Kind::Text,
    }
}

/// The words of an enumeration, whichever way its schema lists them.
fn words(property: &Value) -> Vec<String> {
    let listed = property.get("enum").and_then(Value::as_array).into_iter().flatten();
    let each = ["oneOf", "anyOf"].into_iter().filter_map(|of| property.get(of)?.as_array()).flatten();
    let each = each.flat_map(|one| {
        one.get("const").into_iter().chain(one.get("enum").and_then(Value::as_array).into_iter().flatten())
    });
    listed.chain(each).filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The keys whose values differ between two settings, rules as the one key `rule`.
pub fn changed(before: &Config, after: &Config) -> Vec<String> {
    let flat = |config: &Config| {
        let mut flat = BTreeSet::new();
        flatten(&toml::Value::try_from(config).unwrap_or(toml::Value::Boolean(false)), "", &mut flat);
        flat
    };
    let (before, after) = (flat(before), flat(after));
    let keys: BTreeSet<String> = before.symmetric_difference(&after).map(|(key, _)| key.clone()).collect();
    keys.into_iter().collect()
}

/// These settings, but with the values of `before` for these keys.
pub(crate) fn keep(before: &Config, after: &Config, paths: &[String]) -> Config {
    let tables = (toml::Value::try_from(before), toml::Value::try_from(after));
    let (Ok(toml::Value::Table(before)), Ok(toml::Value::Table(mut kept))) = tables else { return after.clone() };
    for path in paths {
        copy(&before, &mut kept, path);
    }
    toml::Value::Table(kept).try_into().unwrap_or_else(|_| after.clone())
}

/// Makes the value at a path the same in both tables.
fn copy(from: &toml::Table, to: &mut toml::Table, path: &str) {
    let Some((section, rest)) = path.split_once('.') else {
        match from.get(path) {
            Some(value) => to.insert(path.to_owned(), value.clone()),
            None => to.remove(path),
        };
        return;
    };
    if let (Some(toml::Value::Table(from)), Some(toml::Value::Table(to))) = (from.get(section), to.get_mut(section)) {
        copy(from, to, rest);
    }
}

/// Writes a table as pairs of path and value.
pub(super) fn flatten(value: &toml::Value, path: &str, flat: &mut BTreeSet<(String, String)>) {
    if let toml::Value::Table(table) = value {
        for (name, value) in table {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            flatten(value, &path, flat);
        }
    } else {
        flat.insert((path.to_owned(), value.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented_and_has_a_variable_of_its_own() {
        let keys = keys();
        assert!(keys.len() > 10);
        let mut variables = BTreeSet::new();
        for key in &keys {
            assert!(!key.doc.is_empty(), "{} says nothing", key.path);
            if let Some(variable) = key.variable() {
                assert!(variables.insert(variable), "{} shares its variable", key.path);
            }
        }
        for section in sections() {
            assert!(!section.doc.is_empty(), "{} says nothing", section.name);
        }
    }

    #[test]
    fn keys_know_what_they_take() {
        let keys = keys();
        let key = |path: &str| keys.iter().find(|key| key.path == path).unwrap_or_else(|| panic!("no key {path}"));
        assert_eq!((&key("listen").kind, key("listen").restart), (&Kind::List, true));
        assert_eq!((&key("streams.max").kind, key("door.allow_hosts").restart), (&Kind::Whole, false));
        assert_eq!(key("streams.stall_max").default, "25s");
        assert_eq!(key("door.allow_anyone").kind, Kind::Flag);
        assert_eq!(key("storage.folder").variable().unwrap(), "FANFARE_STORAGE_FOLDER");
        let words = ["durable", "memory", "transient"].map(String::from).to_vec();
        assert_eq!(key("rule.durability").kind, Kind::Word(words));
        assert_eq!(key("rule.history.count_max").kind, Kind::Whole);
    }

    #[test]
    fn what_changed_is_named() {
        let before = Config::default();
        let mut after = before.clone();
        assert!(changed(&before, &after).is_empty());
        after.streams.max += 1;
        after.listen.clear();
        after.rules.push(toml::from_str("pattern = 'a'").unwrap());
        assert_eq!(changed(&before, &after), ["listen", "rule", "streams.max"]);
        after.streams.age_max = Some(crate::config::Span::seconds(7));
        let kept = keep(&before, &after, &["listen".into(), "streams.age_max".into()]);
        assert_eq!(changed(&before, &kept), ["rule", "streams.max"]);
    }
}
