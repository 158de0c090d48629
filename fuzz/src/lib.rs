//! The readers of untrusted files, each with its memory limit. The fuzz targets and the test of the corpora
//! share this file.

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// A reader under test.
pub struct Target {
    /// Name of the reader and of its folder in `fuzz/corpus`.
    pub name: &'static str,
    read: fn(&[u8]) -> Result<(), String>,
    /// Largest number of bytes of memory that the reader may allocate for an input.
    memory: fn(&[u8]) -> usize,
}

/// Number of bytes that every reader may allocate for buffers, independently of its input.
const LEAST: usize = 1 << 20;

/// Largest number of bytes that one byte of deflate data can decompress to.
const MAX_UNPACKED: usize = 1032;

/// Returns the largest possible size of the contents after decompression, if they are compressed with gzip.
fn unpacked(contents: &[u8]) -> usize {
    let factor = if contents.starts_with(&[0x1f, 0x8b]) { MAX_UNPACKED } else { 1 };
    factor * contents.len()
}

macro_rules! targets {
    ($($name:literal $read:path, $memory:expr;)*) => {
        /// All readers.
        pub const TARGETS: &[Target] = &[$(Target {
            name: $name,
            read: |contents| $read(contents).map_err(|error| error.to_string()),
            memory: $memory,
        }),*];
    };
}

targets! {
    // A growing vector allocates up to three times the size of its contents. The images of an archive are in
    // memory twice while its files are joined.
    "idx" parareal_data::fuzzing::idx, |contents| LEAST + 4 * unpacked(contents);
    "cifar" parareal_data::fuzzing::cifar, |contents| LEAST + 4 * unpacked(contents);
    "archive" parareal_data::fuzzing::archive, |contents| LEAST + 8 * unpacked(contents);
    // Variables in the file may be compressed.
    "matlab" parareal_data::fuzzing::matlab, |contents| LEAST + 4 * MAX_UNPACKED * contents.len();
    // Images are limited to 1 MiB of pixels. Decoders hold several copies: coefficients, pixels, and rotated
    // pixels.
    "image" parareal_data::fuzzing::image, |contents| 16 * LEAST + 8 * contents.len();
    // Each name and each shape is a separate allocation.
    "safetensors" parareal_train::fuzzing::safetensors, |contents| LEAST + 256 * contents.len();
    "checkpoint" parareal_vision::fuzzing::checkpoint, |contents| LEAST + 256 * contents.len();
    "weights" parareal_export::fuzzing::weights, |contents| LEAST + 256 * contents.len();
    // The list of cuts of the deepest network also takes memory.
    "toml" parareal_vision::fuzzing::settings, |contents| 4 * LEAST + 256 * contents.len();
    "metrics" parareal_report::fuzzing::metrics, |contents| LEAST + 256 * contents.len();
    "evaluation" parareal_report::fuzzing::evaluation, |contents| LEAST + 256 * contents.len();
}

impl Target {
    /// Returns the target with this name.
    pub fn named(name: &str) -> &'static Self {
        TARGETS.iter().find(|target| target.name == name).expect("a known target")
    }

    /// Reads an input. Returns true if the reader accepted it.
    ///
    /// # Panics
    /// If the reader panics, exceeds its memory limit, or returns an error message that is not a single line.
    pub fn run(&self, contents: &[u8]) -> bool {
        let most = (self.memory)(contents);
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let answer = (self.read)(contents);
        let taken = MEMORY.peak_usage().saturating_sub(before);
        let (name, len) = (self.name, contents.len());
        assert!(
            taken <= most,
            "{name}: {taken} bytes of memory for an input of {len} bytes, the limit is {most}"
        );
        if let Err(message) = &answer {
            let clear = !message.is_empty() && !message.contains(char::is_control);
            assert!(clear, "{name}: not a message of one line: {message:?}");
        }
        answer.is_ok()
    }
}
