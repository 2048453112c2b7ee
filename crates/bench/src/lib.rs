//! Measurements of Fanfare. A figure alone says as much of the machine as of the program, so each is taken together with
//! a *bare limit*: the least that the machine has to do for the same result, done in the same run, in alternating rounds.
//! What counts is the ratio of the two.
//!
//! Nothing is measured that isn't checked: what was published is read back, complete and in order, or the run fails.
//!
//! - [`engine`]: what is measured of the engine, a file for each.
//! - [`round`]: subject and limit in turn. [`table`]: what came out. [`machine`]: what it came out of.
//! - [`payload`]: the events, each of which tells who published it as which; [`witness`]: reads them back by that.
//!
//! It knows the engine from outside only, by what any program may call, and no HTTP.

pub mod engine;
mod error;
pub mod machine;
pub mod payload;
pub mod round;
pub mod table;
pub mod witness;

pub use engine::{Effort, Options, Part};
pub use error::MeasureError;
pub use machine::Machine;
pub use table::{Row, Table};
