//! What the scenarios' commands have in common: who is measured, where the figures go.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use fanfare_bench::outcome::{Figures, Outcome};
use fanfare_bench::subject::Subject;
use fanfare_bench::{Machine, MeasureError};

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Who {
    /// The server.
    Fanfare,
    /// The bare loop: the least that any such server has to do.
    Bare,
    /// The bare loop with a send of its own for every event.
    BareOneSendPerEvent,
}

/// The command of a scenario.
#[derive(Debug, clap::Args)]
pub(crate) struct Scenario<Options: clap::Args> {
    /// Who is measured.
    #[arg(long, value_enum, default_value = "fanfare")]
    subject: Who,
    /// The server's program; by default the `fanfare` beside this program.
    #[arg(long, value_name = "FILE")]
    server_binary: Option<PathBuf>,
    /// Measures a server that runs already, such as `http://127.0.0.1:8080`, instead of starting one.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The id of that server's process, to measure what it uses.
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// What tables and charts call it.
    #[arg(long)]
    name: Option<String>,
    /// A run of a few seconds: shows that everything works, its figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Also writes the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

impl<Options: clap::Args> Scenario<Options> {
    /// Runs the scenario, prints its figures and fails if what the server promises wasn't kept.
    pub(crate) fn run<F>(
        self,
        quick: fn(Options) -> Options,
        run: fn(&Subject, &Options) -> Result<F, MeasureError>,
        figures: fn(F) -> Figures,
    ) -> anyhow::Result<ExitCode> {
        let subject = self.subject()?;
        let options = if self.quick { quick(self.options) } else { self.options };
        let figures = figures(run(&subject, &options)?);
        let is_exact = figures.is_exact();
        let outcome = Outcome { subject: subject.name, machine: Machine::here(Path::new(".")), figures };
        if let Some(path) = &self.json {
            let json = serde_json::to_string_pretty(&outcome)?;
            std::fs::write(path, json + "\n").with_context(|| format!("{} could not be written", path.display()))?;
        }
        print!("{outcome}");
        if subject.promises.delivery && !is_exact {
            eprintln!("error: not everything came everywhere, once and in order");
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn subject(&self) -> anyhow::Result<Subject> {
        let this = std::env::current_exe()?;
        let mut subject = match (&self.url, self.subject) {
            (Some(url), _) => {
                let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
                Subject::fanfare_at(address, self.pid)
            }
            (None, Who::Bare) => Subject::bare(this, false),
            (None, Who::BareOneSendPerEvent) => Subject::bare(this, true),
            (None, Who::Fanfare) => Subject::fanfare(match &self.server_binary {
                Some(program) => program.clone(),
                None => this.with_file_name("fanfare"),
            }),
        };
        if let Some(name) = &self.name {
            subject.name.clone_from(name);
        }
        Ok(subject)
    }
}
