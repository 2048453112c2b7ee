//! The canvas: what charts are drawn on, with one style for all.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea as _};
use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, FontStyle, IntoFont as _, RGBColor, ShapeStyle};

use crate::chart::Whose;
use crate::error::MeasureError;

/// What is written.
pub(super) const INK: RGBColor = RGBColor(0x1d, 0x25, 0x33);
/// What is written small.
pub(super) const QUIET: RGBColor = RGBColor(0x5b, 0x66, 0x77);
/// Lines behind the figures.
pub(super) const GRID: RGBColor = RGBColor(0xe3, 0xe7, 0xee);
const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);

/// Where a text stands to its place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Align {
    Left,
    Middle,
    Right,
}

/// A canvas.
pub(super) struct Canvas<'a>(DrawingArea<SVGBackend<'a>, Shift>);

/// The colour of somebody's figures.
pub(super) fn colour(whose: Whose) -> RGBColor {
    const OTHERS: [RGBColor; 7] = [
        RGBColor(0x5b, 0x8d, 0xb8),
        RGBColor(0x6a, 0xa8, 0x84),
        RGBColor(0xb0, 0x8b, 0xbf),
        RGBColor(0xc9, 0x9a, 0x4b),
        RGBColor(0x5f, 0xb0, 0xb0),
        RGBColor(0xb5, 0x7a, 0x7a),
        RGBColor(0x8a, 0x93, 0x5c),
    ];
    match whose {
        Whose::Fanfare => RGBColor(0xd9, 0x3f, 0x2b),
        Whose::Limit => RGBColor(0x9a, 0xa3, 0xb0),
        Whose::Other(at) => OTHERS.get(at % OTHERS.len()).copied().unwrap_or(QUIET),
    }
}

impl<'a> Canvas<'a> {
    /// An empty canvas of this size, whose SVG goes to `svg` when it is dropped.
    pub(super) fn new(svg: &'a mut String, size: (i32, i32)) -> Result<Self, MeasureError> {
        let area = SVGBackend::with_string(svg, (size.0.cast_unsigned(), size.1.cast_unsigned())).into_drawing_area();
        area.fill(&PAPER).map_err(failed)?;
        Ok(Self(area))
    }

    /// Title and subtitle, at the top.
    pub(super) fn head(&self, title: &str, subtitle: &str) -> Result<(), MeasureError> {
        self.write(title, (28, 36), 24, (INK, true), Align::Left)?;
        self.write(subtitle, (28, 64), 15, (QUIET, false), Align::Left)
    }

    /// Writes a text, its middle at the height of its place.
    pub(super) fn write(
        &self,
        text: &str,
        place: (i32, i32),
        size: i32,
        (colour, is_bold): (RGBColor, bool),
        align: Align,
    ) -> Result<(), MeasureError> {
        let horizontal = match align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        // plotters takes points for pixels.
        let size = f64::from(size) * 1.24;
        let font = ("system-ui, 'Segoe UI', Helvetica, Arial, sans-serif", size).into_font();
        let font = font.style(if is_bold { FontStyle::Bold } else { FontStyle::Normal });
        let style = plotters::style::TextStyle::from(font).color(&colour).pos(Pos::new(horizontal, VPos::Center));
        self.0.draw(&Text::new(text, place, style)).map_err(failed)
    }

    /// A filled rectangle between two corners; `opacity` from 0 to 1.
    pub(super) fn fill(&self, corners: [(i32, i32); 2], colour: RGBColor, opacity: f64) -> Result<(), MeasureError> {
        let style = ShapeStyle { color: colour.mix(opacity), filled: true, stroke_width: 0 };
        self.0.draw(&Rectangle::new(corners, style)).map_err(failed)
    }

    /// A line through these places.
    pub(super) fn line(
        &self,
        places: Vec<(i32, i32)>,
        (colour, opacity): (RGBColor, f64),
        width: u32,
    ) -> Result<(), MeasureError> {
        let style = ShapeStyle { color: colour.mix(opacity), filled: false, stroke_width: width };
        self.0.draw(&PathElement::new(places, style)).map_err(failed)
    }

    /// A dot.
    pub(super) fn dot(
        &self,
        place: (i32, i32),
        radius: i32,
        (colour, opacity): (RGBColor, f64),
    ) -> Result<(), MeasureError> {
        let style = ShapeStyle { color: colour.mix(opacity), filled: true, stroke_width: 0 };
        self.0.draw(&Circle::new(place, radius, style)).map_err(failed)
    }
}

/// A number of things, as a number of places.
pub(super) fn count(things: usize) -> i32 {
    i32::try_from(things).unwrap_or(i32::MAX)
}

fn failed(error: impl std::fmt::Display) -> MeasureError {
    MeasureError::Chart(error.to_string())
}
