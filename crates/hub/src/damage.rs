//! Places of the store that can't be read, as they are found. Each is told once in the log and counted once, however often
//! it is met afterwards; and reading goes on behind it.
//!
//! What the bytes mean, and who has to be told of a gap, is decided by the readers.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::store::{KeyRange, Order, Scan, Store, StoreError, Table};

pub(crate) mod restore;

/// Places that are remembered. With more of them than this the folder is beyond help, and logs need not say it each time.
const PLACES_MAX: usize = 10_000;

/// The damaged places found so far.
#[derive(Debug, Default)]
pub(crate) struct Damage(Mutex<HashSet<(&'static str, u128)>>);

impl Damage {
    /// Takes note of a place of a table, from a key on. Tells it, if it is new.
    pub(crate) fn found(&self, table: Table, from: &[u8], error: &(dyn std::error::Error + 'static)) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() < PLACES_MAX && places.insert((table.as_str(), number(from, 16))) {
            tracing::error!(
                table = table.as_str(),
                from = %from.escape_ascii(),
                error,
                "a part of the store is damaged and left out; listeners are told a gap. Run `fanfare data check`",
            );
        }
    }

    /// Whether a table has damaged places, as far as is known.
    pub(crate) fn is_in(&self, table: Table) -> bool {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !places.is_empty() && places.iter().any(|(of, _)| *of == table.as_str())
    }

    /// How many places were found.
    pub(crate) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }
}

/// A scan that goes on behind damaged places.
pub(crate) struct Readable<'a> {
    store: &'a dyn Store,
    damage: &'a Damage,
    table: Table,
    range: KeyRange,
    order: Order,
    scan: Scan<'a>,
    /// Keys that were read beside a damaged place, to be given next, last first.
    saved: Vec<(Bytes, Bytes)>,
    /// The number of the last key that was given.
    last: Option<u128>,
    /// How often what could not be read could be read after all.
    tries: u32,
    /// What could not be read so far: keys from here to there, both included.
    pub(crate) holes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<'a> Readable<'a> {
    /// Scans a range of a table.
    pub(crate) fn new(store: &'a dyn Store, damage: &'a Damage, table: Table, range: KeyRange, order: Order) -> Self {
        let scan = store.scan(table, range.clone(), order);
        Self { store, damage, table, range, order, scan, saved: Vec::new(), last: None, tries: 0, holes: Vec::new() }
    }

    /// As many bytes of a key as are looked at when it is searched for.
    fn width(&self) -> usize {
        if self.table == Table::Log { 8 } else { 16 }
    }

    /// The first and last number that keys of the range may have, in the order of the scan.
    fn ends(&self) -> (u128, u128) {
        let width = self.width();
        let greatest = u128::MAX >> (128 - 8 * width);
        let low = match &self.range.0 {
            Bound::Unbounded => 0,
            Bound::Included(key) => number(key, width),
            Bound::Excluded(key) => number(key, width).saturating_add(u128::from(key.len() <= width)).min(greatest),
        };
        let high = match &self.range.1 {
            Bound::Unbounded => greatest,
            Bound::Included(key) | Bound::Excluded(key) => number(key, width),
        };
        match self.order {
            Order::Ascending => (low, high),
            Order::Descending => (high, low),
        }
    }

    /// The pairs from one number to another, both included, in the order of the scan.
    fn part(&self, from: u128, to: u128) -> Scan<'a> {
        let (low, high) = if self.order == Order::Ascending { (from, to) } else { (to, from) };
        let width = self.width();
        let low = match &self.range.0 {
            Bound::Included(first) => Bound::Included(key(low, width).max(first.clone())),
            Bound::Excluded(last) if key(low, width) <= *last => Bound::Excluded(last.clone()),
            Bound::Unbounded | Bound::Excluded(_) => Bound::Included(key(low, width)),
        };
        // Longer keys that begin with these bytes lie behind them.
        let mut end = key(high, width);
        end.resize(width + 1, 0xff);
        let high = match &self.range.1 {
            Bound::Included(last) if *last < end => Bound::Included(last.clone()),
            Bound::Excluded(last) if *last < end => Bound::Excluded(last.clone()),
            _ => Bound::Included(end),
        };
        if is_empty(&low, &high) {
            return Box::new(std::iter::empty());
        }
        self.store.scan(self.table, (low, high), self.order)
    }

    /// Goes on behind the damaged place that lies somewhere after the last key given.
    fn skip(&mut self, error: StoreError) -> Result<(), StoreError> {
        let (first, end) = self.ends();
        if self.last == Some(end) {
            self.scan = Box::new(std::iter::empty());
            return Ok(());
        }
        let forwards = self.order == Order::Ascending;
        let left = |from: u128| if forwards { end.saturating_sub(from) } else { from.saturating_sub(end) };
        let at = |from: u128, steps: u128| {
            if forwards { from.saturating_add(steps) } else { from.saturating_sub(steps) }
        };
        let from = self.last.map_or(first, |last| at(last, 1));
        let total = left(from);
        // What lies before the place is lost with the scan: find the longest part that can be read to its end, by ever
        // longer steps, then exactly. Parts of less than `good` steps are sound, that of `bad` steps is not.
        let (mut good, mut known) = (0, None);
        let bad = loop {
            let step = match known {
                Some(bad) if bad == good => break bad,
                Some(bad) => good + (bad - good) / 2,
                // It can be read after all, at the second time. Once.
                None if good > total && self.tries > 0 => return Err(error),
                None if good > total => {
                    self.tries += 1;
                    self.scan = self.part(from, end);
                    return Ok(());
                }
                None => u128::saturating_mul(good, 2).min(total),
            };
            if is_damaged(self.part(from, at(from, step)))? { known = Some(step) } else { good = step + 1 }
        };
        if good > 0 {
            self.saved = self.part(from, at(from, good - 1)).collect::<Result<_, _>>()?;
            self.saved.reverse();
        }
        // Then the first place from which it can be read again, by ever longer leaps, then exactly.
        let (mut low, mut leap) = (bad, 1);
        let behind = loop {
            let next = low.saturating_add(leap).min(total);
            if !begins_damaged(self.part(at(from, next), end))? {
                break Some(next);
            }
            low = next;
            if next == total {
                break None;
            }
            leap = leap.saturating_mul(2);
        };
        self.damage.found(self.table, &key(at(from, bad), self.width()), &error);
        let Some(mut behind) = behind else {
            self.holes.push(self.hole(at(from, bad), end));
            self.scan = Box::new(std::iter::empty());
            return Ok(());
        };
        while behind - low > 1 {
            let middle = low + (behind - low) / 2;
            if begins_damaged(self.part(at(from, middle), end))? { low = middle } else { behind = middle }
        }
        self.holes.push(self.hole(at(from, bad), at(from, low)));
        self.scan = self.part(at(from, behind), end);
        Ok(())
    }

    fn given(&mut self, pair: (Bytes, Bytes)) -> (Bytes, Bytes) {
        self.last = Some(number(&pair.0, self.width()));
        pair
    }

    /// A hole from one number to another in the order of the scan, both included, as keys around it.
    fn hole(&self, one: u128, other: u128) -> (Vec<u8>, Vec<u8>) {
        let width = self.width();
        (key(one.min(other), width), key(one.max(other), width))
    }
}

