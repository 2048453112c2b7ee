//! This process as the system sees it: memory, time, open files. Read from `/proc` at each question; nothing where there is
//! no such thing.

use std::fs;

/// The figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    /// Time on all cores, user and system, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Memory that it holds, in bytes.
    pub(crate) resident_bytes: u64,
    /// Memory that it has addresses for, in bytes.
    pub(crate) virtual_bytes: u64,
    /// When it began, in seconds since the Unix epoch.
    pub(crate) start_seconds: f64,
    pub(crate) threads: u64,
    /// Files, sockets and the like that are open.
    pub(crate) open_files: u64,
    /// How many may be.
    pub(crate) open_files_max: Option<u64>,
}

impl Process {
    /// Reads them.
    pub(crate) fn now() -> Option<Self> {
        let page = rustix::param::page_size() as u64;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let boot = boot_seconds(&fs::read_to_string("/proc/stat").ok()?)?;
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Some(Self { open_files: open_files()?, open_files_max: limit, ..Self::of_stat(&stat, page, ticks, boot)? })
    }

    /// Reads the line of `/proc/self/stat` (proc(5)). The second field, a name in brackets, may have anything in it.
    fn of_stat(stat: &str, page: u64, ticks: f64, boot: f64) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        // The first of these is the third field.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let (user, system) = (field(14)?, field(15)?);
        Some(Self {
            cpu_seconds: (user + system) as f64 / ticks,
            resident_bytes: field(24)? * page,
            virtual_bytes: field(23)?,
            start_seconds: boot + field(22)? as f64 / ticks,
            threads: field(20)?,
            ..Self::default()
        })
    }
}

/// When the machine began, in seconds since the Unix epoch.
fn boot_seconds(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// How many files are open. Linux tells it as the folder's size since 6.2; before that they have to be counted.
fn open_files() -> Option<u64> {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).ok()?.len() {
        0 => Some(fs::read_dir(folder).ok()?.count() as u64),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_line_is_read_whatever_the_name() {
        let stat = "42 (a) b) R 1 1 1 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 7 0 3000 1048576 256 18446744073709551615";
        let process = Process::of_stat(stat, 4096, 100.0, 1_000.0).unwrap();
        assert_eq!((process.resident_bytes, process.virtual_bytes, process.threads), (256 * 4096, 1_048_576, 7));
        assert!((process.cpu_seconds - 2.0).abs() < 1e-9 && (process.start_seconds - 1_030.0).abs() < 1e-9);
        assert_eq!(Process::of_stat("nothing", 4096, 100.0, 0.0), None);
        assert_eq!(boot_seconds("cpu 1\nbtime 12\n"), Some(12.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_threads_and_files() {
        let process = Process::now().unwrap();
        assert!(process.resident_bytes > 1 << 20 && process.threads >= 1 && process.open_files >= 3);
        let files: Vec<_> = (0..8).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        assert!(open_files().unwrap() >= 8 + 3);
        drop(files);
    }
}
