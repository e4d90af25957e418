//! The 4-byte size in front of every request and response, checked before a byte is reserved for
//! what it announces.
//!
//! A refused size ends the connection: nothing after it can be found again.

/// Bytes of the size prefix.
pub const PREFIX_BYTES: usize = 4;
/// Bytes of the smallest request: key, version, correlation id.
pub const REQUEST_BYTES_MIN: usize = 8;
/// Bytes of the smallest response: the correlation id.
pub const RESPONSE_BYTES_MIN: usize = 4;

/// The bounds of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest request without its prefix: `socket.request.max.bytes`.
    pub request_bytes_max: usize,
}

impl Default for Limits {
    /// Kafka's 100 MiB.
    fn default() -> Limits {
        Limits {
            request_bytes_max: 100 * 1024 * 1024,
        }
    }
}

/// Why a frame is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Negative size: not a Kafka client, or a stream out of step.
    #[error("negative frame size {size}")]
    Negative { size: i32 },
    /// Below what every frame has.
    #[error("frame of {size} bytes is below the {min} bytes of the smallest")]
    TooSmall { size: usize, min: usize },
    /// Above the limit. TLS or HTTP spoken to this port looks like that too.
    #[error("frame of {size} bytes is above the limit of {max} bytes")]
    TooLarge { size: usize, max: usize },
}

/// Bytes of the request after `prefix`.
pub fn frame_length(prefix: [u8; PREFIX_BYTES], max: usize) -> Result<usize, FrameError> {
    length(prefix, REQUEST_BYTES_MIN, max)
}

/// Bytes of the response after `prefix`, for clients.
pub fn response_length(prefix: [u8; PREFIX_BYTES], max: usize) -> Result<usize, FrameError> {
    length(prefix, RESPONSE_BYTES_MIN, max)
}

fn length(prefix: [u8; PREFIX_BYTES], min: usize, max: usize) -> Result<usize, FrameError> {
    let size = i32::from_be_bytes(prefix);
    let bytes = usize::try_from(size).map_err(|_| FrameError::Negative { size })?;
    if bytes < min {
        return Err(FrameError::TooSmall { size: bytes, min });
    }
    if bytes > max {
        return Err(FrameError::TooLarge { size: bytes, max });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked_before_anything_is_reserved() {
        assert_eq!(frame_length([0, 0, 0, 8], 100), Ok(8));
        assert_eq!(frame_length([0, 0, 0, 100], 100), Ok(100));
        assert_eq!(
            frame_length([0, 0, 0, 101], 100),
            Err(FrameError::TooLarge {
                size: 101,
                max: 100
            })
        );
        assert_eq!(
            frame_length([0, 0, 0, 7], 100),
            Err(FrameError::TooSmall { size: 7, min: 8 })
        );
        assert_eq!(
            frame_length([0xff; 4], 100),
            Err(FrameError::Negative { size: -1 })
        );
        assert_eq!(response_length([0, 0, 0, 4], 100), Ok(4));
    }
}
