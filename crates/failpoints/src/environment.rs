//! Fail points that the environment variable `FAILPOINTS` names hold in every process that has them
//! compiled in, from its first moment on.
//!
//! So a planted fault (`FAILPOINTS=skip_fsync=return`) needs no word in the test that is to find
//! it, and the binary none in its `main`. A test that sets fail points itself goes on doing so.
//! Syntax: see crate `fail`.
#![expect(unsafe_code, reason = "a function that the loader runs")]

/// The loader runs this before the `main` of any program.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = take_over_environment;

extern "C" fn take_over_environment() {
    let named = std::env::var("FAILPOINTS").unwrap_or_default();
    for point in named
        .split(';')
        .map(str::trim)
        .filter(|point| !point.is_empty())
    {
        let (name, actions) = point.split_once('=').unwrap_or((point, "return"));
        if let Err(error) = fail::cfg(name, actions) {
            eprintln!("FAILPOINTS: {point}: {error}");
            std::process::abort();
        }
    }
}
