//! What people brought, and the answer that is right for each: inputs kept beside the project, which
//! not everyone has.
#![expect(clippy::unwrap_used, reason = "in tests a failed unwrap is the failed assertion")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// Where the folders of the cases are, each with its input and `EXPECT.md`.
const CASES_DIR: &str = "FIELD_CASES_DIR";

/// One call of the program on one case.
struct Call {
    case: &'static str,
    /// Words of the command; a word that begins with `@` is a path below the case's folder.
    command: &'static str,
    status: Option<i32>,
    /// Verdicts of functions, in a JSON document of `check`.
    verdicts: &'static [(&'static str, &'static str)],
    /// Texts that must be printed; `|` separates texts of which one is enough.
    says: &'static [&'static str],
    never: &'static [&'static str],
}

const DEFAULT: Call =
    Call { case: "", command: "", status: None, verdicts: &[], says: &[], never: &[] };

const CALLS: &[Call] = &[
    Call {
        case: "01-x399-gpu-above-last-bus",
        command: "check --from @host",
        says: &["0000:43:00.0", "0000:43:00.1", "no IOMMU", "3f:1f", "of 27 devices"],
        status: Some(4),
        ..DEFAULT
    },
    Call {
        case: "01-x399-gpu-above-last-bus",
        command: "check --from @host 43:00.0",
        says: &["0000:43:00.0", "no IOMMU"],
        status: Some(4),
        ..DEFAULT
    },
    Call {
        case: "01-x399-gpu-above-last-bus",
        command: "report --for forum --from @host",
        says: &["0000:43:00.0", "no IOMMU"],
        never: &["firmware is not in the way", "firmware does not stand in the way"],
        ..DEFAULT
    },
    Call {
        case: "01-x399-gpu-above-last-bus",
        command: "decode @dmesg.txt",
        status: Some(0),
        says: &["00:01.0", "3f:1f.6", "ff:00.0", "ff:1f.7", "00:14.4", "128", "129", "HPET"],
        never: &["is not in the log"],
        ..DEFAULT
    },
    Call {
        case: "02-990fx-ioapic-not-in-ivrs",
        command: "decode @dmesg.txt",
        status: Some(0),
        says: &["IO-APIC|IOAPIC", "IOAPIC[7] not in IVRS table"],
        ..DEFAULT
    },
    Call {
        case: "02-990fx-ioapic-not-in-ivrs",
        command: "doctor --from @host",
        says: &["IOAPIC[7] not in IVRS table", "ivrs_ioapic[7]", "ivrs_ioapic[8]"],
        ..DEFAULT
    },
    Call {
        case: "03-epyc-four-iommus-wrapped",
        command: "decode @dmesg.txt",
        status: Some(0),
        says: &[
            "c0:01.0", "ff:1f.6", "80:01.0", "bf:1f.6", "40:01.0", "7f:1f.6", "00:01.0", "3f:1f.6",
            "ff:00.0", "ff:1f.7", "00:14.4", "241", "242", "243", "240", "244",
        ],
        never: &["is not in the log"],
        ..DEFAULT
    },
    Call {
        case: "06-qemu-log-quoted-printable",
        command: "decode @mail.txt",
        status: Some(0),
        says: &["00:04.0", "0b:00.0", "0c:1f.7", "0d:00.0", "0d:1f.7", "00:02.7"],
        ..DEFAULT
    },
    Call {
        case: "07-epyc-multi-segment",
        command: "decode @dmesg.txt",
        status: Some(0),
        says: &["0002", "beginning"],
        never: &["boot once with amd_iommu_dump", "boot with amd_iommu_dump"],
        ..DEFAULT
    },
    Call {
        case: "08-xen-ivmd-lines",
        command: "decode @a-lenovo.txt",
        says: &["Xen", "0xc9f1c000", "0xc9f41fff", "NVS"],
        never: &["amd_iommu_dump"],
        ..DEFAULT
    },
    Call {
        case: "08-xen-ivmd-lines",
        command: "decode @b-framework14.txt",
        says: &["Xen", "0x4f83f000", "0x4f87ffff"],
        never: &["amd_iommu_dump"],
        ..DEFAULT
    },
    Call {
        case: "09-rd890-acpidump-quoted-printable",
        command: "decode @mail.txt",
        status: Some(0),
        says: &["192 bytes", "RD890S", "00:00.1", "HPET"],
        ..DEFAULT
    },
    Call {
        case: "10-alienware-dmar-log",
        command: "decode @dmesg.txt",
        status: Some(0),
        says: &["0x371e5000", "0x37204fff", "0x38800000", "0x3cffffff"],
        never: &["no dump was found"],
        ..DEFAULT
    },
    Call {
        case: "11-dmar-length-runs-into-next",
        command: "decode @dmar.dsl",
        says: &["0x4341", "checksum"],
        ..DEFAULT
    },
    Call {
        case: "13-qemu-asl-diff",
        command: "decode @asl.diff",
        status: Some(0),
        says: &["diff", "176 bytes", "0x10", "0x11"],
        never: &["the lines before it are missing"],
        ..DEFAULT
    },
    Call {
        case: "14-b550-hex-array",
        command: "decode @ivrs.txt",
        status: Some(0),
        says: &["208 bytes", "0x11"],
        ..DEFAULT
    },
    Call {
        case: "15-iasl-2019-unknown-0x11",
        command: "decode @ivrs.dsl",
        status: Some(0),
        says: &["0x11"],
        ..DEFAULT
    },
    Call {
        case: "16-talos-simpledrm-holds-bar",
        command: "doctor --from @host c3:00.0",
        says: &["BOOTFB|simpledrm", "can't reserve"],
        never: &["require_direct is in the BTF"],
        ..DEFAULT
    },
    Call {
        case: "17-vfio-ids-but-nvme-won",
        command: "doctor --from @host 82:00.0",
        says: &["nvme", "vfio-pci", "softdep", "126f:2263"],
        ..DEFAULT
    },
    Call {
        case: "18-intel-iommu-on-no-groups",
        command: "doctor --from @host",
        says: &["switch the IOMMU on|VT-d"],
        ..DEFAULT
    },
    Call {
        case: "19-hypervisor-prefixed-xxd",
        command: "decode @new-only.txt",
        status: Some(0),
        says: &["0xfed93000", "0xbdc00000", "0xbfffffff"],
        never: &["the lines before it are missing"],
        ..DEFAULT
    },
    Call {
        case: "19-hypervisor-prefixed-xxd",
        command: "decode @new-only-no-prefix.txt",
        status: Some(0),
        says: &["0xfed93000", "0xbdc00000", "0xbfffffff"],
        never: &["the lines before it are missing"],
        ..DEFAULT
    },
    Call {
        case: "19-hypervisor-prefixed-xxd",
        command: "decode @hexdump-only.txt",
        status: Some(0),
        says: &["0xbdc00000"],
        ..DEFAULT
    },
    Call {
        case: "19-hypervisor-prefixed-xxd",
        command: "decode @all-three.txt",
        status: Some(0),
        says: &["0xbdc00000", "Table 1 of 3", "Table 3 of 3"],
        ..DEFAULT
    },
    Call {
        case: "20-map-dma-einval",
        command: "decode @journal.txt",
        says: &["VFIO_MAP_DMA|MAP_DMA"],
        ..DEFAULT
    },
    Call {
        case: "20-map-dma-einval",
        command: "decode @others.txt",
        says: &["VFIO_MAP_DMA|MAP_DMA"],
        ..DEFAULT
    },
    Call {
        case: "22-audio-function-host-driver",
        command: "doctor --from @host 01:00.0",
        says: &["snd_hda_intel", "01:00.1"],
        ..DEFAULT
    },
    Call {
        case: "22-audio-function-host-driver",
        command: "doctor --from @host 01:00.1",
        says: &["snd_hda_intel", "vfio-pci"],
        ..DEFAULT
    },
    Call {
        case: "24-lenovo-two-raid-ivmd-no-offsets",
        command: "decode @fields.txt",
        status: Some(0),
        says: &["42:00.0", "0x9f58d000", "0xa75ccfff", "43:00.0", "0x9754d000", "0x9f58cfff"],
        ..DEFAULT
    },
    Call {
        case: "24-lenovo-two-raid-ivmd-no-offsets",
        command: "check --json --from @host",
        status: Some(1),
        verdicts: &[("0000:42:00.0", "blocked"), ("0000:43:00.0", "blocked")],
        ..DEFAULT
    },
    Call {
        case: "24-lenovo-two-raid-ivmd-no-offsets",
        command: "check --from @host-without-iommu-links",
        says: &["0x9f58d000", "0x9754d000"],
        never: &["covers no PCI function", "could not be read"],
        ..DEFAULT
    },
    Call {
        case: "24-lenovo-two-raid-ivmd-no-offsets",
        command: "check --from @host-without-iommu-links-and-regions",
        never: &["covers no PCI function", "table could not be read"],
        ..DEFAULT
    },
    Call {
        case: "26-hp-bl460c-rmrr-four-of-eight",
        command: "check --json --from @host",
        status: Some(1),
        verdicts: &[
            ("0000:00:02.0", "clear"),
            ("0000:04:00.0", "blocked"),
            ("0000:04:00.1", "blocked"),
            ("0000:04:00.2", "blocked"),
            ("0000:04:00.3", "blocked"),
        ],
        ..DEFAULT
    },
    Call {
        case: "26-hp-bl460c-rmrr-four-of-eight",
        command: "decode @xen.txt",
        status: Some(0),
        says: &["Xen", "0xbdf8f000", "0xbdf92fff", "04:00.0"],
        ..DEFAULT
    },
    Call {
        case: "27-openxt-rmrr-for-absent-device",
        command: "check --json --from @host",
        status: Some(0),
        verdicts: &[("0000:00:14.0", "clear"), ("0000:00:02.0", "clear")],
        ..DEFAULT
    },
    Call {
        case: "27-openxt-rmrr-for-absent-device",
        command: "check --from @host-without-iommu-links",
        says: &["00:16.7"],
        never: &[
            "endpoint 00:14.0, where this host has no PCI function",
            "endpoint 00:02.0, where this host has no PCI function",
        ],
        ..DEFAULT
    },
    Call {
        case: "27-openxt-rmrr-for-absent-device",
        command: "decode @xen.txt",
        status: Some(0),
        says: &["Xen", "0x78907000", "0x78986fff", "00:16.7"],
        ..DEFAULT
    },
    false_clear("check --json --from @a-direct-and-cut-line", &[("0000:00:03.0", "blocked")]),
    false_clear("check --json --from @a2-same-without-table", &[("0000:00:03.0", "blocked")]),
    false_clear("check --json --from @b-checksum-no-regions", &[("0000:00:03.0", "unknown")]),
    false_clear("check --json --from @d-no-ivhd", &[("0000:00:03.0", "unknown")]),
    false_clear("check --json --from @e-dmar-fatal", &[("0000:00:03.0", "unknown")]),
    false_clear("check --json --from @g-group-without-devices", &[("0000:00:03.0", "blocked")]),
    false_clear(
        "check --json --from @i-member-link-lost",
        &[("0000:00:03.0", "blocked"), ("0000:00:04.0", "blocked")],
    ),
    Call {
        case: "hostile",
        command: "check --from @ivrs-556k.ivt",
        never: &["memory allocation"],
        ..DEFAULT
    },
    Call { case: "hostile", command: "check --from @group-add-one-60k.ivt", ..DEFAULT },
];

