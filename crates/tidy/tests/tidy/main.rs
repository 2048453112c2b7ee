//! The repository looks at itself: what people agreed on and forget, a test remembers. Each file here is one room of
//! agreements; `repo.rs` only finds files.

mod crates;
mod documents;
mod fixtures;
mod licences;
mod repo;
mod sources;
