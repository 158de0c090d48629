//! The readers of files that come from elsewhere, with the memory that each may take. The fuzzer and
//! the test that goes through the corpora share this file.

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// A reader under test.
pub struct Target {
    /// Its name, and its folder's in `fuzz/corpus`.
    pub name: &'static str,
    read: fn(&[u8]) -> Result<(), String>,
    /// The bytes of memory that it may take for an input.
    memory: fn(&[u8]) -> usize,
}

/// What every reader may take, whatever it reads: buffers.
const LEAST: usize = 1 << 20;

/// No byte that is compressed with deflate unpacks to more.
const MAX_UNPACKED: usize = 1032;

/// The bytes of a file that may be compressed with gzip.
fn unpacked(contents: &[u8]) -> usize {
    let factor = if contents.starts_with(&[0x1f, 0x8b]) { MAX_UNPACKED } else { 1 };
    factor * contents.len()
}

macro_rules! targets {
    ($($name:literal $read:path, $memory:expr;)*) => {
        /// All of them.
        pub const TARGETS: &[Target] = &[$(Target {
            name: $name,
            read: |contents| $read(contents).map_err(|error| error.to_string()),
            memory: $memory,
        }),*];
    };
}

targets! {
    // A vector that grows has up to three times as much as it holds; images of an archive are held
    // twice, where its files are joined.
    "idx" parareal_data::fuzzing::idx, |contents| LEAST + 4 * unpacked(contents);
    "cifar" parareal_data::fuzzing::cifar, |contents| LEAST + 4 * unpacked(contents);
    "archive" parareal_data::fuzzing::archive, |contents| LEAST + 8 * unpacked(contents);
    // Variables may be compressed.
    "matlab" parareal_data::fuzzing::matlab, |contents| LEAST + 4 * MAX_UNPACKED * contents.len();
    // Its limit is 1 MiB of pixels, of which decoders hold some copies, with coefficients and turned.
    "image" parareal_data::fuzzing::image, |contents| 16 * LEAST + 8 * contents.len();
    // Names and shapes become values of their own.
    "safetensors" parareal_train::fuzzing::safetensors, |contents| LEAST + 256 * contents.len();
    "checkpoint" parareal_vision::fuzzing::checkpoint, |contents| LEAST + 256 * contents.len();
    // The cuts of the deepest network take some themselves.
    "toml" parareal_vision::fuzzing::settings, |contents| 4 * LEAST + 256 * contents.len();
    "metrics" parareal_report::fuzzing::metrics, |contents| LEAST + 256 * contents.len();
    "evaluation" parareal_report::fuzzing::evaluation, |contents| LEAST + 256 * contents.len();
}

impl Target {
    /// The target with this name.
    pub fn named(name: &str) -> &'static Self {
        TARGETS.iter().find(|target| target.name == name).expect("a known target")
    }

    /// Reads an input; says whether it was accepted.
    ///
    /// # Panics
    /// Where the reader does, takes more memory than it may, or says more than a line.
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
