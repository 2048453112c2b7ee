//! Bars: figures side by side, one row for each subject. A row may have several parts, such as memory before and at its
//! peak, as bars of their own below each other.

use crate::chart::Whose;
use crate::chart::canvas::{Align, Canvas, GRID, INK, QUIET, colour, count};
use crate::chart::scale::Scale;
use crate::error::MeasureError;
use crate::unit::Unit;

/// A chart of bars.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What is shown.
    pub title: String,
    /// Under which conditions, and which way is better.
    pub subtitle: String,
    /// The unit of all figures.
    pub unit: Unit,
    /// What the parts of each row are called; none if a row has only one.
    pub parts: Vec<String>,
    /// The rows, from top to bottom.
    pub rows: Vec<Row>,
}

/// A subject's row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Whose it is.
    pub name: String,
    /// Which decides its colour.
    pub whose: Whose,
    /// A figure for each part; `None` where it isn't known.
    pub figures: Vec<Option<f64>>,
}

const WIDTH: i32 = 960;
/// Where bars begin and end.
const LEFT: i32 = 250;
const RIGHT: i32 = WIDTH - 130;
const TOP: i32 = 96;
const BOTTOM: i32 = 48;

impl Bars {
    /// The chart as SVG.
    ///
    /// # Errors
    ///
    /// When it can't be drawn.
    pub fn to_svg(&self) -> Result<String, MeasureError> {
        let parts = self.rows.iter().map(|row| count(row.figures.len())).max().unwrap_or(1).max(1);
        let bar = if parts == 1 { 28 } else { 18 };
        let row_height = parts * (bar + 3) + 18;
        let legend = if self.parts.is_empty() { 0 } else { 30 };
        let (top, rows) = (TOP + legend, count(self.rows.len()));
        let bottom = top + rows * row_height;

        let mut svg = String::new();
        let canvas = Canvas::new(&mut svg, (WIDTH, bottom + BOTTOM))?;
        let scale = Scale::of(self.rows.iter().flat_map(|row| row.figures.iter().flatten().copied()), false);
        let note = if scale.is_logarithmic() { " · logarithmic" } else { "" };
        canvas.head(&self.title, &format!("{}{note}", self.subtitle))?;
        self.draw_legend(&canvas)?;
        let x = |figure: f64| LEFT + (scale.place(figure) * f64::from(RIGHT - LEFT)).round() as i32;
        for tick in scale.ticks() {
            canvas.line(vec![(x(tick), top), (x(tick), bottom)], (GRID, 1.0), 1)?;
            canvas.write(&Scale::show(tick, self.unit), (x(tick), bottom + 18), 14, (QUIET, false), Align::Middle)?;
        }
        for (row, at) in self.rows.iter().zip(0..) {
            let middle = top + at * row_height + row_height / 2;
            let is_ours = row.whose == Whose::Fanfare;
            canvas.write(&row.name, (LEFT - 14, middle), 17, (INK, is_ours), Align::Right)?;
            let mut y = middle - parts * (bar + 3) / 2;
            for (figure, part) in row.figures.iter().zip(0..) {
                if let Some(figure) = figure {
                    let end = x(*figure).max(LEFT + 2);
                    canvas.fill([(LEFT, y), (end, y + bar)], colour(row.whose), opacity(part, parts))?;
                    let text = self.unit.show(*figure);
                    canvas.write(&text, (end + 8, y + bar / 2 + 1), 15, (INK, is_ours), Align::Left)?;
                }
                y += bar + 3;
            }
        }
        canvas.line(vec![(LEFT, top), (LEFT, bottom)], (QUIET, 1.0), 1)?;
        drop(canvas);
        Ok(svg)
    }

    fn draw_legend(&self, canvas: &Canvas<'_>) -> Result<(), MeasureError> {
        let mut x = LEFT;
        for (part, at) in self.parts.iter().zip(0..) {
            canvas.fill([(x, TOP - 7), (x + 14, TOP + 7)], QUIET, opacity(at, count(self.parts.len())))?;
            canvas.write(part, (x + 22, TOP + 1), 14, (QUIET, false), Align::Left)?;
            x += 48 + count(part.chars().count()) * 8;
        }
        Ok(())
    }
}

/// Parts of one row differ by how strong their colour is.
fn opacity(part: i32, parts: i32) -> f64 {
    if parts == 1 { 1.0 } else { 1.0 - 0.65 * f64::from(part) / f64::from(parts - 1) }
}
