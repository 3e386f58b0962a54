//! Which processes have files of `/dev/vfio` open, from `/proc`. Read once, when a trace begins: who
//! opens one later is seen to by the probes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{command_line::Vm, model::OpenFile};

const VFIO: &str = "/dev/vfio";

/// The files of groups and devices that are open, by process. A process that cannot be looked into,
/// because it has just ended or belongs to somebody else, has none.
pub(crate) fn read() -> Vec<OpenFile> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes.flatten().flat_map(|process| of_process(&process.path())).collect()
}

fn of_process(process: &Path) -> Vec<OpenFile> {
    let pid = process.file_name().and_then(|name| name.to_str()?.parse().ok());
    let (Some(pid), Ok(descriptors)) = (pid, fs::read_dir(process.join("fd"))) else {
        return Vec::new();
    };
    let links = descriptors.flatten().filter_map(|one| fs::read_link(one.path()).ok());
    let files: BTreeSet<PathBuf> = links.filter(|link| is_ours(link)).collect();
    if files.is_empty() {
        return Vec::new();
    }
    let text = |name: &str| fs::read(process.join(name)).unwrap_or_default();
    let comm = String::from_utf8_lossy(&text("comm")).trim_end().to_owned();
    let arguments: Vec<String> = text("cmdline")
        .split(|&byte| byte == 0)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect();
    let vm = Vm::of(&arguments).called();
    files
        .iter()
        .filter_map(|file| {
            let path = file.file_name()?.to_string_lossy().into_owned();
            let (comm, vm) = (comm.clone(), vm.clone());
            Some(OpenFile { device: device(&path), path, pid, comm, vm })
        })
        .collect()
}

/// Whether it is the file of a group or of a device; the container's says nothing.
fn is_ours(file: &Path) -> bool {
    file.starts_with(VFIO) && file != Path::new("/dev/vfio/vfio")
}

/// The address of the device whose file is called so.
fn device(file: &str) -> Option<String> {
    let device = fs::read_link(Path::new("/sys/class/vfio-dev").join(file).join("device")).ok()?;
    Some(device.file_name()?.to_string_lossy().into_owned())
}
