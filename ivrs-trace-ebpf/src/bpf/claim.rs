//! DMA ownership claims, and who makes them.

use core::ffi::c_long;

use aya_ebpf::helpers::{
    bpf_get_current_task,
    generated::{bpf_loop, bpf_probe_read_user},
};
use ivrs_trace_common::{
    ARGS_CHUNK, ARGS_CHUNKS, Args, CLAIM_FOREIGN_DOMAIN, Claim, DeviceId, Kind,
};

use super::{
    emit::Probe,
    kernel::{
        self, DEVICE_IOMMU_GROUP, GROUP_DEFAULT_DOMAIN, GROUP_DOMAIN, GROUP_OWNER,
        GROUP_OWNER_COUNT, MM_ARG_END, MM_ARG_START, Reader, TASK_MM,
    },
    members,
};

/// A claim on a whole group, or the question whether somebody holds it.
#[inline(always)]
pub(super) fn group(probe: Probe, kind: Kind, group: u64, owner: u64, ret: i32) {
    let mut reader = Reader::new(probe);
    let mut device = kernel::NO_DEVICE;
    device.group = reader.group_id(group);
    send(reader, probe, kind, device, group, owner, ret);
}

/// A claim on one device, which is a claim on its group.
#[inline(always)]
pub(super) fn device(probe: Probe, kind: Kind, dev: u64, owner: u64, ret: i32) {
    let mut reader = Reader::new(probe);
    let mut device = kernel::NO_DEVICE;
    reader.device(dev, &mut device);
    let group = reader.member(dev, &DEVICE_IOMMU_GROUP);
    send(reader, probe, kind, device, group, owner, ret);
}

#[inline(always)]
fn send(
    mut reader: Reader,
    probe: Probe,
    kind: Kind,
    device: DeviceId,
    group: u64,
    owner: u64,
    ret: i32,
) {
    let (mut group_owner, mut owner_count, mut foreign) = (0, 0, false);
    if group != 0 {
        let domain: u64 = reader.member(group, &GROUP_DOMAIN);
        let default_domain: u64 = reader.member(group, &GROUP_DEFAULT_DOMAIN);
        foreign = domain != default_domain;
        group_owner = reader.member(group, &GROUP_OWNER);
        owner_count = reader.member(group, &GROUP_OWNER_COUNT);
        // A question that is answered with yes, or a claim that failed.
        let held = if kind == Kind::OWNER_CLAIMED { ret != 0 } else { ret < 0 };
        if held && owner_count != 0 {
            members::report(probe, group);
        }
    }
    probe.send(kind, |event: *mut Claim| {
        // SAFETY: `event` is a whole entry of the ring.
        unsafe {
            kernel::put_device(&raw mut (*event).device, &device);
            (*event).owner = owner;
            (*event).group_owner = group_owner;
            (*event).owner_count = owner_count;
            (*event).flags = if foreign { CLAIM_FOREIGN_DOMAIN } else { 0 };
            (*event).ret = ret;
            (*event).pad = 0;
        }
    });
    reader.finish();
}

/// Sends the command line of the calling process: it may be gone before user space can look, and
/// on the group path the kernel never learns which device of the group the process wants.
#[inline(always)]
pub(super) fn args(probe: Probe) {
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let mut reader = Reader::new(probe);
    let mm: u64 = reader.member(task, &TASK_MM);
    if mm == 0 {
        // A kernel thread has no command line.
        return;
    }
    let start: u64 = reader.member(mm, &MM_ARG_START);
    let end: u64 = reader.member(mm, &MM_ARG_END);
    reader.finish();
    let total = end.saturating_sub(start).min(u64::from(u32::MAX)) as u32;
    let mut line = CommandLine { probe, start, total };
    let chunks = total.div_ceil(CHUNK);
    if chunks > ARGS_CHUNKS {
        probe.truncated();
    }
    // SAFETY: the callback takes what it is given here, which lives until the loop has ended.
    unsafe {
        bpf_loop(chunks.min(ARGS_CHUNKS), args_chunk as *mut _, (&raw mut line).cast(), 0);
    }
}

const CHUNK: u32 = ARGS_CHUNK as u32;

struct CommandLine {
    probe: Probe,
    start: u64,
    total: u32,
}

/// Sends one chunk of the command line, the last of which may be shorter. A callback, which the verifier
/// follows once and not as often as it may run.
unsafe extern "C" fn args_chunk(index: u32, line: *const CommandLine) -> c_long {
    // SAFETY: the loop hands on what it was given.
    let (probe, start, total) = unsafe { ((*line).probe, (*line).start, (*line).total) };
    let offset = index.wrapping_mul(CHUNK);
    let left = total.wrapping_sub(offset);
    // The verifier needs to see in the very register that the helper gets that it is shorter; the barrier
    // keeps the compiler from leaving out the mask.
    let length = if left < CHUNK { core::hint::black_box(left) & (CHUNK - 1) } else { CHUNK };
    probe.send(Kind::ARGS, |event: *mut Args| {
        // SAFETY: `event` is a whole entry of the ring and `data` in it is aligned to eight
        // bytes; the helper checks the user address, and `length` is at most its size.
        let read = unsafe {
            (*event).offset = offset;
            (*event).total = total;
            if length != CHUNK {
                *(&raw mut (*event).data).cast::<[u64; ARGS_CHUNK / 8]>() = [0; ARGS_CHUNK / 8];
            }
            bpf_probe_read_user(
                (&raw mut (*event).data).cast(),
                length,
                (start + u64::from(offset)) as *const _,
            )
        };
        if read != 0 {
            probe.read_failed();
        }
    });
    0
}
