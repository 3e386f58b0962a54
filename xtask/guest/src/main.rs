//! `vfio-attach`: attaches PCI devices to user space as QEMU does, and prints what each call
//! returned.
//!
//! It binds the devices' groups to vfio-pci, attaches the devices in one of the kernel's ways, and
//! releases them at its end (they stay bound). It resets nothing, and maps memory only to make
//! the kernel refuse a device for it.

mod attach;
mod ioctl;
mod iommufd;
mod pci;
mod request;
mod vfio;

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use attach::{Failure, Log};
use pci::Function;
use request::{Bind, Request, USAGE};

fn main() -> ExitCode {
    let arguments: Vec<String> =
        env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match Request::parse(&arguments).map_err(Failure::from).and_then(|request| run(&request)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Refused(_)) => ExitCode::from(1),
        Err(Failure::NotTried(why)) => {
            eprintln!("vfio-attach: {why}");
            ExitCode::from(2)
        }
    }
}

fn run(request: &Request) -> Result<(), Failure> {
    let functions: Vec<Function> = request
        .addresses
        .iter()
        .map(|address| {
            let function = Function::find(*address)?;
            if function.is_bridge()? {
                return Err(format!("{address} is a PCI bridge: VFIO attaches endpoints only"));
            }
            // Without an IOMMU, the group comes with the binding.
            if !request.noiommu {
                function.group_of_iommu()?;
            }
            Ok(function)
        })
        .collect::<Result<_, String>>()?;
    bind(request, &functions)?;
    let groups = functions.iter().map(Function::group_of_iommu).collect::<Result<Vec<_>, _>>()?;
    let functions: Vec<_> = functions.into_iter().zip(groups).collect();

    let times = request.repeat.get();
    if times == 1 {
        return attach::once(request, &functions, Log { shown: true });
    }
    let mut results: BTreeMap<String, u32> = BTreeMap::new();
    let mut last_refusal = None;
    for _ in 0..times {
        let result = match attach::once(request, &functions, Log { shown: false }) {
            Ok(()) => "all taken".to_owned(),
            Err(Failure::Refused(line)) => {
                last_refusal = Some(line.clone());
                line
            }
            Err(failure) => return Err(failure),
        };
        let count = results.entry(result).or_default();
        *count = count.saturating_add(1);
    }
    for (result, count) in &results {
        println!("{count} times: {result}");
    }
    last_refusal.map_or(Ok(()), |line| Err(Failure::Refused(line)))
}

fn bind(request: &Request, functions: &[Function]) -> Result<(), String> {
    if request.bind == Bind::Nothing {
        return Ok(());
    }
    if !Path::new(pci::VFIO_PCI).exists() {
        modprobe("vfio-pci")?;
    }
    if !Path::new("/sys/module/vfio_iommu_type1").exists() {
        modprobe("vfio_iommu_type1")?;
    }
    for function in functions {
        if request.noiommu || request.bind == Bind::These {
            function.bind()?;
        } else {
            pci::bind_group(&function.group_of_iommu()?)?;
        }
    }
    Ok(())
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
