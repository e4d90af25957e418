//! Fetches the secrets that a link file refers to as `${env:NAME}` or `${file:PATH}`.
//!
//! Invariant: only the process that a user started with the link file reads them (`serve --link`,
//! `link create -f`). A link that comes in over the network may name no file and no variable of
//! this process: its sender would read them through us. Not here: where references may stand
//! (`gnomon_links::config`).

use gnomon_links::config::SecretRef;
use rustix::fs::OFlags;
use std::{fs::OpenOptions, io::Read, os::unix::fs::OpenOptionsExt};

/// The largest file that is a secret. Keys and certificates have a few KiB.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The secret, without white space at its end.
///
/// # Errors
/// A sentence that names the variable or the file.
pub fn resolve(secret: &SecretRef) -> Result<String, String> {
    match secret {
        SecretRef::Env(name) => {
            std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))
        }
        SecretRef::File(path) => {
            read(path).map_err(|why| format!("cannot read the secret in {path}: {why}"))
        }
    }
}

fn read(path: &str) -> Result<String, String> {
    // Opening a FIFO for reading waits for a writer, except with O_NONBLOCK.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)
        .map_err(|error| error.to_string())?;
    let is_file = file
        .metadata()
        .map_err(|error| error.to_string())?
        .is_file();
    if !is_file {
        return Err("it is not a regular file".to_owned());
    }
    let mut text = String::new();
    let mut bounded = file.take(SECRET_BYTES_MAX + 1);
    bounded
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!("it has more than {SECRET_BYTES_MAX} bytes"));
    }
    text.truncate(text.trim_end().len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::path::Path;

    fn of_file(path: &Path) -> Result<String, String> {
        resolve(&SecretRef::File(path.display().to_string()))
    }

    #[test]
    fn a_file_is_read_without_the_white_space_at_its_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("password");
        std::fs::write(&path, " a: #'b\"\nc \n\n").expect("written");
        assert_eq!(of_file(&path).as_deref(), Ok(" a: #'b\"\nc"));
        let missing = of_file(&dir.path().join("missing")).expect_err("no file");
        assert!(missing.contains("missing: No such file"), "{missing}");
    }

    #[test]
    fn a_pipe_a_device_and_a_large_file_are_refused_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let pipe = dir.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        for path in [&*pipe, Path::new("/dev/zero"), dir.path()] {
            let why = of_file(path).expect_err("no regular file");
            assert!(why.ends_with("it is not a regular file"), "{why}");
        }
        let large = dir.path().join("large");
        std::fs::write(&large, vec![b'a'; SECRET_BYTES_MAX as usize + 1]).expect("written");
        let why = of_file(&large).expect_err("too large");
        assert!(why.ends_with("it has more than 65536 bytes"), "{why}");
    }
}
