//! What a world's devices do: read, fall behind, are cut, come back, and have everything in the end.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;

use super::{Change, USERS, World, user};
use crate::position::Position;

impl World {
    pub(super) fn read_one(&mut self) {
        let Some(read) = self.hub.read(&mut self.rng) else { return };
        // Between reading and the answer's arrival anything may happen.
        match self.rng.random_range(0..5) {
            0 => self.publish(),
            1 if !self.is_patient => self.acknowledge(),
            _ => {}
        }
        self.hub.answer(read);
    }

    pub(super) fn carry(&mut self, which: usize, count: usize) {
        let client = &mut self.clients[which];
        client.receive(count);
        self.hub.hear_room(&mut client.connection);
        if client.is_over() {
            self.hub.leave(&client.connection);
            client.cut();
        }
    }

    pub(super) fn connect_or_cut(&mut self) {
        let which = self.rng.random_range(0..self.clients.len());
        if self.clients[which].connection.is_open() {
            self.hub.leave(&self.clients[which].connection);
            self.clients[which].cut();
        } else {
            self.connect(which);
        }
    }

    pub(super) fn connect(&mut self, which: usize) {
        if self.hub.disk.is_closed() {
            return;
        }
        self.clients[which].begin();
        if self.clients[which].is_auto {
            self.take_foreign_id(which);
            self.returns(which);
        }
        let client = &mut self.clients[which];
        client.acknowledged_before.clone_from(&self.inboxes[client.user].acknowledged);
        let (_, slot) = self.hub.writer.window.head();
        let asked = client.connect(slot);
        client.connection.at = Some(self.hub.open_anywhere(asked, &mut self.rng));
    }

    /// A device may begin with an id that another one had, older or newer than its own.
    pub(super) fn take_foreign_id(&mut self, which: usize) {
        if !self.clients[which].last_id.is_empty() || !self.rng.random_bool(0.6) {
            return;
        }
        let others = self.clients.iter().enumerate().filter(|(other, _)| *other != which);
        let ids: Vec<String> = others.flat_map(|(_, other)| other.had.iter().map(|had| had.id.clone())).collect();
        if !ids.is_empty() {
            let id = ids[self.rng.random_range(0..ids.len())].clone();
            let client = &mut self.clients[which];
            (client.last_id, client.is_partial, client.is_remembered) = (id, true, false);
            client.met.push("a foreign id");
        }
    }

    /// A device that acknowledges by coming back comes back, or begins.
    pub(super) fn returns(&mut self, which: usize) {
        let client = &self.clients[which];
        let (of, last_id) = (client.user, client.last_id.clone());
        let drafts = self.hub.history.returns(&user(of), &client.device, Some(&last_id)).unwrap();
        let is_new = drafts.iter().any(|draft| !draft.event.is_deleted);
        let numbers = self.numbers(of, &drafts);
        let strange: Vec<_> = numbers.iter().flatten().filter(|number| !client.ever.contains(number)).collect();
        assert!(strange.is_empty(), "{strange:?} never came to the device that acknowledges them: {client:#?}");
        let change = |number: Option<u64>| number.map_or(Change::Nothing, |n| Change::Acknowledged(of, n));
        let changes: Vec<Change> = numbers.into_iter().map(change).collect();
        let is_done = self.append(drafts, &changes);
        // While the store is away it may show what became of a commit that nobody knows of yet.
        let is_known = !self.hub.writer.is_failed();
        let client = &mut self.clients[which];
        // Where the hub couldn't remember it, its ids must not count.
        client.is_marked = is_done || !is_new;
        client.is_remembered &= client.is_marked;
        if last_id.is_empty() {
            client.is_remembered = is_done;
        } else if client.is_remembered && is_done && is_known {
            let waiting = &self.inboxes[of].waiting;
            let left: Vec<_> = client.had.iter().filter(|had| waiting.contains(&had.number)).collect();
            assert!(left.is_empty(), "{left:?} came to the device and still wait: {client:#?}");
            client.met.push("acknowledged by coming back");
        }
    }

    /// Lets everything come to rest.
    pub(super) fn settle(&mut self) {
        self.hub.disk.disarm();
        while self.hub.writer.is_failed() {
            self.reopen();
        }
        for _ in 0..10_000 {
            for which in 0..self.clients.len() {
                if !self.clients[which].connection.is_open() {
                    self.connect(which);
                }
            }
            let was_idle = self.hub.work_off(Duration::MAX);
            let mut carried = false;
            for which in 0..self.clients.len() {
                carried |= self.clients[which].connection.has_bytes();
                self.carry(which, usize::MAX);
            }
            let is_read = self.hub.has_read_all();
            if was_idle && !carried && is_read && self.clients.iter().all(|client| client.connection.is_open()) {
                return;
            }
        }
        panic!("the hub never comes to rest");
    }

    pub(super) fn check(&self) {
        for client in &self.clients {
            let inbox = &self.inboxes[client.user];
            // What an inbox dropped is told to those who have yet to get it, not to those who show it.
            let shown = client.messages.values().filter(|number| !inbox.dropped.contains(number));
            let shown: BTreeSet<u64> = shown.copied().collect();
            if client.is_partial {
                assert!(shown.is_subset(&inbox.waiting), "{client:#?}");
            } else {
                assert_eq!(shown, inbox.waiting, "{client:#?}");
            }
        }
        let (head, _) = self.hub.history.window.head();
        for (which, inbox) in self.inboxes.iter().enumerate() {
            let known = self.hub.history.row(user(which).inbox()).unwrap();
            let (mut found, mut at) = (BTreeSet::new(), Position::ORIGIN);
            while at < head {
                let (entries, covered) = self.hub.history.messages(known, at, head).unwrap();
                found.extend(entries.iter().map(|entry| {
                    let number: u64 = std::str::from_utf8(&entry.record.data).unwrap().parse().unwrap();
                    number
                }));
                at = covered;
            }
            assert_eq!(found, inbox.waiting, "what the inbox of {} lists", USERS[which]);
            assert_eq!(self.hub.history.tally(known).unwrap().0, inbox.waiting.len() as u64);
        }
    }
}
