//! A network of its own for clients that vanish without a word: a namespace at the other end of a virtual cable. It takes
//! root, and `ip` of iproute2. What was laid is removed in the end; what a run that was killed has left, by the next one.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where a server listens to be reached through the cable.
pub const NEAR: &str = "10.231.8.1";

/// Where its clients are.
const FAR: &str = "10.231.8.2";

/// What names of namespaces begin with; the process' id follows.
const PREFIX: &str = "fanfare-bench-";

/// A cable to a network of its own.
#[derive(Debug)]
pub struct Cable {
    namespace: String,
    /// The near end's interface.
    link: String,
}

impl Cable {
    /// Lays it.
    ///
    /// # Errors
    ///
    /// Says why it can't be had here.
    pub fn lay() -> Result<Self, String> {
        sweep();
        let id = std::process::id();
        // From here on, whatever was laid is removed.
        let cable = Self { namespace: format!("{PREFIX}{id}"), link: format!("ffb{id}") };
        let Self { namespace, link } = &cable;
        let steps = [
            format!("netns add {namespace}"),
            format!("link add {link} type veth peer name cable netns {namespace}"),
            format!("addr add {NEAR}/24 dev {link}"),
            format!("link set {link} up"),
            format!("-n {namespace} addr add {FAR}/24 dev cable"),
            format!("-n {namespace} link set cable up"),
        ];
        match steps.iter().find(|step| !ip(step)) {
            None => Ok(cable),
            Some(step) => Err(format!("`ip {step}` failed: it takes root and iproute2")),
        }
    }

    /// Does something at the far end. Sockets that are made there stay there.
    ///
    /// # Errors
    ///
    /// When the far end can't be entered, or what `work` says.
    pub fn beyond<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let namespace = File::open(Path::new("/run/netns").join(&self.namespace))?;
        let moved = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        };
        // A thread of its own, as whoever has moved stays.
        thread::scope(|scope| scope.spawn(moved).join()).unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
    }

    /// From now on nothing comes back from the far end, or it does again. What is sent there still leaves, as on the way to
    /// somebody far away: a cable that is pulled at the server itself would be noticed earlier.
    pub fn silence(&self, is_silent: bool) -> bool {
        let what = if is_silent { "replace" } else { "del" };
        ip(&format!("-n {} route {what} blackhole {NEAR}/32", self.namespace))
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.link));
        ip(&format!("netns del {}", self.namespace));
    }
}

/// Removes what was left by processes that are no more.
fn sweep() {
    let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|entry| entry.file_name());
    for name in names {
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        if !Path::new("/proc").join(id).exists() {
            ip(&format!("link del ffb{id}"));
            ip(&format!("netns del {PREFIX}{id}"));
        }
    }
}

/// Runs `ip`; whether it succeeded.
fn ip(arguments: &str) -> bool {
    let silent = Command::new("ip").args(arguments.split(' ')).stdout(Stdio::null()).stderr(Stdio::null()).status();
    silent.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn who_is_beyond_the_cable_is_heard_until_silence_and_nothing_is_left() {
        let cable = match Cable::lay() {
            Ok(cable) => cable,
            Err(why) => {
                println!("skipped: {why}");
                return;
            }
        };
        let listener = TcpListener::bind((NEAR, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let mut far = cable.beyond(|| TcpStream::connect(to)).unwrap();
        let (mut near, from) = listener.accept().unwrap();
        assert_eq!(from.ip().to_string(), FAR);
        far.write_all(b"x").unwrap();
        near.read_exact(&mut [0]).unwrap();
        assert!(cable.silence(true));
        drop(far);
        near.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        let error = near.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "not even its end is heard");
        assert!(cable.silence(false));
        let place = Path::new("/run/netns").join(&cable.namespace);
        assert!(place.exists());
        drop(cable);
        assert!(!place.exists());
    }
}
