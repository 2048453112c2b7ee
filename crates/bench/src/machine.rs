//! What the figures were taken on, as far as it can be told without naming anybody's machine.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A machine, as far as it matters to the figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// The kernel: name, major and minor version.
    pub kernel: String,
    /// The kind of file system under the data folders.
    pub file_system: String,
}

impl Machine {
    /// This machine, with its data in `folder`. What can't be found out is `unknown`.
    pub fn here(folder: &Path) -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel().unwrap_or_else(unknown),
            file_system: file_system(folder).unwrap_or_else(unknown),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cores, kernel, file_system } = self;
        write!(f, "{cores} cores, {kernel}, data on {file_system}")
    }
}

fn unknown() -> String {
    "unknown".into()
}

fn kernel() -> Option<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = release.trim().split('.');
    Some(format!("Linux {}.{}", numbers.next()?, numbers.next()?))
}

/// The kind of the file system whose mount point is nearest above `folder`.
fn file_system(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounts = mounts.lines().filter_map(mount).filter(|(point, _)| folder.starts_with(point));
    mounts.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind.to_owned())
}

/// Mount point and file system of a line of `mountinfo` (proc(5)): the fifth field, and the first behind ` - `.
fn mount(line: &str) -> Option<(&str, &str)> {
    let (of_mount, of_file_system) = line.split_once(" - ")?;
    Some((of_mount.split(' ').nth(4)?, of_file_system.split(' ').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_from_its_line() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        assert_eq!(mount(line), Some(("/mnt2", "ext3")));
        assert_eq!(mount("nonsense"), None);
    }
}
