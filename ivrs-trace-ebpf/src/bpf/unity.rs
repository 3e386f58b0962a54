//! The unity map of a PCI segment, as the AMD IOMMU driver keeps it: the entries that cover a
//! device, or all of them. The list does not change after boot (`init_unity_map_range`,
//! drivers/iommu/amd/init.c).

use aya_ebpf::{macros::map, maps::HashMap};
use ivrs_trace_common::{
    DeviceId, Kind, MAX_UNITY, SET_UNITY_BROKEN, SET_UNITY_CUT, SET_UNITY_WALKED, UnityEnd,
    UnityMatch, WALK_BROKEN, WALK_CUT,
};

use super::{
    diagnose::diagnose,
    emit::Probe,
    kernel::{
        self, Reader, SEGMENT_ID, SEGMENT_LAST_DEVID, SEGMENT_UNITY_MAP, UNITY_DEVID_END,
        UNITY_DEVID_START, UNITY_END, UNITY_LIST, UNITY_PROT, UNITY_START,
    },
    list::{self, Visit},
};

/// Segments whose whole unity map was sent, by address.
#[map]
static WALKED: HashMap<u64, u8> = HashMap::with_max_entries(256, 0);

pub(super) struct Walk {
    pub(super) entries: u32,
    pub(super) matches: u32,
    /// `SET_UNITY_*`
    pub(super) flags: u32,
}

impl Walk {
    pub(super) const NONE: Self = Self { entries: 0, matches: 0, flags: 0 };
}

/// Sends the entries that cover the devid of the device at `dev`, whose identity is `device`.
#[inline(always)]
pub(super) fn matches(reader: &mut Reader, probe: Probe, dev: u64, device: &DeviceId) -> Walk {
    let segment = reader.amd_segment(dev);
    if segment == 0 {
        return Walk::NONE;
    }
    walk(reader, probe, segment, Kind::UNITY_MATCH, device, false)
}

/// Sends the whole list of the segment of the device at `dev`, once while this program is loaded.
#[inline(always)]
pub(super) fn all(probe: Probe, dev: u64) {
    let mut reader = Reader::new(probe);
    let segment = reader.amd_segment(dev);
    // Without a note that it was sent it would be sent for every device.
    if segment == 0 || sent(segment) || WALKED.insert(segment, 1, 0).is_err() {
        reader.finish();
        return;
    }
    let done = walk(&mut reader, probe, segment, Kind::UNITY_ENTRY, &kernel::NO_DEVICE, true);
    let id: u16 = reader.member(segment, &SEGMENT_ID);
    let last_devid: u16 = reader.member(segment, &SEGMENT_LAST_DEVID);
    let mut flags = 0;
    if done.flags & SET_UNITY_CUT != 0 {
        flags |= WALK_CUT;
    }
    if done.flags & SET_UNITY_BROKEN != 0 {
        flags |= WALK_BROKEN;
    }
    probe.send(Kind::UNITY_END, |event: *mut UnityEnd| {
        // SAFETY: `event` is a whole entry of the ring.
        unsafe {
            (*event).count = done.entries;
            (*event).flags = flags;
            (*event).segment = id;
            (*event).last_devid = last_devid;
            (*event).pad = 0;
        }
    });
    reader.finish();
}

#[inline(always)]
fn sent(segment: u64) -> bool {
    // SAFETY: the value is not looked at.
    unsafe { WALKED.get(segment) }.is_some()
}

#[inline(always)]
fn walk(
    reader: &mut Reader,
    probe: Probe,
    segment: u64,
    kind: Kind,
    device: &DeviceId,
    all: bool,
) -> Walk {
    let head = reader.address(segment, &SEGMENT_UNITY_MAP);
    let id: u16 = reader.member(segment, &SEGMENT_ID);
    let mut entries = Entries { probe, kind, device, all, segment: id, matches: 0 };
    let end = list::walk(reader, head, MAX_UNITY, &mut entries);
    let mut flags = SET_UNITY_WALKED;
    if end.broken {
        flags |= SET_UNITY_BROKEN;
    }
    if end.cut {
        diagnose!("unity map of segment {}: more than {} entries", id, MAX_UNITY);
        flags |= SET_UNITY_CUT;
        probe.truncated();
    }
    Walk { entries: end.count, matches: entries.matches, flags }
}

struct Entries<'a> {
    probe: Probe,
    kind: Kind,
    device: &'a DeviceId,
    all: bool,
    segment: u16,
    matches: u32,
}

impl Visit for Entries<'_> {
    #[inline(always)]
    fn visit(&mut self, reader: &mut Reader, at: u64, ordinal: u32, _more: bool) {
        let entry = reader.container(at, &UNITY_LIST);
        let devid_start: u16 = reader.member(entry, &UNITY_DEVID_START);
        let devid_end: u16 = reader.member(entry, &UNITY_DEVID_END);
        let devid = self.device.sbdf as u16;
        if !self.all && (devid < devid_start || devid_end < devid) {
            return;
        }
        let start = reader.member(entry, &UNITY_START);
        let end = reader.member(entry, &UNITY_END);
        let prot = reader.member(entry, &UNITY_PROT);
        self.probe.send(self.kind, |event: *mut UnityMatch| {
            // SAFETY: `event` is a whole entry of the ring.
            unsafe {
                kernel::put_device(&raw mut (*event).device, self.device);
                (*event).start = start;
                (*event).end = end;
                (*event).ordinal = ordinal;
                (*event).prot = prot;
                (*event).devid_start = devid_start;
                (*event).devid_end = devid_end;
                (*event).segment = self.segment;
                (*event).pad = 0;
            }
        });
        self.matches += 1;
    }
}
