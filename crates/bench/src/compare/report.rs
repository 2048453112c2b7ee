//! What a comparison gave, as tables: who opened, held, delivered how well, and what went wrong for whom.

use super::grid::{Grid, NOTHING};
use super::{Compared, Comparison, Tried};
use crate::figures::Delivery;
use crate::scenario::burst::BurstFigures;
use crate::scenario::fan_out::FanOutFigures;
use crate::scenario::idle::IdleFigures;
use crate::table::thousands;

impl Comparison {
    /// The tables: idle, burst and fan-out, each for every number of streams.
    pub fn grids(&self) -> Vec<Grid> {
        let mut grids = Vec::new();
        grids.extend(grids_of(self, |compared| &compared.idle, "Open and idle", &IDLE, idle));
        grids.extend(grids_of(self, |compared| &compared.burst, "Burst", &BURST, burst));
        grids.extend(grids_of(self, |compared| &compared.fan_out, "Fan-out at a steady pace", &FAN_OUT, fan_out));
        grids
    }

    /// All tables, versions and what has to be said, as Markdown.
    pub fn to_markdown(&self) -> String {
        let tables: Vec<String> = self.grids().iter().map(Grid::to_markdown).collect();
        format!("On {}.\n\n{}\n{}", self.machine, tables.join("\n"), list(&self.notes()))
    }

    /// What tables can't say: versions, failures, deliveries that went wrong, who was left out.
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> =
            self.compared.iter().map(|compared| format!("{}: {}.", compared.name, compared.version)).collect();
        for compared in &self.compared {
            notes.extend(failures(&compared.name, "idle", &compared.idle));
            notes.extend(failures(&compared.name, "burst", &compared.burst));
            notes.extend(failures(&compared.name, "fan-out", &compared.fan_out));
        }
        notes.extend(self.skipped.iter().map(|skipped| format!("{} was left out: {}.", skipped.name, skipped.reason)));
        notes
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.machine)?;
        for grid in self.grids() {
            writeln!(f, "\n{grid}")?;
        }
        self.notes().iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

/// A list of notes, as Markdown.
pub(super) fn list(notes: &[String]) -> String {
    notes.iter().flat_map(|note| ["- ", note, "\n"]).collect()
}

fn failures<T>(name: &str, what: &str, tried: &[Tried<T>]) -> Vec<String> {
    let failed = tried.iter().filter_map(|tried| Some((tried.streams, tried.failure.as_ref()?)));
    failed.map(|(streams, why)| format!("{name}, {what} with {} streams: {why}.", thousands(streams as f64))).collect()
}

/// One table for each number of streams, with a row for everybody. The first of all is the limit.
fn grids_of<T>(
    comparison: &Comparison,
    tried: impl Fn(&Compared) -> &[Tried<T>],
    what: &str,
    headings: &[&str],
    cells: impl Fn(&T, Option<&T>) -> Vec<String>,
) -> Vec<Grid> {
    let count = comparison.compared.iter().map(|compared| tried(compared).len()).max().unwrap_or(0);
    let mut grids = Vec::new();
    for at in 0..count {
        let all: Vec<(&Compared, &Tried<T>)> =
            comparison.compared.iter().filter_map(|compared| Some((compared, tried(compared).get(at)?))).collect();
        let Some(streams) = all.first().map(|(_, tried)| tried.streams) else { continue };
        let limit = all.iter().find(|(compared, _)| compared.name == "bare loop").and_then(|(_, t)| t.figures.as_ref());
        let mut grid = Grid::new(&format!("{what}, {} streams", thousands(streams as f64)), 1, headings);
        for (compared, tried) in all {
            let mut row = vec![compared.name.clone()];
            match &tried.figures {
                Some(figures) => row.extend(cells(figures, limit)),
                None => row.push("failed, see below".to_owned()),
            }
            grid.push(row);
        }
        grids.push(grid);
    }
    grids
}

const IDLE: [&str; 6] =
    ["server", "opened/s", "CPU to open one, µs", "memory per stream, KB", "kernel memory per stream, KB", "cut"];

fn idle(figures: &IdleFigures, _limit: Option<&IdleFigures>) -> Vec<String> {
    vec![
        thousands(figures.opened_per_s),
        maybe(figures.opening_cpu_us_per_stream, |cpu| format!("{cpu:.0}")),
        maybe(figures.user_bytes_per_stream, kilobytes),
        kilobytes(figures.kernel_bytes_per_stream),
        thousands(figures.cut as f64),
    ]
}

const BURST: [&str; 8] = [
    "server",
    "deliveries/s",
    "of the bare loop",
    "CPU per delivery, µs",
    "acknowledged/s",
    "latency p50 / p99, ms",
    "memory per stream before / peak / after, KB",
    "lost / doubled / disordered / cut",
];

