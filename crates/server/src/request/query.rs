//! Query strings, read strictly: every parameter is known, single ones come once, and bytes that aren't UTF-8 are refused
//! rather than replaced, because channel names are compared byte by byte.
//!
//! It knows the grammar only; what a parameter means is the route's.

use std::borrow::Cow;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::error::{ApiError, Code};

/// The parameters of a request, in their order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string (`application/x-www-form-urlencoded`) of which only `known` parameters may be there.
    pub(crate) fn parse(raw: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let mut pairs = Vec::new();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| not_utf8("the name of a query parameter"))?;
            if !known.contains(&name.as_str()) {
                return Err(unknown(&name, known));
            }
            let value = decode(value).ok_or_else(|| not_utf8(&format!("query parameter `{name}`")))?;
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// All values of a parameter that may be repeated.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may be there once.
    pub(crate) fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut all = self.all(name);
        let first = all.next();
        match all.next() {
            Some(_) => Err(ApiError::malformed(format!("query parameter `{name}` is given twice"))),
            None => Ok(first),
        }
    }

    /// The value of a parameter that is an id, or something else that reads itself.
    pub(crate) fn value<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|e| ApiError::malformed(format!("`{name}` is {text:?}: {e}")))
    }

    /// The value of a parameter that is a whole number.
    pub(crate) fn whole(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        let refused = |_| ApiError::malformed(format!("`{name}` is {text:?}; it takes a whole number"));
        text.parse().map(Some).map_err(refused)
    }

    /// How many items one page shall have: `limit`, at least 1.
    pub(crate) fn limit(&self, default: usize, max: usize) -> Result<usize, ApiError> {
        let Some(text) = self.one("limit")? else { return Ok(default) };
        let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
        limit.ok_or_else(|| ApiError::malformed(format!("`limit` is {text:?}; it takes 1 to {max}")))
    }
}

/// Decodes percent signs and `+`. `None` where the bytes aren't UTF-8.
fn decode(text: &str) -> Option<String> {
    let text = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
}

fn not_utf8(what: &str) -> ApiError {
    ApiError::new(Code::NotUtf8, format!("{what} is not valid UTF-8 once its percent signs are decoded"))
}

/// Names a parameter that isn't known, with the one that was probably meant.
fn unknown(name: &str, known: &[&str]) -> ApiError {
    let known_list = || known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
    let advice = match closest(name, known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => "this path takes none".to_owned(),
        None => format!("known here: {}", known_list()),
    };
    ApiError::malformed(format!("unknown query parameter `{}`; {advice}", name.escape_debug()))
}

/// The word that differs least from `name`, if that is little.
pub(crate) fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    // Longer than any parameter: no typing error of one, and the distance costs time.
    if name.len() > 32 {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let (distance, word) = known.iter().map(|word| (distance(&plain(name), &plain(word)), *word)).min()?;
    (distance <= word.len() / 3).then_some(word)
}

/// How many letters must be inserted, left out or replaced to make one word of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let next = b.iter().zip(row.windows(2)).map(|(b, above)| {
            let &[above_left, above] = above else { return left };
            diagonal = above_left;
            left = (above + 1).min(left + 1).min(diagonal + usize::from(a != *b));
            left
        });
        let next: Vec<usize> = std::iter::once(i + 1).chain(next).collect();
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["channel", "pattern", "lastEventId", "limit"];

    fn refusal(raw: &str) -> String {
        Query::parse(Some(raw), KNOWN).unwrap_err().detail().to_owned()
    }

    #[test]
    fn parameters_are_decoded_and_may_repeat() {
        let query = Query::parse(Some("channel=a%2Fb&channel=c+d&&pattern=%C3%A9*"), KNOWN).unwrap();
        assert_eq!(query.all("channel").collect::<Vec<_>>(), ["a/b", "c d"]);
        assert_eq!(query.one("pattern").unwrap(), Some("é*"));
        assert_eq!(query.one("limit").unwrap(), None);
        assert!(query.one("channel").unwrap_err().detail().contains("given twice"));
    }

    #[test]
    fn unknown_parameters_are_named_with_a_suggestion() {
        assert!(refusal("chanel=a").contains("`chanel`; did you mean `channel`?"));
        assert!(refusal("last_event_id=a").contains("did you mean `lastEventId`?"));
        assert!(refusal("LIMIT=1").contains("did you mean `limit`?"));
        assert!(refusal("zzz=1").contains("known here: `channel`, `pattern`"));
        assert!(Query::parse(Some("a=1"), &[]).unwrap_err().detail().contains("takes none"));
    }

    #[test]
    fn bytes_that_are_no_utf8_are_refused_not_replaced() {
        let error = Query::parse(Some("channel=%ff"), KNOWN).unwrap_err();
        assert_eq!(error.code(), Code::NotUtf8);
        assert!(error.detail().contains("`channel`"));
    }

    #[test]
    fn limits_have_a_range() {
        let limit = |raw| Query::parse(Some(raw), KNOWN).unwrap().limit(100, 1000);
        assert_eq!(limit(""), Ok(100));
        assert_eq!(limit("limit=1000"), Ok(1000));
        for raw in ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit="] {
            assert_eq!(limit(raw).unwrap_err().code(), Code::Malformed, "{raw}");
            assert!(limit(raw).unwrap_err().detail().ends_with("it takes 1 to 1000"), "{raw}");
        }
        let whole = |raw| Query::parse(Some(raw), KNOWN).unwrap().whole("limit");
        assert_eq!((whole(""), whole("limit=0")), (Ok(None), Ok(Some(0))));
        for raw in ["limit=-1", "limit=x", "limit=", "limit=99999999999999999999"] {
            assert!(whole(raw).unwrap_err().detail().ends_with("it takes a whole number"), "{raw}");
        }
    }

    #[test]
    fn the_distance_counts_letters() {
        for (a, b, expected) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0), ("ab", "ba", 2)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
