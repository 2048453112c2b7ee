//! How a connection stands, as the system sees it. From a socket alone it can't be told whether nobody reads, somebody
//! reads slowly or nobody is there any more: in all three cases there is no room. Linux tells by a netlink socket
//! (`sock_diag(7)`); elsewhere, or where that is forbidden, there is no answer, and whoever asks does without.
//!
//! *Absent:* what follows from it.

use std::io;

use mio::net::TcpStream;

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Bytes written to the socket that the other side's system has not confirmed.
    pub(crate) unconfirmed: u32,
    pub(crate) standing: Standing,
}

/// What the other side's system does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It takes what is sent, as far as anybody knows.
    Flowing,
    /// It answers, and says that it has no room: nobody reads what it took.
    Closed,
    /// It answers nothing, however often it is sent the same or asked for room.
    Silent,
}

/// Asks the system about connections.
#[derive(Debug)]
pub(crate) struct Lines {
    #[cfg(target_os = "linux")]
    netlink: std::os::fd::OwnedFd,
    /// The number of the last question, by which its answer is known.
    asked: u32,
}

#[cfg(not(target_os = "linux"))]
impl Lines {
    pub(crate) fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn ask(&mut self, _socket: &TcpStream) -> Option<Line> {
        self.asked = self.asked.wrapping_add(1);
        None
    }
}

#[cfg(target_os = "linux")]
impl Lines {
    /// # Errors
    ///
    /// Where the system can't be asked.
    pub(crate) fn open() -> io::Result<Self> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink, socket_with};
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let netlink = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG))?;
        Ok(Self { netlink, asked: 0 })
    }

    /// How a connection stands; `None` where the system doesn't tell. Takes some microseconds.
    pub(crate) fn ask(&mut self, socket: &TcpStream) -> Option<Line> {
        self.asked = self.asked.wrapping_add(1);
        let question = diag::question(self.asked, socket.local_addr().ok()?, socket.peer_addr().ok()?);
        rustix::io::write(&self.netlink, &question).ok()?;
        let mut answer = [0; diag::ANSWER_BYTES];
        // The system answers while it is asked. What is left of an earlier question is passed over.
        loop {
            let count = rustix::io::read(&self.netlink, &mut answer).ok()?;
            if let Some(answer) = diag::Answer::of(answer.get(..count)?, self.asked) {
                return answer.line();
            }
        }
    }
}

/// What netlink sockets of this kind are asked and answer: `linux/netlink.h` and `linux/inet_diag.h`.
#[cfg(target_os = "linux")]
mod diag {
    use std::net::{IpAddr, SocketAddr};

    use super::{Line, Standing};

    /// Bytes of the longest answer that is read; the rest would be attributes, for which nobody asked.
    pub(super) const ANSWER_BYTES: usize = 256;

    /// Bytes of a message's head (`struct nlmsghdr`).
    const HEAD_BYTES: usize = 16;
    /// Bytes of a question (`struct inet_diag_req_v2`).
    const QUESTION_BYTES: usize = 56;
    /// The kind of message that is a question, or an answer to it (`SOCK_DIAG_BY_FAMILY`).
    const BY_FAMILY: u16 = 20;
    /// Marks a question (`NLM_F_REQUEST`).
    const REQUEST: u16 = 1;
    const TCP: u8 = 6;
    const IPV4: u8 = 2;
    const IPV6: u8 = 10;

    /// The state of a socket that listens (`TCP_LISTEN`): the answer where there is no such connection any more.
    const LISTENS: u8 = 10;
    /// The timer of what was sent and not confirmed.
    const TIMER_AGAIN: u8 = 1;
    /// The timer that asks whether there is room.
    const TIMER_ROOM: u8 = 4;
    /// So often the same is sent again, one after the other and with growing pauses, before nobody seems to be there.
    const AGAIN_MAX: u8 = 2;
    /// So many questions for room may be unanswered: one may be under way.
    const ROOM_MAX: u8 = 1;

