//! Channels that end and are opened again, and producers that are kept out, at random; and how that should look, kept as
//! naively as possible: a list of what each channel was, and since when.

use std::collections::{BTreeSet, HashMap};

use rand::RngExt;
use serde_json::value::RawValue;

use super::reference::Reference;
use super::{CHANNELS, ENDING, World, name, rules};
use crate::audience::is_everyone;
use crate::channel::ChannelName;
use crate::draft::{Draft, Publisher};
use crate::ending::Deed;
use crate::history::History;
use crate::log::append_error::AppendError;
use crate::log::channel_row::EndReason;
use crate::position::Position;
use crate::rule::Durability;

/// Channels that have producers.
const PRODUCED: [&str; 4] = ["b", "m2", "r:4", "f1"];

/// What a channel was for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    /// Where it ended, and why.
    Ended(Position, EndReason),
    /// It was forgotten at some time before.
    Forgotten,
}

/// What was done to a channel.
#[derive(Clone, Debug, Default)]
struct Story {
    /// What it was, from which position on.
    standings: Vec<(Position, Standing)>,
    /// Who may publish; 0 where anybody may.
    fence: u64,
    /// Where the log was when that was given.
    fenced: Position,
    /// For which reasons somebody wanted it ended, whatever came of that.
    reasons: BTreeSet<&'static str>,
    /// The highest fence that anybody asked for, whatever came of that.
    fence_max: u64,
}

impl Story {
    fn standing(&self) -> Standing {
        self.standings.last().map_or(Standing::Open, |(_, standing)| *standing)
    }

    fn end(&self) -> Option<(Position, EndReason)> {
        match self.standing() {
            Standing::Ended(position, reason) => Some((position, reason)),
            Standing::Open | Standing::Forgotten => None,
        }
    }
}

/// What was done to all channels.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends(HashMap<ChannelName, Story>);

/// Whether what is done to a channel lasts longer than the hub.
fn is_durable(channel: &ChannelName) -> bool {
    rules().of(channel).durability == Durability::Durable
}

impl Ends {
    pub(super) fn end(&self, channel: &ChannelName) -> Option<(Position, EndReason)> {
        self.0.get(channel).and_then(Story::end)
    }

    pub(super) fn fence(&self, channel: &ChannelName) -> u64 {
        self.0.get(channel).map_or(0, |story| story.fence)
    }

    /// Whether it may be that a channel had ended, and was not opened again, where a stream had come to a position.
    pub(super) fn may_have_ended(&self, channel: &ChannelName, at: Position) -> bool {
        let standings = self.0.get(channel).map(|story| story.standings.as_slice()).unwrap_or_default();
        let then = standings.iter().rev().find(|(from, _)| *from <= at);
        then.is_some_and(|(_, standing)| *standing != Standing::Open)
    }

    /// Why a draft must be refused. Any of these will do.
    pub(super) fn refusals(&self, draft: &Draft) -> Vec<AppendError> {
        let fences: Vec<u64> = draft.channels.iter().map(|channel| self.fence(channel)).collect();
        let mut refusals = Vec::new();
        for (channel, fence) in draft.channels.iter().zip(&fences) {
            let is_ended = match (draft.deed, self.end(channel)) {
                (Deed::None, end) => end.is_some(),
                (Deed::End(reason), Some((_, before))) => reason != before,
                (Deed::End(_) | Deed::Reopen | Deed::Fence, _) => false,
            };
            let needs_fence = *fence > 0 && draft.deed != Deed::Fence;
            match draft.fence {
                Some(own) if needs_fence && own > *fence => refusals.push(AppendError::UnknownFence),
                None if needs_fence => refusals.push(AppendError::NoFence),
                Some(own) if needs_fence && own < *fence => refusals.push(AppendError::Fenced),
                _ if is_ended => refusals.push(AppendError::Ended),
                _ => {}
            }
        }
        if draft.fence.is_some() && !fences.is_empty() && fences.iter().all(|fence| *fence == 0) {
            refusals.push(AppendError::UnknownFence);
        }
        refusals
    }

    /// Leaves out the channels of a pattern that won't take what is published to it.
    pub(super) fn leave_out(&self, draft: &mut Draft) {
        if draft.pattern.is_some() {
            draft.channels.retain(|channel| self.end(channel).is_none() && self.fence(channel) == 0);
        }
    }

