//! Charts: outcomes of one scenario, side by side, as SVG. Fanfare stands out, its bare limit is grey, others are plain.
//!
//! [`bars`] and [`lines`] are the two kinds of chart, and know nothing of scenarios; `pick.rs` says which figures of which
//! scenario become which chart.

use std::path::{Path, PathBuf};

use crate::error::MeasureError;
use crate::outcome::Outcome;

pub mod bars;
mod canvas;
pub mod lines;
mod pick;
mod scale;

/// Who a bar or a line belongs to, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Fanfare: stands out.
    Fanfare,
    /// The bare limit.
    Limit,
    /// Another server: which one, to tell lines apart.
    Other(usize),
}

impl Whose {
    /// Whose a subject's figures are, by its name. `at` tells others apart.
    pub fn of(subject: &str, at: usize) -> Self {
        match subject {
            name if name.starts_with("fanfare") => Self::Fanfare,
            name if name.starts_with("bare") => Self::Limit,
            _ => Self::Other(at),
        }
    }
}

/// Draws all charts of these outcomes into a folder, which is made if it isn't there. Tells what was drawn.
///
/// # Errors
///
/// When a file can't be written.
pub fn draw(outcomes: &[Outcome], folder: &Path) -> Result<Vec<PathBuf>, MeasureError> {
    std::fs::create_dir_all(folder)?;
    let mut drawn = Vec::new();
    for (name, chart) in pick::charts(outcomes) {
        let path = folder.join(format!("{name}.svg"));
        std::fs::write(&path, chart.to_svg()?)?;
        drawn.push(path);
    }
    Ok(drawn)
}
