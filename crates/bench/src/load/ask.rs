//! A question to a server: one `GET` on a connection of its own, answered by JSON.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use memchr::memmem;
use serde::de::DeserializeOwned;

use crate::error::MeasureError;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// Asks `host:port` for a path. `None` where the server doesn't have it.
///
/// # Errors
///
/// When the server can't be asked, or answers something else.
pub fn ask<T: DeserializeOwned>(address: &str, path: &str) -> Result<Option<T>, MeasureError> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Ok(None);
    }
    let body = memmem::find(&answer, b"\r\n\r\n").and_then(|end| answer.get(end + 4..)).unwrap_or_default();
    Ok(Some(serde_json::from_slice(body)?))
}