    /// Whether what a draft does has been done before.
    pub(super) fn is_done(&self, draft: &Draft) -> bool {
        let is_ended = draft.channels.first().is_some_and(|channel| self.end(channel).is_some());
        match draft.deed {
            Deed::End(_) => is_ended,
            Deed::Reopen => !is_ended,
            Deed::None | Deed::Fence => false,
        }
    }

    /// Something is asked for, whatever comes of it.
    pub(super) fn ask(&mut self, deed: Deed, channels: &[ChannelName]) {
        for channel in channels.iter().filter(|_| deed != Deed::None) {
            let story = self.0.entry(channel.clone()).or_default();
            match deed {
                Deed::End(reason) => _ = story.reasons.insert(reason.as_str()),
                // Each fence is asked for in a commit of its own.
                Deed::Fence => story.fence_max = story.fence_max.max(story.fence + 1),
                Deed::None | Deed::Reopen => {}
            }
        }
    }

    /// Something was done to channels, at a position. For a fence it is where the log was.
    pub(super) fn take(&mut self, deed: Deed, channels: &[ChannelName], position: Position) {
        for channel in channels {
            let story = self.0.entry(channel.clone()).or_default();
            match deed {
                Deed::None => {}
                Deed::End(reason) => story.standings.push((position, Standing::Ended(position, reason))),
                Deed::Reopen => story.standings.push((position, Standing::Open)),
                Deed::Fence => (story.fence, story.fenced) = (story.fence + 1, position),
            }
        }
    }

    /// Channels that hold nothing any more may be forgotten, once nobody can come from before they ended.
    pub(super) fn see_forgotten(&mut self, history: &History) {
        let (head, _) = history.window.head();
        for (channel, story) in self.0.iter_mut().filter(|(_, story)| story.end().is_some() || story.fence > 0) {
            if history.row(channel).unwrap().ids == [None, None] {
                let forgotten = history.horizon.forgotten();
                let end = story.end().map_or(Position::ORIGIN, |(position, _)| position);
                assert!(end.max(story.fenced) <= forgotten, "{channel:?} is forgotten too early: {story:?}");
                story.standings.push((head, Standing::Forgotten));
                story.fence = 0;
            }
        }
    }

    /// Another process has begun: what isn't kept can't be remembered. Where something of it is remembered all the same, that
    /// was asked for once.
    pub(super) fn restarted(&mut self, history: &History) {
        let (head, _) = history.window.head();
        for (channel, story) in self.0.iter_mut().filter(|(channel, _)| !is_durable(channel)) {
            let row = history.row(channel).unwrap().row;
            let was_asked_for = row.end.is_none_or(|(_, reason)| story.reasons.contains(reason.as_str()));
            assert!(was_asked_for && row.fence <= story.fence_max, "{channel:?} is {row:?} after {story:?}");
            let standing = row.end.map_or(Standing::Open, |(position, reason)| Standing::Ended(position, reason));
            story.standings.push((head, standing));
            (story.fence, story.fenced) = (row.fence, row.fenced);
        }
    }

    /// The store was opened again: a fence that is no event of the log may be there or not, where the channel isn't durable.
    pub(super) fn fence_found(&mut self, channel: &ChannelName, history: &History) {
        let row = history.row(channel).unwrap().row;
        let story = self.0.get_mut(channel).unwrap();
        assert!((story.fence..=story.fence_max).contains(&row.fence), "{channel:?} is {row:?} after {story:?}");
        (story.fence, story.fenced) = (row.fence, row.fenced);
    }

    /// The hub says of each channel what was done to it.
    pub(super) fn check(&mut self, history: &History) {
        self.see_forgotten(history);
        for (channel, story) in &self.0 {
            let row = history.row(channel).unwrap().row;
            assert_eq!((row.end, row.fence), (story.end(), story.fence), "what {channel:?} is after {story:?}");
        }
    }
}

/// The number of what was published, by its name and data.
pub(super) fn number_of(event: Option<&str>, data: &str) -> usize {
    let json = || -> serde_json::Value { serde_json::from_str(data).unwrap() };
    match event {
        Some("fanfare.end") => json()["data"].as_u64().unwrap() as usize,
        Some("fanfare.reopen") => json()["number"].as_u64().unwrap() as usize,
        _ => data.parse().unwrap(),
    }
}

