//! The bare loop and the load against each other, as processes: everything is delivered, once and in order.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use fanfare_bench::figures::Delivery;
use fanfare_bench::load::LoadOptions;
use fanfare_bench::load::publisher::Publisher;
use fanfare_bench::scenario::bad_peers::{self, BadPeersOptions};
use fanfare_bench::scenario::burst::{self, BurstOptions};
use fanfare_bench::scenario::fan_out::{self, FanOutOptions};
use fanfare_bench::scenario::idle::{self, IdleOptions};
use fanfare_bench::scenario::publish::{self, PublishOptions};
use fanfare_bench::scenario::resume_storm::{self, ResumeStormOptions};
use fanfare_bench::scenario::slow_readers::{self, SlowReadersOptions};
use fanfare_bench::scenario::soak::{self, SoakOptions};
use fanfare_bench::scenario::{channels, patterns};
use fanfare_bench::server::Server;
use fanfare_bench::subject::Subject;
use fanfare_bench::{MeasureError, chart};

fn bare() -> Subject {
    Subject::bare(env!("CARGO_BIN_EXE_fanfare-bench").into(), false)
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

fn load() -> LoadOptions {
    LoadOptions { folder: folder(), ..LoadOptions::default() }
}

fn assert_exact(delivery: Delivery, streams: u64) {
    assert!(delivery.is_exact() && delivery.delivered > 0, "{delivery:?}");
    assert_eq!((delivery.streams, delivery.cut), (streams, 0), "{delivery:?}");
}

/// Opens a stream as any client would.
fn stream(server: &Server, last_id: Option<&str>) -> TcpStream {
    let mut socket = TcpStream::connect(server.address()).unwrap();
    let last = last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    socket.write_all(format!("GET /x HTTP/1.1\r\nHost: x\r\n{last}\r\n").as_bytes()).unwrap();
    socket
}

/// Reads until what was read ends so.
fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut byte = [0];
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "{text}");
        text.push(char::from(byte[0]));
    }
    text
}

#[test]
fn a_handful_of_streams_get_every_event_once_and_can_come_back() {
    for one_send_per_event in [false, true] {
        let subject = Subject::bare(env!("CARGO_BIN_EXE_fanfare-bench").into(), one_send_per_event);
        let server = Server::start(&subject, &folder()).unwrap();
        let mut streams: Vec<TcpStream> = (0..5).map(|_| stream(&server, None)).collect();
        for stream in &mut streams {
            assert!(read_until(stream, "event: hello\ndata:\n\n").starts_with("HTTP/1.1 200 OK\r\n"));
        }
        let mut publisher = Publisher::connect(server.address()).unwrap();
        for data in ["one", "two", "three"] {
            publisher.publish(&subject.publish, "x", data).unwrap();
        }
        let all: Vec<String> = streams.iter_mut().map(|stream| read_until(stream, "data: three\n\n")).collect();
        assert!(all.iter().all(|text| text == &all[0]), "{all:?}");
        assert_eq!(all[0].matches("data: ").count(), 3);

        let first_id = all[0].lines().next().unwrap().strip_prefix("id: ").unwrap();
        let mut back = stream(&server, Some(first_id));
        read_until(&mut back, "event: hello\ndata:\n\n");
        let missed = read_until(&mut back, "data: three\n\n");
        assert!(missed.contains("data: two\n") && !missed.contains("data: one\n"), "{missed}");
        server.stop().unwrap();
    }
}

#[test]
fn a_quick_burst_loses_nothing() {
    let options = BurstOptions { streams: 50, publishers: 4, events: 2_000, duration_s: None, load: load() };
    let figures = burst::run(&bare(), &options).unwrap();
    assert_exact(figures.delivery, 50);
    assert_eq!(figures.delivery.published, 2_000);
    assert!(figures.delivered_per_s > 0.0 && figures.latency.count > 0, "{figures:?}");
    let server = figures.server.unwrap();
    assert!(server.memory_peak_bytes >= server.memory_before_bytes && server.memory_before_bytes > 0, "{server:?}");
}

