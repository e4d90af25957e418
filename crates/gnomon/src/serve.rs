//! `gnomon serve`: one site, from its configuration to its clean stop.

use crate::{
    args::Serve,
    failure::Failure,
    output::{Output, site_line},
};
use gnomon_broker::{Broker, Config, Environment, RawConfig};
use gnomon_storage::RealDisk;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    io::IsTerminal,
    process,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// Start and stop of a site are logged under this target.
const LOG_TARGET: &str = "gnomon::site";

/// Shown unless GNOMON_LOG says otherwise.
const LOG_DEFAULT: &str = "warn,gnomon::site=info";

/// How long the process waits for work that the disk holds up when everything else has stopped.
const LEFT_OVER_MAX: Duration = Duration::from_secs(1);

/// Runs until a signal, or until the site can go on no longer.
pub fn run(args: Serve, out: &mut Output) -> Result<(), Failure> {
    let filter =
        EnvFilter::try_from_env("GNOMON_LOG").unwrap_or_else(|_| EnvFilter::new(LOG_DEFAULT));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let file = args
        .config
        .as_deref()
        .map(RawConfig::read)
        .transpose()?
        .unwrap_or_default();
    let config = flags(args).over(file).check()?;
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(serve(config, out));
    runtime.shutdown_timeout(LEFT_OVER_MAX);
    outcome
}

async fn serve(config: Config, out: &mut Output) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let started = Instant::now();
    info!(target: LOG_TARGET, data = %config.data.display(), "starting: the data directory is read, and its logs are recovered");
    let broker = Broker::start(config, Environment::real(Arc::new(RealDisk::new()))).await?;
    let line = site_line(broker.info(), process::id());
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        // A site serves whether or not anybody reads its first line.
        warn!(target: LOG_TARGET, "{error}; it would have said: {line}");
    }
    info!(target: LOG_TARGET, after_ms = started.elapsed().as_millis() as u64, "ready");
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        why = broker.failed() => return Err(why.into()),
    };
    let stopping = Instant::now();
    info!(target: LOG_TARGET, "stopping: {name} came; a second signal ends the process at once");
    tokio::select! {
        () = broker.stop() => {
            info!(target: LOG_TARGET, after_ms = stopping.elapsed().as_millis() as u64, "stopped");
            Ok(())
        }
        _ = terminate.recv() => Err(AT_ONCE.into()),
        _ = interrupt.recv() => Err(AT_ONCE.into()),
    }
}

const AT_ONCE: &str = "stopped at once: a second signal came before the clean stop was done";

/// Every segment and every connection is an open file, and the usual soft limit of 1,024 is none
/// that a server is meant to live with.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    ) {
        warn!(limit = ?limit.current, "cannot raise the number of files that may be open: {error}");
    }
}

fn flags(args: Serve) -> RawConfig {
    RawConfig {
        data: args.data,
        listen: args.listen,
        advertise: args.advertise,
        admin: args.admin,
        admin_allow_remote: args.admin_allow_remote.then_some(true),
        admin_host: args.admin_host,
        site_name: args.site_name,
        owns: args.owns,
        link: args.link,
        producer_tag: args.producer_tag,
        write_caching: args.write_caching.then_some(true),
        record_validation: args.record_validation,
        accept_loss: args.accept_loss,
        ..RawConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_may_be_open_as_the_system_allows() {
        let before = getrlimit(Resource::Nofile);
        let low = before.current.map_or(512, |now| now.min(512));
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(low),
                ..before
            },
        )
        .expect("a soft limit may be lowered");
        raise_open_files();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }
}
