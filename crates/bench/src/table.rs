//! What was measured, as rows: for people on a terminal, for documents, for programs (by `serde`).

use std::fmt::{self, Display};

use serde::Serialize;

use crate::machine::Machine;
use crate::round::{Latency, Rounds, Sample, Spread};

/// All that was measured in one run.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// On which machine.
    pub machine: Machine,
    /// What, in the order in which it was measured.
    pub rows: Vec<Row>,
}

/// One side of a row.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Side {
    /// Events in a second, the median over all rounds.
    pub events_per_s: f64,
    /// Bytes in a second, likewise.
    pub bytes_per_s: f64,
    /// How long single waits took, the medians over all rounds; absent where nobody waited.
    pub latency: Option<Latency>,
}

/// One subject against its bare limit.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub subject: String,
    /// What it is held against.
    pub limit: String,
    /// How many rounds there were.
    pub rounds: usize,
    /// Events that the subject worked on, in all rounds together.
    pub published: u64,
    /// Events that were found in what it gave, each once and in order.
    pub delivered: u64,
    /// Events that went together in one commit, on average; absent where each goes alone.
    pub group: Option<f64>,
    /// How fast the subject was.
    pub of_subject: Side,
    /// How fast the limit was.
    pub of_limit: Side,
    /// Subject by limit, of each round.
    pub ratio: Spread,
}

impl Row {
    /// The row of these rounds. `delivered` is what was found and checked of what the subject gave, in all of them.
    pub fn new(subject: impl Into<String>, limit: impl Into<String>, rounds: &Rounds, delivered: u64) -> Self {
        let group = Spread::of(rounds.subject(|sample| sample.group as f64)).median;
        Self {
            subject: subject.into(),
            limit: limit.into(),
            rounds: rounds.len(),
            published: rounds.subject(|sample| sample.events).into_iter().sum(),
            delivered,
            group: (group > 1.0).then_some(group),
            of_subject: Side::of(|figure| Spread::of(rounds.subject(figure)), &rounds.subject(|s| s.latency)),
            of_limit: Side::of(|figure| Spread::of(rounds.limit(figure)), &rounds.limit(|s| s.latency)),
            ratio: Spread::of(rounds.ratios()),
        }
    }
}

impl Side {
    fn of(spread: impl Fn(fn(&Sample) -> f64) -> Spread, latencies: &[Option<Latency>]) -> Self {
        let latencies: Vec<Latency> = latencies.iter().flatten().copied().collect();
        let median = |figure: fn(&Latency) -> f64| Spread::of(latencies.iter().map(figure).collect()).median;
        let latency = Latency { p50_us: median(|l| l.p50_us), p99_us: median(|l| l.p99_us) };
        Self {
            events_per_s: spread(Sample::events_per_s).median,
            bytes_per_s: spread(Sample::bytes_per_s).median,
            latency: (!latencies.is_empty()).then_some(latency),
        }
    }
}

/// The columns, each with its heading.
const HEADINGS: [&str; 9] = [
    "subject",
    "events/s",
    "MB/s",
    "p50 / p99",
    "per commit",
    "bare limit",
    "its events/s",
    "its p50 / p99",
    "ratio (least–most)",
];

impl Row {
    /// The row's cells, one for each heading.
    fn cells(&self) -> [String; 9] {
        let Spread { median, min, max } = self.ratio;
        [
            self.subject.clone(),
            thousands(self.of_subject.events_per_s),
            format!("{:.1}", self.of_subject.bytes_per_s / 1e6),
            waits(self.of_subject.latency),
            self.group.map_or_else(none, |group| format!("{group:.0}")),
            self.limit.clone(),
            thousands(self.of_limit.events_per_s),
            waits(self.of_limit.latency),
            format!("{median:.3} ({min:.3}–{max:.3})"),
        ]
    }
}

/// A whole number with its thousands set apart.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What stands in a cell that has nothing to say.
fn none() -> String {
    "–".into()
}

fn waits(latency: Option<Latency>) -> String {
    latency.map_or_else(none, |l| format!("{:.3} / {:.3} ms", l.p50_us / 1e3, l.p99_us / 1e3))
}

impl Table {
    /// The table as Markdown.
    pub fn to_markdown(&self) -> String {
        let line = |cells: [String; 9]| format!("| {} |\n", cells.join(" | "));
        let rule = HEADINGS.map(|heading| if ["subject", "bare limit"].contains(&heading) { "---" } else { "---:" });
        let rows: String = self.rows.iter().map(|row| line(row.cells())).collect();
        format!("{}{}{rows}", line(HEADINGS.map(str::to_owned)), line(rule.map(str::to_owned)))
    }
}

impl Display for Table {
    /// The table for a terminal: the machine, then one line for each row.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![HEADINGS.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        let width = |at| lines.iter().filter_map(|cells| cells.get(at)).map(|cell: &String| cell.chars().count()).max();
        let widths: Vec<usize> = (0..HEADINGS.len()).map(|at| width(at).unwrap_or_default()).collect();
        writeln!(f, "{}", self.machine)?;
        for cells in &lines {
            for ((cell, width), heading) in cells.iter().zip(&widths).zip(HEADINGS) {
                match heading {
                    "subject" | "bare limit" => write!(f, "{cell:<width$}  ")?,
                    _ => write!(f, "{cell:>width$}  ")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0.0, "0"), (999.0, "999"), (1000.4, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }
}
