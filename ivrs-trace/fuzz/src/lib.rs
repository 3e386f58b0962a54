//! What the fuzz targets share: a bound on memory, a host to work on, scripts of events.
//!
//! A target is a program of its own in `targets/`. It holds what is read from outside to three
//! things: no panic, no hang, and no more memory than a bound that grows with the input. Time is
//! libFuzzer's to watch; `cargo xtask fuzz` sets how long an input may run.

pub mod host;
pub mod script;
pub mod words;

use std::{alloc::System, panic, sync::Once};

use cap::Cap;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes that any input may use, however small it is. A line `*` of a dump can stand for a whole
/// table of a megabyte, in a buffer that doubles as it grows.
const FREE: usize = 4 * 1024 * 1024;

static SET_UP: Once = Once::new();

/// Does `work` with at most [`FREE`] bytes of the heap and `factor` bytes more for each byte of
/// `input`. An allocation beyond that ends the process, which libFuzzer counts as a crash.
///
/// # Panics
/// If memory is used up already.
pub fn bounded(input: &[u8], factor: usize, work: impl FnOnce()) {
    SET_UP.call_once(|| {
        let report = panic::take_hook();
        // The report of a panic must not fail for want of memory.
        panic::set_hook(Box::new(move |info| {
            let _ = HEAP.set_limit(usize::MAX);
            report(info);
        }));
    });
    let most = HEAP.allocated().saturating_add(FREE).saturating_add(factor * input.len());
    assert!(HEAP.set_limit(most).is_ok(), "the bound is above what is in use");
    work();
    assert!(HEAP.set_limit(usize::MAX).is_ok(), "no bound is above what is in use");
}

/// Holds that `text` has nothing that a terminal would obey but line breaks.
///
/// # Panics
/// If it has: that is how a target says that it found something.
pub fn assert_printable(text: &str) {
    let obeyed = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(obeyed, None, "a control character gets through to the terminal: {text:?}");
}
