//! A run of whole batches inside one segment file: what a fetch sends without copying.

use crate::disk::DiskFile;
use bytes::{Bytes, BytesMut};
use gnomon_protocol::ids::Offset;
use std::{fmt, io, sync::Arc};

/// Read at once when a range is read ahead: what the kernel's own reading ahead fetches in one go.
const READ_AHEAD_BYTES: usize = 128 << 10;

/// Whole batches `[base_offset, next_offset)` at `[position, position + len)` of `file`. The file
/// stays readable for as long as the range is held, also when its segment is deleted meanwhile; a
/// truncation meanwhile shows as `UnexpectedEof`.
#[derive(Clone)]
pub struct FileRange {
    /// The segment.
    pub file: Arc<dyn DiskFile>,
    /// Byte position of the first batch.
    pub position: u64,
    /// Bytes; 0 when there is nothing to read yet.
    pub len: usize,
    /// Base offset of the first batch; when empty, the offset asked for.
    pub base_offset: Offset,
    /// Offset after the last batch, or a later one that no batch lies in between; when empty,
    /// equal to `base_offset`.
    pub next_offset: Offset,
}

impl FileRange {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes, copied out of the page cache.
    pub fn bytes(&self) -> io::Result<Bytes> {
        let mut buffer = BytesMut::zeroed(self.len);
        self.file.read_exact_at(&mut buffer, self.position)?;
        Ok(buffer.freeze())
    }

    /// Brings it into the page cache, by reading all of it once. Blocks while the disk works.
    pub fn read_ahead(&self) -> io::Result<()> {
        let mut buffer = vec![0; READ_AHEAD_BYTES.min(self.len)];
        let end = self.position + self.len as u64;
        let mut position = self.position;
        while position < end {
            let wanted = buffer.len().min((end - position) as usize);
            match self.file.read_up_to(&mut buffer[..wanted], position)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                got => position += got as u64,
            }
        }
        Ok(())
    }

    /// Whether sending it would not wait for the disk, by a look at its last byte. A hint.
    pub fn is_resident(&self) -> bool {
        let last = || {
            self.file
                .read_at_now(&mut [0], self.position + self.len as u64 - 1)
        };
        // Only "would have to wait" means no: where that cannot be told a detour would be taken
        // each time, and sending meets any other error itself.
        self.len == 0 || !last().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl fmt::Debug for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileRange")
            .field("position", &self.position)
            .field("len", &self.len)
            .field("base_offset", &self.base_offset)
            .field("next_offset", &self.next_offset)
            .finish()
    }
}
