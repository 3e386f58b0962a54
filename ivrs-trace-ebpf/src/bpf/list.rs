//! Walking a `struct list_head` of the kernel. What an entry means is its visitor's business.
//!
//! The walk is a callback of the kernel's own loop (`bpf_loop`, since 5.17): the verifier looks at
//! one step of it, where it would follow every round of a loop in the program, a hundred thousand
//! instructions for a list of 128 entries.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;

use super::kernel::{LIST_NEXT, Reader};

pub(super) trait Visit {
    /// Looks at the entry whose `struct list_head` is at `at`. Of a list with a next entry `more` is
    /// set.
    fn visit(&mut self, reader: &mut Reader, at: u64, index: u32, more: bool);
}

pub(super) struct End {
    pub(super) count: u32,
    pub(super) cut: bool,
    pub(super) broken: bool,
}

/// A walk on its way: what the loop hands from one step to the next.
struct Walk<'a, V> {
    reader: &'a mut Reader,
    visitor: &'a mut V,
    head: u64,
    at: u64,
    count: u32,
}

/// Visits at most `limit` entries of the list whose head is at `head`.
#[inline(always)]
pub(super) fn walk<V: Visit>(reader: &mut Reader, head: u64, limit: u32, visitor: &mut V) -> End {
    let at = reader.member(head, &LIST_NEXT);
    let mut walk = Walk { reader, visitor, head, at, count: 0 };
    let step: extern "C" fn(u32, *mut Walk<'_, V>) -> i64 = step::<V>;
    // SAFETY: the helper calls `step` with the walk, which outlives it, and with nothing else.
    unsafe {
        bpf_loop(limit, step as *mut c_void, (&raw mut walk).cast(), 0);
    }
    let broken = !walk.reader.intact();
    End { count: walk.count, cut: !broken && walk.at != head, broken }
}

/// One entry; anything but zero ends the loop.
#[inline(never)]
extern "C" fn step<V: Visit>(index: u32, walk: *mut Walk<'_, V>) -> i64 {
    // SAFETY: it is the walk that was handed to the helper, which nothing else uses meanwhile.
    let walk = unsafe { &mut *walk };
    if walk.at == walk.head || !walk.reader.intact() {
        return 1;
    }
    let next: u64 = walk.reader.member(walk.at, &LIST_NEXT);
    walk.visitor.visit(walk.reader, walk.at, index, next != walk.head);
    walk.count += 1;
    walk.at = next;
    0
}
