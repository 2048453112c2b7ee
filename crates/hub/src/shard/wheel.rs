//! A timer wheel: who is due in which tick. One entry costs the same whether there are ten or ten million.
//!
//! Deadlines are rounded up to ticks. One turn of the wheel is [`SLOTS`] ticks; what is due later goes round again.

use std::time::Duration;

/// How exact deadlines are.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Ticks in a turn (64 s).
const SLOTS: usize = 256;

/// Who is due when.
#[derive(Debug)]
pub(crate) struct Wheel<K> {
    /// By tick modulo [`SLOTS`]: the tick, and who.
    slots: Vec<Vec<(u64, K)>>,
    /// The next tick to be looked at.
    next: u64,
}

impl<K> Wheel<K> {
    /// An empty wheel at time `now`.
    pub(crate) fn new(now: Duration) -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), next: ticks(now) }
    }

    /// Has `key` told when `at` is over.
    pub(crate) fn insert(&mut self, at: Duration, key: K) {
        let tick = (ticks(at) + 1).max(self.next);
        if let Some(slot) = self.slots.get_mut(tick as usize % SLOTS) {
            slot.push((tick, key));
        }
    }

    /// When to look again.
    pub(crate) fn next(&self) -> Duration {
        TICK * u32::try_from(self.next).unwrap_or(u32::MAX)
    }

    /// Takes out everyone who is due at `now`.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<K> {
        let mut due = Vec::new();
        let last = ticks(now);
        // After a long pause one turn sees everyone.
        let first = self.next.max((last + 1).saturating_sub(SLOTS as u64));
        for tick in first..=last {
            let Some(slot) = self.slots.get_mut(tick as usize % SLOTS) else { continue };
            for (at, key) in std::mem::take(slot) {
                if at <= last { due.push(key) } else { slot.push((at, key)) }
            }
        }
        self.next = self.next.max(last + 1);
        due
    }
}

fn ticks(time: Duration) -> u64 {
    (time.as_millis() / TICK.as_millis()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn everyone_is_told_once_after_the_deadline_and_within_two_ticks(
            deadlines in proptest::collection::vec(0u64..200_000, 1..50), step in 50u64..400,
        ) {
            let mut wheel = Wheel::new(Duration::ZERO);
            for (key, deadline) in deadlines.iter().enumerate() {
                wheel.insert(Duration::from_millis(*deadline), key);
            }
            let mut told = vec![None; deadlines.len()];
            let mut now = 0;
            while now < 201_000 {
                now += step;
                for key in wheel.due(Duration::from_millis(now)) {
                    prop_assert!(told[key].replace(now).is_none(), "told twice");
                }
            }
            for (deadline, told) in deadlines.iter().zip(told) {
                let told = told.expect("everyone is told");
                prop_assert!(told >= *deadline && told <= deadline + 500 + step, "{deadline} told at {told}");
            }
        }
    }

    #[test]
    fn a_long_pause_loses_nobody() {
        let mut wheel = Wheel::new(Duration::ZERO);
        wheel.insert(Duration::from_secs(1), 'a');
        wheel.insert(Duration::from_secs(100), 'b');
        assert_eq!(wheel.due(Duration::from_secs(1000)).len(), 2);
        assert!(wheel.next() > Duration::from_secs(1000));
    }
}
