//! What the documentation tells people to write into a proxy's configuration, so that the tests run that and nothing else.

use std::path::Path;

/// A page of `docs/proxies/`.
pub(super) struct Page {
    name: &'static str,
    text: String,
}

impl Page {
    pub(super) fn open(name: &'static str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/proxies").join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { name, text }
    }

    /// The first block of code in this language.
    pub(super) fn block(&self, language: &str) -> String {
        self.first(&self.text, language)
    }

    /// The first block of code in this language below a heading.
    pub(super) fn block_below(&self, heading: &str, language: &str) -> String {
        let below = self.text.split_once(&format!("\n## {heading}\n")).map(|(_, below)| below);
        self.first(below.unwrap_or_else(|| panic!("{} has no heading {heading:?}", self.name)), language)
    }

    fn first(&self, text: &str, language: &str) -> String {
        let block = text.split_once(&format!("```{language}\n")).and_then(|(_, rest)| rest.split_once("\n```"));
        let (block, _) = block.unwrap_or_else(|| panic!("{} has no block of {language}", self.name));
        format!("{block}\n")
    }
}

/// Puts this test's ports and files where the documentation has an example's. Each must be there.
pub(super) fn fill(text: &str, examples: &[(&str, &str)]) -> String {
    let mut filled = text.to_owned();
    for (example, ours) in examples {
        assert!(filled.contains(example), "the documented lines have no {example:?}:\n{filled}");
        filled = filled.replace(example, ours);
    }
    filled
}
