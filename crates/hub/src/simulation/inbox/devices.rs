//! What a world's devices do: read, fall behind, are cut, come back, and have everything in the end.

use super::*;

impl World {
    pub(super) fn gather_jobs(&mut self) {
        for (at, shard) in self.shards.iter_mut().enumerate() {
            self.jobs.extend(shard.take_jobs().into_iter().map(|job| (at, job)));
        }
    }

    pub(super) fn read_one(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let (shard, Job { key, work, place }) = self.jobs.swap_remove(self.rng.random_range(0..self.jobs.len()));
        match work.run(&self.history) {
            Ok(answer) => {
                // Between reading and the answer's arrival anything may happen.
                match self.rng.random_range(0..5) {
                    0 => self.publish(),
                    1 if !self.is_patient => self.acknowledge(),
                    _ => {}
                }
                self.shards[shard].answer(key, answer, self.clock.elapsed());
            }
            Err(work) => self.jobs.push((shard, Job { key, work, place })),
        }
    }

    pub(super) fn carry(&mut self, which: usize, count: usize) {
        let client = &mut self.clients[which];
        client.receive(count);
        if let (true, Some((shard, key))) = (client.take_room(), client.connection) {
            self.shards[shard].ready(key);
        }
        if client.is_over() {
            if let Some((shard, key)) = client.connection {
                self.shards[shard].close(key, CloseReason::Left);
            }
            client.cut();
        }
    }

    pub(super) fn connect_or_cut(&mut self) {
        let which = self.rng.random_range(0..self.clients.len());
        if let Some((shard, key)) = self.clients[which].connection {
            self.shards[shard].close(key, CloseReason::Left);
            self.clients[which].cut();
        } else {
            self.connect(which);
        }
    }

    pub(super) fn connect(&mut self, which: usize) {
        if self.disk.is_closed() {
            return;
        }
        self.clients[which].begin();
        if self.clients[which].is_auto {
            self.take_foreign_id(which);
            self.returns(which);
        }
        let shard = self.rng.random_range(0..self.shards.len());
        let client = &mut self.clients[which];
        client.acknowledged_before.clone_from(&self.inboxes[client.user].acknowledged);
        let (head, slot) = self.writer.window.head();
        let (subscription, outlet, last) = client.connect(slot);
        let is_now = crate::beginning::is_now(&self.history, subscription.follows());
        let opening = Opening { subscription, outlet, last, resumed: None, head, is_now, place: None };
        client.connection = Some((shard, self.shards[shard].open(opening, self.clock.elapsed())));
    }

    /// A device may begin with an id that another one had. It takes none that the hub can't tell from the device's own.
    pub(super) fn take_foreign_id(&mut self, which: usize) {
        let client = &self.clients[which];
        if !client.last_id.is_empty() || self.writer.is_failed() || !self.rng.random_bool(0.6) {
            return;
        }
        let others = self.clients.iter().enumerate().filter(|(other, _)| *other != which);
        let ids = others.flat_map(|(_, other)| other.had.iter().map(|had| had.id.clone()));
        let position = |id: &String| id.parse::<Cursor>().unwrap().position;
        let ids: Vec<String> = match client.since {
            Since::Never => ids.collect(),
            Since::From(since) => ids.filter(|id| position(id) < since).collect(),
            Since::Unknown => Vec::new(),
        };
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
        let (head, _) = self.history.window.head();
        let drafts = self.history.returns(&user(of), &client.device, Some(&last_id)).unwrap();
        let is_new = drafts.iter().any(|draft| !draft.event.is_deleted);
        let numbers = self.numbers(of, &drafts);
        let strange: Vec<_> = numbers.iter().flatten().filter(|number| !client.ever.contains(number)).collect();
        assert!(strange.is_empty(), "{strange:?} never came to the device that acknowledges them: {client:#?}");
        let change = |number: Option<u64>| number.map_or(Change::Nothing, |n| Change::Acknowledged(of, n));
        let changes: Vec<Change> = numbers.into_iter().map(change).collect();
        let is_done = self.append(drafts, &changes);
        let client = &mut self.clients[which];
        match (is_new, is_done) {
            // No earlier than it may be.
            (true, true) => {
                let id = last_id.parse::<Cursor>().ok().filter(|_| client.since == Since::Never);
                client.since = Since::From(id.map_or(head, |id| id.position));
            }
            (true, false) => client.since = Since::Unknown,
            _ => {}
        }
        if last_id.is_empty() {
            client.is_remembered = is_done;
        } else if client.is_remembered && is_done {
            let waiting = &self.inboxes[of].waiting;
            let left: Vec<_> = client.had.iter().filter(|had| waiting.contains(&had.number)).collect();
            assert!(left.is_empty(), "{left:?} came to the device and still wait: {client:#?}");
            client.met.push("acknowledged by coming back");
        }
    }

    /// Lets everything come to rest.
    pub(super) fn settle(&mut self) {
        self.disk.disarm();
        while self.writer.is_failed() {
            self.reopen();
        }
        for _ in 0..10_000 {
            let now = self.clock.elapsed();
            for which in 0..self.clients.len() {
                if self.clients[which].connection.is_none() {
                    self.connect(which);
                }
            }
            for shard in &mut self.shards {
                while shard.has_work() {
                    shard.pass(now);
                    shard.turn(now);
                }
            }
            self.gather_jobs();
            let idle = self.jobs.is_empty();
            for (shard, Job { key, work, .. }) in std::mem::take(&mut self.jobs) {
                let Ok(answer) = work.run(&self.history) else { panic!("the store can be read") };
                self.shards[shard].answer(key, answer, now);
            }
            let mut carried = false;
            for which in 0..self.clients.len() {
                carried |= self.clients[which].has_bytes();
                self.carry(which, usize::MAX);
            }
            self.gather_jobs();
            if idle && !carried && self.jobs.is_empty() && self.clients.iter().all(|c| c.connection.is_some()) {
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
        let (head, _) = self.history.window.head();
        for (which, inbox) in self.inboxes.iter().enumerate() {
            let known = self.history.row(user(which).inbox()).unwrap();
            let (mut found, mut at) = (BTreeSet::new(), Position::ORIGIN);
            while at < head {
                let (entries, covered) = self.history.messages(known, at, head).unwrap();
                found.extend(entries.iter().map(|entry| {
                    let number: u64 = std::str::from_utf8(&entry.record.data).unwrap().parse().unwrap();
                    number
                }));
                at = covered;
            }
            assert_eq!(found, inbox.waiting, "what the inbox of {} lists", USERS[which]);
            assert_eq!(self.history.tally(known).unwrap().0, inbox.waiting.len() as u64);
        }
    }
}
