//! `gnomon pair`: two `serve` children on this machine, a and b, each shadowing the other's topics.
//!
//! Not here: anything that a site does. A dead child is not restarted: the command that does is
//! printed.

use crate::{Failure, admin_client::AdminClient, args::Pair};
use gnomon_broker::RawConfig;
use gnomon_links::{LinkStatus, render};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};

const KAFKA: [SocketAddr; 2] = [local(9092), local(9192)];
const ADMIN: [SocketAddr; 2] = [local(9644), local(9744)];
const NAMES: [&str; 2] = ["a", "b"];

/// How long a site may take to say that it is ready; recovery of a large log is the slowest part.
const READY_MAX: Duration = Duration::from_secs(120);

/// How long the first line about a link waits for the link to reach its source.
const CONTACT_MAX: Duration = Duration::from_secs(5);

/// How long a child may take to stop cleanly.
const STOP_MAX: Duration = Duration::from_secs(30);

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// One of the two sites.
struct Site {
    name: &'static str,
    config: PathBuf,
    admin: String,
}

/// What the children tell this process.
enum News {
    /// A line of standard output: the site is ready.
    Ready { line: String },
    /// The child is gone.
    Ended { site: usize, status: ExitStatus },
    /// Ctrl-C or SIGTERM.
    Stop,
}

/// Runs until both sites are dead, or a signal.
pub fn run(args: Pair) -> Result<(), Failure> {
    let temporary = args.ephemeral.then(tempfile::tempdir).transpose()?;
    let folder = temporary
        .as_ref()
        .map_or(args.data.as_path(), |folder| folder.path());
    let kafka = both("--kafka", &args.kafka, KAFKA)?;
    let admin = both("--admin", &args.admin, ADMIN)?;
    let mut sites = Vec::new();
    for index in [0, 1] {
        sites.push(prepare(folder, index, kafka, admin, &args)?);
    }
    let outcome = supervise(&sites);
    if let Some(temporary) = temporary {
        temporary.close()?;
    }
    outcome
}

fn both(
    flag: &str,
    given: &[SocketAddr],
    default: [SocketAddr; 2],
) -> Result<[SocketAddr; 2], Failure> {
    match given {
        [] => Ok(default),
        [a, b] if a != b => Ok([*a, *b]),
        _ => Err(format!(
            "{flag} takes two different addresses, as in {flag} {},{}",
            default[0], default[1]
        )
        .into()),
    }
}

/// Writes a site's files at the first start, and reads them back.
fn prepare(
    folder: &Path,
    index: usize,
    kafka: [SocketAddr; 2],
    admin: [SocketAddr; 2],
    args: &Pair,
) -> Result<Site, Failure> {
    let (name, other) = (NAMES[index], 1 - index);
    let home = folder.join(name);
    let config = home.join("gnomon.toml");
    if !config.exists() {
        fs::create_dir_all(&home)
            .map_err(|error| format!("cannot make {}: {error}", home.display()))?;
        let link_file = format!("from-{}.yaml", NAMES[other]);
        fs::write(home.join(&link_file), link_text(NAMES[other], kafka[other]))?;
        let raw = RawConfig {
            data: Some(".".into()),
            listen: Some(kafka[index].to_string()),
            admin: Some(admin[index].to_string()),
            site_name: Some(name.into()),
            owns: vec![format!("{name}_")],
            link: vec![link_file.into()],
            producer_tag: Some(index as u16 + 1),
            ..RawConfig::default()
        };
        fs::write(&config, toml::to_string(&raw)?)?;
    }
    let raw = RawConfig::read(&config)?;
    for (flag, asked, wanted, written) in [
        ("--kafka", !args.kafka.is_empty(), kafka[index], &raw.listen),
        ("--admin", !args.admin.is_empty(), admin[index], &raw.admin),
    ] {
        if asked && written.as_deref() != Some(&wanted.to_string()) {
            return Err(format!(
                "{flag} asks for {wanted}, but {} was made with another address: edit that file, or use another --data",
                config.display()
            )
            .into());
        }
    }
    let admin = raw
        .admin
        .ok_or_else(|| format!("{} has no admin address", config.display()))?;
    Ok(Site {
        name,
        config,
        admin,
    })
}

