//! The files of a pair: a `gnomon.toml` and a link file in each site's directory, written at the
//! first start and never changed again.
//!
//! Invariant: nothing is written before every address of both sites has been found free.

use crate::{Failure, args::Pair};
use gnomon_broker::RawConfig;
use std::{
    fs, io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

const KAFKA: [SocketAddr; 2] = [local(9092), local(9192)];
const ADMIN: [SocketAddr; 2] = [local(9644), local(9744)];
const NAMES: [&str; 2] = ["a", "b"];

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// One of the two sites.
pub struct PairSite {
    pub name: &'static str,
    pub config: PathBuf,
    pub admin: String,
    kafka: String,
    /// The files that are written before its first start.
    missing: Option<FirstFiles>,
}

struct FirstFiles {
    home: PathBuf,
    config: RawConfig,
    link: (String, String),
}

/// Both sites below `folder`, as their files say or will say. Checks everything that can be checked
/// before a start, then writes the files that are missing.
pub fn prepare(folder: &Path, args: &Pair) -> Result<[PairSite; 2], Failure> {
    let kafka = both("--kafka", &args.kafka, KAFKA)?;
    let admin = both("--admin", &args.admin, ADMIN)?;
    let sites = [
        plan(folder, 0, kafka, admin, args)?,
        plan(folder, 1, kafka, admin, args)?,
    ];
    for site in &sites {
        check_free("--kafka", site, &site.kafka)?;
        check_free("--admin", site, &site.admin)?;
    }
    for site in &sites {
        site.write_missing()?;
    }
    Ok(sites)
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

fn plan(
    folder: &Path,
    index: usize,
    kafka: [SocketAddr; 2],
    admin: [SocketAddr; 2],
    args: &Pair,
) -> Result<PairSite, Failure> {
    let (name, other) = (NAMES[index], 1 - index);
    let home = folder.join(name);
    let config = home.join("gnomon.toml");
    if !config.exists() {
        let link_file = format!("from-{}.yaml", NAMES[other]);
        let raw = RawConfig {
            data: Some(".".into()),
            listen: Some(kafka[index].to_string()),
            admin: Some(admin[index].to_string()),
            site_name: Some(name.into()),
            owns: vec![format!("{name}_")],
            link: vec![link_file.clone().into()],
            producer_tag: Some(index as u16 + 1),
            ..RawConfig::default()
        };
        let link = (link_file, link_text(NAMES[other], kafka[other]));
        return Ok(PairSite {
            name,
            config,
            admin: admin[index].to_string(),
            kafka: kafka[index].to_string(),
            missing: Some(FirstFiles {
                home,
                config: raw,
                link,
            }),
        });
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
    let address = |key: &str, written: Option<String>| {
        written.ok_or_else(|| format!("{} has no `{key}` address", config.display()))
    };
    Ok(PairSite {
        name,
        admin: address("admin", raw.admin)?,
        kafka: address("listen", raw.listen)?,
        config,
        missing: None,
    })
}

/// A port that is taken would let one site start and the other not.
fn check_free(flag: &str, site: &PairSite, address: &str) -> Result<(), Failure> {
    let bound = address
        .to_socket_addrs()
        .and_then(|found| TcpListener::bind(found.collect::<Vec<_>>().as_slice()));
    match bound {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && site.missing.is_some() => {
            Err(format!(
                "site {} cannot listen on {address}: another process does; end it, or choose other addresses with {flag} A,B",
                site.name
            )
            .into())
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(format!(
            "site {} cannot listen on {address}: another process does; end it, or edit {}",
            site.name,
            site.config.display()
        )
        .into()),
        Err(error) => Err(format!("site {} cannot listen on {address}: {error}", site.name).into()),
    }
}

impl PairSite {
    fn write_missing(&self) -> Result<(), Failure> {
        let Some(first) = &self.missing else {
            return Ok(());
        };
        // A file that the site would refuse is not written.
        first.config.clone().check()?;
        let (link_file, link_text) = &first.link;
        // For its owner only, as everything that a site makes below it.
        let written = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&first.home)
            .and_then(|()| fs::write(first.home.join(link_file), link_text));
        // The configuration last: where it is, the link file is.
        let config = toml::to_string(&first.config)?;
        written
            .and_then(|()| fs::write(&self.config, config))
            .map_err(|error| format!("cannot write into {}: {error}", first.home.display()).into())
    }
}

/// The file of a link that shadows the topics of another site.
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
