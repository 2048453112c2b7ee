//! Scales: from figures to places, with ticks at round figures.

use crate::unit::Unit;

/// A scale from 0 or by powers of ten.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    /// The figures at both ends.
    least: f64,
    most: f64,
    is_logarithmic: bool,
}

/// How many times the least figure the greatest is before powers of ten are apt.
const WIDE: f64 = 40.0;

impl Scale {
    /// A scale that holds these figures; by powers of ten where they lie far apart, or if it must be.
    pub(super) fn of(figures: impl Iterator<Item = f64> + Clone, must_be_logarithmic: bool) -> Self {
        let most = figures.clone().fold(0.0_f64, f64::max).max(1e-9);
        let least = figures.filter(|figure| *figure > 0.0).fold(most, f64::min);
        if must_be_logarithmic || most / least > WIDE { Self::logarithmic(least, most) } else { Self::linear(most) }
    }

    /// A scale from 0 to at least this.
    pub(super) fn linear(most: f64) -> Self {
        let step = step(most);
        Self { least: 0.0, most: (most / step).ceil() * step, is_logarithmic: false }
    }

    /// A scale by powers of ten from at most the one to at least the other.
    pub(super) fn logarithmic(least: f64, most: f64) -> Self {
        // A bar of the least figure must be seen, so there is room below it.
        let least = 10_f64.powf((least / 1.5).log10().floor());
        let most = 10_f64.powf(most.log10().ceil()).max(least * 10.0);
        Self { least, most, is_logarithmic: true }
    }

    /// Whether it goes by powers of ten.
    pub(super) fn is_logarithmic(self) -> bool {
        self.is_logarithmic
    }

    /// Where a figure stands, from 0 to 1.
    pub(super) fn place(self, figure: f64) -> f64 {
        if self.is_logarithmic {
            let exponent = |figure: f64| figure.max(self.least).log10();
            (exponent(figure) - exponent(self.least)) / (exponent(self.most) - exponent(self.least))
        } else {
            figure / self.most
        }
    }

    /// Round figures on the scale, in order.
    pub(super) fn ticks(self) -> Vec<f64> {
        let mut ticks = Vec::new();
        let (mut tick, step) = if self.is_logarithmic { (self.least, 0.0) } else { (0.0, step(self.most)) };
        while tick <= self.most * 1.000_001 {
            ticks.push(tick);
            tick = if self.is_logarithmic { tick * 10.0 } else { tick + step };
        }
        ticks
    }

    /// A tick as people read it.
    pub(super) fn show(tick: f64, unit: Unit) -> String {
        if tick == 0.0 {
            return "0".to_owned();
        }
        let text = unit.show((tick * 1e6).round() / 1e6);
        // `1.00 ms` says no more than `1 ms`.
        let (number, rest) = text.split_once(' ').map_or((text.as_str(), ""), |(number, unit)| (number, unit));
        let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
        if rest.is_empty() { number.to_owned() } else { format!("{number} {rest}") }
    }
}

/// A round step that divides a scale up to `most` into four to eight parts.
fn step(most: f64) -> f64 {
    let power = 10_f64.powf((most / 4.0).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0].map(|step| step * power);
    steps.into_iter().rev().find(|step| most / step >= 4.0).unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_near_each_other_are_shown_from_nought() {
        let scale = Scale::of([3.0, 9.1].into_iter(), false);
        assert!(!scale.is_logarithmic());
        assert_eq!(scale.ticks(), [0.0, 2.5, 5.0, 7.5, 10.0]);
        assert!((scale.place(5.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn figures_far_apart_are_shown_by_powers_of_ten() {
        let scale = Scale::of([2.0, 900.0].into_iter(), false);
        assert!(scale.is_logarithmic());
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1_000.0]);
        assert!((scale.place(10.0) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(Scale::show(1_000.0, Unit::Time), "1 ms");
        assert_eq!(Scale::show(2_500.0, Unit::Time), "2.5 ms");
    }
}
