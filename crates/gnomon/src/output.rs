//! Lines that more than one command prints.

use gnomon_broker::SiteInfo;

/// The line that says a site is ready.
pub fn site_line(site: &SiteInfo, pid: u32) -> String {
    let owns = if site.owns.is_empty() {
        "nothing".to_owned()
    } else {
        site.owns
            .iter()
            .map(|prefix| format!("{prefix}*"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let caching = if site.write_caching {
        "   write.caching: power loss may take acknowledged records"
    } else {
        ""
    };
    format!(
        "site {}  kafka {}   admin {}   owns {owns}   pid {pid}   data {}{caching}",
        site.name,
        site.kafka,
        site.admin,
        site.data.display()
    )
}
