//! A tally: what each stream got of each series, held against what was published. An event in its turn costs one look at
//! one number.

use std::collections::HashMap;

use crate::figures::Delivery;

/// What the streams of one reader got.
#[derive(Debug)]
pub struct Tally {
    /// Series that each stream follows.
    width: u32,
    /// Each stream's first series; those behind it belong to it too, `width` in all.
    first: Vec<u32>,
    /// Of each stream and each of its series: the number that is expected next.
    next: Vec<u32>,
    /// What was skipped, by place in `next`: it is missing, or still comes too late. Empty as long as all goes well.
    skipped: HashMap<usize, Vec<u32>>,
    /// What was counted so far; `missing`, `expected` and `published` are known only at the end.
    counted: Delivery,
}

/// Most skipped numbers that are remembered of one stream and series. Beyond it a late event counts as doubled.
const SKIPPED_MAX: usize = 100_000;

impl Tally {
    /// A tally of streams that follow `width` series each, from these first ones on.
    pub fn new(width: u32, first: Vec<u32>) -> Self {
        let next = vec![0; first.len() * width as usize];
        Self { width, first, next, skipped: HashMap::new(), counted: Delivery::default() }
    }

    /// Counts an event. Whether it is a delivery: one that belongs to the stream and came for the first time.
    pub fn take(&mut self, stream: usize, series: u32, number: u32) -> bool {
        let first = self.first.get(stream).copied().unwrap_or(u32::MAX);
        let at = series.wrapping_sub(first);
        let place = stream * self.width as usize + at as usize;
        let expected = self.next.get_mut(place).filter(|_| at < self.width);
        match expected {
            Some(next) if *next == number => {
                *next += 1;
                self.counted.delivered += 1;
                true
            }
            Some(_) => self.take_out_of_turn(place, number),
            None => {
                self.counted.foreign += 1;
                false
            }
        }
    }

    fn take_out_of_turn(&mut self, place: usize, number: u32) -> bool {
        let Some(next) = self.next.get_mut(place) else { return false };
        if number > *next {
            let skipped = self.skipped.entry(place).or_default();
            let room = SKIPPED_MAX.saturating_sub(skipped.len());
            skipped.extend((*next..number).take(room));
            *next = number + 1;
            self.counted.delivered += 1;
            return true;
        }
        let skipped = self.skipped.get_mut(&place);
        let late = skipped.and_then(|numbers| numbers.binary_search(&number).ok().map(|at| numbers.remove(at)));
        if late.is_some() {
            self.counted.reordered += 1;
            self.counted.delivered += 1;
        } else {
            self.counted.doubled += 1;
        }
        late.is_some()
    }

    /// What the streams got, held against how many events were published of each series.
    pub fn hold_against(&self, published: &[u32]) -> Delivery {
        let mut delivery = self.counted;
        delivery.streams = self.first.len() as u64;
        let mut beyond = 0;
        for (first, next) in self.first.iter().zip(self.next.chunks(self.width.max(1) as usize)) {
            for (series, next) in (*first..).zip(next) {
                let published = published.get(series as usize).copied().unwrap_or(0);
                delivery.expected += u64::from(published);
                // What nobody published, as far as publishers know.
                beyond += u64::from(next.saturating_sub(published));
            }
        }
        delivery.missing = (delivery.expected + beyond).saturating_sub(delivery.delivered);
        delivery.foreign += beyond;
        delivery
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(taken: &[(usize, u32, u32)]) -> Delivery {
        // Two streams of two series: 0 and 1, 1 and 2. Of each, three events are published.
        let mut tally = Tally::new(2, vec![0, 1]);
        for (stream, series, number) in taken {
            tally.take(*stream, *series, *number);
        }
        tally.hold_against(&[3, 3, 3])
    }

    fn all() -> Vec<(usize, u32, u32)> {
        let series = [(0, 0), (0, 1), (1, 1), (1, 2)];
        series.iter().flat_map(|(stream, series)| (0..3).map(|number| (*stream, *series, number))).collect()
    }

    #[test]
    fn everything_once_and_in_order_is_exact() {
        let delivery = delivery(&all());
        assert!(delivery.is_exact(), "{delivery:?}");
        assert_eq!((delivery.streams, delivery.expected), (2, 12));
    }

    #[test]
    fn what_is_missing_at_the_beginning_in_the_middle_or_at_the_end_is_found() {
        for at in 0..12 {
            let mut taken = all();
            taken.remove(at);
            let delivery = delivery(&taken);
            assert_eq!((delivery.missing, delivery.delivered, delivery.is_exact()), (1, 11, false), "{at}");
        }
        assert_eq!(delivery(&[]).missing, 12);
    }

    #[test]
    fn what_is_doubled_out_of_turn_or_not_the_streams_own_is_found() {
        let mut taken = all();
        taken.push((0, 0, 1));
        assert_eq!(delivery(&taken), Delivery { doubled: 1, ..delivery(&all()) });
        let mut taken = all();
        taken.swap(0, 1);
        assert_eq!(delivery(&taken), Delivery { reordered: 1, ..delivery(&all()) });
        let mut taken = all();
        taken.extend([(0, 2, 0), (7, 0, 0)]);
        assert_eq!(delivery(&taken), Delivery { foreign: 2, ..delivery(&all()) });
        let mut taken = all();
        taken.push((1, 2, 3));
        assert!(!delivery(&taken).is_exact(), "nobody published it");
    }
}
