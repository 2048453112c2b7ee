//! Patterns: channel names in which `*` stands for any run of characters, separators too.
//!
//! A pattern and an exact name are never guessed apart: who asks says which one it is.

use std::fmt;
use std::sync::Arc;

use crate::channel::{ChannelName, NameError, check};

/// A channel name in which `*` stands for any run of characters, separators too. Cheap to clone.
///
/// The hub's own channels (`@…`) are matched only by patterns that begin with `@` themselves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Reads a pattern. Several `*` in a row are one.
    ///
    /// # Errors
    ///
    /// When the pattern is empty, longer than 255 bytes or has a control character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text)?;
        let mut joined = String::with_capacity(text.len());
        for character in text.chars() {
            if character != '*' || !joined.ends_with('*') {
                joined.push(character);
            }
        }
        Ok(Self(joined.into()))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What every matching name begins with.
    pub fn literal_prefix(&self) -> &str {
        self.0.split_once('*').map_or(&*self.0, |(prefix, _)| prefix)
    }

    /// Whether the pattern matches this name.
    pub fn matches(&self, name: &ChannelName) -> bool {
        if name.is_reserved() && !self.0.starts_with('@') {
            return false;
        }
        matches(self.0.as_bytes(), name.as_str().as_bytes())
    }

    /// Whether some name is matched by both patterns.
    pub fn overlaps(&self, other: &Pattern) -> bool {
        self.0.starts_with('@') == other.0.starts_with('@') && overlaps(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Wildcard match in time `O(pattern × name)` at worst and without recursion: on a mismatch only the last `*` has to be
/// tried again. `*` is ASCII, so bytes may stand for characters.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(byte) if name.get(n) == Some(byte) => {
                p += 1;
                n += 1;
            }
            _ => match &mut retry {
                Some((after_star, from)) => {
                    *from += 1;
                    p = *after_star;
                    n = *from;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

/// Whether two wildcard texts have a common match: a row of the product automaton at a time.
fn overlaps(a: &[u8], b: &[u8]) -> bool {
    // reach[j]: the first i bytes of `a` and the first j bytes of `b` can match the same text.
    let mut reach = vec![false; b.len() + 1];
    for i in 0..=a.len() {
        let mut diagonal = false;
        for j in 0..=b.len() {
            let above = reach.get(j).copied().unwrap_or(false);
            let left = j > 0 && reach.get(j - 1).copied().unwrap_or(false);
            let last_a = i.checked_sub(1).and_then(|i| a.get(i));
            let last_b = j.checked_sub(1).and_then(|j| b.get(j));
            let here = match (last_a, last_b) {
                (None, None) => true,
                (a, b) => {
                    (a == Some(&b'*') && above)
                        || (b == Some(&b'*') && left)
                        || (a == Some(&b'*') && left)
                        || (b == Some(&b'*') && above)
                        || (a.is_some() && a == b && diagonal)
                }
            };
            diagonal = above;
            if let Some(cell) = reach.get_mut(j) {
                *cell = here;
            }
        }
    }
    reach.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> ChannelName {
        ChannelName::new(text).unwrap()
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (text, yes, no) in [
            ("chat:*", vec!["chat:", "chat:42", "chat:a/b"], vec!["chat", "xchat:1"]),
            ("*", vec!["a", "a/b"], vec!["@system/metrics"]),
            ("@*", vec!["@system/metrics"], vec!["system"]),
            ("a*b*c", vec!["abc", "axxbxxc", "abbcc"], vec!["ab", "acb"]),
            ("*x", vec!["x", "xx", "axx"], vec!["xa"]),
            ("plain", vec!["plain"], vec!["plainer"]),
            ("é*", vec!["éa"], vec!["e"]),
        ] {
            for n in yes {
                assert!(pattern(text).matches(&name(n)), "{text} should match {n}");
            }
            for n in no {
                assert!(!pattern(text).matches(&name(n)), "{text} should not match {n}");
            }
        }
    }

    #[test]
    fn stars_in_a_row_are_one() {
        assert_eq!(pattern("a**b***").as_str(), "a*b*");
        assert_eq!(pattern("**"), pattern("*"));
    }

    #[test]
    fn names_are_never_normalised() {
        assert!(!pattern("caf\u{e9}").matches(&name("cafe\u{301}")));
        assert!(!pattern("A").matches(&name("a")));
    }

    proptest! {
        #[test]
        fn matching_agrees_with_a_naive_matcher(p in "[ab*]{1,8}", n in "[ab]{1,8}") {
            fn naive(p: &[u8], n: &[u8]) -> bool {
                match p.split_first() {
                    None => n.is_empty(),
                    Some((b'*', rest)) => (0..=n.len()).any(|i| naive(rest, &n[i..])),
                    Some((c, rest)) => n.first() == Some(c) && naive(rest, &n[1..]),
                }
            }
            prop_assert_eq!(pattern(&p).matches(&name(&n)), naive(p.as_bytes(), n.as_bytes()));
        }

        #[test]
        fn patterns_that_share_a_match_overlap(p in "[ab*]{1,6}", q in "[ab*]{1,6}", n in "[ab]{1,6}") {
            if pattern(&p).matches(&name(&n)) && pattern(&q).matches(&name(&n)) {
                prop_assert!(pattern(&p).overlaps(&pattern(&q)));
            }
        }
    }

    #[test]
    fn patterns_that_share_no_match_do_not_overlap() {
        for (a, b, expected) in
            [("a*", "b*", false), ("a*", "*b", true), ("chat:*", "*:42", true), ("ab", "a", false), ("*", "@*", false)]
        {
            assert_eq!(pattern(a).overlaps(&pattern(b)), expected, "{a} and {b}");
            assert_eq!(pattern(b).overlaps(&pattern(a)), expected, "{b} and {a}");
        }
    }
}
