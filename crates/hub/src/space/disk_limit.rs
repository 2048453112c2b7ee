//! The limit of the disk that the whole hub may take. Beyond it the oldest events go, whatever their channels would keep,
//! until the disk is at the limit again, whether anybody publishes or not.
//!
//! What counts is what the tables take on disk, with all that is removed but not given back yet. So before anything is
//! removed it is looked at whether there is enough to give back; only then the oldest events are removed, no more than what
//! is over the limit and a sixty-fourth of it, so that not every second begins anew. Both are measured again afterwards, and
//! nothing is done while the last step is still at work: what is removed follows what was measured, never a guess that runs
//! ahead of it. Data is compressed on disk, so a step may free less than it removes, and then there is another one.
//!
//! On top of the limit come the journal (up to 192 MiB), what is written in the seconds that a step takes, and for a moment
//! what one compaction writes before it removes what it read. Whoever is told here what to do ([`reclaimer`](crate::space::reclaimer)) does it; nothing here touches a store.

/// The limit, and whether it is being enforced.
#[derive(Debug, Default)]
pub(crate) struct DiskLimit {
    /// Bytes that the tables may take; `None` for no limit.
    max: Option<u64>,
    /// Whether the disk was over the limit when it was looked at last.
    is_over: bool,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measure {
    /// Bytes of the tables on disk.
    pub(crate) bytes: u64,
    /// Bytes of them that compacting would give back, as far as that is worth it.
    pub(crate) reclaimable: u64,
    /// Whether the last step is still at work.
    pub(crate) is_busy: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Rest,
    /// What was removed is given back to the disk.
    Reclaim,
    /// The oldest events are removed, records of so many bytes.
    Remove(u64),
}

impl DiskLimit {
    /// Has another limit count from now on.
    pub(crate) fn set(&mut self, max: Option<u64>) {
        self.max = max;
    }

    /// Decides what to do next.
    pub(crate) fn step(&mut self, measure: Measure) -> Step {
        let Measure { bytes, reclaimable, is_busy } = measure;
        let Some(max) = self.max else { return Step::Rest };
        let over = bytes.saturating_sub(max);
        self.tell(over > 0, bytes, max);
        if over == 0 || is_busy {
            return Step::Rest;
        }
        // A little that can be given back doesn't help, unless it is all that is needed.
        if reclaimable >= over.min(max / 64) && reclaimable > 0 {
            return Step::Reclaim;
        }
        Step::Remove(over.saturating_add(max / 64))
    }

    /// Logs when the limit begins and ends to be enforced.
    fn tell(&mut self, is_over: bool, disk_bytes: u64, disk_bytes_max: u64) {
        if is_over == std::mem::replace(&mut self.is_over, is_over) {
            return;
        }
        if is_over {
            tracing::warn!(disk_bytes, disk_bytes_max, "the disk limit is reached; the oldest events are removed");
        } else {
            tracing::info!(disk_bytes, disk_bytes_max, "the disk is within its limit again");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(max: u64) -> DiskLimit {
        DiskLimit { max: Some(max), is_over: false }
    }

    #[test]
    fn nothing_is_removed_within_the_limit_or_without_one() {
        let full = Measure { bytes: u64::MAX, reclaimable: u64::MAX, is_busy: false };
        assert_eq!(DiskLimit::default().step(full), Step::Rest);
        assert_eq!(limit(6_400).step(Measure { bytes: 6_400, reclaimable: 6_400, is_busy: false }), Step::Rest);
    }

    #[test]
    fn what_can_be_given_back_goes_first_and_then_the_oldest() {
        let mut limit = limit(6_400);
        let mut step = |bytes, reclaimable, is_busy| limit.step(Measure { bytes, reclaimable, is_busy });
        assert_eq!(step(7_000, 0, true), Step::Rest);
        assert_eq!(step(7_000, 600, false), Step::Reclaim);
        assert_eq!(step(7_000, 99, false), Step::Remove(700));
        assert_eq!(step(6_450, 50, false), Step::Reclaim, "it is all that is needed");
        assert_eq!(step(6_450, 49, false), Step::Remove(150));
    }

    /// A disk as naive as can be: live and dead bytes, compressed by some factor.
    struct Model {
        live: Vec<u64>,
        dead: u64,
    }

    proptest! {
        #[test]
        fn the_limit_is_reached_and_no_more_is_removed_than_that_takes(
            events in prop::collection::vec(1..500u64, 1..400),
            dead in 0..100_000u64,
            max in 1_000..100_000u64,
            // Bytes on disk for a hundred of a record.
            ratio in 20..=100u64,
        ) {
            let on_disk = |events: &[u64]| events.iter().sum::<u64>() * ratio / 100;
            let mut model = Model { live: events, dead };
            let before = on_disk(&model.live);
            let mut limit = limit(max);
            let mut removed = 0;
            for steps in 0.. {
                prop_assert!(steps < 200, "it comes to rest");
                let bytes = on_disk(&model.live) + model.dead;
                match limit.step(Measure { bytes, reclaimable: model.dead, is_busy: false }) {
                    Step::Rest => break,
                    Step::Reclaim => {
                        prop_assert!(model.dead > 0);
                        model.dead = 0;
                    }
                    Step::Remove(wanted) => {
                        let mut gone = 0;
                        let mut count = 0;
                        while gone < wanted && count < model.live.len() {
                            gone += model.live[count];
                            count += 1;
                        }
                        let freed = on_disk(&model.live) - on_disk(&model.live[count..]);
                        model.live.drain(..count);
                        model.dead += freed;
                        removed += freed;
                    }
                }
            }
            prop_assert!(on_disk(&model.live) + model.dead <= max);
            // An event and a sixty-fourth more than was over the limit, at most.
            let needed = before.saturating_sub(max);
            prop_assert!(removed <= needed + 2 * (max / 64) + 500 + 200, "{removed} were removed, {needed} had to be");
            prop_assert!(needed > 0 || removed == 0 || dead > 0);
        }
    }
}
