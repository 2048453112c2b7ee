//! What is remembered of whom, and which opening counts.

use super::*;
use crate::channel::ChannelName;
use crate::clock::ManualClock;
use crate::follows::Since;

fn remembered() -> Remembered {
    Remembered::new(Arc::new(ManualClock::at(1_000)), Arc::default())
}

fn open(remembered: &Remembered, id: u128, owner: u64) -> Token {
    open_many(remembered, id, owner, 1)
}

/// Opens a stream of so many channels; each weighs some hundred bytes.
fn open_many(remembered: &Remembered, id: u128, owner: u64, channels: usize) -> Token {
    let channels = (0..channels).map(|n| (ChannelName::new(&format!("c{n}")).unwrap(), Since::Now)).collect();
    let follows = Follows::new(channels, vec![]);
    let opener = Opener { owner, ..Opener::default() };
    remembered.open(StreamId(id), opener, Arc::new(follows), Place::Elsewhere).token
}

fn open_and_close(remembered: &Remembered, id: u128, owner: u64) {
    let token = open(remembered, id, owner);
    remembered.closed(StreamId(id), token);
}

#[test]
fn an_owner_of_many_streams_has_its_own_forgotten_and_nobody_elses() {
    let remembered = remembered();
    open_and_close(&remembered, 1, 8);
    for id in 100..200 {
        open_and_close(&remembered, id, 7);
    }
    assert_eq!(remembered.find(StreamId(1)), Where::Closed, "another one's");
    assert_eq!(remembered.find(StreamId(199)), Where::Closed, "the newest");
    assert_eq!(remembered.find(StreamId(199 - REMEMBERED_OF_ONE_MAX as u128)), Where::Unknown, "the oldest");
    for id in 200..300 {
        open(&remembered, id, 7);
        remembered.end(StreamId(id), None);
    }
    assert_eq!(remembered.find(StreamId(1)), Where::Closed, "what was ended for good counts, too");
    assert_eq!(remembered.count(), 1 + REMEMBERED_OF_ONE_MAX);
    assert_eq!(remembered.counters.forgotten.load(Ordering::Relaxed), 200 - REMEMBERED_OF_ONE_MAX as u64);
    assert!(remembered.lock().shares[&7].closed.len() <= 2 * REMEMBERED_OF_ONE_MAX + 64);
}

#[test]
fn an_owner_of_heavy_streams_has_its_own_forgotten_and_nobody_elses() {
    let remembered = remembered();
    let open_and_close = |id, owner, channels| {
        let token = open_many(&remembered, id, owner, channels);
        remembered.closed(StreamId(id), token);
    };
    open_and_close(1, 8, 60);
    open_and_close(2, 7, 60);
    assert_eq!(remembered.find(StreamId(2)), Where::Closed);
    assert!(2 * remembered.lock().shares[&7].bytes > REMEMBERED_OF_ONE_BYTES_MAX, "two are too much");
    open_and_close(3, 7, 60);
    let where_are = |ids: [u128; 3]| ids.map(|id| remembered.find(StreamId(id)));
    assert_eq!(where_are([1, 2, 3]), [Where::Closed, Where::Unknown, Where::Closed], "the older of the same owner");
    assert!(remembered.lock().shares[&7].bytes <= REMEMBERED_OF_ONE_BYTES_MAX);
    // What is changed while it isn't open has its new weight.
    let add =
        Follows::new((0..60).map(|n| (ChannelName::new(&format!("d{n}")).unwrap(), Since::Now)).collect(), vec![]);
    assert!(remembered.change(StreamId(3), &Change { add, remove: Follows::default() }).unwrap().is_some());
    assert_eq!(where_are([1, 2, 3]), [Where::Closed, Where::Unknown, Where::Unknown], "alone too heavy");
    let memory = remembered.lock();
    assert_eq!((memory.count, memory.shares.len()), (1, 1));
    assert_eq!(memory.bytes, memory.shares[&8].bytes);
    drop(memory);
    assert_eq!(remembered.counters.forgotten.load(Ordering::Relaxed), 2);
}

#[test]
fn an_owner_whose_streams_are_open_again_has_no_share() {
    let remembered = remembered();
    open_and_close(&remembered, 1, 7);
    for _ in 0..1_000 {
        open_and_close(&remembered, 1, 7);
    }
    let memory = remembered.lock();
    assert_eq!((memory.count, memory.shares[&7].count), (1, 1));
    assert_eq!(memory.bytes, memory.shares[&7].bytes);
    assert!(memory.shares[&7].closed.len() <= 2 + 64);
    drop(memory);
    open(&remembered, 1, 7);
    let memory = remembered.lock();
    assert_eq!((memory.count, memory.bytes, memory.shares.len()), (0, 0, 0));
}

#[test]
fn only_the_last_opening_counts_and_none_after_the_end() {
    let remembered = remembered();
    let id = StreamId(1);
    let (first, second) = (open(&remembered, 1, 0), open(&remembered, 1, 0));
    assert_eq!(remembered.standing(id, first), Standing::Replaced);
    assert_eq!(remembered.standing(id, second), Standing::Counts);
    assert_eq!(remembered.end(id, None), Some(0));
    assert_eq!(remembered.standing(id, second), Standing::Ended);
    let third = open(&remembered, 1, 0);
    assert_eq!(remembered.standing(id, third), Standing::Ended, "the end is not undone");
    assert_eq!(remembered.find(id), Where::Ended);
    remembered.closed(id, third);
    assert_eq!(remembered.find(id), Where::Ended);
}

#[test]
fn what_is_remembered_counts_for_the_same_request_and_for_no_other() {
    let name = |name: &str| ChannelName::new(name).unwrap();
    let of = |text: &str, since| Follows::new(vec![(name(text), since)], vec![]);
    let user = |name: &str| Some(crate::user::UserName::new(name).unwrap());
    let device = DeviceName::new("phone").unwrap();
    let phone = Opener { device: Some(&device), ..Opener::default() };
    let asked = of("a", Since::Now).heard_by(user("ada"), true);
    let others = [
        (Opener::default(), asked.clone()),
        (phone, of("b", Since::Now).heard_by(user("ada"), true)),
        (phone, of("a", Since::Start).heard_by(user("ada"), true)),
        (phone, of("a", Since::Now).heard_by(user("bob"), true)),
        (phone, of("a", Since::Now).heard_by(user("ada"), false)),
        (phone, Follows::new(vec![(name("a"), Since::Now), (name("@inbox/ada"), Since::Now)], vec![])),
    ];
    let head = Position::new(1, 9);
    for (opener, other) in others {
        let remembered = remembered();
        let id = StreamId(1);
        let open =
            |opener, follows: &Follows| remembered.open(id, opener, Arc::new(follows.clone()), Place::Nowhere(head));
        let first = open(phone, &asked);
        remembered.closed(id, first.token);
        let change = Change { add: of("more", Since::Now), remove: Follows::default() };
        remembered.change(id, &change).unwrap().unwrap();
        let same = open(phone, &asked);
        assert_eq!((same.state.revision(), same.state.follows.len()), (1, 2));
        assert!(remembered.goes_on(id, &asked, Some(&device)).is_some());
        assert!(remembered.goes_on(id, &other, opener.device).is_none());
        let anew = open(opener, &other);
        assert_eq!((anew.state.revision(), &*anew.state.follows), (0, &other));
        assert!(anew.go_on.is_none() && anew.replaced == Some((0, same.token)), "as nobody knows it, and in its stead");
        assert_eq!(open(phone, &asked).state.revision(), 0, "what it followed first is forgotten");
    }
}
