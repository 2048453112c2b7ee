//! The outcome of a scenario: who was measured on what, and the figures, as JSON and as a table for people.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use crate::figures::Delivery;
use crate::machine::Machine;
use crate::scenario::bad_peers::BadPeersFigures;
use crate::scenario::burst::BurstFigures;
use crate::scenario::channels::ChannelsFigures;
use crate::scenario::fan_out::FanOutFigures;
use crate::scenario::idle::IdleFigures;
use crate::scenario::many_channels::ManyChannelsFigures;
use crate::scenario::patterns::PatternsFigures;
use crate::scenario::publish::PublishFigures;
use crate::scenario::resume_storm::ResumeStormFigures;
use crate::scenario::slow_readers::SlowReadersFigures;
use crate::scenario::soak::SoakFigures;
use crate::scenario::start_up::StartUpFigures;
use crate::unit::Unit;

mod tree;

use tree::Tree;

/// What came out of one scenario with one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Who was measured.
    pub subject: String,
    /// On what.
    pub machine: Machine,
    /// What came out.
    #[serde(flatten)]
    pub figures: Figures,
}

/// The figures of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "scenario", content = "figures", rename_all = "kebab-case")]
pub enum Figures {
    /// Of [`idle`](crate::scenario::idle).
    Idle(IdleFigures),
    /// Of [`fan_out`](crate::scenario::fan_out).
    FanOut(FanOutFigures),
    /// Of [`burst`](crate::scenario::burst).
    Burst(BurstFigures),
    /// Of [`channels`](crate::scenario::channels).
    Channels(ChannelsFigures),
    /// Of [`many_channels`](crate::scenario::many_channels).
    ManyChannels(ManyChannelsFigures),
    /// Of [`patterns`](crate::scenario::patterns).
    Patterns(PatternsFigures),
    /// Of [`resume_storm`](crate::scenario::resume_storm).
    ResumeStorm(ResumeStormFigures),
    /// Of [`slow_readers`](crate::scenario::slow_readers).
    SlowReaders(SlowReadersFigures),
    /// Of [`bad_peers`](crate::scenario::bad_peers).
    BadPeers(BadPeersFigures),
    /// Of [`start_up`](crate::scenario::start_up).
    StartUp(StartUpFigures),
    /// Of [`publish`](crate::scenario::publish).
    Publish(PublishFigures),
    /// Of [`soak`](crate::scenario::soak).
    Soak(SoakFigures),
}

impl Figures {
    /// Whether everything that was published came everywhere, once and in order, and no stream was cut.
    pub fn is_exact(&self) -> bool {
        self.deliveries().iter().all(|delivery| delivery.is_exact() && delivery.cut == 0)
    }

    /// What streams got, in each part of the scenario.
    fn deliveries(&self) -> Vec<Delivery> {
        match self {
            Self::Idle(figures) => vec![Delivery { cut: figures.cut, ..Delivery::default() }],
            Self::FanOut(figures) => vec![figures.delivery],
            Self::Burst(figures) => vec![figures.delivery],
            Self::Channels(figures) => vec![figures.delivery],
            Self::ManyChannels(_) | Self::StartUp(_) => vec![],
            Self::BadPeers(figures) => vec![figures.delivery],
            Self::Patterns(figures) => vec![figures.fan_out.delivery],
            Self::ResumeStorm(figures) => vec![figures.delivery],
            Self::SlowReaders(figures) => vec![figures.delivery],
            Self::Publish(figures) => vec![figures.delivery],
            Self::Soak(figures) => vec![figures.delivery],
        }
    }
}

impl Display for Outcome {
    /// A line for each figure.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(&self.figures).map_err(|_| fmt::Error)?;
        let Ok(Tree::Members(members)) = serde_json::from_str(&json) else { return Err(fmt::Error) };
        let mut lines = Vec::new();
        for (name, tree) in members {
            match (name.as_str(), tree) {
                ("scenario", Tree::Text(scenario)) => writeln!(f, "{scenario}: {} ({})", self.subject, self.machine)?,
                (_, figures) => flatten(&figures, "", &mut lines),
            }
        }
        let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, figure) in lines {
            writeln!(f, "  {name:width$}  {figure:>14}")?;
        }
        Ok(())
    }
}

/// The figures of a tree, those within named after it too. Of several samples the first and the last are shown.
fn flatten(tree: &Tree, name: &str, lines: &mut Vec<(String, String)>) {
    let within = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name} {key}") };
    match tree {
        Tree::Members(members) => members.iter().for_each(|(key, member)| flatten(member, &within(key), lines)),
        Tree::Items(items) => {
            for (item, which) in items.first().into_iter().chain(items.last()).zip(["first", "last"]) {
                flatten(item, &within(which), lines);
            }
        }
        Tree::Number(number) => lines.push(line(name, *number)),
        Tree::Text(text) => lines.push((name.replace('_', " "), text.clone())),
        Tree::Nothing => {}
    }
}

/// A figure with its unit, which stands at the end of its name.
fn line(name: &str, figure: f64) -> (String, String) {
    let endings = [
        ("_per_s", Unit::Amount, "/s"),
        ("_us", Unit::Time, ""),
        ("_s", Unit::Seconds, ""),
        ("_bytes", Unit::Bytes, ""),
    ];
    let inner = [("_us_per_", Unit::Time), ("_bytes_per_", Unit::Bytes)];
    let named = if let Some((what, per, unit)) =
        inner.into_iter().find_map(|(end, unit)| name.split_once(end).map(|(what, per)| (what, per, unit)))
    {
        (format!("{what} per {per}"), unit)
    } else if let Some((what, unit, end)) =
        endings.into_iter().find_map(|(end, unit, shown)| name.strip_suffix(end).map(|what| (what, unit, shown)))
    {
        (format!("{what}{end}"), unit)
    } else {
        (name.to_owned(), Unit::Amount)
    };
    (named.0.replace('_', " "), named.1.show(figure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_shown_in_its_unit() {
        let figures = [("latency p99_us", 1_500.0), ("delivered_per_s", 4e6), ("cpu_us_per_delivery", 0.125)];
        let lines = figures.map(|(name, figure)| line(name, figure)).map(|(name, text)| format!("{name}: {text}"));
        assert_eq!(lines, ["latency p99: 1.50 ms", "delivered/s: 4,000,000", "cpu per delivery: 0.125 µs"]);
        let memory = line("server memory_peak_bytes", 2.5e6);
        assert_eq!(memory, ("server memory peak".to_owned(), "2.50 MB".to_owned()));
    }

    #[test]
    fn an_outcome_is_read_back_as_it_was_written() {
        let machine = Machine { cores: 2, kernel: "Linux 6.18".into(), file_system: "ext4".into() };
        let figures = Figures::Burst(BurstFigures { elapsed_s: 1.5, ..BurstFigures::default() });
        let json = serde_json::to_string(&Outcome { subject: "x".into(), machine, figures: figures.clone() }).unwrap();
        let read: Outcome = serde_json::from_str(&json).unwrap();
        assert_eq!(read.figures, figures);
        assert!(read.to_string().contains("burst: x"), "{read}");
    }
}
