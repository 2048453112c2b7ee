//! Socket.IO over a WebSocket, from the client's side: engine.io's fourth protocol (a digit before each message: `0` the
//! handshake, `2` a ping, `4` a packet) and Socket.IO's fifth within it (`40` connects, `42` is an event).

use crate::dialect::Dialect;
use crate::dialect::web_socket::{Frames, handshake, opcode, send};

/// What the path says of protocol and transport.
const QUERY: &str = "EIO=4&transport=websocket";

/// A Socket.IO client that uses the WebSocket from the start and listens on the main namespace.
#[derive(Debug, Default)]
pub struct SocketIo {
    frames: Frames,
    /// Whether the server has let this client into the namespace; set once.
    connected: bool,
}

impl Dialect for SocketIo {
    fn open(&mut self, host: &str, path: &str, _last_event_id: Option<&str>) -> Vec<u8> {
        *self = Self::default();
        handshake(host, &format!("{path}?{QUERY}"))
    }

    fn received(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> bool {
        let Self { frames, connected } = self;
        frames.push(bytes, |opcode, payload| match (opcode, payload) {
            // Both layers ask: the transport whether the socket is there, engine.io whether the program is.
            (opcode::PING, _) => send(opcode::PONG, payload, reply),
            (opcode::TEXT, [b'0', ..]) => send(opcode::TEXT, b"40", reply),
            (opcode::TEXT, [b'2', ..]) => send(opcode::TEXT, b"3", reply),
            (opcode::TEXT, [b'4', b'0', ..]) => *connected = true,
            _ => {}
        });
        *connected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::web_socket::tests::{frame, replies, said, stream};

    fn text(payload: &str) -> Vec<u8> {
        frame(opcode::TEXT, payload.as_bytes())
    }

    #[test]
    fn it_connects_and_answers_pings_wherever_the_bytes_are_cut() {
        let bytes = stream(&[
            text(r#"0{"sid":"a","upgrades":[],"pingInterval":25000}"#),
            text(r#"40{"sid":"b"}"#),
            text(r#"42["message",{"from":"0000"}]"#),
            text("2"),
        ]);
        let reply = replies(SocketIo::default, &bytes);
        assert_eq!(said(&reply), [(opcode::TEXT, "40".to_owned()), (opcode::TEXT, "3".to_owned())]);
    }

    #[test]
    fn it_is_open_only_once_the_namespace_is() {
        let mut client = SocketIo::default();
        let mut reply = Vec::new();
        assert!(!client.received(&stream(&[text("0{}")]), &mut reply));
        assert!(client.received(&text("40{}"), &mut reply));
        let request = String::from_utf8(client.open("localhost", "/socket.io/", None)).unwrap();
        assert!(request.starts_with("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"), "{request}");
        assert!(!client.received(b"", &mut reply), "a client that begins anew is not open");
    }
}