fn burst(figures: &BurstFigures, limit: Option<&BurstFigures>) -> Vec<String> {
    vec![
        thousands(figures.delivered_per_s),
        maybe(limit, |limit| ratio(figures.delivered_per_s, limit.delivered_per_s)),
        maybe(figures.cpu_us_per_delivery, |cpu| format!("{cpu:.2}")),
        thousands(figures.acknowledged_per_s),
        milliseconds(figures.latency.p50_us, figures.latency.p99_us),
        [figures.before_bytes_per_stream, figures.peak_bytes_per_stream, figures.after_bytes_per_stream]
            .map(|bytes| maybe(bytes, kilobytes))
            .join(" / "),
        wrong(&figures.delivery),
    ]
}

const FAN_OUT: [&str; 6] = [
    "server",
    "latency p50 / p99, ms",
    "p50 of the bare loop's",
    "CPU per delivery, µs",
    "of the bare loop's",
    "lost / doubled / disordered / cut",
];

fn fan_out(figures: &FanOutFigures, limit: Option<&FanOutFigures>) -> Vec<String> {
    let cpu = limit.and_then(|limit| Some((figures.cpu_us_per_delivery?, limit.cpu_us_per_delivery?)));
    vec![
        milliseconds(figures.latency.p50_us, figures.latency.p99_us),
        maybe(limit, |limit| ratio(figures.latency.p50_us as f64, limit.latency.p50_us as f64)),
        maybe(figures.cpu_us_per_delivery, |cpu| format!("{cpu:.2}")),
        maybe(cpu, |(ours, limit)| ratio(ours, limit)),
        wrong(&figures.delivery),
    ]
}

/// A cell of what may be unknown.
pub(super) fn maybe<T>(value: Option<T>, cell: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| NOTHING.to_owned(), cell)
}

/// Thousands of bytes.
fn kilobytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1e3)
}

/// Two figures in microseconds as milliseconds.
pub(super) fn milliseconds(p50_us: u64, p99_us: u64) -> String {
    format!("{:.1} / {:.1}", p50_us as f64 / 1e3, p99_us as f64 / 1e3)
}

/// How many times the limit something is.
fn ratio(figure: f64, limit: f64) -> String {
    format!("{:.2} ×", figure / limit.max(1e-9))
}

/// What went wrong with deliveries, if anything did.
pub(super) fn wrong(delivery: &Delivery) -> String {
    let Delivery { missing, doubled, reordered, cut, .. } = *delivery;
    if missing + doubled + reordered + cut == 0 {
        return "none".to_owned();
    }
    [missing, doubled, reordered, cut].map(|count| thousands(count as f64)).join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Skipped;
    use crate::machine::Machine;

    fn compared(name: &str, burst: Tried<BurstFigures>) -> Compared {
        let (transport, version) = ("SSE".to_owned(), "1.0".to_owned());
        Compared { name: name.to_owned(), transport, version, idle: vec![], burst: vec![burst], fan_out: vec![] }
    }

    fn tried(delivered_per_s: f64, missing: u64) -> Tried<BurstFigures> {
        let delivery = Delivery { missing, ..Delivery::default() };
        let figures = BurstFigures { delivery, delivered_per_s, ..BurstFigures::default() };
        Tried { streams: 1_000, figures: Some(figures), failure: None }
    }

    #[test]
    fn figures_stand_beside_the_limits_and_what_went_wrong_is_said() {
        let failed = Tried { streams: 1_000, figures: None, failure: Some("it fell over".to_owned()) };
        let comparison = Comparison {
            machine: Machine { cores: 2, kernel: "Linux 6.1".to_owned(), file_system: "ext4".to_owned() },
            compared: vec![
                compared("bare loop", tried(1_000_000.0, 0)),
                compared("half", tried(500_000.0, 12_345)),
                compared("broken", failed),
            ],
            skipped: vec![Skipped { name: "absent".to_owned(), reason: "there is no absent".to_owned() }],
        };
        let markdown = comparison.to_markdown();
        for part in [
            "**Burst, 1,000 streams**",
            "| half | 500,000 | 0.50 × | – | 0 | 0.0 / 0.0 | – / – / – | 12,345 / 0 / 0 / 0 |",
            "| broken | failed, see below |",
            "broken, burst with 1,000 streams: it fell over.",
            "absent was left out: there is no absent.",
        ] {
            assert!(markdown.contains(part), "{part}\nis not in\n{markdown}");
        }
        let outcomes = comparison.outcomes();
        assert_eq!(outcomes[&1_000].len(), 2, "who failed is in no chart");
    }
}
