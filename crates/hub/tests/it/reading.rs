//! What streams and channels say, as text.

use std::time::Duration;

use fanfare_hub::{ChannelName, HistoryError, HistoryPage, HistoryQuery, Hub, Order, Since, Stream};

/// What a stream says until this has come.
pub(crate) async fn read_until(stream: &mut Stream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let next = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
        let bytes = next.unwrap_or_else(|_| panic!("{end:?} came not; only {text:?}"));
        let bytes = bytes.unwrap_or_else(|| panic!("the stream ends before {end:?}: {text:?}"));
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    text
}

/// What a stream still says before it ends.
pub(crate) async fn read_to_end(stream: &mut Stream) -> String {
    let mut text = String::new();
    while let Some(bytes) = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("it ends") {
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    text
}

/// A channel's oldest events, up to 1,000.
pub(crate) fn history(hub: &Hub, channel: &str) -> Result<HistoryPage, HistoryError> {
    let query = HistoryQuery { since: Since::Start, before: None, order: Order::Ascending, limit: 1_000 };
    hub.history_of(&ChannelName::new(channel).unwrap(), query)
}

/// Their data.
pub(crate) fn kept(hub: &Hub, channel: &str) -> Vec<String> {
    let page = history(hub, channel).unwrap();
    page.entries.iter().map(|entry| String::from_utf8(entry.record.data.to_vec()).unwrap()).collect()
}
