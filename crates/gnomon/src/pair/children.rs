//! The two `serve` children of a pair: started, listened to, stopped. None outlives this process.
#![expect(unsafe_code, reason = "a hook between fork and exec")]

use super::{News, files::PairSite};
use crate::{Failure, output::complain};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long a child may take to stop cleanly.
const STOP_MAX: Duration = Duration::from_secs(30);

/// The children that live, in the order of the sites.
pub struct Children(Vec<Option<Pid>>);

impl Children {
    /// Starts a child for each site. If one cannot be started, those before it end.
    pub fn start(sites: &[PairSite], news: &mpsc::Sender<News>) -> Result<Children, Failure> {
        let mut children = Children(Vec::new());
        for (index, site) in sites.iter().enumerate() {
            match start(index, site, news.clone()) {
                Ok(pid) => children.0.push(Some(pid)),
                Err(failure) => {
                    children.signal(Signal::TERM);
                    return Err(failure);
                }
            }
        }
        Ok(children)
    }

    /// A child has ended.
    pub fn ended(&mut self, site: usize) {
        self.0[site] = None;
    }

    /// Whether one lives.
    pub fn any(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    fn signal(&self, signal: Signal) {
        for pid in self.0.iter().flatten() {
            // A child that is gone already needs no signal.
            let _ = kill_process(*pid, signal);
        }
    }

    /// Ends the children that are left, cleanly if they can. False: at once, because a second
    /// signal came or because they took too long.
    pub fn stop(mut self, news: &mpsc::Receiver<News>) -> bool {
        self.signal(Signal::TERM);
        let started = Instant::now();
        while self.any() {
            match news.recv_timeout(STOP_MAX.saturating_sub(started.elapsed())) {
                Ok(News::Ended { site, .. }) => self.ended(site),
                Ok(News::Ready { .. } | News::Links { .. }) => {}
                Ok(News::Stop) | Err(_) => {
                    self.signal(Signal::KILL);
                    return false;
                }
            }
        }
        true
    }
}

/// Starts one child; threads of their own pass on what it prints and how it ends.
fn start(index: usize, site: &PairSite, news: mpsc::Sender<News>) -> Result<Pid, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["serve", "--config"])
        .arg(&site.config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if std::env::var_os("GNOMON_LOG").is_none() {
        // This process says when a site is ready and when it has stopped.
        command.env("GNOMON_LOG", "warn");
    }
    // Terminal signals go to this process alone, which passes them on.
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec and makes one system call that is allowed
    // there.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
    }
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let name = site.name;
    if let Some(errors) = child.stderr.take() {
        thread::spawn(move || {
            BufReader::new(errors)
                .lines()
                .map_while(Result::ok)
                .for_each(|line| complain(format_args!("{name} | {line}")))
        });
    }
    if let Some(output) = child.stdout.take() {
        let news = news.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens any more once the pair is stopping.
                let _ = news.send(News::Ready { line });
            }
        });
    }
    thread::spawn(move || end(index, child, &news));
    Ok(pid)
}

fn end(site: usize, mut child: Child, news: &mpsc::Sender<News>) {
    if let Ok(status) = child.wait() {
        // As above.
        let _ = news.send(News::Ended { site, status });
    }
}
