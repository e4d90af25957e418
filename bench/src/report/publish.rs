//! A report in a folder: `report.txt`, `report.md`, `report.json`, and a file for each plot.

use super::{Report, plot, render};
use crate::failure::Failure;
use std::{fs, path::Path};

/// Writes everything that is known so far below `folder`, made if it is missing.
pub fn save(report: &Report, folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let write = |name: &str, content: &str| {
        let path = folder.join(name);
        fs::write(&path, content)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    let plots = plot::plots(report)?;
    write("report.txt", &render::text(report))?;
    write("report.md", &render::markdown(report, &plots))?;
    write("report.json", &serde_json::to_string_pretty(report)?)?;
    for plot in &plots {
        write(&plot.file, &plot.svg)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Absent, Conditions};

    #[test]
    fn a_report_is_in_three_forms_and_can_be_saved_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("new");
        let absent = vec![Absent {
            peer: crate::peers::PeerName::Kafka,
            why: "no Java".into(),
        }];
        let report = Report {
            conditions: Conditions::now(1),
            reservation: None,
            absent,
            not_asked: vec![],
            sections: vec![],
        };
        for _ in 0..2 {
            save(&report, &below).expect("room for a report");
        }
        for name in ["report.txt", "report.md", "report.json"] {
            let text = fs::read_to_string(below.join(name)).expect("a file");
            assert!(
                text.contains("kafka") && text.contains("no Java"),
                "{name}: {text}"
            );
        }
    }
}
