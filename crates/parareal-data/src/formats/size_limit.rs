//! The size of images that are decoded.

/// Limits of an image, checked before memory is taken for it.
#[derive(Clone, Copy)]
pub(crate) struct SizeLimit {
    /// The longest side, in pixels.
    pub(crate) side: usize,
    /// The memory of the decoded image, and the length of its file, in bytes.
    pub(crate) memory: u64,
}

impl SizeLimit {
    /// The limit for files of users.
    pub(crate) const FILES: Self = Self { side: 20_000, memory: 1 << 30 };

    /// Checks the sides that a file states, and the bytes that its pixels take.
    pub(crate) fn check(self, width: usize, height: usize, bytes: u64) -> Result<(), String> {
        let Self { side, memory } = self;
        if width.max(height) <= side && bytes <= memory {
            return Ok(());
        }
        Err(format!(
            "it has {width} x {height} pixels, more than the limit of {side} on a side and {} MiB \
             in all: scale it down",
            memory >> 20
        ))
    }
}
