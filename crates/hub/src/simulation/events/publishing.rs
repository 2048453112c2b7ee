//! What is published in groups, and what becomes of it: each draft is taken or refused, and each for right.

use std::time::Duration;

use rand::RngExt;

use super::World;
use super::ends::Ends;
use super::trouble::{Doubt, Failed};
use crate::clock::Clock;
use crate::draft::Draft;
use crate::ending::Deed;
use crate::event::Event;
use crate::log::append_error::AppendError;
use crate::position::Position;
use crate::writer::{Group, Placed};

/// Drafts with their numbers, in a group that is atomic or not.
type Sent = (Vec<(usize, Draft)>, bool);

impl World {
    pub(super) fn publish(&mut self) {
        let count = self.rng.random_range(1..4);
        let groups = (0..count).map(|_| self.group()).collect();
        self.append(groups);
    }

    /// Something is done to a channel, perhaps with events before and after it in the same commit.
    pub(super) fn do_deed(&mut self) {
        let mut groups = Vec::new();
        if self.rng.random_bool(0.3) {
            groups.push(self.group());
        }
        groups.push((vec![self.deed()], false));
        if self.rng.random_bool(0.3) {
            groups.push(self.group());
        }
        self.append(groups);
    }

    fn group(&mut self) -> Sent {
        let count = self.rng.random_range(1..6);
        let drafts = (0..count).map(|_| {
            let number = self.reference.next_number();
            let mut event = Event::text(number.to_string());
            if self.rng.random_bool(0.05) {
                event = event.ttl(Duration::from_secs(self.rng.random_range(1..100)));
            }
            (number, self.draft(event))
        });
        (drafts.collect(), self.rng.random_bool(0.2))
    }

    fn append(&mut self, groups: Vec<Sent>) {
        let was_failed = self.hub.writer.is_failed();
        if !was_failed {
            self.reference.ends.see_forgotten(&self.hub.history);
        }
        for (_, draft) in groups.iter().flat_map(|(sent, _)| sent) {
            self.reference.ends.ask(draft.deed, &draft.channels);
        }
        let drafts = |sent: &[(usize, Draft)]| sent.iter().map(|(_, draft)| draft.clone()).collect();
        let batch = groups.iter().map(|(sent, atomic)| Group { drafts: drafts(sent), atomic: *atomic }).collect();
        let outcomes = self.hub.writer.append(batch);
        for (_, draft) in groups.iter().flat_map(|(sent, _)| sent).filter(|(_, draft)| draft.deed != Deed::None) {
            self.trace.push(format!("{:?} of {:?}", draft.deed, draft.channels));
        }
        let is_unknown = outcomes.iter().flatten().any(|result| *result == Err(AppendError::OutcomeUnknown));
        // What of it is unknown is so within the commit, whatever comes of it.
        let mut ends = self.reference.ends.clone();
        let mut doubts = Vec::new();
        for ((sent, atomic), outcome) in groups.into_iter().zip(outcomes) {
            let refused = outcome.iter().filter(|result| result.is_err()).count();
            assert!(!atomic || refused == 0 || refused == outcome.len(), "a part of an atomic batch was refused");
            let first = sent.iter().position(|(_, draft)| !refusals(&ends, draft).is_empty()).filter(|_| atomic);
            for (at, ((number, mut draft), result)) in sent.into_iter().zip(outcome).enumerate() {
                ends.leave_out(&mut draft);
                let refusals = refusals(&ends, &draft);
                let is_good = first.is_none() && refusals.is_empty();
                match result {
                    Ok(placed) if is_good => self.take(number, draft, &placed, &mut ends),
                    Err(AppendError::OutcomeUnknown) if is_good && !was_failed => {
                        if !draft.channels.is_empty() && !ends.is_done(&draft) {
                            ends.take(draft.deed, &draft.channels, Position::LAST);
                            doubts.push(Doubt::new(number, draft, self.hub.clock.unix_ms()));
                        }
                    }
                    Err(AppendError::Reopening) if was_failed => {}
                    // Whoever sees it after all finds nothing in the reference.
                    Err(AppendError::DiskFull) if self.is_small => {}
                    Err(AppendError::Batch(of)) if first == Some(of) && at != of => {}
                    // It may rest on what nobody knows.
                    Err(AppendError::Reopening) if self.hub.writer.is_failed() && !is_good => {}
                    Err(error) if !is_unknown && refusals.contains(&error) && first.is_none_or(|first| first == at) => {
                        self.trace.push(format!("refused: {error}"));
                    }
                    result => panic!("{draft:?} is to be refused for {refusals:?}, {first:?}, and was {result:?}"),
                }
            }
        }
        if doubts.is_empty() {
            self.reference.ends = ends;
        } else {
            self.trace.push(format!("{} in doubt", doubts.len()));
            self.failed = Some(Failed { doubts, fate: self.hub.disk.fate().expect("the store has failed") });
        }
    }

    /// A draft was taken.
    fn take(&mut self, number: usize, draft: Draft, placed: &Placed, ends: &mut Ends) {
        if draft.channels.is_empty() {
            return assert_eq!(placed.found, Some(Vec::new()));
        }
        assert!(placed.found.as_ref().is_none_or(|found| *found == draft.channels), "{placed:?} of {draft:?}");
        if ends.is_done(&draft) {
            let position = ends.end(&draft.channels[0]).map(|(position, _)| position);
            return assert_eq!((placed.position, placed.duplicate), (position, true), "{draft:?} was done before");
        }
        assert!(!placed.duplicate, "{draft:?} was not done before");
        let (head, _) = self.hub.writer.window.head();
        ends.take(draft.deed, &draft.channels, placed.position.unwrap_or(head));
        if draft.deed == Deed::Fence {
            return assert_eq!(placed.fence, ends.fence(&draft.channels[0]), "one more than the last time");
        }
        let sent = Doubt::new(number, draft, self.hub.clock.unix_ms());
        self.reference.add(sent, placed.position, placed.durability);
    }
}

/// Why a draft must be refused.
fn refusals(ends: &Ends, draft: &Draft) -> Vec<AppendError> {
    let mut draft = draft.clone();
    ends.leave_out(&mut draft);
    ends.refusals(&draft)
}