    /// Asks about one connection.
    pub(super) fn question(number: u32, local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
        let mut question = Vec::with_capacity(HEAD_BYTES + QUESTION_BYTES);
        question.extend(((HEAD_BYTES + QUESTION_BYTES) as u32).to_ne_bytes());
        question.extend(BY_FAMILY.to_ne_bytes());
        question.extend(REQUEST.to_ne_bytes());
        question.extend(number.to_ne_bytes());
        // From whom: the system knows.
        question.extend([0; 4]);
        question.extend([if local.is_ipv4() { IPV4 } else { IPV6 }, TCP, 0, 0]);
        // Whatever state it is in.
        question.extend(u32::MAX.to_ne_bytes());
        question.extend(local.port().to_be_bytes());
        question.extend(peer.port().to_be_bytes());
        for address in [local, peer] {
            match address.ip() {
                IpAddr::V4(ip) => {
                    question.extend(ip.octets());
                    question.extend([0; 12]);
                }
                IpAddr::V6(ip) => question.extend(ip.octets()),
            }
        }
        // Addresses of one link alone are told apart by it.
        let link = if let SocketAddr::V6(peer) = peer { peer.scope_id() } else { 0 };
        question.extend(link.to_ne_bytes());
        // Whichever connection has these addresses (`INET_DIAG_NOCOOKIE`).
        question.extend([0xff; 8]);
        question
    }

    /// An answer, or the word that there is none.
    pub(super) struct Answer<'a> {
        kind: u16,
        body: &'a [u8],
    }

    impl<'a> Answer<'a> {
        /// Takes a message, if it answers the question of that number.
        pub(super) fn of(message: &'a [u8], number: u32) -> Option<Self> {
            let (head, body) = message.split_at_checked(HEAD_BYTES)?;
            let kind = u16::from_ne_bytes([*head.get(4)?, *head.get(5)?]);
            (word(head, 8)? == number).then_some(Self { kind, body })
        }

        /// What it says (`struct inet_diag_msg`).
        pub(super) fn line(&self) -> Option<Line> {
            if self.kind != BY_FAMILY || *self.body.get(1)? == LISTENS {
                return None;
            }
            let (timer, count) = (*self.body.get(2)?, *self.body.get(3)?);
            let standing = match timer {
                TIMER_AGAIN if count > AGAIN_MAX => Standing::Silent,
                TIMER_ROOM if count > ROOM_MAX => Standing::Silent,
                TIMER_ROOM => Standing::Closed,
                _ => Standing::Flowing,
            };
            Some(Line { unconfirmed: word(self.body, 60)?, standing })
        }
    }

    fn word(bytes: &[u8], at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::time::Duration;

    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    /// Asks until an answer is as it should be.
    fn await_line(lines: &mut Lines, socket: &TcpStream, is_so: impl Fn(Line) -> bool) -> Line {
        let clock = SystemClock::default();
        loop {
            let line = lines.ask(socket).unwrap();
            if is_so(line) {
                return line;
            }
            assert!(clock.elapsed() < Duration::from_secs(20), "it stands at {line:?}");
            std::thread::yield_now();
        }
    }

    fn lines() -> Option<Lines> {
        let lines = Lines::open();
        if lines.is_err() {
            println!("skipped: the system can't be asked about connections here");
        }
        lines.ok()
    }

    #[test]
    fn a_reader_that_takes_nothing_closes_its_line_and_one_that_reads_opens_it() {
        let Some(mut lines) = lines() else { return };
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(address) else {
                println!("{address} is left out: there is no such address here");
                continue;
            };
            let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, _) = listener.accept().unwrap();
            server.set_nonblocking(true).unwrap();
            let mut server = TcpStream::from_std(server);
            assert_eq!(lines.ask(&server), Some(Line { unconfirmed: 0, standing: Standing::Flowing }));
            let mut written = 0;
            while let Ok(count) = server.write(&[b'x'; 16_000]) {
                written += count;
            }
            let line = await_line(&mut lines, &server, |line| line.standing == Standing::Closed);
            assert!(line.unconfirmed > 0 && (line.unconfirmed as usize) < written, "{line:?} of {written}");
            client.read_exact(&mut vec![0; written]).unwrap();
            await_line(&mut lines, &server, |line| line == Line { unconfirmed: 0, standing: Standing::Flowing });
        }
    }

    #[test]
    fn of_a_connection_that_has_ended_nothing_is_known() {
        let Some(mut lines) = lines() else { return };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let server = TcpStream::from_std(server);
        assert!(lines.ask(&server).is_some());
        let mut question = diag::question(1, server.local_addr().unwrap(), server.peer_addr().unwrap());
        assert_eq!(question.len(), 72);
        // A port that nobody has. Then who listens is found, or nobody.
        question[26..28].fill(0);
        rustix::io::write(&lines.netlink, &question).unwrap();
        let mut answer = [0; diag::ANSWER_BYTES];
        let count = rustix::io::read(&lines.netlink, &mut answer).unwrap();
        assert!(diag::Answer::of(&answer[..count], 2).is_none(), "it answers another question");
        assert_eq!(diag::Answer::of(&answer[..count], 1).unwrap().line(), None);
        drop(client);
    }
}
