//! A proxy that runs: its own process and ports, its configuration from the documentation, in a folder that goes away.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::page::{Page, fill};
use crate::harness::{Address, folder};

/// The name by which the pages call the hub.
pub(super) const NAME: &str = "hub.example.com";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nginx,
    Haproxy,
    Caddy,
}

impl Kind {
    fn binary(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
        }
    }

    /// Where the binary is; daemons live outside of most people's PATH.
    fn find(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
        folders.map(|folder| folder.join(self.binary())).find(|path| path.is_file())
    }
}

/// A port that nobody listens on, below those that outgoing connections are given.
pub(super) fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Test processes that run at the same time have numbers that are close; each has its own run of ports.
    let next = NEXT.get_or_init(|| AtomicU16::new((std::process::id() % (12_000 / 16)) as u16 * 16));
    loop {
        let port = 20_000 + next.fetch_add(1, Ordering::Relaxed) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A certificate that nobody trusts, and its key, made once.
fn certificate() -> &'static (tempfile::TempDir, PathBuf, PathBuf, PathBuf) {
    static MADE: OnceLock<(tempfile::TempDir, PathBuf, PathBuf, PathBuf)> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        let (certificate, key, both) = (at("certificate.pem"), at("key.pem"), at("both.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=hub.example.com", "-addext", "subjectAltName=DNS:hub.example.com,DNS:localhost"])
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key)
            .output()
            .expect("openssl is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let text = [&certificate, &key].map(|path| std::fs::read_to_string(path).unwrap()).concat();
        std::fs::write(&both, text).unwrap();
        (folder, certificate, key, both)
    })
}

/// A running proxy. Requests of the harness go through its plain port.
pub(super) struct Proxy {
    pub(super) kind: Kind,
    child: Child,
    folder: tempfile::TempDir,
    /// HTTP/1.1.
    plain: SocketAddr,
    /// TLS, HTTP/1.1 and HTTP/2.
    pub(super) tls: SocketAddr,
    /// HTTP/2 without TLS.
    pub(super) clear_h2: SocketAddr,
    /// Where Caddy takes orders.
    admin: SocketAddr,
}

impl Address for Proxy {
    fn addr(&self) -> SocketAddr {
        self.plain
    }
}

impl Proxy {
    /// Starts a proxy before a hub, or says why it can't. `patience` is how long streams outlive a reload.
    pub(super) fn start(kind: Kind, hub: SocketAddr, patience: &str) -> Option<Self> {
        let Some(binary) = kind.find() else {
            eprintln!("SKIPPED: {} is not installed; `./check` installs it", kind.binary());
            return None;
        };
        // Somebody else may take a port between the look and the start.
        (0..5).find_map(|_| Self::try_start(kind, &binary, hub, patience)).or_else(|| panic!("{kind:?} does not start"))
    }

