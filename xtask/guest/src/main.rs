//! `vfio-attach`: takes PCI devices for user space as QEMU does, and shows what each call
//! returned.
//!
//! It binds the devices' groups to vfio-pci, opens a VFIO container and asks for the devices, and
//! lets go of them at its end (they stay bound). It maps no memory and resets nothing.

mod pci;
mod vfio;

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use pci::{Address, Function};
use rustix::io::Errno;

const USAGE: &str = "\
usage: vfio-attach BDF... [--no-bind] [--path legacy]

Binds all functions of each device's group to vfio-pci (not with --no-bind), then takes the devices
into one VFIO container. Prints one line a call: CALL = RESULT, or CALL = -1 ERRNO.
Exit status: 0 all taken, 1 the kernel refused a call, 2 could not try.";

/// Why the devices were not taken.
#[derive(Debug)]
enum Failure {
    /// The kernel refused a VFIO call; the call's line says which and with what.
    Refused,
    /// It did not come to that; the text says why.
    NotTried(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::NotTried(why)
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    addresses: Vec<Address>,
    bind: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> =
        env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match request(&arguments).map_err(Failure::from).and_then(|request| attach(&request)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Refused) => ExitCode::from(1),
        Err(Failure::NotTried(why)) => {
            eprintln!("vfio-attach: {why}");
            ExitCode::from(2)
        }
    }
}

fn request(arguments: &[String]) -> Result<Request, String> {
    let mut request = Request { addresses: Vec::new(), bind: true };
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        match argument {
            "--no-bind" => request.bind = false,
            "--path" | "--path=legacy" => {
                let path = argument.strip_prefix("--path=").or_else(|| arguments.next());
                if path != Some("legacy") {
                    return Err("--path takes legacy, the one path that there is".to_owned());
                }
            }
            _ if argument.starts_with('-') => {
                return Err(format!("unknown option {argument} (--help tells the known ones)"));
            }
            _ => request.addresses.push(argument.parse()?),
        }
    }
    if request.addresses.is_empty() {
        return Err("no device given, like 0000:00:03.0 or 00:03.0".to_owned());
    }
    Ok(request)
}

fn attach(request: &Request) -> Result<(), Failure> {
    let functions: Vec<(Function, String)> = request
        .addresses
        .iter()
        .map(|address| {
            let function = Function::find(address)?;
            if function.is_bridge()? {
                return Err(format!("{address} is a PCI bridge: VFIO takes endpoints only"));
            }
            let group = function.group()?.ok_or_else(|| {
                format!("{address} is in no IOMMU group: this kernel uses no IOMMU for it")
            })?;
            Ok((function, group))
        })
        .collect::<Result<_, String>>()?;

    if request.bind {
        if !Path::new(pci::VFIO_PCI).exists() {
            modprobe("vfio-pci")?;
        }
        if !Path::new("/sys/module/vfio_iommu_type1").exists() {
            modprobe("vfio_iommu_type1")?;
        }
        for (_, group) in &functions {
            pci::bind_group(group)?;
        }
    }

    let container = open(vfio::CONTAINER)?;
    report("VFIO_GET_API_VERSION", vfio::api_version(&container))?;
    // Two devices of one group share its file: a group can be opened once only.
    let mut groups: BTreeMap<&str, File> = BTreeMap::new();
    let mut devices = Vec::new();
    for (function, name) in &functions {
        if !groups.contains_key(name.as_str()) {
            let group = open(&vfio::group_path(name))?;
            // QEMU gives up by itself when the group is not viable. The next call is made all
            // the same, because its errno is the kernel's own answer.
            let status = vfio::group_status(&group);
            let viable = status.map(|flags| if flags.viable() { "viable" } else { "not viable" });
            let zero = status.map(|_| 0);
            report_with("VFIO_GROUP_GET_STATUS", zero, viable.unwrap_or_default())?;
            report("VFIO_GROUP_SET_CONTAINER", vfio::set_container(&group, &container))?;
            if groups.is_empty() {
                report("VFIO_SET_IOMMU", vfio::set_iommu_type1v2(&container))?;
            }
            groups.insert(name, group);
        }
        let Some(group) = groups.get(name.as_str()) else { continue };
        let device = vfio::device(group, &function.name());
        report("VFIO_GROUP_GET_DEVICE_FD", device.as_ref().map(vfio::number).map_err(|e| *e))?;
        devices.extend(device);
    }
    Ok(())
}

/// Prints the line of a call and turns a refusal into a failure.
fn report(call: &str, result: Result<i32, Errno>) -> Result<(), Failure> {
    report_with(call, result, "")
}

fn report_with(call: &str, result: Result<i32, Errno>, detail: &str) -> Result<(), Failure> {
    match result {
        Ok(value) if detail.is_empty() => println!("{call} = {value}"),
        Ok(value) => println!("{call} = {value} {detail}"),
        Err(errno) => {
            println!("{call} = -1 {}", vfio::errno_name(errno));
            return Err(Failure::Refused);
        }
    }
    Ok(())
}

/// Opens a node of VFIO. A missing one, or one that may not be opened, means that nothing was
/// tried; any other error is the kernel's refusal.
fn open(path: &str) -> Result<File, Failure> {
    let opened = File::options().read(true).write(true).open(path);
    opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(errno) if errno != Errno::NOENT && errno != Errno::ACCESS => {
            println!("open {path} = -1 {}", vfio::errno_name(errno));
            Failure::Refused
        }
        _ => Failure::NotTried(format!("cannot open {path}: {error}")),
    })
}

fn modprobe(module: &str) -> Result<(), String> {
    let done = Command::new("modprobe").arg(module).stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("cannot run modprobe {module}: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(format!("modprobe {module} failed: {}", said.trim().replace('\n', "; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        request(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_may_stand_anywhere() {
        let expected = Request {
            addresses: vec!["0000:00:03.0".parse().unwrap(), "0000:21:00.0".parse().unwrap()],
            bind: false,
        };
        assert_eq!(parse("00:03.0 --no-bind --path legacy 0000:21:00.0"), Ok(expected));
        assert!(parse("--path=legacy 00:03.0").unwrap().bind);
    }

    #[test]
    fn bad_arguments_are_told() {
        for line in ["", "--path cdev 00:03.0", "--path", "--other 00:03.0", "00:03", "zz:03.0"] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }
}
