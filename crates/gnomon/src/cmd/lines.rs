//! Cuts a stream of bytes into lines, and lines into keys and values.
//!
//! Invariants: bytes stay as they are, whatever their encoding; each byte is looked at once for the
//! end of its line; at most one line, of at most [`LINE_BYTES_MAX`], is kept.

/// A longer line is an error: no broker takes so large a record.
pub const LINE_BYTES_MAX: usize = 100 << 20;

/// Blocks go in, lines come out.
#[derive(Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// No line ends between `start` and here.
    searched: usize,
    /// Lines handed out.
    count: u64,
}

/// One line of the input.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: u64,
    /// Without the line feed at its end.
    pub bytes: Vec<u8>,
}

/// A line longer than [`LINE_BYTES_MAX`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number} is longer than {LINE_BYTES_MAX} bytes: records are separated by line feeds")]
pub struct LineTooLong {
    /// From 1.
    pub number: u64,
}

impl Lines {
    /// The next block of the input. Every line before it has been taken by
    /// [`Lines::next_line`].
    pub fn push(&mut self, block: &[u8]) -> Result<(), LineTooLong> {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        // All of `bytes` is one unfinished line: `next_line` was called until it found no more.
        if self.searched > LINE_BYTES_MAX {
            return Err(LineTooLong {
                number: self.count + 1,
            });
        }
        self.bytes.extend_from_slice(block);
        Ok(())
    }

    /// The next whole line.
    pub fn next_line(&mut self) -> Option<Line> {
        let unsearched = &self.bytes[self.searched..];
        match unsearched.iter().position(|byte| *byte == b'\n') {
            Some(length) => {
                let end = self.searched + length;
                let line = self.bytes[self.start..end].to_vec();
                self.start = end + 1;
                self.searched = self.start;
                Some(self.numbered(line))
            }
            None => {
                self.searched = self.bytes.len();
                None
            }
        }
    }

    /// The last line, if the input does not end with a line feed.
    pub fn rest(mut self) -> Option<Line> {
        let rest = self.bytes.split_off(self.start);
        (!rest.is_empty()).then(|| self.numbered(rest))
    }

    fn numbered(&mut self, bytes: Vec<u8>) -> Line {
        self.count += 1;
        Line {
            number: self.count,
            bytes,
        }
    }
}

/// Splits a line at the first separator. Without a separator in it the line is a value.
pub fn key_and_value(mut line: Vec<u8>, separator: Option<&[u8]>) -> (Option<Vec<u8>>, Vec<u8>) {
    let found = separator.filter(|separator| !separator.is_empty());
    let found = found.and_then(|separator| {
        let at = line
            .windows(separator.len())
            .position(|window| window == separator)?;
        Some((at, at + separator.len()))
    });
    match found {
        Some((key_end, value_start)) => {
            let value = line.split_off(value_start);
            line.truncate(key_end);
            (Some(line), value)
        }
        None => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(blocks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for block in blocks {
            lines.push(block).expect("short lines");
            while let Some(line) = lines.next_line() {
                assert_eq!(line.number, found.len() as u64 + 1);
                found.push(line.bytes);
            }
        }
        found.extend(lines.rest().map(|line| line.bytes));
        found
    }

    #[test]
    fn lines_are_the_same_however_the_blocks_are_cut() {
        let input = b"one\n\ntwo \xff\xfe\r\nthree";
        let expected = [&b"one"[..], b"", b"two \xff\xfe\r", b"three"];
        for size in 1..=input.len() {
            let blocks: Vec<&[u8]> = input.chunks(size).collect();
            assert_eq!(all(&blocks), expected, "blocks of {size}");
        }
        assert_eq!(all(&[b"one\n"]), [b"one"], "no empty line at the end");
        assert!(all(&[]).is_empty());
    }

    #[test]
    fn a_line_without_an_end_is_refused_and_not_kept_for_ever() {
        let mut lines = Lines::default();
        lines.push(b"short\n").expect("a line");
        assert!(lines.next_line().is_some());
        let block = vec![0; 1 << 20];
        let refused = (0..200).find_map(|_| {
            let refused = lines.push(&block).err();
            while lines.next_line().is_some() {}
            refused
        });
        assert_eq!(refused, Some(LineTooLong { number: 2 }));
    }

    #[test]
    fn keys_end_at_the_first_separator() {
        let split = |line: &[u8]| key_and_value(line.to_vec(), Some(b"::"));
        assert_eq!(
            split(b"k\xff::v::w"),
            (Some(b"k\xff".to_vec()), b"v::w".to_vec())
        );
        assert_eq!(split(b"::v"), (Some(Vec::new()), b"v".to_vec()));
        assert_eq!(split(b"k:v"), (None, b"k:v".to_vec()));
        assert_eq!(
            key_and_value(b"k:v".to_vec(), None),
            (None, b"k:v".to_vec())
        );
    }
}
