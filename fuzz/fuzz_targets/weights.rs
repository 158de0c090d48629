#![no_main]

use libfuzzer_sys::fuzz_target;
use parareal_fuzz::Target;

fuzz_target!(|contents: &[u8]| {
    Target::named("weights").run(contents);
});
