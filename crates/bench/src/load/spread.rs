//! Events spread over many channels: at random or in turn, several in one request, at a pace or as fast as they are
//! acknowledged.

use std::time::Duration;

use crate::error::MeasureError;
use crate::load::marker::{Data, Marker};
use crate::load::pace::{Clock, Pace, wake_sharply};
use crate::load::publisher::Publisher;
use crate::load::publishing::{Published, times};
use crate::load::random::Random;
use crate::subject::{Item, Publish, PublishMany, Subject};

/// Who publishes where.
#[derive(Debug)]
pub struct Spread {
    publisher: Publisher,
    /// How several events are published at once; `None` where each needs a request of its own.
    many: Option<PublishMany>,
    one: Publish,
    /// Channels that are named together. Each group is a series.
    groups: Vec<Vec<String>>,
    /// Events in a request, at most.
    batch: usize,
    data: Data,
    clock: Clock,
}

impl Spread {
    /// Publishes over one connection to `address`.
    ///
    /// # Errors
    ///
    /// When the server can't be reached.
    pub fn new(
        subject: &Subject,
        address: &str,
        groups: Vec<Vec<String>>,
        (batch, bytes): (usize, usize),
        clock: &Clock,
    ) -> Result<Self, MeasureError> {
        Ok(Self {
            publisher: Publisher::connect(address)?,
            many: subject.publish_many.clone(),
            one: subject.publish.clone(),
            groups,
            batch: if subject.publish_many.is_some() { batch.max(1) } else { 1 },
            data: Data::new(bytes),
            clock: clock.clone(),
        })
    }

    /// Publishes `rate` events a second for so long, each to a group that is drawn.
    ///
    /// # Errors
    ///
    /// When an event isn't acknowledged.
    pub fn paced(&mut self, rate: f64, duration: Duration) -> Result<Published, MeasureError> {
        wake_sharply();
        let mut random = Random::default();
        let mut published = self.nothing();
        let (start, requests) = (self.clock.now(), rate / self.batch as f64);
        let mut pace = Pace::new(self.clock.clone(), start, requests);
        loop {
            let due = pace.wait();
            if due >= start + duration {
                return Ok(published);
            }
            let drawn: Vec<usize> = (0..self.batch).map(|_| random.below(self.groups.len())).collect();
            self.request(&drawn, due, &mut published)?;
        }
    }

    /// Publishes one event to each group, as fast as they are acknowledged. `seen` is told how many there were.
    ///
    /// # Errors
    ///
    /// When an event isn't acknowledged.
    pub fn one_each(&mut self, mut seen: impl FnMut(u64)) -> Result<Published, MeasureError> {
        let mut published = self.nothing();
        let groups: Vec<usize> = (0..self.groups.len()).collect();
        for (at, turn) in groups.chunks(self.batch).enumerate() {
            self.request(turn, self.clock.now(), &mut published)?;
            seen((at * self.batch) as u64);
        }
        Ok(published)
    }

    fn nothing(&self) -> Published {
        let first = self.clock.now();
        Published { of_series: vec![0; self.groups.len()], waits: times(), first, last: first }
    }

    /// Publishes an event to each of these groups, in one request.
    fn request(&mut self, groups: &[usize], due: Duration, published: &mut Published) -> Result<(), MeasureError> {
        let mut items = Vec::with_capacity(groups.len());
        for group in groups {
            let (Some(channels), Some(number)) = (self.groups.get(*group), published.of_series.get_mut(*group)) else {
                continue;
            };
            let marker = Marker { series: *group as u32, number: *number, due_us: due.as_micros() as u32 };
            items.push(Item { channels: channels.clone(), data: self.data.mark(marker).to_owned() });
            *number += 1;
        }
        match (&self.many, items.first()) {
            (Some(many), _) => self.publisher.publish_many(many, &items)?,
            (None, Some(Item { channels, data })) => {
                self.publisher.publish(&self.one, channels.first().map_or("main", String::as_str), data)?;
            }
            (None, None) => {}
        }
        published.last = self.clock.now();
        published.waits.saturating_record(published.last.saturating_sub(due).as_micros() as u64);
        Ok(())
    }
}
