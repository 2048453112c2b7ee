//! Values of keys and messages whose table is lost: the log has them still.

use std::fs;
use std::path::Path;

use fanfare_hub::{AckReason, Acknowledge, Draft, Event, Hub, Publisher, UserName};

use super::fixture::{copy_folder, drop_journals};

/// The number of the table `keys`, by which its folder is called.
const KEYS: &str = "keyspaces/8";

/// A folder with nothing but two messages, all of it in tables.
async fn with_messages() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).unwrap();
    for text in ["one", "two"] {
        let draft = Draft::to_user(&ada(), Event::text(text), Publisher::Anyone).unwrap();
        hub.publish_draft(draft).await.unwrap();
    }
    close(hub, folder.path()).await;
    folder
}

fn ada() -> UserName {
    UserName::new("ada").unwrap()
}

/// Closes a hub of whose folder only the tables are left.
async fn close(hub: Hub, folder: &Path) {
    hub.close().await;
    let mark = fs::read(folder.join("mark")).unwrap();
    let hub = Hub::open(folder).unwrap();
    hub.reclaim().unwrap();
    hub.close().await;
    fs::write(folder.join("mark"), mark).unwrap();
    drop_journals(folder);
}

#[tokio::test]
async fn messages_are_there_though_the_table_of_keys_is_lost() {
    let folder = with_messages().await;
    for what in ["tables", "current", ""] {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), copy.path());
        let path = copy.path().join(KEYS).join(what);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
        let hub = Hub::open(copy.path()).unwrap();
        let page = hub.inbox(&ada(), None, 10).unwrap();
        let waiting: Vec<&[u8]> = page.entries.iter().map(|entry| &entry.record.data[..]).collect();
        assert_eq!((waiting, page.unread), (vec![&b"one"[..], b"two"], 2), "without {what:?}");
        let all = hub.to_acknowledge(&ada(), &Acknowledge::All).unwrap();
        assert_eq!(hub.acknowledge(all, AckReason::Emptied).await.unwrap(), 2, "without {what:?}");
        hub.close().await;
    }
}
