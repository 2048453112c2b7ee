//! Requests, as far as the bare loop looks at them: the method, the length of the body, the last id.

use memchr::memmem;

/// What a connection wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// A stream, going on from a place if it comes back.
    Stream(Option<u64>),
    /// To publish this.
    Publish(&'a [u8]),
}

/// Reads the first request of these bytes, with how long it is; `None` if it isn't all there.
pub(super) fn read(bytes: &[u8]) -> Option<(Request<'_>, usize)> {
    let head_end = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head = bytes.get(..head_end)?;
    if !head.starts_with(b"POST") {
        let place = field(head, "last-event-id").and_then(|id| u64::from_str_radix(id, 16).ok());
        return Some((Request::Stream(place), head_end));
    }
    let length: usize = field(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let body = bytes.get(head_end..head_end + length)?;
    Some((Request::Publish(body), head_end + length))
}

/// The value of a header field.
fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_when_all_of_it_is_there() {
        let bytes = b"POST /x HTTP/1.1\r\nHost: h\r\ncontent-Length: 3\r\n\r\nabcGET";
        let all = bytes.len() - 3;
        assert_eq!(read(bytes), Some((Request::Publish(b"abc"), all)));
        assert!((0..all).all(|end| read(&bytes[..end]).is_none()));
        let get = b"GET / HTTP/1.1\r\nLast-Event-ID: 00ff\r\n\r\n";
        assert_eq!(read(get), Some((Request::Stream(Some(255)), get.len())));
        assert_eq!(read(b"GET / HTTP/1.1\r\n\r\n"), Some((Request::Stream(None), 18)));
    }
}