const fn false_clear(
    command: &'static str,
    verdicts: &'static [(&'static str, &'static str)],
) -> Call {
    Call { case: "false-clear", command, verdicts, ..DEFAULT }
}

/// The memory that one call may have, in KiB of address space: what is read from outside has bounds.
const MEMORY_KIB: u64 = 1 << 20;

#[test]
fn what_people_brought_is_answered_rightly() {
    let Some(folder) = std::env::var_os(CASES_DIR) else {
        eprintln!("skipped: {CASES_DIR} does not name a folder of field cases");
        return;
    };
    let copy = tempfile::tempdir().unwrap();
    copy_with_links(Path::new(&folder), copy.path());
    // Empty folders get lost where links do. This one is what the case is about.
    fs::create_dir_all(
        copy.path().join("18-intel-iommu-on-no-groups/host/sys/kernel/iommu_groups"),
    )
    .unwrap();
    let wrong: Vec<_> = CALLS
        .iter()
        .flat_map(|call| {
            let at = format!("{}: ivrs-trace {}", call.case, call.command);
            faults(call, &copy.path().join(call.case))
                .into_iter()
                .map(move |it| format!("{at}: {it}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn faults(call: &Call, folder: &Path) -> Vec<String> {
    let words: Vec<_> = call
        .command
        .split(' ')
        .map(|word| match word.strip_prefix('@') {
            Some(path) => folder.join(path).to_string_lossy().into_owned(),
            None => word.to_owned(),
        })
        .collect();
    // The shell sets the bound, which the standard library has no safe call for.
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -v {MEMORY_KIB}; exec \"$@\""), "sh"])
        .arg(env!("CARGO_BIN_EXE_ivrs-trace"))
        .args(&words)
        .env("COLUMNS", "80")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let printed = plain(&format!("{stdout}\n{}", String::from_utf8_lossy(&output.stderr)));
    let mut faults = Vec::new();
    match (output.status.code(), call.status) {
        (None | Some(101), _) => faults.push(format!("ended with {}", output.status)),
        (got, Some(wanted)) if got != Some(wanted) => {
            faults.push(format!("ended with {}, wanted {wanted}", output.status));
        }
        _ => {}
    }
    for wanted in call.says {
        if !wanted.split('|').any(|one| printed.contains(&plain(one))) {
            faults.push(format!("does not say {wanted:?}"));
        }
    }
    for unwanted in call.never {
        if printed.contains(&plain(unwanted)) {
            faults.push(format!("says {unwanted:?}"));
        }
    }
    if !call.verdicts.is_empty() {
        let document: Value = serde_json::from_str(&stdout).unwrap_or_default();
        for (bdf, wanted) in call.verdicts {
            let devices = document.get("devices").and_then(Value::as_array).into_iter().flatten();
            let field = |device: &Value, name: &str| Some(device.get(name)?.as_str()?.to_owned());
            let got = devices
                .filter(|device| field(device, "bdf").as_deref() == Some(bdf))
                .find_map(|device| field(device, "verdict"))
                .unwrap_or_else(|| "not listed".to_owned());
            if got != *wanted {
                faults.push(format!("{bdf} is {got}, wanted {wanted}"));
            }
        }
    }
    faults
}

/// In one case and on one line, as where a line breaks means nothing.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Copies a folder, and makes links again of the files that hold only a path: a link becomes such a
/// file where the cases are carried by something that knows no links.
fn copy_with_links(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_with_links(&from, &to);
        } else if kind.is_symlink() {
            symlink(fs::read_link(&from).unwrap(), &to).unwrap();
        } else if let Some(target) = link_in_a_file(&from) {
            symlink(target, &to).unwrap();
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

fn link_in_a_file(path: &Path) -> Option<PathBuf> {
    let text = fs::read(path).ok().filter(|bytes| bytes.len() < 300)?;
    let text = String::from_utf8(text).ok()?;
    (text.starts_with("../") && !text.contains('\n')).then(|| PathBuf::from(text))
}
