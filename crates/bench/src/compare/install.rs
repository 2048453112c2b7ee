//! Makes peers ready to run: builds what is in this repository, lets npm install what Node peers need, finds nginx, lets
//! Go install what it can. What isn't to be had is no error: it has a reason, and the comparison goes on without it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::peer::Peer;
use crate::subject::Subject;

/// Where nginx is, if not on `PATH`: Debian keeps it where only root's `PATH` leads.
const SBIN: &str = "/usr/sbin";

/// Modules of Go with the programs that they build: name and package. `latest` is what people install.
const CENTRIFUGO: &str = "github.com/centrifugal/centrifugo/v6@latest";

/// Builds a Caddy with modules, as Mercure's documentation says; `go install` can't build Mercure, since its module
/// replaces another.
const XCADDY: &str = "github.com/caddyserver/xcaddy/cmd/xcaddy@latest";

/// The module that makes a Caddy a Mercure hub.
const MERCURE: &str = "github.com/dunglas/mercure/caddy";

/// A server that can run.
#[derive(Clone, Debug)]
pub struct Installed {
    /// How it runs.
    pub subject: Subject,
    /// Which one it is: versions of what it is made of.
    pub version: String,
}

/// Makes a peer ready. `peers` is the folder with the peers' sources, `folder` one for what is built beside them.
///
/// # Errors
///
/// Why it can't run here, as a phrase.
pub fn install(peer: Peer, peers: &Path, folder: &Path) -> Result<Installed, String> {
    match peer {
        Peer::Bare => {
            let program = std::env::current_exe().map_err(|error| error.to_string())?;
            Ok(Installed { subject: peer.subject(program, ""), version: ours() })
        }
        Peer::Fanfare => Ok(Installed { subject: peer.subject(built("fanfare")?, ""), version: ours() }),
        Peer::Axum => {
            let program = built("fanfare-bench-axum")?;
            let locked = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
            let version = |name| format!("{name} {}", locked_version(&locked, name).unwrap_or("unknown"));
            Ok(Installed {
                subject: peer.subject(program, ""),
                version: format!("{}, {}", version("axum"), version("tokio")),
            })
        }
        Peer::Nchan => nchan(),
        Peer::Mercure => {
            let program = go_program("mercure", folder)?;
            Ok(Installed { version: first_line(&program, &["version"]), subject: peer.subject(program, "") })
        }
        Peer::Centrifugo => {
            let program = go_program("centrifugo", folder)?;
            Ok(Installed { version: first_line(&program, &["version"]), subject: peer.subject(program, "") })
        }
        _ => node(peer, &peers.join("node")),
    }
}

fn ours() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// A program of this workspace, beside this one. It is built first where this one was, in the same way.
fn built(package: &str) -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = here.parent().ok_or("this program is in no folder")?;
    let profile = ["release", "debug"].into_iter().find(|profile| folder.ends_with(profile));
    if let Some(profile) = profile.filter(|_| found("cargo").is_some() && Path::new("Cargo.toml").exists()) {
        let profile = if profile == "debug" { "dev" } else { profile };
        run(Command::new("cargo").args(["build", "--quiet", "--profile", profile, "--package", package]))?;
    }
    let program = folder.join(package);
    if program.exists() { Ok(program) } else { Err(format!("{package} isn't built")) }
}

fn node(peer: Peer, folder: &Path) -> Result<Installed, String> {
    let name = peer.node_program().ok_or("no program of Node's")?;
    let node = found("node").ok_or("there is no node")?;
    npm(folder)?;
    let script = folder.join(name).with_extension("mjs");
    let script = script.canonicalize().map_err(|error| format!("{}: {error}", script.display()))?;
    let packages: &[&str] = match peer {
        Peer::BetterSse => &["better-sse", "express"],
        Peer::Ws => &["ws"],
        Peer::SocketIo => &["socket.io"],
        _ => &["express"],
    };
    let lock = std::fs::read_to_string(folder.join("package-lock.json")).unwrap_or_default();
    let versions: Vec<String> = packages
        .iter()
        .map(|name| format!("{name} {}", npm_version(&lock, name).unwrap_or_else(|| "unknown".into())))
        .chain([format!("Node {}", first_line(&node, &["--version"]).trim_start_matches('v'))])
        .collect();
    let script = script.display().to_string();
    Ok(Installed { subject: peer.subject(node, &script), version: versions.join(", ") })
}

