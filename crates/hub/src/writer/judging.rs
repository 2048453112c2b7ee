//! Whether a group that is published whole or not at all can be.

use std::borrow::Cow;
use std::collections::HashMap;

use super::keyed::Trial;
use super::{AppendError, Commit, Group, Writer};
use crate::draft::Draft;
use crate::log::idempotency::{Published, Verdict, store_key};
use crate::rule::Durability;
use crate::space;
use crate::store::StoreError;

/// What an atomic group comes to.
pub(super) enum Judgement {
    /// This draft is refused.
    Refused(usize, AppendError),
    /// It adds at most so many bytes to the disk.
    Costs(u64),
}

impl Writer {
    /// Looks for a draft of a group that can't be taken: its channel is damaged, or its idempotency key is taken, by what
    /// was published before or by the group itself. Where there is none, tells what the group adds to the disk.
    pub(super) fn judge_all(&mut self, group: &Group, commit: &Commit) -> Result<Judgement, StoreError> {
        let now_ms = self.now_ms();
        let mut bytes = 0;
        let mut own: HashMap<Vec<u8>, Published> = HashMap::new();
        let mut trial = Trial::of(group.drafts.len());
        for (at, draft) in group.drafts.iter().enumerate() {
            if self.is_damaged(draft)? {
                return Ok(Judgement::Refused(at, AppendError::Damaged));
            }
            let taken = self.taken(draft, &trial)?;
            let draft = taken.as_ref();
            let refusal = self.refusal(draft)?;
            let is_durable = draft.channels.iter().any(|name| self.rules.of(name).durability == Durability::Durable);
            let cost = if is_durable { space::cost(draft) } else { 0 };
            let Some(key) = store_key(draft) else {
                if let Some(refusal) = refusal {
                    return Ok(Judgement::Refused(at, refusal));
                }
                if let Err(why) = self.admit(draft, commit, &mut trial)? {
                    return Ok(Judgement::Refused(at, why));
                }
                bytes += cost;
                continue;
            };
            let published = Published::of(draft, None, Durability::Transient, 0);
            let differs = own.get(&key).is_some_and(|before| *before != published);
            let verdict = commit.pending.judge(&key, draft, now_ms, &self.tiers)?;
            if differs || verdict == Verdict::Conflict {
                return Ok(Judgement::Refused(at, AppendError::Conflict));
            }
            if own.insert(key, published).is_some() || verdict != Verdict::New {
                continue;
            }
            if let Some(refusal) = refusal {
                return Ok(Judgement::Refused(at, refusal));
            }
            if let Err(why) = self.admit(draft, commit, &mut trial)? {
                return Ok(Judgement::Refused(at, why));
            }
            bytes += cost;
        }
        Ok(Judgement::Costs(bytes))
    }

    /// A draft without those of its pattern's channels that won't take it. Where none does, it takes no place.
    fn taken<'a>(&mut self, draft: &'a Draft, trial: &Trial) -> Result<Cow<'a, Draft>, StoreError> {
        let mut draft = Cow::Borrowed(draft);
        if draft.pattern.is_some() {
            self.leave_out(draft.to_mut(), trial)?;
        }
        Ok(draft)
    }
}
