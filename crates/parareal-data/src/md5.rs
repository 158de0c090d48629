//! MD5 sums of files, to compare with the published sums of canonical files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use md5::{Digest, Md5};
use parareal_text::in_hexadecimal;

/// Returns the MD5 sum of a file in hexadecimal digits.
pub(crate) fn of_file(path: &Path) -> io::Result<String> {
    let (mut reader, mut hash) = (File::open(path)?, Md5::new());
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(in_hexadecimal(&hash.finalize())),
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
