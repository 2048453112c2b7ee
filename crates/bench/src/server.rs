//! A server's process: started with a data folder of its own, waited for, stopped by its id.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

use crate::error::MeasureError;
use crate::load::pace::Clock;
use crate::subject::{Process, Ready, Start, Subject};
use crate::usage::ProcessTree;

/// How long a server may take to start. Long, since a start may have to read a large log.
const START_MAX: Duration = Duration::from_mins(3);

/// How long it may take to stop before it is killed.
const STOP_MAX: Duration = Duration::from_secs(30);

/// How often whoever waits looks again.
const LOOK: Duration = Duration::from_millis(5);

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    /// Where it listens: `host:port`.
    address: String,
    /// Its process, where that is known.
    process: Option<u32>,
    /// What was started here, and is stopped here.
    own: Option<Own>,
}

/// A process of our own.
#[derive(Debug)]
struct Own {
    child: Child,
    /// Reads its output to the end, so that it never waits for somebody to read it.
    output: Option<JoinHandle<()>>,
    how: Process,
    /// Its data, and what it wrote to its error output. Removed with it.
    folder: Arc<TempDir>,
}

/// How a server is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As an operator does.
    InOrder,
    /// By a signal that it never sees.
    Kill,
}

impl Server {
    /// Starts a server, with its data in a new folder within `folder`, and waits until it takes connections.
    ///
    /// # Errors
    ///
    /// When it can't be started or ends at once.
    pub fn start(subject: &Subject, folder: &Path) -> Result<Self, MeasureError> {
        match &subject.start {
            Start::Running { address, process } => Ok(Self { address: address.clone(), process: *process, own: None }),
            Start::Process(how) => {
                fs::create_dir_all(folder)?;
                let folder = tempfile::Builder::new().prefix("fanfare-bench-").tempdir_in(folder)?;
                fs::create_dir(folder.path().join("data"))?;
                start(how, Arc::new(folder))
            }
        }
    }

    /// Where it listens: `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process and that one's children, where it is known.
    pub fn process(&self) -> Option<ProcessTree> {
        self.process.map(ProcessTree::new)
    }

    /// Bytes of its data folder, where it is known.
    pub fn data_bytes(&self) -> Option<u64> {
        self.own.as_ref().map(|own| folder_bytes(&own.folder.path().join("data")))
    }

    /// Stops it, as an operator does, and starts it again on the same data.
    ///
    /// # Errors
    ///
    /// When it isn't ours to stop, or doesn't come back.
    pub fn restart(self) -> Result<Self, MeasureError> {
        Ok(self.start_after(End::InOrder)?.0)
    }

    /// Ends it in this way and starts it again on the same data; tells how long the start took.
    ///
    /// # Errors
    ///
    /// When it isn't ours to stop, or doesn't come back.
    pub fn start_after(self, end: End) -> Result<(Self, Duration), MeasureError> {
        let Some(mut own) = self.own else { return Err(MeasureError::Unsupported("a restart")) };
        match end {
            End::InOrder => own.stop()?,
            End::Kill => {
                own.child.kill()?;
                own.child.wait()?;
            }
        }
        let clock = Clock::default();
        let server = start(&own.how, Arc::clone(&own.folder))?;
        Ok((server, clock.now()))
    }

    /// Stops it, if it was started here.
    ///
    /// # Errors
    ///
    /// When it can't be told to.
    pub fn stop(mut self) -> Result<(), MeasureError> {
        match &mut self.own {
            Some(own) => own.stop(),
            None => Ok(()),
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // A scenario that failed doesn't stop its server in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Own {
    /// Tells it to stop; kills it if it doesn't.
    fn stop(&mut self) -> Result<(), MeasureError> {
        let clock = Clock::default();
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // Who has ended already can't be told.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        while self.child.try_wait()?.is_none() {
            if clock.now() > STOP_MAX {
                self.child.kill()?;
                self.child.wait()?;
                break;
            }
            clock.wait_until(clock.now() + LOOK);
        }
        if let Some(output) = self.output.take() {
            output.join().map_err(|_| MeasureError::Thread)?;
        }
        Ok(())
    }

    /// Why it can't go on: `what` with the end of what it wrote to its error output.
    fn failed(&self, what: &str) -> MeasureError {
        let text = fs::read_to_string(self.folder.path().join("errors")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n");
        MeasureError::Server(format!("{what}; its last words:\n{end}"))
    }
}

/// Starts a process and waits until it is ready.
fn start(how: &Process, folder: Arc<TempDir>) -> Result<Server, MeasureError> {
    let data = folder.path().join("data").canonicalize()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let fill = |text: &str| text.replace("{data}", &data.to_string_lossy()).replace("{port}", &port.to_string());
    for (name, content) in &how.files {
        fs::write(data.join(name), fill(content))?;
    }
    let mut child = Command::new(&how.program)
        .args(how.arguments.iter().map(|argument| fill(argument)))
        .envs(how.environment.iter().map(|(name, value)| (name, fill(value))))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(folder.path().join("errors"))?)
        .spawn()
        .map_err(|error| MeasureError::Server(format!("{} can't be started: {error}", how.program.display())))?;
    let (output, said) = listen(&mut child)?;
    let mut own = Own { child, output: Some(output), how: how.clone(), folder };
    let address = match how.ready {
        Ready::Says => said.recv_timeout(START_MAX).map_err(|_| own.failed("didn't say where it listens"))?,
        Ready::Accepts => {
            let address = format!("127.0.0.1:{port}");
            await_connections(&address, &mut own)?;
            address
        }
    };
    Ok(Server { address, process: Some(own.child.id()), own: Some(own) })
}

/// Reads what a process says, to its end; gives the first address that it says it listens on.
fn listen(child: &mut Child) -> Result<(JoinHandle<()>, Receiver<String>), MeasureError> {
    let Some(output) = child.stdout.take() else { return Err(MeasureError::Server("has no output".into())) };
    let (say, said) = sync_channel(1);
    let read = move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("listening on http://") {
                // Further addresses find no room, and nobody who asks.
                let _ = say.try_send(address.trim().trim_end_matches('/').to_owned());
            }
        }
    };
    Ok((thread::Builder::new().name("server output".into()).spawn(read)?, said))
}

fn await_connections(address: &str, own: &mut Own) -> Result<(), MeasureError> {
    let clock = Clock::default();
    while TcpStream::connect(address).is_err() {
        if own.child.try_wait()?.is_some() {
            return Err(own.failed("ended at once"));
        }
        if clock.now() > START_MAX {
            return Err(own.failed("takes no connections"));
        }
        clock.wait_until(clock.now() + LOOK);
    }
    Ok(())
}

/// Bytes of all files in a folder and those within.
pub(crate) fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        // Removed meanwhile.
        Err(_) => 0,
    });
    bytes.sum()
}
