//! Lines: figures over percentiles or over time, a line for each subject, named at its end.

use crate::chart::Whose;
use crate::chart::canvas::{Align, Canvas, GRID, QUIET, colour};
use crate::chart::scale::Scale;
use crate::error::MeasureError;
use crate::unit::Unit;

/// A chart of lines.
#[derive(Clone, Debug)]
pub struct Lines {
    /// What is shown.
    pub title: String,
    /// Under which conditions, and which way is better.
    pub subtitle: String,
    /// The unit of all figures.
    pub unit: Unit,
    /// Whether it goes by powers of ten even where figures lie near each other.
    pub is_logarithmic: bool,
    /// What lies along the horizontal.
    pub along: Along,
    /// The lines.
    pub lines: Vec<Line>,
}

/// What lies along the horizontal.
#[derive(Clone, Debug)]
pub enum Along {
    /// Names, at equal distances; a line's first coordinates count them from 0.
    Names(Vec<String>),
    /// Seconds from the beginning.
    Seconds,
}

/// A subject's line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Whose it is.
    pub name: String,
    /// Which decides its colour.
    pub whose: Whose,
    /// Whether it is drawn lighter, beside another line of the same subject.
    pub is_light: bool,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

const SIZE: (i32, i32) = (960, 540);
const LEFT: i32 = 110;
/// Names stand to the right of it.
const RIGHT: i32 = SIZE.0 - 220;
const TOP: i32 = 100;
const BOTTOM: i32 = SIZE.1 - 56;
/// Least distance between two names at the right.
const NAME_HEIGHT: i32 = 20;

impl Lines {
    /// The chart as SVG.
    ///
    /// # Errors
    ///
    /// When it can't be drawn.
    pub fn to_svg(&self) -> Result<String, MeasureError> {
        let points = self.lines.iter().flat_map(|line| &line.points);
        let across = Scale::of(points.clone().map(|(_, figure)| *figure), self.is_logarithmic);
        let furthest = points.map(|(at, _)| *at).fold(0.0_f64, f64::max).max(1e-9);
        let x = |at: f64| LEFT + (at / furthest * f64::from(RIGHT - LEFT - 20)).round() as i32;
        let y = |figure: f64| BOTTOM - (across.place(figure) * f64::from(BOTTOM - TOP)).round() as i32;

        let mut svg = String::new();
        let canvas = Canvas::new(&mut svg, SIZE)?;
        let note = if across.is_logarithmic() { " · logarithmic" } else { "" };
        canvas.head(&self.title, &format!("{}{note}", self.subtitle))?;
        for tick in across.ticks() {
            canvas.line(vec![(LEFT, y(tick)), (RIGHT, y(tick))], (GRID, 1.0), 1)?;
            canvas.write(&Scale::show(tick, self.unit), (LEFT - 12, y(tick)), 14, (QUIET, false), Align::Right)?;
        }
        for (at, name) in self.names(furthest) {
            canvas.line(vec![(x(at), BOTTOM), (x(at), BOTTOM + 5)], (QUIET, 1.0), 1)?;
            canvas.write(&name, (x(at), BOTTOM + 22), 15, (QUIET, false), Align::Middle)?;
        }
        canvas.line(vec![(LEFT, BOTTOM), (RIGHT, BOTTOM)], (QUIET, 1.0), 1)?;

        // Ours last, so that it lies on top.
        let mut lines: Vec<&Line> = self.lines.iter().filter(|line| !line.points.is_empty()).collect();
        lines.sort_by_key(|line| line.whose == Whose::Fanfare);
        for line in &lines {
            let is_ours = line.whose == Whose::Fanfare;
            let places: Vec<(i32, i32)> = line.points.iter().map(|(at, figure)| (x(*at), y(*figure))).collect();
            if places.len() <= 20 {
                for place in &places {
                    canvas.dot(*place, if is_ours { 6 } else { 4 }, (colour(line.whose), strength(line)))?;
                }
            }
            let width = if is_ours { 4 } else { 2 };
            canvas.line(places, (colour(line.whose), strength(line)), width)?;
        }
        draw_names(&canvas, &lines, y)?;
        drop(canvas);
        Ok(svg)
    }

    /// What stands along the horizontal, and where.
    fn names(&self, furthest: f64) -> Vec<(f64, String)> {
        match &self.along {
            Along::Names(names) => names.iter().enumerate().map(|(at, name)| (at as f64, name.clone())).collect(),
            Along::Seconds => {
                let ticks = Scale::linear(furthest).ticks().into_iter().filter(|tick| *tick <= furthest);
                ticks.map(|tick| (tick, Scale::show(tick, Unit::Seconds))).collect()
            }
        }
    }
}

/// How strong a line's colour is.
fn strength(line: &Line) -> f64 {
    if line.is_light { 0.45 } else { 1.0 }
}

/// Writes each line's name at its end, moved apart where they would cover each other.
fn draw_names(canvas: &Canvas<'_>, lines: &[&Line], y: impl Fn(f64) -> i32) -> Result<(), MeasureError> {
    let end = |line: &Line| line.points.last().map_or(BOTTOM, |(_, figure)| y(*figure));
    let mut names: Vec<(i32, &Line)> = lines.iter().map(|line| (end(line), *line)).collect();
    names.sort_by_key(|(y, _)| *y);
    let mut free = TOP - NAME_HEIGHT;
    for (y, line) in names {
        let place = y.max(free);
        free = place + NAME_HEIGHT;
        canvas.write(
            &line.name,
            (RIGHT + 2, place),
            15,
            (colour(line.whose), line.whose == Whose::Fanfare),
            Align::Left,
        )?;
    }
    Ok(())
}
