//! Which figures of which scenario become which chart.

use crate::chart::Whose;
use crate::chart::bars::{Bars, Row};
use crate::chart::lines::{Along, Line, Lines};
use crate::error::MeasureError;
use crate::figures::Latencies;
use crate::outcome::{Figures, Outcome};
use crate::scenario::soak::SoakFigures;
use crate::unit::Unit;

/// A chart of either kind.
pub(super) enum Chart {
    Bars(Bars),
    Lines(Lines),
}

impl Chart {
    pub(super) fn to_svg(&self) -> Result<String, MeasureError> {
        match self {
            Self::Bars(bars) => bars.to_svg(),
            Self::Lines(lines) => lines.to_svg(),
        }
    }
}

/// A figure of each part, if the outcome is of this chart's scenario.
type Parts = fn(&Figures) -> Option<Vec<Option<f64>>>;

/// A chart of bars: file, title, which way is better, unit, parts, figures.
struct BarsOf(&'static str, &'static str, &'static str, Unit, &'static [&'static str], Parts);

const LESS: &str = "less is better";
const MORE: &str = "more is better";

/// All charts of bars.
const BARS: &[BarsOf] = &[
    BarsOf(
        "idle-memory",
        "Memory of an idle stream",
        LESS,
        Unit::Bytes,
        &["server", "kernel, both ends"],
        |f| match f {
            Figures::Idle(f) => Some(vec![f.user_bytes_per_stream, Some(f.kernel_bytes_per_stream)]),
            _ => None,
        },
    ),
    BarsOf("idle-opening", "Streams opened in a second", MORE, Unit::Amount, &[], |f| match f {
        Figures::Idle(f) => Some(vec![Some(f.opened_per_s)]),
        _ => None,
    }),
    BarsOf("fan-out-cpu", "Processor time of a delivery, at a steady pace", LESS, Unit::Time, &[], |f| match f {
        Figures::FanOut(f) => Some(vec![f.cpu_us_per_delivery]),
        _ => None,
    }),
    BarsOf("burst-deliveries", "Deliveries in a second", MORE, Unit::Amount, &[], |f| match f {
        Figures::Burst(f) => Some(vec![Some(f.delivered_per_s)]),
        _ => None,
    }),
    BarsOf("burst-cpu", "Processor time of a delivery, in a burst", LESS, Unit::Time, &[], |f| match f {
        Figures::Burst(f) => Some(vec![f.cpu_us_per_delivery]),
        _ => None,
    }),
    BarsOf("burst-memory", "Memory in a burst", LESS, Unit::Bytes, &["before", "peak", "after"], |f| match f {
        Figures::Burst(f) => f.server.map(|s| {
            [s.memory_before_bytes, s.memory_peak_bytes, s.memory_after_bytes].map(|b| Some(b as f64)).to_vec()
        }),
        _ => None,
    }),
    BarsOf(
        "channels-cpu",
        "Processor time of a delivery, many channels",
        LESS,
        Unit::Time,
        &["with publishing", "without"],
        |f| match f {
            Figures::Channels(f) => Some(vec![f.cpu_us_per_delivery, f.cpu_us_per_delivery_alone]),
            _ => None,
        },
    ),
    BarsOf("many-channels-memory", "Memory of a channel with one event", LESS, Unit::Bytes, &[], |f| match f {
        Figures::ManyChannels(f) => Some(vec![f.memory_bytes_per_channel]),
        _ => None,
    }),
    BarsOf("patterns-cpu", "Processor time of a delivery, by a pattern", LESS, Unit::Time, &[], |f| match f {
        Figures::Patterns(f) => Some(vec![f.fan_out.cpu_us_per_delivery]),
        _ => None,
    }),
    BarsOf(
        "resume-storm-time",
        "Until all streams are back",
        LESS,
        Unit::Seconds,
        &["open again", "have everything"],
        |f| match f {
            Figures::ResumeStorm(f) => Some(vec![Some(f.reopening_s), Some(f.resuming_s)]),
            _ => None,
        },
    ),
    BarsOf("resume-storm-memory", "Memory in a storm", LESS, Unit::Bytes, &["before", "peak", "after"], |f| match f {
        Figures::ResumeStorm(f) => f.server.map(|s| {
            [s.memory_before_bytes, s.memory_peak_bytes, s.memory_after_bytes].map(|b| Some(b as f64)).to_vec()
        }),
        _ => None,
    }),
    BarsOf("publish-rate", "Acknowledgements in a second", MORE, Unit::Amount, &[], |f| match f {
        Figures::Publish(f) => Some(vec![Some(f.acknowledged_per_s)]),
        _ => None,
    }),
];

/// Latencies of an outcome by what they are called, if it is of this chart's scenario.
type Measured = fn(&Figures) -> Vec<(&'static str, Latencies)>;

/// All charts of percentiles: file, title, latencies.
const PERCENTILES: &[(&str, &str, Measured)] = &[
    ("fan-out-latency", "From due to delivered, at a steady pace", |f| match f {
        Figures::FanOut(f) => vec![("", f.latency)],
        _ => vec![],
    }),
    ("patterns-latency", "From due to delivered, by a pattern", |f| match f {
        Figures::Patterns(f) => vec![("", f.fan_out.latency)],
        _ => vec![],
    }),
    ("channels-latency", "From due to delivered, many channels", |f| match f {
        Figures::Channels(f) => vec![("", f.latency)],
        _ => vec![],
    }),
    ("slow-readers-latency", "From due to delivered, with and without slow readers", |f| match f {
        Figures::SlowReaders(f) => vec![(" without", f.latency_without), (" with", f.latency_with)],
        _ => vec![],
    }),
    ("resume-storm-publishing", "Waiting for an acknowledgement, calm and in a storm", |f| match f {
        Figures::ResumeStorm(f) => {
            vec![(" calm", f.acknowledgement_before), (" in a storm", f.acknowledgement_meanwhile)]
        }
        _ => vec![],
    }),
    ("publish-latency", "Waiting for an acknowledgement", |f| match f {
        Figures::Publish(f) => vec![("", f.acknowledgement)],
        _ => vec![],
    }),
];

/// A figure of each sample.
type OfSample = fn(&crate::scenario::soak::Sample) -> Option<f64>;

/// All charts over time: file, title, unit, figure.
const COURSES: &[(&str, &str, Unit, OfSample)] = &[
    ("soak-memory", "Memory in the course of time", Unit::Bytes, |sample| {
        sample.memory_bytes.map(|bytes| bytes as f64)
    }),
    ("soak-latency", "99 of 100 deliveries come within", Unit::Time, |sample| Some(sample.latency.p99_us as f64)),
];

/// All charts for which there are figures, each with its name.
pub(super) fn charts(outcomes: &[Outcome]) -> Vec<(&'static str, Chart)> {
    let mut charts = Vec::new();
    for BarsOf(name, title, better, unit, parts, figures) in BARS {
        let row = |(at, outcome): (usize, &Outcome)| {
            let whose = Whose::of(&outcome.subject, at);
            figures(&outcome.figures).map(|figures| Row { name: outcome.subject.clone(), whose, figures })
        };
        let rows: Vec<Row> = outcomes.iter().enumerate().filter_map(row).collect();
        let parts = parts.iter().map(|part| (*part).to_owned()).collect();
        if !rows.is_empty() {
            let (title, subtitle) = ((*title).to_owned(), subtitle(outcomes, better));
            charts.push((*name, Chart::Bars(Bars { title, subtitle, unit: *unit, parts, rows })));
        }
    }
    for (name, title, measured) in PERCENTILES {
        let names = ["p50", "p90", "p99", "p99.9", "max"].map(str::to_owned).to_vec();
        let lines = outcomes.iter().enumerate().flat_map(|(at, outcome)| {
            let whose = Whose::of(&outcome.subject, at);
            let line = move |(part, (what, latencies)): (usize, (&str, Latencies))| Line {
                name: format!("{}{what}", outcome.subject),
                whose,
                is_light: part == 0 && !what.is_empty(),
                points: points(latencies),
            };
            measured(&outcome.figures).into_iter().enumerate().map(line)
        });
        charts.extend(lines_of((name, title), Unit::Time, Along::Names(names), lines.collect(), outcomes));
    }
    for (name, title, unit, of_sample) in COURSES {
        let line = |(at, outcome): (usize, &Outcome)| {
            let Figures::Soak(SoakFigures { samples, .. }) = &outcome.figures else { return None };
            let points = samples.iter().filter_map(|sample| Some((sample.elapsed_s, of_sample(sample)?))).collect();
            Some(Line {
                name: outcome.subject.clone(),
                whose: Whose::of(&outcome.subject, at),
                is_light: false,
                points,
            })
        };
        let lines = outcomes.iter().enumerate().filter_map(line).collect();
        charts.extend(lines_of((name, title), *unit, Along::Seconds, lines, outcomes));
    }
    charts
}

fn lines_of(
    (name, title): (&'static str, &str),
    unit: Unit,
    along: Along,
    lines: Vec<Line>,
    outcomes: &[Outcome],
) -> Option<(&'static str, Chart)> {
    let (title, subtitle) = (title.to_owned(), subtitle(outcomes, LESS));
    // Percentiles lie far apart sooner or later, and are easier to compare if all charts of them are alike.
    let is_logarithmic = matches!(along, Along::Names(_));
    let chart = Lines { title, subtitle, unit, is_logarithmic, along, lines };
    (!chart.lines.is_empty()).then_some((name, Chart::Lines(chart)))
}

fn points(latencies: Latencies) -> Vec<(f64, f64)> {
    let Latencies { p50_us, p90_us, p99_us, p999_us, max_us, .. } = latencies;
    let points = [p50_us, p90_us, p99_us, p999_us, max_us].into_iter().enumerate();
    points.map(|(at, us)| (at as f64, us as f64)).collect()
}

/// Which way is better, and on which machine.
fn subtitle(outcomes: &[Outcome], better: &str) -> String {
    outcomes.first().map_or_else(String::new, |outcome| format!("{better} · {}", outcome.machine))
}
