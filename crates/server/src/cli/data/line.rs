//! An event as a line of JSON: what `export` writes and `import` reads.

use std::time::Duration;

use anyhow::Context as _;
use fanfare_hub::{Archived, ChannelName, Record, UserName};
use serde::{Deserialize, Serialize};

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    /// Where it was. Of no use to an import, which gives new ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    channels: Vec<String>,
    /// When it was published, in milliseconds since the Unix epoch.
    time: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    data: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publisher: Option<String>,
    /// From when on it isn't delivered any more, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    /// What it is the value of, in a state channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Whether it says that its key has no value any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    /// The user it isn't for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    except_user: Option<String>,
}

impl Line {
    /// The line of an event.
    pub(super) fn of(event: Archived) -> anyhow::Result<Self> {
        let Archived { id, channels, record } = event;
        Ok(Self {
            id: Some(id.to_text()),
            channels: channels.iter().map(|name| name.as_str().to_owned()).collect(),
            time: record.time_ms,
            event: record.name,
            data: String::from_utf8(record.data.to_vec())?,
            content_type: record.content_type,
            publisher: record.publisher,
            expires: record.expires_ms,
            retry: record.retry.map(|retry| u64::try_from(retry.as_millis())).transpose()?,
            key: record.key,
            deleted: record.is_deleted,
            except_user: record.except_user.map(|user| user.as_str().to_owned()),
        })
    }

    /// What the log keeps of a line.
    pub(super) fn record(self) -> anyhow::Result<Record> {
        let channels: Result<_, _> = self.channels.iter().map(|name| ChannelName::new(name.as_str())).collect();
        let mut record = Record::new(channels.context("`channels`")?, self.data.into(), self.time);
        record.name = self.event;
        record.content_type = self.content_type;
        record.publisher = self.publisher;
        record.expires_ms = self.expires;
        record.retry = self.retry.map(Duration::from_millis);
        record.key = self.key;
        record.is_deleted = self.deleted;
        record.except_user = self.except_user.as_deref().map(UserName::new).transpose().context("`except_user`")?;
        Ok(record)
    }
}
