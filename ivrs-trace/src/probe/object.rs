//! The BPF object: its maps made, its programs ready to be loaded one by one.
//!
//! aya's own loader reads and parses the whole BTF of the kernel, each time that one is made, and looks
//! functions up in it one type after the other; here the ids come from [`super::btf`]. What aya-obj has
//! parsed and relocated goes to the kernel as it is.

use std::{
    collections::HashMap,
    ffi::CString,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::maps::{Map, MapData};
use aya_obj::{
    EbpfSectionKind, Function, Program,
    generated::{bpf_attach_type, bpf_prog_type},
};

use super::{
    error::{Failure, TraceError, load_error},
    sys::{self, ProgLoad},
    table::How,
};

/// The reason for a refusal and the statistics, but not the trace of every instruction, which for a
/// program that is too complex takes minutes to write (`BPF_LOG_STATS`).
const LOG_LEVEL: u32 = 4;
const LOG_SIZE: usize = 1 << 20;

pub(super) struct Object {
    maps: HashMap<String, Map>,
    programs: HashMap<String, (Program, Function)>,
    /// The object's own types, where the kernel takes them.
    btf: Option<OwnedFd>,
}

impl Object {
    /// Makes the maps: `ring` with `ring_bytes`, and the globals with the values of `globals`, where the
    /// object has one of that name.
    pub(super) fn open(
        bytes: &[u8],
        globals: &[(&'static str, u32)],
        (ring, ring_bytes): (&str, u32),
    ) -> Result<Self, TraceError> {
        let features = aya::features();
        let mut object = aya_obj::Object::parse(bytes).map_err(|error| load_error(&error))?;
        let values: Vec<_> =
            globals.iter().map(|(name, value)| (*name, value.to_ne_bytes())).collect();
        let values = values.iter().map(|(name, value)| (*name, (&value[..], false))).collect();
        object.patch_map_data(values).map_err(|error| load_error(&error))?;
        let mut btf = None;
        if let Some(features) = features.btf()
            && let Some(types) =
                object.fixup_and_sanitize_btf(features).map_err(|error| load_error(&error))?
        {
            btf = Some(sys::load_btf(&types.to_bytes()).map_err(|error| load_error(&error))?);
        }
        let mut maps = HashMap::new();
        let mut made = Vec::new();
        for (name, mut map) in object.maps.drain() {
            if name == ring {
                map.set_max_entries(ring_bytes);
            }
            let fd = btf.as_ref().map(|fd| fd.as_fd());
            // This raises the limit of locked memory where an old kernel counts maps against it.
            let data =
                MapData::create(map.clone(), &name, fd).map_err(|error| load_error(&error))?;
            if !map.data().is_empty() {
                sys::fill_map(data.fd(), map.data()).map_err(|error| load_error(&error))?;
            }
            if map.section_kind() == EbpfSectionKind::Rodata {
                sys::freeze_map(data.fd()).map_err(|error| load_error(&error))?;
            }
            made.push((name, map, data));
        }
        let text = object.functions.keys().map(|(section, _)| *section).collect();
        let fds = made
            .iter()
            .map(|(name, map, data)| (name.as_str(), data.fd().as_fd().as_raw_fd(), map));
        object.relocate_maps(fds, &text).map_err(|error| load_error(&error))?;
        object.relocate_calls(&text).map_err(|error| load_error(&error))?;
        object.sanitize_functions(features);
        for (name, _, data) in made {
            // The programs alone use the maps of globals.
            if let Ok(map) = Map::from_map_data(data) {
                maps.insert(name, map);
            }
        }
        let programs = object.programs.into_iter().filter_map(|(name, program)| {
            let function = object.functions.get(&program.function_key())?.clone();
            Some((name, (program, function)))
        });
        Ok(Self { maps, programs: programs.collect(), btf })
    }

    pub(super) fn map(&self, name: &str) -> Option<&Map> {
        self.maps.get(name)
    }

    pub(super) fn map_mut(&mut self, name: &str) -> Option<&mut Map> {
        self.maps.get_mut(name)
    }

    pub(super) fn take_map(&mut self, name: &str) -> Option<Map> {
        self.maps.remove(name)
    }

    /// Loads a program; one for a trampoline for the function with this id in the kernel's BTF.
    pub(super) fn load(&self, name: &str, how: How, id: Option<u32>) -> Result<OwnedFd, Failure> {
        let (program, function) = self.programs.get(name).ok_or(Failure::NoProgram)?;
        let (kind, attach_type) = match how {
            How::Fentry => {
                (bpf_prog_type::BPF_PROG_TYPE_TRACING, bpf_attach_type::BPF_TRACE_FENTRY)
            }
            How::Fexit => (bpf_prog_type::BPF_PROG_TYPE_TRACING, bpf_attach_type::BPF_TRACE_FEXIT),
            // Of no other kind is the second looked at; it is zero.
            How::Kprobe | How::Kretprobe => {
                (bpf_prog_type::BPF_PROG_TYPE_KPROBE, bpf_attach_type::BPF_CGROUP_INET_INGRESS)
            }
            How::RawTracepoint => (
                bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT,
                bpf_attach_type::BPF_CGROUP_INET_INGRESS,
            ),
        };
        let functions = function.func_info.func_info_bytes();
        let lines = function.line_info.line_info_bytes();
        let mut attr = ProgLoad {
            kind: kind_number(kind),
            instruction_count: sys::count(function.instructions.len()),
            instructions: sys::address(function.instructions.as_ptr()),
            license: sys::address(program.license.as_ptr()),
            attach_type: attach_number(attach_type),
            attach_btf_id: id.unwrap_or_default(),
            ..ProgLoad::default()
        };
        let room = attr.name.len() - 1;
        for (to, from) in attr.name.iter_mut().zip(name.bytes().take(room)) {
            *to = from;
        }
        if let Some(btf) = &self.btf {
            attr.btf = sys::number(btf);
            attr.func_info_size = sys::count(function.func_info_rec_size);
            attr.func_info = sys::address(functions.as_ptr());
            attr.func_info_count = sys::count(function.func_info.len());
            attr.line_info_size = sys::count(function.line_info_rec_size);
            attr.line_info = sys::address(lines.as_ptr());
            attr.line_info_count = sys::count(function.line_info.len());
        }
        // SAFETY: the addresses are of what lives in this function, with their lengths.
        if let Ok(loaded) = unsafe { sys::load_program(&attr) } {
            return Ok(loaded);
        }
        // Once more, for what the verifier says.
        let mut log = vec![0; LOG_SIZE];
        attr.log_level = LOG_LEVEL;
        attr.log_size = sys::count(log.len());
        attr.log = sys::address(log.as_mut_ptr());
        // SAFETY: as above; the log may be written.
        unsafe { sys::load_program(&attr) }.map_err(|error| {
            let said = log.split(|byte| *byte == 0).next().unwrap_or_default();
            Failure::Load { error, log: String::from_utf8_lossy(said).into_owned() }
        })
    }
}

/// The name of a function or tracepoint for the kernel.
pub(super) fn c_name(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

#[expect(clippy::as_conversions, reason = "the number of a C enum")]
fn kind_number(kind: bpf_prog_type) -> u32 {
    kind as u32
}

#[expect(clippy::as_conversions, reason = "the number of a C enum")]
fn attach_number(attach_type: bpf_attach_type) -> u32 {
    attach_type as u32
}
