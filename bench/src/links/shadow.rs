//! Gnomon's shadow links: site b, started with a link file, pulls what site a owns.

use super::{CARRIED, Carrier, Linked, Linker};
use crate::{
    failure::Failure,
    peers::{Durability, Gnomon, Installed, Running, Site},
    place,
};
use std::{fs, path::Path, time::Instant};

pub struct Shadow(pub Gnomon);

struct Sites {
    a: Installed,
    b: Installed,
}

impl Linker for Shadow {
    fn install(&self, folder: &Path, durability: Durability) -> Result<Box<dyn Linked>, Failure> {
        let [a_kafka, b_kafka] = place::free_ports()?.map(|port: u16| format!("127.0.0.1:{port}"));
        let link = folder.join("from-a.yaml");
        let text = format!(
            "name: from-a\n\
             client_options:\n  bootstrap_servers: [\"{a_kafka}\"]\n\
             topic_metadata_sync_options:\n  auto_create_shadow_topic_filters:\n    - {{ pattern_type: PREFIX, filter_type: INCLUDE, name: {CARRIED} }}\n"
        );
        fs::write(&link, text)
            .map_err(|error| format!("cannot write {}: {error}", link.display()))?;
        let site = |name, kafka, owns, links, producer_tag| Site {
            name,
            kafka,
            owns,
            links,
            producer_tag,
            durability,
        };
        let a = self.0.site(
            &place::folder(folder, "a")?,
            &site("a", a_kafka, &[CARRIED], &[], 1),
        )?;
        let b = self.0.site(
            &place::folder(folder, "b")?,
            &site("b", b_kafka, &["b_"], &[link], 2),
        )?;
        Ok(Box::new(Sites { a, b }))
    }
}

impl Linked for Sites {
    fn start_source(&self) -> Result<Running, Failure> {
        self.a.start()
    }

    fn start_link(&self) -> Result<Carrier, Failure> {
        let since = Instant::now();
        Ok(Carrier {
            target: self.b.start()?,
            link: None,
            since,
            cpu_seconds_before: 0.0,
        })
    }
}
