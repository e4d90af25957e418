//! `gnomon pair`: two `serve` children on this machine, a and b, each shadowing the other's topics.
//!
//! Not here: anything that a site does. A dead child is not restarted: the command that does is
//! printed.

mod children;
mod files;
mod links;

use crate::{Failure, args::Pair, output::Output};
use children::Children;
use files::PairSite;
use std::{
    process::ExitStatus,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};

/// How long a site may take to say that it is ready; recovery of a large log is the slowest part.
const READY_MAX: Duration = Duration::from_secs(120);

/// News of this process's children and of its user.
enum News {
    /// A line of a child's standard output: the site is ready.
    Ready { line: String },
    /// Links of a site are there, or have changed.
    Links { lines: Vec<String> },
    /// The child is gone.
    Ended { site: usize, status: ExitStatus },
    /// Ctrl-C or SIGTERM.
    Stop,
}

/// Runs until both sites are dead, or a signal.
pub fn run(args: Pair, out: &mut Output) -> Result<(), Failure> {
    let temporary = args.ephemeral.then(tempfile::tempdir).transpose()?;
    let folder = temporary
        .as_ref()
        .map_or(args.data.as_path(), |folder| folder.path());
    let sites = files::prepare(folder, &args)?;
    let (sender, news) = mpsc::channel();
    watch_signals(sender.clone())?;
    let mut children = Children::start(&sites, &sender)?;
    let outcome = follow(&sites, &mut children, (&sender, &news), out);
    let clean = children.stop(&news);
    let kept = match temporary {
        Some(temporary) => {
            temporary.close()?;
            "the data are removed".to_owned()
        }
        None => format!("the data are in {}", args.data.display()),
    };
    outcome?;
    let how = if clean { "stopped" } else { "stopped at once" };
    writeln!(out, "{how}; {kept}")?;
    Ok(())
}

fn watch_signals(news: mpsc::Sender<News>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let (Ok(mut terminate), Ok(mut interrupt)) = (
                signal(SignalKind::terminate()),
                signal(SignalKind::interrupt()),
            ) else {
                return;
            };
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if news.send(News::Stop).is_err() {
                    return;
                }
            }
        });
    });
    Ok(())
}

/// Prints what the children say, until a signal or until both are dead.
fn follow(
    sites: &[PairSite],
    children: &mut Children,
    (sender, news): (&mpsc::Sender<News>, &mpsc::Receiver<News>),
    out: &mut Output,
) -> Result<(), Failure> {
    let Some(mut lines) = ready(sites, children, news)? else {
        return goodbye(out);
    };
    lines.sort();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    for site in sites.iter().rev() {
        links::watch(site.admin.clone(), sender.clone());
    }
    while children.any() {
        match news.recv() {
            Ok(News::Ready { line }) => writeln!(out, "{line}")?,
            Ok(News::Links { lines }) => {
                for line in lines {
                    writeln!(out, "{line}")?;
                }
            }
            Ok(News::Ended { site, status }) => {
                children.ended(site);
                writeln!(
                    out,
                    "site {} ended ({status}); start it again with: gnomon serve --config {}",
                    sites[site].name,
                    sites[site].config.display()
                )?;
            }
            Ok(News::Stop) | Err(_) => return goodbye(out),
        }
        out.flush()?;
    }
    Err("both sites are dead".into())
}

fn goodbye(out: &mut Output) -> Result<(), Failure> {
    writeln!(
        out,
        "stopping both sites; a second signal ends them at once"
    )?;
    Ok(out.flush()?)
}

/// The lines with which the sites say that they are ready; `None`: a signal came before.
fn ready(
    sites: &[PairSite],
    children: &mut Children,
    news: &mpsc::Receiver<News>,
) -> Result<Option<Vec<String>>, Failure> {
    let started = Instant::now();
    let mut lines = Vec::new();
    while lines.len() < sites.len() {
        match news.recv_timeout(READY_MAX.saturating_sub(started.elapsed())) {
            Ok(News::Ready { line }) => lines.push(line),
            Ok(News::Links { .. }) => {}
            Ok(News::Ended { site, status }) => {
                children.ended(site);
                return Err(format!(
                    "site {} did not start ({status}); its last lines above say why",
                    sites[site].name
                )
                .into());
            }
            Ok(News::Stop) => return Ok(None),
            Err(_) => {
                return Err(
                    format!("the sites were not ready within {} s", READY_MAX.as_secs()).into(),
                );
            }
        }
    }
    Ok(Some(lines))
}
