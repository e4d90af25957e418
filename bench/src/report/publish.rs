//! A report on standard output and in a folder: `report.txt`, `report.md`, `report.json`, and a file for each plot.

use super::{Report, plot, render};
use crate::Failure;
use std::{fs, path::Path};

/// Writes everything below `folder`, made if it is missing, and says where.
pub fn publish(report: &Report, folder: &Path) -> Result<(), Failure> {
    let text = render::text(report);
    print!("{text}");
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let write = |name: &str, content: &str| {
        let path = folder.join(name);
        fs::write(&path, content).map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    let plots = plot::plots(report)?;
    write("report.txt", &text)?;
    write("report.md", &render::markdown(report, &plots))?;
    write("report.json", &serde_json::to_string_pretty(report)?)?;
    for plot in &plots {
        write(&plot.file, &plot.svg)?;
    }
    println!("\nalso in {}: report.txt, report.md, report.json, {} plots", folder.display(), plots.len());
    Ok(())
}
