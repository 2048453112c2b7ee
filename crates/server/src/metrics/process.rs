//! The process' figures, by the names that all of Prometheus' own libraries give them.

use std::fmt;

use super::Sheet;
use crate::figures::process::Process;

pub(super) fn write(sheet: &mut Sheet<'_>, process: &Process) -> fmt::Result {
    let help = "Time on all cores, user and system.";
    sheet.counter_of_seconds("process_cpu_seconds", help, process.cpu_seconds)?;
    sheet.gauge("process_resident_memory_bytes", "Memory that it holds.", process.resident_bytes as f64)?;
    sheet.gauge("process_virtual_memory_bytes", "Memory that it has addresses for.", process.virtual_bytes as f64)?;
    sheet.gauge("process_start_time_seconds", "When it began, since the Unix epoch.", process.start_seconds)?;
    sheet.gauge("process_threads", "Threads.", process.threads as f64)?;
    sheet.gauge("process_open_fds", "Open files and sockets.", process.open_files as f64)?;
    match process.open_files_max {
        Some(max) => sheet.gauge("process_max_fds", "How many files and sockets may be open.", max as f64),
        None => Ok(()),
    }
}