/// What opens a channel again. It says nothing but its channel; here it has a number beside.
fn reopening(channel: &ChannelName, number: usize) -> Draft {
    let mut draft = Draft::reopening(channel, Publisher::Anyone).unwrap();
    let data = String::from_utf8(draft.event.data.to_vec()).unwrap();
    draft.event.data = format!("{},\"number\":{number}}}", data.strip_suffix('}').unwrap()).into();
    draft
}

/// What an event says of what it did is so.
pub(super) fn check_words(deed: Deed, channels: &[ChannelName], event: &fanfare_wire::Event) {
    let said = match deed {
        Deed::None | Deed::Fence => return assert!(!event.event.starts_with("fanfare."), "{event:?}"),
        Deed::End(reason) => ("fanfare.end", Some(reason.as_str())),
        Deed::Reopen => ("fanfare.reopen", None),
    };
    let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!((event.event.as_str(), data["reason"].as_str()), said, "{event:?}");
    assert_eq!(data["channel"], *channels[0].as_str(), "{event:?}");
}

/// Whether a stream that follows these channels ends once all of them have ended: whoever follows only what is for everyone
/// doesn't.
pub(super) fn can_end<'a>(mut channels: impl Iterator<Item = &'a ChannelName>) -> bool {
    channels.any(|channel| !is_everyone(channel))
}

impl Reference {
    /// Whether all of these channels have ended.
    pub(super) fn is_over(&self, channels: &[&ChannelName]) -> bool {
        let mut ending = channels.iter().filter(|channel| !is_everyone(channel));
        can_end(channels.iter().copied()) && ending.all(|channel| self.ends.end(channel).is_some())
    }
}

impl World {
    /// Something is done to a channel: mostly what it wasn't yet.
    pub(super) fn deed(&mut self) -> (usize, Draft) {
        let number = self.reference.next_number();
        let chance = self.rng.random_range(0..20);
        let channel = match self.rng.random_range(0..4) {
            0 => name(CHANNELS[self.rng.random_range(0..CHANNELS.len())]),
            1 => name(ENDING[self.rng.random_range(0..ENDING.len())]),
            _ => self.followed_channel(),
        };
        let draft = match self.reference.ends.end(&channel) {
            _ if chance < 3 => {
                let channel = name(PRODUCED[self.rng.random_range(0..PRODUCED.len())]);
                return (number, Draft::fence(channel, Publisher::Anyone).unwrap());
            }
            Some(_) if chance < 16 => reopening(&channel, number),
            None if chance == 3 => reopening(&channel, number),
            _ => {
                let reason = EndReason::ALL[self.rng.random_range(0..3)];
                let data = RawValue::from_string(number.to_string()).unwrap();
                Draft::ending(&channel, reason, Some(&data), Publisher::Anyone).unwrap()
            }
        };
        (number, self.fenced(draft))
    }

    /// A channel that somebody follows who may be told that all has ended.
    fn followed_channel(&mut self) -> ChannelName {
        let plain = self.clients.iter().filter(|client| client.is_plain);
        let items = plain.flat_map(|client| client.steered.known());
        let names = items.filter_map(|item| item.channel.as_ref()).filter(|channel| !is_everyone(channel));
        let names: Vec<&ChannelName> = names.collect();
        let which = self.rng.random_range(0..=names.len());
        names.get(which).map_or_else(|| name(ENDING[0]), |channel| (*channel).clone())
    }

    /// The draft of some producer, mostly the one that may publish.
    pub(super) fn fenced(&mut self, mut draft: Draft) -> Draft {
        let fence = draft.channels.iter().map(|channel| self.reference.ends.fence(channel)).max().unwrap_or(0);
        if draft.pattern.is_some() || (fence == 0 && self.rng.random_bool(0.99)) {
            return draft;
        }
        draft.fence = match self.rng.random_range(0..20) {
            0 => None,
            1 | 2 => Some(fence.saturating_sub(1).max(1)),
            3 => Some(fence + 1),
            _ => Some(fence.max(1)),
        };
        draft
    }

    /// A channel to publish to: mostly not one that has ended.
    pub(super) fn open_channel(&mut self) -> ChannelName {
        loop {
            let channel = name(CHANNELS[self.rng.random_range(0..CHANNELS.len())]);
            if self.reference.ends.end(&channel).is_none() || self.rng.random_bool(0.2) {
                return channel;
            }
        }
    }
}
