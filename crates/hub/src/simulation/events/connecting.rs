//! Clients come and go, and come back before the hub knows that they have left.

use rand::RngExt;

use super::World;
use crate::change::remembered::{Opener, Where};
use crate::change::steer::open_named;
use crate::cursor::Cursor;
use crate::shard::change::Order;

impl World {
    pub(super) fn connect_or_cut(&mut self) {
        let which = self.rng.random_range(0..self.clients.len());
        if self.clients[which].connection.is_open() {
            if self.clients[which].is_named && self.rng.random_bool(0.3) && self.can_look() {
                // It comes back before the hub knows that it has left.
                self.trace.push("opened anew".into());
                self.clients[which].connection.cut();
                return self.connect(which);
            }
            self.hub.leave(&self.clients[which].connection);
            self.hear_answers();
            self.clients[which].connection.cut();
        } else {
            self.connect(which);
        }
    }

    /// Whether the test itself can see what is kept. Otherwise nothing can be read, or the store is open again and shows
    /// floors of a commit that is not released yet.
    pub(super) fn can_look(&self) -> bool {
        !self.hub.disk.is_closed() && !self.half_back
    }

    pub(super) fn connect(&mut self, which: usize) {
        if !self.can_look() {
            return;
        }
        let shard = self.rng.random_range(0..self.hub.shards.len());
        // What is kept at this moment is what the stream is promised.
        let floors = self.floors();
        let past = self.reference.had(&self.hub.history);
        let id = if self.clients[which].is_named { self.clients[which].id } else { self.next_id() };
        let client = &mut self.clients[which];
        client.id = id;
        if !client.is_named || self.hub.remembered.find(id) == Where::Unknown {
            client.steered.is_forgotten();
        }
        let (head, slot) = self.hub.writer.window.head();
        client.promise(floors, &past);
        let (mut subscription, outlet, mut last) = client.connect(slot);
        let mut resumed = None;
        if client.is_named {
            let is_good = |cursor: &Cursor| self.hub.history.epochs.place(cursor, head).is_ok();
            let opener = Opener { shard, ..Opener::default() };
            let replaced;
            (last, resumed, replaced) =
                open_named(&self.hub.remembered, &mut subscription, opener, (last, head), is_good);
            if let Some((other, what)) = replaced {
                let (reply, _) = tokio::sync::oneshot::channel();
                self.orders.push((other, Order { stream: id, what, reply }));
            }
            // What is said to a shard comes in order.
            self.obey(shard);
        }
        let key = self.hub.open(shard, (subscription, outlet, last), resumed);
        self.clients[which].connection.at = Some((shard, key));
        if let Some(id) = self.hub.shards[shard].id_of(key) {
            self.clients[which].id = id;
        }
    }
}
