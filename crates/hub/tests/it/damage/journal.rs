//! What is done about a journal that is damaged in its midst, lost, or whose files are missing.

use std::fs;

use fanfare_hub::{ChannelName, Follows, Hub, Since, Subscribe};

use super::fixture::{Story, drop_journals, files, place, read};
use crate::reading::read_until;

/// Where the batches of a journal begin, as far as their first bytes tell: start, one to a few items, the item of the seal.
fn batches(journal: &[u8]) -> Vec<usize> {
    let is_start = |at: &usize| {
        let at = *at;
        journal[at] == 1 && journal[at + 2..at + 5] == [0; 3] && journal[at + 13] == 2 && journal[at + 14] == 1
    };
    (0..journal.len() - 20).filter(is_start).collect()
}

#[tokio::test]
async fn a_journal_damaged_in_its_midst_loses_one_commit_and_nothing_behind_it() {
    let story = Story::new(40).await;
    let folder = story.copy();
    let path = folder.path().join("0.jnl");
    let mut journal = fs::read(&path).unwrap();
    let batches = batches(&journal);
    let at = batches[batches.len() - 15] + 60;
    journal[at..at + 20].fill(0xaa);
    fs::write(&path, &journal).unwrap();
    let told = read(folder.path()).await;
    story.check(&told, "a commit overwritten");
    assert_eq!(told.events.len() + 1, story.events.len(), "one commit, one event; gaps {:?}", told.gaps);
    let copies = files(folder.path()).into_iter().filter(|file| file.extension().is_some_and(|end| end == "damaged"));
    let copies: Vec<_> = copies.collect();
    assert_eq!(copies.len(), 1);
    assert_eq!(fs::read(&copies[0]).unwrap(), journal, "the journal is kept as it was");
    let again = read(folder.path()).await;
    assert_eq!((again.events, again.gaps), (told.events, told.gaps), "the gap is told after further starts, too");
}

#[tokio::test]
async fn a_flipped_count_or_sequence_number_of_a_commit_costs_nothing() {
    let story = Story::new(40).await;
    for (offset, bit) in [(1, 0), (1, 5), (5, 1), (7, 3), (11, 6)] {
        let folder = story.copy();
        let path = folder.path().join("0.jnl");
        let mut journal = fs::read(&path).unwrap();
        let batches = batches(&journal);
        journal[batches[batches.len() - 9] + offset] ^= 1 << bit;
        fs::write(&path, &journal).unwrap();
        let told = read(folder.path()).await;
        assert_eq!((told.events.len(), told.gaps.len()), (story.events.len(), 0), "bit {bit} of byte {offset}");
    }
}

#[tokio::test]
async fn a_journal_that_is_gone_is_noticed_by_the_mark() {
    let story = Story::new(40).await;
    let folder = story.copy();
    fs::remove_file(folder.path().join("0.jnl")).unwrap();
    let told = read(folder.path()).await;
    assert!(told.events.len() < story.events.len());
    story.check(&told, "no journal");
    let id = place(&{
        let hub = Hub::open(folder.path()).unwrap();
        let receipt = hub.publish("c0", "new").await.unwrap();
        hub.close().await;
        receipt.id.unwrap()
    });
    let again = read(folder.path()).await;
    assert!(again.events.contains_key(&id), "what is written afterwards stays: {id:?}");
    assert_eq!(again.gaps, told.gaps);
}

#[tokio::test]
async fn what_is_lost_with_a_journal_may_have_been_for_everyone() {
    let story = Story::in_tables(40).await;
    let name = ChannelName::new("c0").unwrap();
    let hub = Hub::open(story.folder.path()).unwrap();
    let last_event_id = hub.channel(&name).unwrap().head;
    hub.publish("c0", "lost").await.unwrap();
    hub.close().await;
    drop_journals(story.folder.path());
    let hub = Hub::open(story.folder.path()).unwrap();
    let follows = Follows::new(vec![(name, Since::Now)], vec![]);
    let mut stream = hub.subscribe(Subscribe { follows, last_event_id, ..Subscribe::default() }).unwrap();
    hub.publish("c0", "later").await.unwrap();
    let text = read_until(&mut stream, "data: later\n").await;
    let told = |channel: &str| text.contains(&format!(r#"{{"channel":"{channel}","reason":"damaged""#));
    assert!(told("c0") && told("@everyone"), "{text}");
    hub.close().await;
}

#[tokio::test]
async fn a_damaged_folder_that_somebody_uses_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).unwrap();
    hub.publish("a", "kept").await.unwrap();
    let before = fs::read(folder.path().join("0.jnl")).unwrap();
    let refused = Hub::open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("in use"), "{refused}");
    assert_eq!(fs::read(folder.path().join("0.jnl")).unwrap(), before);
    hub.close().await;
}
