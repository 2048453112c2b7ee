//! Clients come and go, and come back before the hub knows that they have left.

use std::time::Duration;

use rand::RngExt;

use super::World;
use crate::clock::Clock;
use crate::cursor::Cursor;
use crate::remembered::Where;
use crate::shard::Opening;
use crate::shard::change::Order;
use crate::steer::open_named;

impl World {
    pub(super) fn connect_or_cut(&mut self) {
        let which = self.rng.random_range(0..self.clients.len());
        let now = self.clock.elapsed();
        if let Some((shard, key)) = self.clients[which].connection {
            if self.clients[which].is_named && self.rng.random_bool(0.3) && !self.disk.is_closed() && !self.half_back {
                // It comes back before the hub knows that it has left.
                self.trace.push("opened anew".into());
                self.clients[which].cut();
                return self.connect(which, now);
            }
            self.shards[shard].close(key, crate::stats::CloseReason::Left);
            self.hear_answers();
            self.clients[which].cut();
        } else {
            self.connect(which, now);
        }
    }

    pub(super) fn connect(&mut self, which: usize, now: Duration) {
        if self.disk.is_closed() || self.half_back {
            // The test itself could not see what such a stream is promised: nothing can be read, or the store is open again
            // and shows floors of a commit that is not released yet.
            return;
        }
        let shard = self.rng.random_range(0..self.shards.len());
        // What is kept at this moment is what the stream is promised.
        let floors = self.floors();
        let kept = self.reference.kept(&self.history);
        let id = if self.clients[which].is_named { self.clients[which].id } else { self.next_id() };
        let client = &mut self.clients[which];
        client.id = id;
        if !client.is_named || self.remembered.find(id) == Where::Unknown {
            client.steered.is_forgotten();
        }
        let (head, slot) = self.writer.window.head();
        client.promise(floors, &kept);
        let (mut subscription, outlet, mut last) = client.connect(slot);
        let mut resumed = None;
        if client.is_named {
            let is_good = |cursor: &Cursor| self.history.epochs.place(cursor, head).is_ok();
            let replaced;
            (last, resumed, replaced) =
                open_named(&self.remembered, &mut subscription, (shard, 0), (last, head), is_good);
            if let Some((other, what)) = replaced {
                let (reply, _) = tokio::sync::oneshot::channel();
                self.orders.push((other, Order { stream: id, what, reply }));
            }
            // What is said to a shard comes in order.
            self.obey(shard);
        }
        let is_now = crate::beginning::is_now(&self.history, subscription.follows());
        let opening = Opening { subscription, outlet, last, resumed, head, is_now, place: None };
        let key = self.shards[shard].open(opening, now);
        self.clients[which].connection = Some((shard, key));
        if let Some(id) = self.shards[shard].id_of(key) {
            self.clients[which].id = id;
        }
    }
}