/// Installs exactly what the lock file says, unless that is there already.
fn npm(folder: &Path) -> Result<(), String> {
    let changed = |path: PathBuf| path.metadata().and_then(|file| file.modified()).ok();
    let installed = changed(folder.join("node_modules/.package-lock.json"));
    if installed.is_some() && installed >= changed(folder.join("package-lock.json")) {
        return Ok(());
    }
    found("npm").ok_or("there is no npm")?;
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]).arg(folder))
}

fn nchan() -> Result<Installed, String> {
    let nginx = found("nginx").ok_or("there is no nginx (Debian: nginx-light, libnginx-mod-nchan)")?;
    let told = output(&nginx, &["-V"]);
    let modules = told.split("--modules-path=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let modules = modules.unwrap_or("/usr/lib/nginx/modules");
    if !Path::new(modules).join("ngx_nchan_module.so").exists() {
        return Err("nginx has no nchan (Debian: libnginx-mod-nchan)".to_owned());
    }
    // The module doesn't tell its version; Debian does.
    let package = found("dpkg-query").map(|dpkg| output(&dpkg, &["-W", "-f", "${Version}", "libnginx-mod-nchan"]));
    let nchan = package.as_deref().and_then(upstream).unwrap_or("unknown").to_owned();
    let nginx_version = told.lines().next().and_then(|line| line.split('/').nth(1)).unwrap_or("unknown");
    let version = format!("nchan {nchan}, nginx {nginx_version}");
    Ok(Installed { subject: Peer::Nchan.subject(nginx, modules), version })
}

/// A program that Go builds: the one on `PATH`, or one that is built in `folder`, once.
fn go_program(name: &str, folder: &Path) -> Result<PathBuf, String> {
    let folder = std::path::absolute(folder).map_err(|error| error.to_string())?.join("peers");
    let program = folder.join(name);
    if let Some(program) = found(name).or_else(|| program.exists().then(|| program.clone())) {
        return Ok(program);
    }
    let go = found("go").ok_or_else(|| format!("there is neither {name} nor go"))?;
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let install = |package| run(Command::new(&go).args(["install", package]).env("GOBIN", &folder));
    if name == "centrifugo" {
        install(CENTRIFUGO)?;
    } else {
        install(XCADDY)?;
        run(Command::new(folder.join("xcaddy")).args(["build", "--with", MERCURE, "--output"]).arg(&program))?;
    }
    Ok(program)
}

/// A program on `PATH` or where Debian keeps root's.
fn found(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from(SBIN)]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Runs to the end what makes something ready; its output is shown only if it failed.
fn run(command: &mut Command) -> Result<(), String> {
    let name = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let last = told.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!("{name} failed: {last}"))
}

/// What a program says, on both of its outputs.
fn output(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    )
}

fn first_line(program: &Path, arguments: &[&str]) -> String {
    output(program, arguments).lines().next().unwrap_or("unknown").to_owned()
}

/// The version of a crate in a `Cargo.lock`.
fn locked_version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("\nname = \"{name}\"\nversion = \""))?;
    rest.split('"').next()
}

/// The version of a package in a `package-lock.json`.
fn npm_version(lock: &str, name: &str) -> Option<String> {
    let lock: serde_json::Value = serde_json::from_str(lock).ok()?;
    Some(lock.get("packages")?.get(format!("node_modules/{name}"))?.get("version")?.as_str()?.to_owned())
}

/// The upstream version within one of Debian's: without epoch and revision.
fn upstream(version: &str) -> Option<&str> {
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    version.split(['-', '+']).next().filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_lock_files_and_packages() {
        let lock = "[[package]]\nname = \"axum-core\"\nversion = \"1.0\"\n\n[[package]]\nname = \"axum\"\nversion = \"0.8.9\"\n";
        assert_eq!(locked_version(lock, "axum"), Some("0.8.9"));
        assert_eq!(locked_version(lock, "tokio"), None);
        let lock = r#"{"packages":{"":{},"node_modules/ws":{"version":"8.23.0"}}}"#;
        assert_eq!(npm_version(lock, "ws").as_deref(), Some("8.23.0"));
        assert_eq!(npm_version(lock, "express"), None);
        assert_eq!(upstream("1:1.3.6+dfsg-2"), Some("1.3.6"));
        assert_eq!(upstream(""), None);
    }

    #[test]
    fn what_isnt_there_has_a_reason() {
        assert_eq!(run(&mut Command::new("false")), Err("false failed: ".to_owned()));
        assert!(run(&mut Command::new("fanfare-bench-no-such-program")).is_err());
        assert_eq!(found("fanfare-bench-no-such-program"), None);
        assert!(node(Peer::Axum, Path::new("nowhere")).is_err());
    }
}
