//! The thread of a shard: sleeps until a socket, a body, a reader, the log or a deadline wants something. Everything with a
//! thread has an owner that joins it.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};

use super::commands::{Command, Commands, Doing};
use super::readers::ReaderQueue;
use super::{Opening, Shard, place};
use crate::clock::Clock;
use crate::index::StreamKey;
use crate::outlet::Outlet;
use crate::outlet::line::Lines;
use crate::outlet::socket::Heard;
use crate::stats::CloseReason;

/// Events of sockets that are taken up at a time.
const EVENTS: usize = 1024;

/// The token of the shard's waker. Those of sockets are their streams' places, counted from 0.
const WAKE: Token = Token(usize::MAX);

/// The loop of a shard.
pub(crate) struct ShardLoop {
    shard: Shard,
    poll: Poll,
    commands: Arc<Commands>,
    readers: Arc<ReaderQueue>,
    clock: Arc<dyn Clock>,
}

impl ShardLoop {
    /// A loop around a shard, yet to be started.
    pub(crate) fn new(shard: Shard, readers: Arc<ReaderQueue>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let commands = Arc::new(Commands::new(Waker::new(poll.registry(), WAKE)?));
        let shard = match Lines::open() {
            Ok(lines) => shard.asking(lines),
            Err(error) => {
                tracing::debug!(%error, "the system can't be asked how connections stand");
                shard
            }
        };
        Ok(Self { shard, poll, commands, readers, clock })
    }

    /// How the shard is reached.
    pub(crate) fn commands(&self) -> Arc<Commands> {
        self.commands.clone()
    }

    /// Starts the thread.
    pub(crate) fn start(self, number: usize) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name(format!("shard-{number}")).spawn(move || self.run())
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.sleep(&mut events);
            let now = self.clock.elapsed();
            self.shard.set_time(self.clock.unix_ms());
            // Before anything is opened: a place that becomes free here must not be taken for its next owner's.
            for event in &events {
                self.event(event);
            }
            for command in self.commands.take() {
                match command {
                    Command::Open(opening) => self.open(*opening, now),
                    Command::Answer(key, answer) => self.shard.answer(key, *answer, now),
                    Command::Ready(mailbox) => {
                        mailbox.key().into_iter().for_each(|key| self.shard.ready(key));
                    }
                    Command::Left(mailbox) => {
                        mailbox.key().into_iter().for_each(|key| self.shard.close(key, CloseReason::Left));
                    }
                    Command::Order(order) => {
                        // What was published before somebody asked is before the change.
                        self.shard.pass(now);
                        self.shard.order(*order, now);
                    }
                    Command::Settings(settings) => self.shard.reload(settings),
                    Command::Drain(window) => {
                        self.shard.pass(now);
                        self.shard.drain(now, window);
                    }
                    Command::Stop => return,
                }
            }
            self.shard.pass(now);
            self.shard.turn(now);
            self.shard.flush(now);
            self.shard.tick(now);
            for job in self.shard.take_jobs() {
                self.readers.push(self.commands.clone(), job);
            }
        }
    }

    /// Waits until there is something to do.
    fn sleep(&mut self, events: &mut Events) {
        let mut is_idle = self.commands.is_empty() && !self.shard.has_work();
        if is_idle {
            self.commands.doing(if self.shard.is_empty() { Doing::Rest } else { Doing::Sleep });
            // Once more, now that whoever has something would wake us.
            is_idle = self.commands.is_empty() && !self.shard.has_work();
        }
        let until_deadline = || self.shard.next_deadline().saturating_sub(self.clock.elapsed());
        let timeout = if is_idle { until_deadline() } else { Duration::ZERO };
        if let Err(error) = self.poll.poll(events, Some(timeout))
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, "a shard can't wait for its sockets");
            std::thread::yield_now();
        }
        self.commands.doing(Doing::Work);
    }

    /// A socket has something.
    fn event(&mut self, event: &Event) {
        let Some(key) = (event.token() != WAKE).then(|| self.shard.key_at(event.token().0)).flatten() else { return };
        if event.is_error() || event.is_read_closed() {
            return self.shard.close(key, CloseReason::Left);
        }
        if event.is_readable() {
            match self.shard.hear(key) {
                Heard::Nothing => {}
                Heard::Gone => return self.shard.close(key, CloseReason::Left),
                Heard::TooMuch => return self.shard.close(key, CloseReason::Noisy),
            }
        }
        if event.is_writable() {
            self.shard.ready(key);
        }
    }

    /// Opens a stream, and watches its socket if it has one. What becomes ready between the two is told too.
    fn open(&mut self, opening: Opening, now: Duration) {
        let key = self.shard.open(opening, now);
        if let Err(error) = self.shard.watch(key, &self.poll) {
            tracing::error!(%error, "a socket can't be watched");
            self.shard.close(key, CloseReason::Left);
        }
    }
}

impl Drop for ShardLoop {
    /// However it ends: nobody waits for a shard that is gone.
    fn drop(&mut self) {
        self.commands.close();
    }
}

impl Shard {
    /// Has a stream's socket watched.
    fn watch(&mut self, key: StreamKey, poll: &Poll) -> io::Result<()> {
        match self.streams.get_mut(key).map(|stream| &mut stream.outlet) {
            Some(Outlet::Socket(socket)) => {
                poll.registry().register(socket.source(), Token(place(key)), Interest::READABLE | Interest::WRITABLE)
            }
            Some(Outlet::Body(_)) | None => Ok(()),
        }
    }

    /// Looks at what a stream's client sent.
    fn hear(&mut self, key: StreamKey) -> Heard {
        match self.streams.get_mut(key).map(|stream| &mut stream.outlet) {
            Some(Outlet::Socket(socket)) => socket.hear(),
            Some(Outlet::Body(_)) | None => Heard::Nothing,
        }
    }
}
