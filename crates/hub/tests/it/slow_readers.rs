//! Readers of real sockets that read slowly or not at all, while the system would cut both far earlier: each is ended in
//! its own time and with its own word.

#![expect(
    clippy::disallowed_methods,
    reason = "these are the system's times, and a reader that pauses is what is tested"
)]

use std::io::Read as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use fanfare_hub::{ChannelName, Follows, Hub, HubConfig, Pattern, Rule, Since, Subscribe};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size, set_tcp_user_timeout};

/// How long the system bears a reader that has no room. The hub must be asked first.
const SYSTEM: Duration = Duration::from_secs(2);
const STALL_MAX: Duration = Duration::from_secs(4);
const SLOW_MAX: Duration = Duration::from_secs(7);
/// Bytes a second that a reader must take; the slow one takes half of it, in steps of its system's liking.
const RATE_MIN: usize = 8_000;
/// Beyond a deadline: until the hub notices that there is no room, its ticks, and a machine that has other things to do.
const LATE: Duration = Duration::from_secs(4);

/// A stream of a reader whose system takes next to nothing ahead.
fn open(hub: &Hub) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, connect, socket};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    set_socket_recv_buffer_size(&client, 4_096).unwrap();
    connect(&client, &listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    set_socket_send_buffer_size(&server, 16_384).unwrap();
    set_tcp_user_timeout(&server, SYSTEM.as_millis() as u32).unwrap();
    let follows = Follows::new(vec![(ChannelName::new("news").unwrap(), Since::Now)], vec![]);
    hub.reserve(Subscribe { follows, ..Subscribe::default() }).unwrap().into_socket(server, b"");
    TcpStream::from(client)
}

fn closed(hub: &Hub, reason: &str) -> u64 {
    hub.stats().streams_closed[reason]
}

#[tokio::test]
async fn a_slow_reader_ends_as_slow_and_one_that_never_reads_as_stalled_both_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let rule = Rule { heartbeat: Duration::from_secs(1), ..Rule::new(Pattern::new("*").unwrap()) };
    let config = HubConfig {
        rules: vec![rule],
        shards: 1,
        stall_max: STALL_MAX,
        slow_max: SLOW_MAX,
        rate_min: RATE_MIN as u64,
        ..HubConfig::default()
    };
    let hub = Hub::open_with(folder.path(), config).unwrap();
    let (mut slow, never) = (open(&hub), open(&hub));
    let end = slow.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut bytes = [0; RATE_MIN / 2 / 4];
        while slow.read(&mut bytes).is_ok_and(|count| count > 0) {
            std::thread::sleep(Duration::from_millis(250));
        }
    });
    let began = Instant::now();
    let mut ends = [("stalled", STALL_MAX, None), ("slow", SLOW_MAX, None)];
    while ends.iter().any(|(_, _, ended)| ended.is_none()) {
        hub.publish("news", "x".repeat(1_000)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        for (reason, _, ended) in &mut ends {
            if closed(&hub, reason) > 0 {
                ended.get_or_insert_with(|| began.elapsed());
            }
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{ends:?} {:?}", hub.stats().streams_closed);
    }
    println!("{ends:?}");
    for (reason, after, ended) in ends {
        assert_eq!(closed(&hub, reason), 1, "{:?}", hub.stats().streams_closed);
        assert!(ended.is_some_and(|at| at >= after && at < after + LATE), "{reason} after {ended:?}");
    }
    assert_eq!((closed(&hub, "timed_out"), closed(&hub, "left")), (0, 0));
    drop(never);
    end.shutdown(Shutdown::Both).unwrap();
    reading.join().unwrap();
    hub.close().await;
}