/// The file of a link that shadows what another site owns.
fn link_text(source: &str, address: SocketAddr) -> String {
    format!(
        r#"# Shadows the topics and the groups' offsets of site {source}. Read when the link is made, at the site's first start.
name: from-{source}
client_options:
  bootstrap_servers: ["{address}"]
topic_metadata_sync_options:
  auto_create_shadow_topic_filters:
    - {{ pattern_type: PREFIX, filter_type: INCLUDE, name: {source}_ }}
consumer_offset_sync_options:
  group_filters:
    - {{ pattern_type: PREFIX, filter_type: INCLUDE, name: {source}_ }}
"#
    )
}

fn supervise(sites: &[Site]) -> Result<(), Failure> {
    let (sender, news) = mpsc::channel();
    watch_signals(sender.clone())?;
    let mut pids = Vec::new();
    for (index, site) in sites.iter().enumerate() {
        pids.push(Some(start(index, site, sender.clone())?));
    }
    let outcome = follow(sites, &mut pids, &news);
    stop_all(&mut pids, &news);
    outcome
}

/// Starts one child; threads of their own hand on what it prints and how it ends.
fn start(index: usize, site: &Site, news: mpsc::Sender<News>) -> Result<Pid, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["serve", "--config"])
        .arg(&site.config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Terminal signals go to this process alone, which passes them on; and no child outlives it,
    // however it ends.
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
                .for_each(|line| eprintln!("{name} | {line}"))
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
    sites: &[Site],
    pids: &mut [Option<Pid>],
    news: &mpsc::Receiver<News>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let mut lines = Vec::new();
    while lines.len() < sites.len() {
        match news.recv_timeout(READY_MAX.saturating_sub(started.elapsed())) {
            Ok(News::Ready { line }) => lines.push(line),
            Ok(News::Ended { site, status }) => {
                pids[site] = None;
                return Err(format!(
                    "site {} did not start ({status}); its last lines above say why",
                    sites[site].name
                )
                .into());
            }
            Ok(News::Stop) => return Ok(()),
            Err(_) => {
                return Err(
                    format!("the sites were not ready within {} s", READY_MAX.as_secs()).into(),
                );
            }
        }
    }
    lines.sort();
    lines.iter().for_each(|line| println!("{line}"));
    for site in sites.iter().rev() {
        for link in links_of(site) {
            println!("{}", render::story_line(&link));
        }
    }
    while pids.iter().any(Option::is_some) {
        match news.recv() {
            Ok(News::Ready { line }) => println!("{line}"),
            Ok(News::Ended { site, status }) => {
                pids[site] = None;
                println!(
                    "site {} ended ({status}); start it again with: gnomon serve --config {}",
                    sites[site].name,
                    sites[site].config.display()
                );
            }
            Ok(News::Stop) | Err(_) => return Ok(()),
        }
    }
    Err("both sites are dead".into())
}

/// A site's links, asked again until each has reached its source or the time for that is over.
fn links_of(site: &Site) -> Vec<LinkStatus> {
    let client = AdminClient::new(&site.admin);
    let started = Instant::now();
    loop {
        match client.get::<Vec<LinkStatus>>("/v1/links") {
            Ok(links)
                if links
                    .iter()
                    .all(|link| link.source.last_contact_ms.is_some())
                    || started.elapsed() > CONTACT_MAX =>
            {
                return links;
            }
            Err(failure) if started.elapsed() > CONTACT_MAX => {
                eprintln!("gnomon: {failure}");
                return Vec::new();
            }
            Ok(_) | Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Ends the children that are left, cleanly if they can; a second signal ends them at once.
fn stop_all(pids: &mut [Option<Pid>], news: &mpsc::Receiver<News>) {
    let signal_all = |pids: &[Option<Pid>], signal| {
        for pid in pids.iter().flatten() {
            // A child that is gone already needs no signal.
            let _ = kill_process(*pid, signal);
        }
    };
    signal_all(pids, Signal::TERM);
    let started = Instant::now();
    while pids.iter().any(Option::is_some) {
        match news.recv_timeout(STOP_MAX.saturating_sub(started.elapsed())) {
            Ok(News::Ended { site, .. }) => pids[site] = None,
            Ok(News::Ready { .. }) => {}
            Ok(News::Stop) | Err(_) => {
                signal_all(pids, Signal::KILL);
                return;
            }
        }
    }
}
