//! What somebody who waits sees: a bar on a terminal, nothing elsewhere. It is gone when it is dropped.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar of so many steps.
    pub fn begin(what: &'static str, steps: u64) -> Self {
        Self::styled(what, ProgressBar::new(steps), "{msg:12} {wide_bar} {human_pos}/{human_len} {eta:>4}")
    }

    /// A sign of life for what has no steps.
    pub fn spin(what: &'static str) -> Self {
        let progress = Self::styled(what, ProgressBar::new_spinner(), "{msg:12} {spinner} {elapsed}");
        if !progress.0.is_hidden() {
            progress.0.enable_steady_tick(Duration::from_millis(120));
        }
        progress
    }

    fn styled(what: &'static str, bar: ProgressBar, style: &str) -> Self {
        // Steps that are built in are valid; where one isn't, the bar looks plainer.
        let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(bar.with_style(style).with_message(what))
    }

    /// How far it has come.
    pub fn at(&self, step: u64) {
        self.0.set_position(step);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
