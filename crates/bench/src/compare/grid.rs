//! A table of texts: aligned for a terminal, or as Markdown.

use std::fmt::{self, Display};

/// What stands in a cell that has nothing to say.
pub const NOTHING: &str = "–";

/// Rows of cells under headings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// What the table shows: stands above it.
    title: String,
    /// How many columns on the left are text; the others are figures.
    texts: usize,
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// An empty table. So many columns on the left are text, the others are figures.
    pub fn new(title: &str, texts: usize, headings: &[&str]) -> Self {
        let headings = headings.iter().map(|&heading| heading.to_owned()).collect();
        Self { title: title.to_owned(), texts, headings, rows: vec![] }
    }

    /// Adds a row. Cells that are missing at its end have nothing to say.
    pub fn push(&mut self, mut cells: Vec<String>) {
        cells.resize(self.headings.len(), NOTHING.to_owned());
        self.rows.push(cells);
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as Markdown, its title as a line in bold.
    pub fn to_markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let columns = self.headings.len();
        let rule: Vec<String> =
            (0..columns).map(|at| if at < self.texts { "---" } else { "---:" }.to_owned()).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("**{}**\n\n{}{}{rows}", self.title, line(&self.headings), line(&rule))
    }

    /// How wide a column is, in characters.
    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().chain([&self.headings]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

impl Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for row in [&self.headings].into_iter().chain(&self.rows) {
            for (column, cell) in row.iter().enumerate() {
                let width = self.width(column);
                if column < self.texts { write!(f, "  {cell:<width$}")? } else { write!(f, "  {cell:>width$}")? }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new("Speed", 1, &["who", "events/s"]);
        grid.push(vec!["a tortoise".to_owned(), "1".to_owned()]);
        grid.push(vec!["hare".to_owned()]);
        grid
    }

    #[test]
    fn columns_are_aligned() {
        assert_eq!(
            grid().to_string(),
            "Speed\n  who         events/s\n  a tortoise         1\n  hare               –\n"
        );
    }

    #[test]
    fn markdown_has_headings_a_rule_and_rows() {
        let markdown = "**Speed**\n\n| who | events/s |\n| --- | ---: |\n| a tortoise | 1 |\n| hare | – |\n";
        assert_eq!(grid().to_markdown(), markdown);
    }
}
