//! What the command line asks for.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use ivrs_trace::pci::Bdf;

pub(crate) const USAGE: &str = "\
usage: vfio-attach BDF... [OPTION]...

Binds all functions of each device's group to vfio-pci, attaches the devices as a virtual machine
monitor does, and releases them (they stay bound). Prints one line a call: CALL = RESULT, or
CALL = -1 ERRNO. Exit status: 0 all attached, 1 refused, 2 could not try.

  --path PATH        how to attach them:
      legacy           group files in a container of VFIO (the default); goes on when a group is not
                       viable, for the kernel's own answer
      status           as legacy, but gives up when a group is not viable, as QEMU does
      compat           group files with /dev/iommu in the container's place
      cdev             device files and /dev/iommu
  --noiommu          attach devices without IOMMU (needs enable_unsafe_noiommu_mode; path legacy)
  --no-bind          bind nothing
  --bind-only-these  bind the devices, not the rest of their groups
  --conflict[=IOVA]  map a page at IOVA (0xfee00000, where interrupts go, if not given) before a
                     device is added: cdev and compat before the first one, legacy and status
                     after the first one
  --vanish           remove the first device from its bus when its group is open and was asked
                     for its status (group paths; 'echo 1 > /sys/bus/pci/rescan' brings it back)
  --hold SECONDS     keep the devices for so long
  --repeat N         attach and release N times, and print only how often each result came

Owned by another user: two processes on two functions of one group, the first with
'--path cdev --hold 10', the second with '--path cdev --no-bind' a moment later.";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    Legacy,
    Status,
    Compat,
    Cdev,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bind {
    Groups,
    These,
    Nothing,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) addresses: Vec<Bdf>,
    pub(crate) path: Path,
    pub(crate) noiommu: bool,
    pub(crate) bind: Bind,
    pub(crate) conflict: Option<u64>,
    pub(crate) vanish: bool,
    pub(crate) hold: Duration,
    pub(crate) repeat: NonZeroU32,
}

/// Where an x86 device writes its interrupts to.
const INTERRUPTS: u64 = 0xfee0_0000;

impl Request {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut request = Self {
            addresses: Vec::new(),
            path: Path::Legacy,
            noiommu: false,
            bind: Bind::Groups,
            conflict: None,
            vanish: false,
            hold: Duration::ZERO,
            repeat: NonZeroU32::MIN,
        };
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            let (name, given) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument, None),
            };
            let mut value = || given.or_else(|| arguments.next()).unwrap_or_default();
            match name {
                "--path" => request.path = path(value())?,
                "--hold" => {
                    request.hold = Duration::from_secs(number(value(), "--hold", "seconds")?);
                }
                "--repeat" => request.repeat = number(value(), "--repeat", "times, 1 or more")?,
                "--conflict" => request.conflict = Some(given.map_or(Ok(INTERRUPTS), iova)?),
                _ if given.is_some() => return Err(format!("unknown option {argument}")),
                "--noiommu" => request.noiommu = true,
                "--no-bind" => request.bind = Bind::Nothing,
                "--bind-only-these" => request.bind = Bind::These,
                "--vanish" => request.vanish = true,
                _ if argument.starts_with('-') => {
                    return Err(format!("unknown option {argument} (--help lists the known ones)"));
                }
                _ => request.addresses.push(argument.parse::<Bdf>().map_err(|e| e.to_string())?),
            }
        }
        if request.addresses.is_empty() {
            return Err("no device given, like 0000:00:03.0 or 00:03.0".to_owned());
        }
        if request.noiommu && request.path != Path::Legacy {
            return Err("--noiommu goes with the path legacy only".to_owned());
        }
        if request.vanish && request.path == Path::Cdev {
            return Err("--vanish goes with the paths by group only: a device does not go while \
                        its device file is open"
                .to_owned());
        }
        Ok(request)
    }
}

fn number<T: FromStr>(text: &str, option: &str, of: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{option} takes a number of {of}, not {text:?}"))
}

fn path(text: &str) -> Result<Path, String> {
    match text {
        "legacy" => Ok(Path::Legacy),
        "status" => Ok(Path::Status),
        "compat" => Ok(Path::Compat),
        "cdev" => Ok(Path::Cdev),
        _ => Err(format!("--path takes legacy, status, compat or cdev, not {text:?}")),
    }
}

fn iova(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
    digits
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| format!("--conflict takes an address like 0xfee00000, not {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        Request::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_may_stand_anywhere() {
        let expected = Request {
            addresses: vec!["0000:00:03.0".parse().unwrap(), "0000:21:00.0".parse().unwrap()],
            path: Path::Cdev,
            noiommu: false,
            bind: Bind::Nothing,
            conflict: Some(0x7a2d_9000),
            vanish: false,
            hold: Duration::from_secs(5),
            repeat: NonZeroU32::new(10_000).unwrap(),
        };
        let line = "00:03.0 --no-bind --path cdev --hold=5 0000:21:00.0 --repeat 10000 \
                    --conflict=0x7a2d9000";
        assert_eq!(parse(line), Ok(expected));
        let plain = parse("00:03.0 --conflict --path=status").unwrap();
        assert_eq!((plain.path, plain.bind), (Path::Status, Bind::Groups));
        assert_eq!((plain.conflict, plain.repeat.get()), (Some(0xfee0_0000), 1));
    }

    #[test]
    fn bad_arguments_are_told() {
        for line in [
            "",
            "--path other 00:03.0",
            "00:03.0 --path",
            "--other 00:03.0",
            "--vanish=1 00:03.0",
            "00:03",
            "zz:03.0",
            "00:03.0 --repeat 0",
            "00:03.0 --hold -1",
            "00:03.0 --conflict=fee00000",
            "00:03.0 --noiommu --path cdev",
            "00:03.0 --vanish --path cdev",
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }
}
