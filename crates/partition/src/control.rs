//! Role, settings and files of a partition, as the site that holds it changes and checks them.

use crate::{
    handle::PartitionControl,
    log_state::OpenTxn,
    producer::{LastMarker, Producer},
    role::{Role, Writers},
    settings::Settings,
};
use gnomon_protocol::ids::{BatchEpoch, Offset, ProducerId};
use gnomon_storage::{Health, LogError};
use std::{io, sync::Arc};

/// The end of a log when its role changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Next offset: everything of the former writers lies below.
    pub end: Offset,
    /// Epoch of the last batch, [`BatchEpoch::NONE`] if there is none.
    pub epoch: BatchEpoch,
}

impl PartitionControl<'_> {
    /// Bytes on the disk.
    pub fn size_bytes(&self) -> u64 {
        self.0
            .writer
            .lock()
            .log
            .as_ref()
            .map_or(0, |log| log.size_bytes())
    }

    /// Looks whether the files are where they were made, and closes the partition to writing if
    /// one is missing: what was written to it since somebody removed it would be lost. (A flush
    /// looks at the files that it syncs.) Blocking.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn check_files(&self) -> io::Result<()> {
        let Some(reader) = self.0.view.read().reader.clone() else {
            return Ok(());
        };
        if reader.missing_files()?.is_empty() {
            return Ok(());
        }
        // Or the log was deleted or begun again meanwhile.
        let mut writer = self.0.writer.lock();
        let Some(log) = writer.log.as_mut().filter(|log| reader.reads(log)) else {
            return Ok(());
        };
        if let Some(path) = reader.missing_files()?.into_iter().next()
            && log.closed().is_none()
        {
            let lost = LogError::Lost { path };
            log.close_writing(lost.to_string());
            self.0.fail(&lost);
        }
        Ok(())
    }

    /// Known damage of the files.
    pub fn health(&self) -> Health {
        self.0
            .view
            .read()
            .reader
            .clone()
            .map_or_else(Health::default, |reader| reader.health())
    }

    /// Takes up a role. Returns the cut: nothing of the former writers is appended from here on.
    /// Replies that wait are lost unless the same side goes on writing.
    pub fn set_role(&self, role: Role) -> Cut {
        let writer = self.0.writer.lock();
        // A link's source decides about sequences; clients are not told to send again.
        let copied = matches!(role.writers, Writers::Link { .. });
        let (cut, kept) = self.0.update(|view| {
            let kept = view.role.keeps_replies(&role);
            view.role = role;
            view.take_up_role();
            (
                Cut {
                    end: view.offsets().end,
                    epoch: view.log_state.epochs.latest(),
                },
                kept,
            )
        });
        if copied {
            self.0.refused.lock().clear();
        }
        drop(writer);
        if !kept {
            self.0.acks.fail(&crate::Lost::RoleChanged, false);
            self.0.flushes.fail(&crate::Lost::RoleChanged, false);
        }
        self.0.waiters.wake();
        cut
    }

    /// Takes up new settings.
    pub fn set_settings(&self, settings: Settings) {
        let mut writer = self.0.writer.lock();
        if let Some(log) = &mut writer.log {
            log.set_options(settings.log.clone());
        }
        self.0.update(|view| {
            view.watermarks.set_write_caching(settings.write_caching);
            // A cut that this process made itself may not be in the catalog's settings yet.
            let copied_to = view.settings.copied_to.max(settings.copied_to);
            view.settings = Arc::new(Settings {
                copied_to,
                ..settings
            });
        });
        drop(writer);
        self.0.waiters.wake();
        self.0.ask_flush(self.0.awaited());
    }

    /// The transactions that are open here.
    pub fn open_transactions(&self) -> Vec<OpenTxn> {
        self.0.view.read().log_state.open_transactions()
    }

    /// How the producer's last transaction here ended; `None` while one is open, and if none ever
    /// ended here as far as is known.
    pub fn last_marker(&self, producer: ProducerId) -> Option<LastMarker> {
        let view = self.0.view.read();
        let open = view.log_state.txns.open_since(producer).is_some();
        view.log_state
            .producers
            .get(producer)
            .filter(|_| !open)?
            .last_marker
    }

    /// The idempotent producers known here, by id.
    pub fn known_producers(&self) -> Vec<(ProducerId, Producer)> {
        self.0
            .view
            .read()
            .log_state
            .producers
            .iter()
            .map(|(id, producer)| (id, producer.clone()))
            .collect()
    }
}
