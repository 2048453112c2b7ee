//! Folders whose bytes were damaged: cut off files and flipped bits. A hub starts on them; it
//! never delivers a payload that wasn't published; what is missing is told.

mod fixture;
mod floors;
mod journal;
mod random;
mod rows;
mod samples;
mod tables;
mod values;
