//! The system calls that load and attach BPF programs. Every one of them gives a file descriptor: what it
//! stands for is gone from the kernel when the last copy of that is closed.

use std::{
    ffi::CStr,
    fs, io,
    os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    path::Path,
};

use aya_obj::generated::{
    PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_BPF, PERF_FLAG_FD_CLOEXEC, bpf_cmd,
};

use super::error::Failure;

/// Where the kernel says how kprobes are asked for: `CONFIG_KPROBE_EVENTS` makes it.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe";

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD` (include/uapi/linux/bpf.h). The kernel takes the
/// rest of it for zeros.
#[repr(C)]
#[derive(Default)]
pub(super) struct ProgLoad {
    pub(super) kind: u32,
    pub(super) instruction_count: u32,
    pub(super) instructions: u64,
    pub(super) license: u64,
    pub(super) log_level: u32,
    pub(super) log_size: u32,
    pub(super) log: u64,
    pub(super) kernel_version: u32,
    pub(super) flags: u32,
    pub(super) name: [u8; 16],
    pub(super) interface: u32,
    pub(super) attach_type: u32,
    pub(super) btf: u32,
    pub(super) func_info_size: u32,
    pub(super) func_info: u64,
    pub(super) func_info_count: u32,
    pub(super) line_info_size: u32,
    pub(super) line_info: u64,
    pub(super) line_info_count: u32,
    pub(super) attach_btf_id: u32,
}

/// The same for `BPF_BTF_LOAD`.
#[repr(C)]
#[derive(Default)]
struct BtfLoad {
    btf: u64,
    log: u64,
    size: u32,
    log_size: u32,
    log_level: u32,
    padding: u32,
}

/// The same for `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
struct RawTracepoint {
    name: u64,
    program: u32,
    padding: u32,
}

/// The same for `BPF_MAP_UPDATE_ELEM` and, its first member alone, `BPF_MAP_FREEZE`.
#[repr(C)]
#[derive(Default)]
struct MapElement {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `struct perf_event_attr` up to `PERF_ATTR_SIZE_VER1` (`include/uapi/linux/perf_event.h`).
#[repr(C)]
#[derive(Default)]
struct PerfEvent {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    bits: u64,
    wakeup_events: u32,
    breakpoint: u32,
    function: u64,
    offset: u64,
}

/// An address as the kernel takes it.
pub(super) fn address<T>(of: *const T) -> u64 {
    u64::try_from(of.expose_provenance()).unwrap_or_default()
}

pub(super) fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

/// A descriptor as it stands in the structs above.
pub(super) fn number(of: &impl AsFd) -> u32 {
    u32::try_from(of.as_fd().as_raw_fd()).unwrap_or_default()
}

/// # Safety
///
/// `attr` is the beginning of `union bpf_attr` for `command`, with addresses of what the kernel reads or
/// writes there.
unsafe fn bpf<T>(command: bpf_cmd, attr: &T) -> io::Result<i64> {
    // SAFETY: as the caller says; the kernel reads no more of `attr` than its size.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, i64::from(command_number(command)), attr, size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[expect(clippy::as_conversions, reason = "the number of a C enum")]
fn command_number(command: bpf_cmd) -> u32 {
    command as u32
}

/// A descriptor that a system call has just given.
fn owned(result: i64) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the call that gave it made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Loads a program; its addresses must be of things that live until this returns.
///
/// # Safety
///
/// The addresses and counts in `attr` are of slices that live, `log` of one that may be written.
pub(super) unsafe fn load_program(attr: &ProgLoad) -> io::Result<OwnedFd> {
    // SAFETY: as the caller says.
    owned(unsafe { bpf(bpf_cmd::BPF_PROG_LOAD, attr) }?)
}

pub(super) fn load_btf(bytes: &[u8]) -> io::Result<OwnedFd> {
    let attr =
        BtfLoad { btf: address(bytes.as_ptr()), size: count(bytes.len()), ..BtfLoad::default() };
    // SAFETY: the address and size are of `bytes`.
    owned(unsafe { bpf(bpf_cmd::BPF_BTF_LOAD, &attr) }?)
}

/// Fills the only element of a map of globals.
pub(super) fn fill_map(map: &impl AsFd, content: &[u8]) -> io::Result<()> {
    let key = 0_u32;
    let attr = MapElement {
        map: number(map),
        key: address(&raw const key),
        value: address(content.as_ptr()),
        ..MapElement::default()
    };
    // SAFETY: the map was made with a value as long as `content`, and a key of four bytes.
    unsafe { bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &attr) }.map(drop)
}

/// Makes a map read-only, so that the verifier takes its content for constants.
pub(super) fn freeze_map(map: &impl AsFd) -> io::Result<()> {
    // SAFETY: a descriptor is all that this command reads.
    unsafe { bpf(bpf_cmd::BPF_MAP_FREEZE, &number(map)) }.map(drop)
}

/// Attaches a program to a tracepoint or, without a name, to the function that it was loaded for.
pub(super) fn attach_tracing(program: &impl AsFd, name: Option<&CStr>) -> Result<OwnedFd, Failure> {
    let name = name.map_or(0, |name| address(name.as_ptr()));
    let attr = RawTracepoint { name, program: number(program), padding: 0 };
    // SAFETY: the name is terminated and lives.
    let result = unsafe { bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &attr) };
    let call = "bpf_raw_tracepoint_open";
    result.and_then(owned).map_err(|error| Failure::Call { call, error })
}

/// Attaches a program to a function's entry or return.
pub(super) fn attach_kprobe(
    program: &impl AsFd,
    function: &CStr,
    on_return: bool,
) -> Result<OwnedFd, Failure> {
    let event = PerfEvent {
        kind: parameter("type", |text| text.parse().ok())?,
        size: count(size_of::<PerfEvent>()),
        config: if on_return { 1 << parameter("format/retprobe", config_bit)? } else { 0 },
        function: address(function.as_ptr()),
        ..PerfEvent::default()
    };
    // Of all processes, on one CPU: where a kprobe is counted makes no difference to its program.
    let (pid, cpu, group) = (-1, 0, -1);
    // SAFETY: the struct is as long as it says, and the function's name is terminated and lives.
    let result = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const event,
            pid,
            cpu,
            group,
            i64::from(PERF_FLAG_FD_CLOEXEC),
        )
    };
    let failed = |call| Failure::Call { call, error: io::Error::last_os_error() };
    if result < 0 {
        return Err(failed("perf_event_open"));
    }
    let event = owned(result).map_err(|error| Failure::Call { call: "perf_event_open", error })?;
    for (request, value, call) in [
        (PERF_EVENT_IOC_SET_BPF, number(program), "PERF_EVENT_IOC_SET_BPF"),
        (PERF_EVENT_IOC_ENABLE, 0, "PERF_EVENT_IOC_ENABLE"),
    ] {
        // SAFETY: both take a number.
        if unsafe { libc::ioctl(event.as_raw_fd(), request.into(), value) } < 0 {
            return Err(failed(call));
        }
    }
    Ok(event)
}

fn parameter<T>(name: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, Failure> {
    let path = Path::new(KPROBES).join(name);
    fs::read_to_string(&path)
        .and_then(|text| read(text.trim()).ok_or_else(|| io::Error::other("its format is unknown")))
        .map_err(|error| Failure::Kprobes { path, error })
}

/// The bit of `config:0`.
fn config_bit(text: &str) -> Option<u32> {
    text.strip_prefix("config:")?.parse().ok().filter(|bit| *bit < u64::BITS)
}
