//! Arguments kept from a function's entry until its return, for probes that see only one of both at
//! a time (kprobe and kretprobe). Knows no function.
//!
//! The map forgets what was used least recently: a return that is never seen, because the kernel
//! had no kretprobe instance left, costs nothing for long.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::map, maps::LruHashMap};
use ivrs_trace_common::ProbeId;

pub(super) type Arguments = [u64; 3];

/// By thread and probe: a thread is in one call of a function at a time.
#[map]
static SAVED: LruHashMap<u64, Arguments> = LruHashMap::with_max_entries(4096, 0);

#[inline(always)]
fn key(probe: ProbeId) -> u64 {
    bpf_get_current_pid_tgid() << 32 | u64::from(probe.0)
}

/// Keeps the arguments, at most three, of the call that this thread has entered.
#[inline(always)]
pub(super) fn keep<const N: usize>(probe: ProbeId, arguments: [u64; N]) {
    let mut all: Arguments = [0; 3];
    all.iter_mut().zip(arguments).for_each(|(to, from)| *to = from);
    // Where the map is full, the return finds nothing and counts that.
    let _: Result<(), _> = SAVED.insert(key(probe), all, 0);
}

/// Gives back what was kept of the call that this thread returns from.
#[inline(always)]
pub(super) fn take(probe: ProbeId) -> Option<Arguments> {
    let key = key(probe);
    // SAFETY: the value is copied at once, and only this thread uses its key.
    let arguments = *unsafe { SAVED.get(key) }?;
    let _: Result<(), _> = SAVED.remove(key);
    Some(arguments)
}
