//! Measurements of Fanfare. A figure alone says as much of the machine as of the program, so each is held against a
//! *bare limit*: the least that the machine has to do for the same result.
//!
//! Nothing is measured that isn't checked: what was published is read back, complete and in order, or the run fails.
//!
//! The engine without sockets, in alternating rounds with its limits:
//!
//! - [`engine`]: what is measured of the engine, a file for each.
//! - [`round`]: subject and limit in turn. [`table`]: what came out. [`machine`]: what it came out of.
//! - [`payload`]: the events, each of which tells who published it as which; [`witness`]: reads them back by that.
//!
//! The engine under full load: [`retention`], whether the disk stays bounded.
//!
//! A whole server, from outside:
//!
//! - [`scenario`]: what is measured, a file for each. [`figures`], [`outcome`]: what came out. [`chart`]: how it looks.
//!   [`mod@unit`]: in which units.
//! - [`subject`]: who is measured; [`dialect`]: how its streams are spoken; [`server`]: its process; [`usage`]: what that
//!   uses.
//! - [`load`]: streams that read and publishers that publish.
//! - [`compare`]: the same load against Fanfare, the bare loop and other servers.
//! - [`bare`]: the least that any such server has to do, as a server: the bare limit.
//!
//! It knows the engine and the server from outside only, by what any program may call.

pub mod bare;
pub mod chart;
pub mod compare;
pub mod dialect;
pub mod engine;
mod error;
pub mod figures;
pub mod load;
pub mod machine;
pub mod outcome;
pub mod payload;
pub mod retention;
pub mod round;
pub mod scenario;
pub mod server;
pub mod subject;
pub mod table;
pub mod unit;
pub mod usage;
pub mod witness;

pub use engine::{Effort, Options, Part};
pub use error::MeasureError;
pub use machine::Machine;
pub use table::{Row, Table};
