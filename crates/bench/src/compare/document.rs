//! Figures in documents: a run puts its tables between two marks, so that nobody copies them by hand.

use std::path::Path;

/// Puts `text` into a document between `<!-- NAME begins -->` and `<!-- NAME ends -->`.
///
/// # Errors
///
/// When the document can't be read or written, or hasn't the two marks.
pub fn put(document: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let old = std::fs::read_to_string(document)?;
    let new = replaced(&old, name, text).ok_or_else(|| {
        std::io::Error::other(format!("{} has no place for figures named {name}", document.display()))
    })?;
    std::fs::write(document, new)
}

/// The document with this text between the marks; `None` where they are missing.
fn replaced(document: &str, name: &str, text: &str) -> Option<String> {
    let (begins, ends) = (format!("<!-- {name} begins -->\n"), format!("<!-- {name} ends -->"));
    let (before, rest) = document.split_once(&begins)?;
    let (_, after) = rest.split_once(&ends)?;
    Some(format!("{before}{begins}\n{}\n\n{ends}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_between_the_marks_is_replaced_and_nothing_else() {
        let old = "a\n<!-- x begins -->\nold\n<!-- x ends -->\nb\n";
        let new = replaced(old, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- x begins -->\n\nnew\n\n<!-- x ends -->\nb\n");
        assert_eq!(replaced(&new, "x", "new").as_ref(), Some(&new));
        assert_eq!(replaced(old, "y", "new"), None);
    }
}