    fn try_start(kind: Kind, binary: &Path, hub: SocketAddr, patience: &str) -> Option<Self> {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let folder = folder();
        let (plain, tls, admin) = (local(free_port()), local(free_port()), local(free_port()));
        let clear_h2 = if kind == Kind::Nginx { local(free_port()) } else { plain };
        let ports = Ports { hub, plain, tls, clear_h2, admin };
        let command = match kind {
            Kind::Nginx => nginx(binary, folder.path(), &ports, patience),
            Kind::Haproxy => haproxy(binary, folder.path(), &ports, patience),
            Kind::Caddy => caddy(binary, folder.path(), &ports, patience),
        };
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut child = { command }.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                eprintln!("{kind:?} ended with {status}:\n{log}");
                return None;
            }
            if [plain, tls, clear_h2].into_iter().all(|addr| TcpStream::connect(addr).is_ok()) {
                return Some(Self { kind, child, folder, plain, tls, clear_h2, admin });
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{kind:?} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes it read its configuration again, as an operator does.
    pub(super) fn reload(&self) {
        let pid = self.child.id().to_string();
        let mut command = match self.kind {
            Kind::Nginx | Kind::Haproxy => Command::new("kill"),
            Kind::Caddy => Command::new(self.kind.find().unwrap()),
        };
        match self.kind {
            Kind::Nginx => command.args(["-HUP", &pid]),
            Kind::Haproxy => command.args(["-USR2", &pid]),
            Kind::Caddy => command
                .args(["reload", "--force", "--adapter", "caddyfile", "--config"])
                .arg(self.folder.path().join("Caddyfile"))
                .args(["--address", &self.admin.to_string()])
                .env("HOME", self.folder.path()),
        };
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // A master ends its workers, unless it is killed. Caddy has none, and would wait for its streams.
        if self.kind == Kind::Caddy {
            let _ = self.child.kill();
        } else {
            let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        }
        let _ = self.child.wait();
    }
}

/// What a proxy's configuration has to name.
struct Ports {
    hub: SocketAddr,
    plain: SocketAddr,
    tls: SocketAddr,
    clear_h2: SocketAddr,
    admin: SocketAddr,
}

/// nginx with what Debian's `nginx.conf` says, and the documented lines.
fn nginx(binary: &Path, folder: &Path, ports: &Ports, patience: &str) -> Command {
    let page = Page::open("nginx.md");
    let (_, certificate, key, _) = certificate();
    let Ports { hub, plain, tls, clear_h2, .. } = ports;
    let site = fill(
        &page.block("nginx"),
        &[
            ("server 127.0.0.1:8080;", &format!("server {hub};")),
            ("listen 443 ssl http2;", &format!("listen {tls} ssl http2; listen {plain}; listen {clear_h2} http2;")),
            ("listen [::]:443 ssl http2;", ""),
            ("/etc/ssl/hub.example.com/fullchain.pem", &certificate.display().to_string()),
            ("/etc/ssl/hub.example.com/key.pem", &key.display().to_string()),
        ],
    );
    let shutdown = fill(&page.block_below("Reloading", "nginx"), &[("10m", patience)]);
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {}/{what};\n", folder.display()))
        .concat();
    let main = format!(
        "user root;\ndaemon off;\nworker_processes auto;\n{shutdown}pid {0}/pid;\nerror_log {0}/error.log;\n\
         events {{\n worker_connections 768;\n}}\n\
         http {{\nsendfile on;\ntcp_nopush on;\ntypes_hash_max_size 2048;\ndefault_type application/octet-stream;\n\
         access_log off;\ngzip on;\n{temporary}{site}}}\n",
        folder.display()
    );
    let path = folder.join("nginx.conf");
    std::fs::write(&path, main).unwrap();
    let mut command = Command::new(binary);
    command.arg("-p").arg(folder).arg("-c").arg(path);
    command
}

/// `HAProxy` with the time-outs of Debian's `haproxy.cfg`, and the documented lines.
fn haproxy(binary: &Path, folder: &Path, ports: &Ports, patience: &str) -> Command {
    let page = Page::open("haproxy.md");
    let (_, _, _, both) = certificate();
    let Ports { hub, plain, tls, .. } = ports;
    let away = folder.join("away.http");
    std::fs::write(&away, page.block("http")).unwrap();
    let site = fill(
        &page.block("haproxy"),
        &[
            ("server hub 127.0.0.1:8080", &format!("server hub {hub}")),
            ("bind :443 ssl", &format!("bind {plain}\n    bind {tls} ssl")),
            ("/etc/haproxy/hub.example.com.pem", &both.display().to_string()),
            ("/etc/haproxy/errors/fanfare-away.http", &away.display().to_string()),
        ],
    );
    let stop = fill(&page.block_below("Reloading", "haproxy"), &[("10m", patience)]);
    let main = format!(
        "global\n{stop}defaults\n    mode http\n    option dontlognull\n    timeout connect 5000\n    \
         timeout client 50000\n    timeout server 50000\n\n{site}"
    );
    let path = folder.join("haproxy.cfg");
    std::fs::write(&path, main).unwrap();
    let mut command = Command::new(binary);
    // A master with a worker, as its service file starts it.
    command.arg("-W").arg("-f").arg(path);
    command
}

/// Caddy with the documented lines, on these ports, with a certificate that is there instead of one that it fetches.
fn caddy(binary: &Path, folder: &Path, ports: &Ports, patience: &str) -> Command {
    let page = Page::open("caddy.md");
    let (_, certificate, key, _) = certificate();
    let Ports { hub, plain, tls, admin, .. } = ports;
    let site = fill(
        &page.block("caddy"),
        &[("hub.example.com {\n", "(site) {\n"), ("reverse_proxy 127.0.0.1:8080", &format!("reverse_proxy {hub}"))],
    );
    let main = format!(
        "{{\n\tadmin {admin}\n\tgrace_period {patience}\n\tstorage file_system {}\n\tskip_install_trust\n\
         \tauto_https disable_redirects\n\tservers {{\n\t\tprotocols h1 h2 h2c\n\t}}\n}}\n{site}\
         https://{NAME}:{}, https://localhost:{} {{\n\tbind 127.0.0.1\n\ttls {} {}\n\timport site\n}}\n\
         http://:{} {{\n\tbind 127.0.0.1\n\timport site\n}}\n",
        folder.display(),
        tls.port(),
        tls.port(),
        certificate.display(),
        key.display(),
        plain.port(),
    );
    let path = folder.join("Caddyfile");
    std::fs::write(&path, main).unwrap();
    let mut command = Command::new(binary);
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(path).env("HOME", folder);
    command
}
