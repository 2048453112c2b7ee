//! The whole engine, without threads and with a clock that stands still, against naive references: one for events, one for
//! values of keys, one for inboxes. One number decides a whole run.

mod events;
mod inbox;
mod state;