impl Iterator for Readable<'_> {
    type Item = Result<(Bytes, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(pair) = self.saved.pop() {
                return Some(Ok(self.given(pair)));
            }
            match self.scan.next()? {
                Ok(pair) => return Some(Ok(self.given(pair))),
                Err(error) if error.is_damage() => {
                    if let Err(error) = self.skip(error) {
                        self.scan = Box::new(std::iter::empty());
                        return Some(Err(error));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The first bytes of a key as a number.
fn number(key: &[u8], width: usize) -> u128 {
    (0..width).fold(0, |number, at| number << 8 | u128::from(key.get(at).copied().unwrap_or(0)))
}

/// The shortest key with this number.
fn key(number: u128, width: usize) -> Vec<u8> {
    number.to_be_bytes().iter().skip(16 - width).copied().collect()
}

fn is_empty(low: &Bound<Vec<u8>>, high: &Bound<Vec<u8>>) -> bool {
    match (low, high) {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => low >= high,
        _ => false,
    }
}

/// Whether a scan meets a damaged place.
fn is_damaged(scan: Scan<'_>) -> Result<bool, StoreError> {
    for pair in scan {
        match pair {
            Ok(_) => {}
            Err(error) if error.is_damage() => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Whether a scan begins with a damaged place.
fn begins_damaged(mut scan: Scan<'_>) -> Result<bool, StoreError> {
    match scan.next() {
        Some(Err(error)) if error.is_damage() => Ok(true),
        Some(Err(error)) => Err(error),
        Some(Ok(_)) | None => Ok(false),
    }
}
