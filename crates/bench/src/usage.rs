//! What a process and its children use: processor time and memory, as Linux tells (proc(5)). What the kernel uses for
//! their sockets is told for the whole machine only.

use std::fs;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::error::MeasureError;

/// A process with all its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessTree(u32);

impl ProcessTree {
    /// The process with this id, and its children.
    pub fn new(process: u32) -> Self {
        Self(process)
    }

    /// This process and its children, of which those that ended count too if they were waited for.
    pub fn this() -> Self {
        Self(std::process::id())
    }

    /// The ids of all processes of the tree.
    fn processes(self) -> Vec<u32> {
        let mut all = vec![self.0];
        let mut next = 0;
        while let Some(process) = all.get(next).copied() {
            next += 1;
            for task in tasks(process) {
                let children = fs::read_to_string(format!("/proc/{process}/task/{task}/children")).unwrap_or_default();
                all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
        all
    }

    /// Processor time so far, user and kernel, of all processes and threads, those that ended included. It moves in steps
    /// of a hundredth of a second.
    pub fn cpu(self) -> Duration {
        let ticks: u64 = self.processes().into_iter().filter_map(ticks).sum();
        time(ticks)
    }

    /// Processor time of this process so far, without its children.
    pub fn alone() -> Duration {
        time(ticks(std::process::id()).unwrap_or(0))
    }

    /// Memory, as the proportional set size in bytes: what is shared with other processes counts in parts.
    pub fn memory_bytes(self) -> u64 {
        self.processes().into_iter().filter_map(proportional_set_size).sum()
    }

    /// Threads, in all.
    pub fn threads(self) -> usize {
        self.processes().into_iter().map(|process| tasks(process).len()).sum()
    }
}

fn time(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn tasks(process: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().into_string().ok()).collect()
}

/// User and kernel time of a process, the 14th and 15th field of `stat`. The second, the name, may hold spaces.
fn ticks(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut field = || fields.next()?.parse::<u64>().ok();
    Some(field()? + field()?)
}

fn proportional_set_size(process: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    kilobytes(&rollup, "Pss:").map(|kilobytes| kilobytes * 1_024)
}

/// The number of kilobytes in the line that begins so.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Memory of the kernel, in bytes, for the whole machine: its slabs, page tables and stacks, and what sockets hold.
pub fn kernel_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4_096;
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let parts = ["Slab:", "PageTables:", "KernelStack:"];
    let kilobytes: u64 = parts.iter().filter_map(|part| kilobytes(&memory, part)).sum();
    let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let tcp = sockets.lines().find_map(|line| line.strip_prefix("TCP:")?.split_once(" mem ")?.1.trim().parse().ok());
    kilobytes * 1_024 + tcp.unwrap_or(0) * PAGE_BYTES
}

/// Watches the memory of a process on a thread of its own, to find its peak.
#[derive(Debug)]
pub struct MemoryWatch {
    /// Dropped to end the watch.
    end: SyncSender<()>,
    thread: JoinHandle<u64>,
}

impl MemoryWatch {
    /// Looks every so often, from now on. A look takes the process some microseconds for each megabyte, so it must not
    /// be too often.
    ///
    /// # Errors
    ///
    /// When a thread can't be had.
    pub fn start(process: ProcessTree, interval: Duration) -> Result<Self, MeasureError> {
        let (end, ended) = sync_channel::<()>(0);
        let watch = move || {
            let mut peak = process.memory_bytes();
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                peak = peak.max(process.memory_bytes());
            }
            peak.max(process.memory_bytes())
        };
        Ok(Self { end, thread: thread::Builder::new().name("watch memory".into()).spawn(watch)? })
    }

    /// Ends the watch and tells the most that it saw, in bytes.
    ///
    /// # Errors
    ///
    /// When the thread panicked.
    pub fn peak(self) -> Result<u64, MeasureError> {
        drop(self.end);
        self.thread.join().map_err(|_| MeasureError::Thread)
    }
}

/// Lets this process, and those that it starts, have as many open files as they may. Tells how many that are.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Refused, it stays as it is, which is then told.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let this = ProcessTree::this();
        let before = this.cpu();
        let mut sum = 0_u64;
        while this.cpu() == before {
            sum = sum.wrapping_add((0..100_000).map(std::hint::black_box).sum());
        }
        assert!(sum > 0 && this.memory_bytes() > 100_000 && this.threads() > 0 && kernel_bytes() > 0);
    }

    #[test]
    fn a_line_tells_its_kilobytes() {
        assert_eq!(kilobytes("Rss:   7 kB\nPss:   12 kB\n", "Pss:"), Some(12));
        assert_eq!(kilobytes("", "Pss:"), None);
    }
}
