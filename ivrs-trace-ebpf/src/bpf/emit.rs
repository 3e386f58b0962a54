//! Sending events and counting what happened to them. Knows the ring buffer and the counters, and
//! nothing of what is in an event past its header.

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns,
        generated::bpf_get_current_comm,
    },
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use ivrs_trace_common::{COMM_LEN, Header, Kind, PROBES, ProbeId, ProbeStats};

use super::diagnose::diagnose;

/// User space sets the real size when it loads the object.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// Indexed by [`ProbeId`].
#[map]
static STATS: PerCpuArray<ProbeStats> = PerCpuArray::with_max_entries(PROBES, 0);

/// Set by user space while the probe on `iommufd_device_bind` is attached.
#[map]
static SEES_DEVICE_BIND: Array<u32> = Array::with_max_entries(1, 0);

#[inline(always)]
pub(super) fn sees_device_bind() -> bool {
    SEES_DEVICE_BIND.get(0).copied() == Some(1)
}

#[derive(Clone, Copy)]
pub(super) struct Probe(ProbeId);

impl Probe {
    /// The probe, of a program that shares its function with another, which counts the hits.
    #[inline(always)]
    pub(super) fn of(id: ProbeId) -> Self {
        Self(id)
    }

    #[cfg(feature = "log")]
    pub(super) fn id(self) -> u16 {
        self.0.0
    }

    #[inline(always)]
    pub(super) fn hit(id: ProbeId) -> Self {
        let probe = Self(id);
        probe.count(|stats| &raw mut stats.hits);
        probe
    }

    #[inline(always)]
    pub(super) fn read_failed(self) {
        self.count(|stats| &raw mut stats.read_failed);
    }

    #[inline(always)]
    pub(super) fn truncated(self) {
        self.count(|stats| &raw mut stats.truncated);
    }

    #[inline(always)]
    fn count(self, counter: impl FnOnce(&mut ProbeStats) -> *mut u64) {
        let Some(stats) = STATS.get_ptr_mut(u32::from(self.0.0)) else { return };
        // SAFETY: the map's value for this CPU; the pointer was checked for null. Programs that
        // interrupt each other on one CPU can at worst lose a count of a hit: losses are counted
        // under the same rule, each by the program that lost.
        unsafe { *counter(&mut *stats) += 1 };
    }

    /// Sends one event of type `T`, which must begin with a [`Header`]: writes the header, lets
    /// `fill` write the rest in place, and counts the event as lost where the ring is full.
    ///
    /// `fill` must write every byte past the header.
    #[inline(always)]
    pub(super) fn send<T: 'static>(self, kind: Kind, fill: impl FnOnce(*mut T)) {
        self.send_if(kind, |event| {
            fill(event);
            true
        });
    }

    /// The same, for an event of which only the content shows whether it is wanted.
    #[inline(always)]
    pub(super) fn send_if<T: 'static>(self, kind: Kind, fill: impl FnOnce(*mut T) -> bool) {
        let Some(mut entry) = EVENTS.reserve::<T>(0) else {
            diagnose!("probe {}: the ring is full for kind {}", self.0.0, kind.0);
            self.count(|stats| &raw mut stats.ring_lost);
            return;
        };
        let event = entry.as_mut_ptr();
        let header = event.cast::<Header>();
        let ids = bpf_get_current_pid_tgid();
        // SAFETY: the entry is as large as `T`, which begins with a header.
        unsafe {
            (*header).time_ns = bpf_ktime_get_ns();
            (*header).pid = (ids >> 32) as u32;
            (*header).tid = ids as u32;
            (*header).kind = kind;
            (*header).probe = self.0;
            (*header).cpu = bpf_get_smp_processor_id();
            // The helper fills and terminates all of the buffer, or clears it when it fails.
            bpf_get_current_comm((&raw mut (*header).comm).cast(), COMM_LEN as u32);
        }
        if fill(event) {
            entry.submit(0);
        } else {
            entry.discard(0);
        }
    }
}
