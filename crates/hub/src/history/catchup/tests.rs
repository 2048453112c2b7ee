//! Pages of what retention has overtaken.

use std::sync::Arc;

use super::*;
use crate::clock::ManualClock;
use crate::draft::{Draft, Publisher};
use crate::event::Event;
use crate::follows::Since;
use crate::rule::{HistoryLimits, Rule, Rules};
use crate::space::Space;
use crate::store::memory::MemoryStore;
use crate::writer::{Group, Writer, WriterParts};

/// A log of so many channels that keep one event each.
fn short_channels(count: usize) -> Writer {
    let store = Arc::new(MemoryStore::default());
    let history = HistoryLimits { count_max: 1, ..HistoryLimits::default() };
    let rule = Rule::new(Pattern::new("p*").unwrap()).history(history).overflow(Overflow::Close);
    let mut writer = Writer::open(WriterParts {
        space: Arc::new(Space::open(store.clone(), None, None).unwrap()),
        store,
        rules: Arc::new(Rules::new(vec![rule])),
        clock: Arc::new(ManualClock::at(1_000_000)),
        random: Box::new(|| 7),
        window_bytes: 0,
        channels_max: 10,
        cursor_age_max: std::time::Duration::from_hours(1),
    })
    .unwrap();
    for n in 0..10 * count {
        let name = ChannelName::new(&format!("p{}", n % count)).unwrap();
        let draft = Draft::new(vec![name], Event::text("x"), Publisher::Anyone).unwrap();
        writer.append(vec![Group { drafts: vec![draft], atomic: false }]);
    }
    while writer.sweep() || writer.has_removals() {}
    writer
}

#[test]
fn a_stream_that_is_too_slow_for_few_or_many_channels_of_a_pattern_ends_where_a_rule_says_so() {
    for (count, gaps) in [(2, 2), (PATTERN_GAPS_MAX + 1, 1)] {
        let writer = short_channels(count);
        let history = writer.history();
        let follows = Follows::new(vec![], vec![(Pattern::new("p*").unwrap(), Since::Now)]);
        let mut catchup = Catchup::resume(Arc::new(follows.heard_by(None, false)), Position::new(1, 1), true);
        let page = catchup.page(&history, history.window.head().0).unwrap();
        assert_eq!((page.gaps.len(), page.end), (gaps, Some(ByeReason::Overflow)), "{count} channels");
    }
}
