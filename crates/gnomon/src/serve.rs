//! `gnomon serve`: one site, from its configuration to its clean stop.

use crate::{Failure, args::Serve, output::site_line};
use gnomon_broker::{Broker, Environment, RawConfig};
use gnomon_storage::RealDisk;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    io::{IsTerminal, Write},
    process,
    sync::Arc,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Runs until a signal, or until the site can go on no longer.
pub fn run(args: Serve) -> Result<(), Failure> {
    let filter = EnvFilter::try_from_env("GNOMON_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
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
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let broker = Broker::start(config, Environment::real(Arc::new(RealDisk::new()))).await?;
        let mut out = std::io::stdout();
        writeln!(out, "{}", site_line(broker.info(), process::id()))?;
        out.flush()?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            why = broker.failed() => return Err(why.into()),
        }
        tokio::select! {
            () = broker.stop() => Ok(()),
            _ = terminate.recv() => Err("stopped at once: a second signal came before the clean stop was done".into()),
            _ = interrupt.recv() => Err("stopped at once: a second signal came before the clean stop was done".into()),
        }
    })
}

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
        tracing::warn!(limit = ?limit.current, "cannot raise the number of files that may be open: {error}");
    }
}

fn flags(args: Serve) -> RawConfig {
    RawConfig {
        data: args.data,
        listen: args.listen,
        advertise: args.advertise,
        admin: args.admin,
        site_name: args.site_name,
        owns: args.owns,
        link: args.link,
        producer_tag: args.producer_tag,
        write_caching: args.write_caching.then_some(true),
        record_validation: args.record_validation,
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
