//! Units of figures, as people read them.

use crate::table::thousands;

/// In what a figure is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of something.
    Amount,
    /// Microseconds.
    Time,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// The figure with its unit, as large as is handy.
    pub fn show(self, figure: f64) -> String {
        let scaled = |scales: &[(f64, &str)]| {
            let fits = scales.iter().find(|(least, _)| figure.abs() >= *least).or(scales.last());
            fits.map_or_else(String::new, |(least, name)| format!("{} {name}", digits(figure / least)))
        };
        match self {
            Self::Amount => digits(figure),
            Self::Seconds => Self::Time.show(figure * 1e6),
            Self::Time => scaled(&[(1e6, "s"), (1e3, "ms"), (1.0, "µs")]),
            Self::Bytes if figure < 1e4 => format!("{} B", thousands(figure)),
            Self::Bytes => scaled(&[(1e9, "GB"), (1e6, "MB"), (1e3, "kB")]),
        }
    }
}

/// Three digits at least, and no more behind the point than that takes.
fn digits(figure: f64) -> String {
    match figure.abs() {
        _ if figure.fract() == 0.0 => thousands(figure),
        amount if amount >= 100.0 => thousands(figure),
        amount if amount >= 10.0 => format!("{figure:.1}"),
        amount if amount >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_as_large_as_is_handy() {
        for (unit, figure, text) in [
            (Unit::Time, 0.125, "0.125 µs"),
            (Unit::Time, 1_500.0, "1.50 ms"),
            (Unit::Seconds, 12.25, "12.2 s"),
            (Unit::Bytes, 512.0, "512 B"),
            (Unit::Bytes, 12_345.0, "12.3 kB"),
            (Unit::Bytes, 2.5e9, "2.50 GB"),
            (Unit::Amount, 4e6, "4,000,000"),
            (Unit::Amount, 1_234.5, "1,234"),
            (Unit::Amount, 0.0, "0"),
        ] {
            assert_eq!(unit.show(figure), text);
        }
    }
}
