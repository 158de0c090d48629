//! Limits on the size of decoded images.

/// Limits of an image, checked before memory is allocated for it.
#[derive(Clone, Copy)]
pub(crate) struct SizeLimit {
    /// Maximum width and height, in pixels.
    pub(crate) side: usize,
    /// Maximum size of the decoded image, and maximum length of its file, in bytes.
    pub(crate) memory: u64,
}

impl SizeLimit {
    /// The limit for image files.
    pub(crate) const FILES: Self = Self { side: 20_000, memory: 1 << 30 };

    /// Checks the stated width and height of an image, and the size of its pixels in bytes.
    pub(crate) fn check(self, width: usize, height: usize, bytes: u64) -> Result<(), String> {
        let Self { side, memory } = self;
        if width.max(height) <= side && bytes <= memory {
            return Ok(());
        }
        Err(format!(
            "it has {width} x {height} pixels, more than the limit of {side} on a side or {} MiB \
             in total; reduce its size",
            memory >> 20
        ))
    }
}