#[test]
fn a_quick_fan_out_times_every_delivery() {
    let options = FanOutOptions { streams: 20, rate: 50.0, duration_s: 1, flush: None, load: load() };
    let figures = fan_out::run(&bare(), &options).unwrap();
    assert_exact(figures.delivery, 20);
    assert_eq!(figures.latency.count, figures.delivery.delivered);
    assert!(figures.latency.p50_us > 0 && figures.latency.p50_us <= figures.latency.max_us, "{figures:?}");
}

#[test]
fn streams_that_break_off_in_the_middle_of_an_event_come_back_without_loss() {
    let load = LoadOptions { readers: 2, ..load() };
    let options =
        ResumeStormOptions { streams: 30, events: 500, missed: 50, midway: true, rate: 50.0, calm_s: 0, load };
    assert_exact(resume_storm::run(&bare(), &options).unwrap().delivery, 30);
    let options = SoakOptions { streams: 20, rate: 200.0, duration_s: 3, churn: 10, sample_s: 1, load: self::load() };
    let figures = soak::run(&bare(), &options).unwrap();
    assert_exact(figures.delivery, 20);
    assert!(figures.resumed >= 10 && !figures.samples.is_empty(), "{figures:?}");
}

#[test]
fn other_scenarios_lose_nothing_or_say_what_they_miss() {
    let options = PublishOptions { publishers: 3, streams: 1, duration_s: 1, load: load() };
    assert_exact(publish::run(&bare(), &options).unwrap().delivery, 1);
    let options = SlowReadersOptions { streams: 10, slow: 2, stopped: 2, rate: 100.0, duration_s: 1, load: load() };
    assert_exact(slow_readers::run(&bare(), &options).unwrap().delivery, 10);
    let amounts = BadPeersOptions {
        streams: 10,
        slow: 2,
        stopped: 2,
        vanished: 2,
        rate: 100.0,
        calm_s: 1,
        duration_s: 1,
        rounds: 2,
        load: load(),
    };
    let figures = bad_peers::run(&bare(), &amounts).unwrap();
    assert_exact(figures.delivery, 10);
    assert_eq!(figures.rounds.len(), 2);
    assert!(figures.vanished_left_out.is_some(), "the bare loop can't tell");
    let idle = idle::run(&bare(), &IdleOptions { streams: 50, hold_s: 0, load: load() }).unwrap();
    assert!(idle.cut == 0 && idle.opening.count == 50, "{idle:?}");

    let fan_out = FanOutOptions { streams: 1, rate: 1.0, duration_s: 1, flush: None, load: load() };
    let args = patterns::PatternsOptions { channels: 1, fan_out };
    assert!(matches!(patterns::run(&bare(), &args), Err(MeasureError::Unsupported(_))));
    let args = channels::ChannelsOptions { channels: 1, named: 1, rate: 1.0, batch: 1, duration_s: 1, load: load() };
    assert!(matches!(channels::run(&bare(), &args), Err(MeasureError::Unsupported(_))));
}

#[test]
fn figures_become_charts() {
    use fanfare_bench::Machine;
    use fanfare_bench::outcome::{Figures, Outcome};
    let outcome = |subject: &str, rate: f64| Outcome {
        subject: subject.into(),
        machine: Machine::here(&folder()),
        figures: Figures::Burst(burst::BurstFigures { delivered_per_s: rate, ..burst::BurstFigures::default() }),
    };
    let folder = tempfile::tempdir_in(folder()).unwrap();
    let drawn = chart::draw(&[outcome("fanfare", 2e6), outcome("bare loop", 4e6)], folder.path()).unwrap();
    let path = drawn.iter().find(|path| path.ends_with("burst-deliveries.svg")).unwrap();
    let svg = std::fs::read_to_string(path).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("bare loop") && svg.contains("4,000,000"), "{svg}");
}
