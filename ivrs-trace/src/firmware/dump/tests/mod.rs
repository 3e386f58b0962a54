//! Tables printed as the tools print them, read back; then cut, damaged and mixed.

mod listings;
mod logs;
mod printers;

use std::{collections::BTreeSet, fs, process::Command};

use proptest::prelude::*;

use self::printers::{PRINTERS, Printer, kernel_log};
use super::*;
use crate::{
    firmware::{
        Ivrs,
        amd::{
            builder::{IvhdSpec, IvmdSpec, IvrsBuilder},
            device_entry::DeviceEntry,
            ivrs::{IvmdFlags, IvmdKind},
        },
    },
    pci::{Devid, Segment},
};

/// The shape of an AM5 board's table, `padding` bytes longer than 168.
fn table_with(padding: usize) -> Vec<u8> {
    let ivmd = |start: u64| -> IvmdSpec {
        format!("type=0x22,flags=8,devid=0,aux=0x0fff,start={start:#x},length=0x1000")
            .parse()
            .unwrap()
    };
    let mut reserved = vec![0; 24 + padding];
    let length = u16::try_from(reserved.len()).unwrap().to_le_bytes();
    reserved[0] = 0x51;
    reserved[2..4].copy_from_slice(&length);
    IvrsBuilder::new()
        .ivhd(IvhdSpec {
            entries: vec![DeviceEntry::Range {
                first: Devid(3),
                last: Devid(0xfffe),
                settings: 0xd7,
            }],
            ..IvhdSpec::default()
        })
        .ivmd(ivmd(0x872d_9000))
        .ivmd(ivmd(0x872d_8000))
        .raw(reserved)
        .build()
        .unwrap()
}

fn table() -> Vec<u8> {
    table_with(0)
}

/// What an input holds, where that is one table or log.
fn read_one(input: &[u8]) -> Result<Dump, DumpError> {
    read(input).map(|found| <[Dump; 1]>::try_from(found).unwrap()).map(|[one]| one)
}

fn read_tables(text: &str) -> Vec<TableDump> {
    let table = |dump| match dump {
        Dump::Table(table) => table,
        Dump::Log(log) => panic!("{log:?}\n{text}"),
    };
    read(text.as_bytes())
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
        .into_iter()
        .map(table)
        .collect()
}

fn read_table(text: &str) -> TableDump {
    let [table] = <[TableDump; 1]>::try_from(read_tables(text)).unwrap();
    table
}

fn read_log(text: &str) -> Log {
    match read_one(text.as_bytes()) {
        Ok(Dump::Log(log)) => *log,
        other => panic!("{other:?}\n{text}"),
    }
}

/// Form, line and problem of an error.
fn bad(text: &str) -> (Form, Option<usize>, Problem) {
    match read(text.as_bytes()) {
        Err(DumpError::Bad { form, line, problem }) => (form, line, problem),
        other => panic!("{other:?}\n{text}"),
    }
}

fn print(command: &str, table: &[u8]) -> String {
    let printer = PRINTERS.iter().find(|printer| printer.command == command).unwrap();
    (printer.print)(table)
}

/// The lines without the one numbered `number` from 1.
fn without_line(text: &str, number: usize) -> String {
    let kept = text.lines().enumerate().filter(|(at, _)| at + 1 != number);
    kept.map(|(_, line)| format!("{line}\n")).collect::<Vec<_>>().concat()
}

#[test]
fn reads_what_every_tool_prints() {
    for padding in [0, 1, 2, 7, 8, 40, 300] {
        let table = table_with(padding);
        for Printer { command, form, print } in PRINTERS {
            let dump = read_table(&print(&table));
            assert_eq!((dump.form, &dump.table), (*form, &table), "{command}");
            assert!(dump.notes.is_empty(), "{command}: {:?}", dump.notes);
        }
    }
}

#[test]
fn reads_a_binary() {
    let mut input = table();
    let expected = TableDump {
        form: Form::Binary,
        lines: None,
        table: table(),
        headless: false,
        notes: Vec::new(),
    };
    assert_eq!(read_one(&input), Ok(Dump::Table(expected)));

    input.extend([0xff; 3]);
    let dump = read_one(&input).unwrap();
    assert_eq!(dump.notes(), ["3 bytes follow the table's end"]);
    let Dump::Table(dump) = dump else { panic!("{dump:?}") };
    assert_eq!(dump.table, input, "bytes behind the table are the parser's to count");

    let cut = Problem::Cut { have: 100, length: Some(168) };
    let expected = DumpError::Bad { form: Form::Binary, line: None, problem: cut };
    assert_eq!(read(&table()[..100]), Err(expected.clone()));
    assert_eq!(
        expected.to_string(),
        "taken for a binary table: the dump ends after 100 bytes, but the table's header says that \
         it has 168; copy the dump again to its last line"
    );
}

#[test]
fn refuses_what_is_no_dump() {
    assert_eq!(read(b""), Err(DumpError::Empty));
    assert_eq!(read(b" \r\n\n"), Err(DumpError::Empty));
    assert_eq!(read(b"cat: IVRS: Permission denied\n"), Err(DumpError::Unrecognised));
    let large = vec![b'\n'; INPUT_LIMIT + 1];
    assert_eq!(read(&large), Err(DumpError::InputTooLarge { length: large.len() }));
    assert_eq!(read(&[0; 64]), Err(DumpError::NotText { signature: None }));
    for (name, words) in [("APIC", "not with \"IVRS\" or \"DMAR\""), ("IORT", "of ARM machines")] {
        let error = read(&[name.as_bytes(), &[0; 60]].concat()).unwrap_err();
        assert_eq!(error, DumpError::NotText { signature: Some(name.to_owned()) });
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_table_that_lies_about_its_length_is_bounded() {
    let huge = IvrsBuilder::new().table_length(u32::MAX).build().unwrap();
    let (_, _, problem) = bad(&print("xxd", &huge));
    assert_eq!(problem, Problem::TooLong { length: 0xffff_ffff });
    // Less than the header is left to the parser, which says so.
    let small = IvrsBuilder::new().table_length(4).build().unwrap();
    let dump = read_table(&print("xxd", &small));
    assert!(Ivrs::parse(&dump.table).unwrap_err().to_string().contains("has 4 bytes"));
}

#[test]
fn repeated_rows_are_filled_in_up_to_the_limit() {
    for command in ["hexdump -C", "hexdump", "od", "od -t x1"] {
        let table = table_with(300);
        let text = print(command, &table);
        assert!(text.contains("\n*\n"), "{text}");
        assert_eq!(read_table(&text).table, table, "{command}");

        // The fill is as long as the next offset says, and that may be any number.
        let offset =
            |at| if command.starts_with("od") { format!("{at:o}") } else { format!("{at:x}") };
        let head: String =
            text.lines().take(2).map(|line| format!("{line}\n")).collect::<Vec<_>>().concat();
        let at = 2 * TABLE_LIMIT;
        let (_, line, problem) = bad(&format!("{head}*\n0{:0>7}\n", offset(at)));
        let found = u64::try_from(at).unwrap();
        assert_eq!((line, problem), (Some(4), Problem::Jump { expected: 32, found }), "{command}");
    }
}

#[test]
fn a_dump_that_ends_with_a_star_is_cut() {
    let text = print("hexdump", &table_with(300));
    let star = 1 + text.lines().position(|line| line == "*").unwrap();
    let head: String =
        text.lines().take(star).map(|line| format!("{line}\n")).collect::<Vec<_>>().concat();
    let (form, line, problem) = bad(&head);
    assert_eq!((form, line), (Form::Hexdump, Some(star)));
    assert!(matches!(problem, Problem::Cut { have: 176, length: Some(468) }), "{problem:?}");
}

#[test]
fn a_line_missing_beside_a_star_is_told_by_the_checksum() {
    let text = print("hexdump -C", &table_with(300));
    let star = 1 + text.lines().position(|line| line == "*").unwrap();
    assert_eq!(read_table(&text).notes, [""; 0]);
    // The row of zeros that is repeated, so that the one before it is.
    let dump = read_table(&without_line(&text, star - 1));
    assert_ne!(dump.table, table_with(300));
    assert!(dump.notes[0].starts_with("the checksum is wrong"), "{:?}", dump.notes);
}

#[test]
fn text_around_and_marks_before_do_not_matter() {
    for Printer { command, form, print } in PRINTERS {
        let plain = print(&table());
        let lines = |before: &str, after: &str| -> String {
            plain
                .lines()
                .map(|line| format!("{before}{line}{after}\n"))
                .collect::<Vec<_>>()
                .concat()
        };
        let prompt = "root@host:~# hexdump /sys/firmware/acpi/tables/IVRS\n";
        let dressed = [
            format!("{prompt}{plain}root@host:~# exit\n"),
            format!("Hi all,\n\nthis is from my board:\n\n```\n{plain}```\nWhat does it mean?\n"),
            lines("", "\r"),
            lines("\t", ""),
            lines("        ", "   "),
            lines("> ", ""),
            lines("> > ", "\r"),
            lines(">>", ""),
            lines("\u{1b}[32m", "\u{1b}[0m"),
            lines("\u{1b}]0;title\u{7}\u{a0}", "\u{1b}[K"),
            format!("\u{feff}{plain}"),
            plain.trim_end().to_owned(),
        ];
        for text in dressed {
            let dump = read_table(&text);
            assert_eq!((dump.form, dump.table), (*form, table()), "{command}\n{text}");
        }
    }
}

#[test]
fn columns_may_be_squeezed_or_missing() {
    let squeezed = |text: String| -> String {
        let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n";
        text.lines().map(line).collect()
    };
    for Printer { command, print, .. } in PRINTERS {
        assert_eq!(read_table(&squeezed(print(&table()))).table, table(), "{command}");
    }
    for command in ["xxd", "xxd -g1", "xxd -g4", "acpidump -f", "iasl -d"] {
        let text = print(command, &table());
        let hex = |line: &str| line.trim_start().split("  ").next().unwrap().to_owned() + "\n";
        assert_eq!(read_table(&text.lines().map(hex).collect::<String>()).table, table());
        let tabs = text.replace("  ", "\t");
        assert_eq!(read_table(&tabs).table, table(), "{command}");
    }
}

#[test]
fn other_tables_are_passed_over() {
    let other = |name: &str| {
        let bytes: Vec<u8> = name.bytes().chain([0x7f; 60]).collect();
        print("acpidump -f", &bytes).replace("IVRS @", &format!("{name} @"))
    };
    let ours = print("acpidump -f", &table());
    let all = format!("{}{}{ours}{}", other("FACP"), other("APIC"), other("SSDT"));
    let dump = read_table(&all);
    assert_eq!((dump.form, dump.table, dump.notes.len()), (Form::Acpidump, table(), 0));

    let (form, line, problem) = bad(&format!("{}{}", other("FACP"), other("APIC")));
    let found = vec!["FACP".to_owned(), "APIC".to_owned()];
    assert_eq!((form, line), (Form::Acpidump, Some(2)));
    assert_eq!(problem, Problem::OtherTables { found });
}

#[test]
fn several_tables_are_all_read() {
    let (first, second) = (print("xxd", &table()), print("hexdump -C", &table_with(8)));
    let found = read_tables(&format!("{first}{second}"));
    assert_eq!(found.iter().map(|one| &one.table).collect::<Vec<_>>(), [&table(), &table_with(8)]);
    assert_eq!(found[0].lines, Some((1, 11)));
    assert_eq!(found[1].lines, Some((12, 12 + 11)));
    assert!(found.iter().all(|one| one.notes.is_empty()), "{found:?}");
    // One that is damaged is not left out in silence.
    let [found] = read_tables(&format!("{}{second}", without_line(&first, 5))).try_into().unwrap();
    assert_eq!(found.table, table_with(8));
    let note = "another table is not used: taken for xxd text, line 5: the offset is 0x50";
    assert!(found.notes[0].starts_with(note), "{:?}", found.notes);
}

#[test]
fn says_where_a_line_is_missing() {
    let rows = ["xxd", "hexdump -C", "hexdump -v", "od -v", "od -t x1", "od -x", "acpidump -f"];
    for command in rows {
        let text = print(command, &table());
        let header = usize::from(command.starts_with("acpi"));
        let (form, line, problem) = bad(&without_line(&text, 3 + header));
        assert_eq!(line, Some(3 + header), "{command}");
        assert_eq!(problem, Problem::Jump { expected: 0x20, found: 0x30 }, "{command} {form}");
        // The first line of the bytes.
        let (_, line, problem) = bad(&without_line(&text, 1 + header));
        assert_eq!(line, Some(1 + header), "{command}");
        assert_eq!(problem, Problem::NoStart { offset: 0x10 }, "{command}");
    }
    // acpidump's own line is not needed.
    assert_eq!(read_table(&without_line(&print("acpidump -f", &table()), 1)).table, table());
}

#[test]
fn says_where_lines_go_back() {
    for command in ["xxd", "hexdump -C", "hexdump", "od"] {
        let text = print(command, &table());
        let mut lines: Vec<_> = text.lines().collect();
        lines.insert(4, lines[3]);
        let (_, line, problem) = bad(&lines.join("\n"));
        assert_eq!(line, Some(5), "{command}");
        assert_eq!(problem, Problem::Back { expected: 0x40, found: 0x30 }, "{command}");
    }
}

#[test]
fn says_where_digits_are_wrong() {
    let cases = [
        ("xxd", "4255", "425S", 2),
        ("hexdump -C", " 42 55 49", " 42 5 49", 2),
        ("hexdump", " 5542", " 5b5542", 2),
        ("od", " 052502", " 052582", 2),
        ("od -t x1", " 42 55", " 42 g5", 2),
        ("acpidump -f", " 42 55", " 42 U5", 3),
        ("xxd -p", "425549", "42554g", 1),
    ];
    for (command, right, wrong, at) in cases {
        let text = print(command, &table());
        let damaged = text.replacen(right, wrong, 1);
        assert_ne!(text, damaged, "{command}");
        let (_, line, problem) = bad(&damaged);
        assert_eq!(line, Some(at), "{command}: {problem}");
        assert!(matches!(problem, Problem::BadDigits { .. }), "{command}: {problem}");
    }
}

#[test]
fn words_that_are_swapped_say_so() {
    // What `xxd -e` prints.
    let text = "00000000: 53525649 000000b8 5649c202 53525452  IVRS......IVRSTR\n\
                00000010: 4c495542 20524544 00000001 54525649  BUILDER ....IVRT\n";
    let (form, line, problem) = bad(text);
    assert_eq!((form, line, problem), (Form::Xxd, Some(1), Problem::Swapped));
}

#[test]
fn every_cut_is_named_or_costs_nothing() {
    for Printer { command, form, print } in PRINTERS {
        for table in [table(), table_with(301)] {
            let text = print(&table);
            for (at, _) in text.char_indices().skip(1) {
                // Every character in the short table, every line in the other.
                if table.len() > 200 && !text[..at].ends_with('\n') {
                    continue;
                }
                let lines = text[..at].lines().count();
                match read_one(&text.as_bytes()[..at]) {
                    Ok(Dump::Table(dump)) => assert_eq!(dump.table, table, "{command} at {at}"),
                    Ok(Dump::Log(log)) => panic!("{command} at {at}: {log:?}"),
                    Err(DumpError::Bad { form: taken, line, problem }) => {
                        // Before the second line no one can know what it is, and of iasl's the
                        // fields come before the raw data.
                        let fields = command.contains("iasl") && taken == Form::Fields;
                        assert!(
                            lines < 4 || taken == *form || fields,
                            "{command} at {at}: {taken}"
                        );
                        let line = line.unwrap();
                        assert!(line <= lines && line + 2 >= lines.min(line + 2), "{problem}");
                    }
                    Err(DumpError::Unrecognised | DumpError::Empty) => {
                        let words_of_iasl = command.contains("iasl") && lines < 12;
                        assert!(lines <= 2 || words_of_iasl, "{command} at {at}");
                    }
                    Err(error) => panic!("{command} at {at}: {error}"),
                }
            }
        }
    }
}

const RANGE: &str = "IVMD_TYPE_RANGE\t\t devid_start: 0000:00:00.0 devid_end: 0000:0f:1f.7 \
                     range_start: 00000000872d9000 range_end: 00000000872da000 flags: 8";
const DEVICE: &str = "IVMD_TYPEi\t\t\t devid_start: 0001:c4:00.7 devid_end: 0001:c4:00.7 \
                      range_start: 0000000000000000 range_end: 0000000000000000 flags: f";
const ALL: &str = "IVMD_TYPE_ALL\t\t devid_start: 00:00.0 devid_end: 22:1f.7 \
                   range_start: 000000007ffe0000 range_end: 0000000080000000 flags: 7";

#[test]
fn reads_a_kernel_log() {
    let lines = ["PCI segment : 0x0, last bdf : 0xfffe", RANGE, DEVICE, ALL];
    let expected = |kind, segment, devid_start, devid_end, start, end_exclusive, flags| IvmdLine {
        line: 0,
        kind,
        segment: Segment(segment),
        devid_start: Devid(devid_start),
        devid_end: Devid(devid_end),
        start,
        end_exclusive,
        flags: IvmdFlags(flags),
    };
    let entries = [
        expected(IvmdKind::Range, 0, 0, 0x0fff, 0x872d_9000, 0x872d_a000, 8),
        expected(IvmdKind::Device, 1, 0xc407, 0xc407, 0, 0, 0xf),
        expected(IvmdKind::All, 0, 0, 0x22ff, 0x7ffe_0000, 0x8000_0000, 7),
    ];
    let entries: Vec<_> =
        (2..).zip(entries).map(|(line, entry)| IvmdLine { line, ..entry }).collect();
    let segments = vec![LastBdf { segment: Segment(0), devid: Devid(0xfffe) }];
    let expected = Log { entries, segments, ..Log::default() };

    let twice = kernel_log("AMD-Vi: AMD-Vi: ", &lines);
    let journal: String =
        lines.map(|line| format!("Mar 28 20:00:01 host kernel: AMD-Vi: {line}\n")).concat();
    for text in [
        kernel_log("AMD-Vi: ", &lines),
        twice.replace('\t', "\\x09"),
        twice.replace('\t', "#011").replace('\n', "\r\n"),
        twice.replace('[', "> \u{1b}[32m[").replace(']', "]\u{1b}[0m"),
        twice,
        journal,
        lines.join("\n"),
    ] {
        assert_eq!(read_log(&text), expected, "{text}");
    }
}

#[test]
fn of_several_boots_the_last_counts() {
    let segment = "PCI segment : 0x0, last bdf : 0x22ff";
    let log = read_log(&kernel_log("AMD-Vi: ", &[segment, RANGE, RANGE, segment, RANGE]));
    assert_eq!((log.entries.len(), log.segments.len()), (1, 1));
    assert_eq!(log.notes, ["the log has 2 boots: the last one is used"]);
    let log = read_log(&format!("Linux version 5.15\n{RANGE}\nLinux version 5.15\n{ALL}\n"));
    assert_eq!(log.entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [4]);
    // The last one may list nothing, and firmware may have said something before the table's lines.
    let log = read_log(&format!("Linux version 5.15\n{RANGE}\n-- Reboot --\nLinux version 5.15\n"));
    assert_eq!(log.entries.len(), 1);
    assert_eq!(log.notes, ["the last boot in the log lists no table: the one before is used"]);
    let early = "DMAR: [Firmware Bug]: Your BIOS is broken; DMAR reported at address 0!\n";
    let log = read_log(&format!("Linux version 5.15\n{early}DMAR: Host address width 39\n"));
    assert_eq!((log.width, log.remarks.len()), (Some(39), 1));
}

#[test]
fn a_line_that_is_quoted_again_is_no_boot() {
    let iommu = "device: 0000:00:00.2 cap: 0040 flags: b0 info 0000";
    let entry = "  DEV_SELECT\t\t\t devid: 0000:00:01.0 flags: 00";
    let amd = kernel_log("AMD-Vi: ", &[iommu, entry, RANGE]);
    let drhd = "DRHD base: 0x000000fed91000 flags: 0x1";
    let registers = "dmar0: reg_base_addr fed91000 ver 1:0 cap d2008c40660462 ecap f050da";
    let rmrr = "RMRR base: 0x0000008a785000 end: 0x0000008a7a4fff";
    let intel = kernel_log("DMAR: ", &["Host address width 39", drhd, registers, rmrr]);
    for (log, line) in [(&amd, iommu), (&intel, drhd), (&intel, "Host address width 39")] {
        let whole = read_log(log);
        let quoted = read_log(&format!("{log}\nThe line that I do not understand is\n> {line}\n"));
        assert_eq!(quoted, whole, "{line}");
        let twice = read_log(&format!("{log}{log}"));
        assert_eq!(twice.notes, ["the log has 2 boots: the last one is used"]);
        let listed = |log: &Log| (log.entries.len(), log.rmrrs.len(), log.units.len());
        assert_eq!(listed(&twice), listed(&whole));
    }
}

#[test]
fn a_cut_line_of_a_kernel_log_is_named() {
    for at in "IVMD_TYPE".len()..RANGE.len() {
        let (form, line, problem) = bad(&format!("[0.1] AMD-Vi: {}\n", &RANGE[..at]));
        assert_eq!((form, line), (Form::KernelLog, Some(1)), "{problem}");
        assert!(matches!(problem, Problem::LogField { .. }), "{problem}");
    }
}

#[test]
fn a_table_counts_more_than_a_log() {
    let log = kernel_log("AMD-Vi: ", &[RANGE]);
    let text = print("xxd", &table());
    assert_eq!(read_table(&format!("{log}{text}")).table, table());
    let notes = read_log(&format!("{log}{}", without_line(&text, 4))).notes;
    assert!(notes[0].contains("line 5: the offset is 0x40"), "{notes:?}");
}

/// Runs on the tools that this machine has; the others are passed over.
#[test]
fn tools_print_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for padding in [0, 1, 40, 301] {
        let table = table_with(padding);
        fs::write(dir.path().join("table"), &table).unwrap();
        for Printer { command, print, .. } in PRINTERS {
            let mut words = command.split(' ');
            let tool = words.next().unwrap();
            if !matches!(tool, "xxd" | "hexdump" | "od" | "acpidump") {
                continue;
            }
            let mut command = Command::new(tool);
            command.args(words).arg("table").current_dir(dir.path()).env("LC_ALL", "C");
            let Ok(output) = command.output() else { continue };
            assert!(output.status.success(), "{command:?}");
            let theirs = String::from_utf8(output.stdout).unwrap();
            assert_eq!(print(&table), theirs, "{command:?}");
        }
    }
}

/// Tables of any bytes, long runs of zeros among them, whose header fits or claims less.
fn any_table() -> impl Strategy<Value = Vec<u8>> {
    let run = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        (0..200_usize).prop_map(|length| vec![0; length]),
        (0..60_usize).prop_map(|length| vec![b'a'; length]),
    ];
    prop::collection::vec(run, 0..8).prop_map(|runs| {
        let mut table = IvrsBuilder::new().build().unwrap();
        table.extend(runs.concat());
        let length = u32::try_from(table.len()).unwrap();
        table[4..8].copy_from_slice(&length.to_le_bytes());
        let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        table[9] = table[9].wrapping_sub(sum);
        table
    })
}

#[derive(Clone, Debug)]
enum Damage {
    Byte(usize, u8),
    Line(usize),
    Swap(usize, usize),
    Cut(usize),
    Insert(usize, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = 0..6000_usize;
    prop_oneof![
        (at.clone(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        at.clone().prop_map(Damage::Line),
        (at.clone(), at.clone()).prop_map(|(a, b)| Damage::Swap(a, b)),
        at.clone().prop_map(Damage::Cut),
        (at, prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(at, b)| Damage::Insert(at, b)),
    ]
}

fn apply(mut text: Vec<u8>, damage: &Damage) -> Vec<u8> {
    let lines = |text: &[u8]| text.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let length = text.len().max(1);
    match damage {
        Damage::Byte(at, byte) => {
            if let Some(place) = text.get_mut(at % length) {
                *place = *byte;
            }
        }
        Damage::Line(at) => {
            let mut lines = lines(&text);
            lines.remove(at % lines.len());
            text = lines.join(&b'\n');
        }
        Damage::Swap(a, b) => {
            let mut lines = lines(&text);
            let count = lines.len();
            lines.swap(a % count, b % count);
            text = lines.join(&b'\n');
        }
        Damage::Cut(at) => text.truncate(at % length),
        Damage::Insert(at, bytes) => {
            let at = at % length;
            text.splice(at.min(text.len())..at.min(text.len()), bytes.iter().copied());
        }
    }
    text
}

/// Each of these would be a table of a megabyte, which takes its time to fill.
#[test]
fn repeated_lines_are_not_filled_in_without_end() {
    let long = "00000000  49 56 52 53 00 00 20 00  00 00 00 00 00 00 00 00  |IVRS|\n*\n00100000\n";
    let table = IvrsBuilder::new().build().unwrap();
    let hexdump = PRINTERS.iter().find(|printer| printer.form == Form::HexdumpC).unwrap();
    let text = long.repeat(20_000) + &(hexdump.print)(&table);
    assert_eq!(read_table(&text).table, table);
}

proptest! {
    #[test]
    fn what_is_printed_is_read(table in any_table(), number in 0..PRINTERS.len()) {
        let Printer { command, form, print } = PRINTERS[number];
        let text = print(&table);
        let found = read_table(&text);
        prop_assert_eq!((found.form, found.table), (form, table), "{}\n{}", command, text);
        prop_assert!(found.notes.is_empty(), "{:?}", found.notes);
    }

    #[test]
    fn any_bytes_are_an_answer(input in prop::collection::vec(any::<u8>(), 0..2000)) {
        if let Err(error) = read(&input) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn any_text_is_an_answer(input in "([ 0-9a-f:*\\n|>]|IVRS @ 0x|IVMD_TYPEi |0000000 ){0,200}") {
        if let Err(error) = read(input.as_bytes()) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    /// A damaged dump gives an error, or a table of which at most the damaged line is other.
    #[test]
    fn damage_is_an_answer(
        table in any_table(),
        number in 0..PRINTERS.len(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let text = (PRINTERS[number].print)(&table).into_bytes();
        match read(&damages.iter().fold(text, apply)) {
            Ok(found) => for dump in found {
                let Dump::Table(dump) = dump else { panic!("{dump:?}") };
                prop_assert!(dump.table.starts_with(b"IVRS"));
                prop_assert!(Ivrs::parse(&dump.table).is_ok());
            }
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }

    /// Whichever line of a dump with offsets is missing, no table comes of it, or the whole.
    #[test]
    fn a_missing_line_is_never_silent(
        table in any_table(), number in 0..PRINTERS.len(), line in any::<prop::sample::Index>(),
    ) {
        let Printer { form, print, .. } = PRINTERS[number];
        prop_assume!(form != Form::PlainHex);
        let text = print(&table);
        let missing = line.index(text.lines().count()) + 1;
        // What a `*` stands for changes with the rows around it: see the test of that.
        let lines: Vec<_> = text.lines().collect();
        let star = |at: usize| lines.get(at) == Some(&"*");
        prop_assume!(!(star(missing) || missing > 1 && star(missing - 2)));
        if let Ok(dump) = read_one(without_line(&text, missing).as_bytes()) {
            let Dump::Table(dump) = dump else { panic!("{dump:?}") };
            prop_assert_eq!(&dump.table[..table.len()], table, "without line {}\n{}", missing, text);
        }
    }
}

#[test]
fn commands_are_listed_once() {
    let commands: BTreeSet<_> = PRINTERS.iter().map(|printer| printer.command).collect();
    assert_eq!(commands.len(), PRINTERS.len());
}

#[test]
fn a_dmar_is_read_in_the_same_forms() {
    use crate::{
        firmware::intel::builder::{DmarBuilder, ScopeSpec},
        pci::{Devid, Segment},
    };
    let scopes = [ScopeSpec::function(Devid(0x00a0))];
    let dmar = DmarBuilder::new()
        .drhd(1, Segment(0), 0xfed9_0000, &[])
        .rmrr(Segment(0), 0x8a78_5000, 0x8a7a_4fff, &scopes)
        .build()
        .unwrap();
    for (printer, form) in [
        ("acpidump -f", Form::Acpidump),
        ("xxd", Form::Xxd),
        ("hexdump -C", Form::HexdumpC),
        ("hexdump", Form::Hexdump),
        ("xxd -p", Form::PlainHex),
        ("base64", Form::Base64),
    ] {
        let text = print(printer, &dmar).replace("IVRS @", "DMAR @");
        let found = read_table(&text);
        assert_eq!((found.form, &found.table), (form, &dmar), "{printer}");
        // A line is missing.
        if form != Form::Base64 {
            assert!(read(without_line(&text, 3).as_bytes()).is_err(), "{printer}");
        }
        // Beside an IVRS both are read.
        let both = read_tables(&format!("{text}\n{}", print("xxd", &table())));
        assert_eq!([&both[0].table, &both[1].table], [&dmar, &table()], "{printer}");
    }
    assert_eq!(
        read(&dmar[..60]).unwrap_err(),
        DumpError::Bad {
            form: Form::Binary,
            line: None,
            problem: Problem::Cut { have: 60, length: u32::try_from(dmar.len()).ok() },
        }
    );
}

fn prefixed(prefix: &str, text: &str) -> String {
    text.lines().map(|line| format!("{prefix}{line}\n")).collect::<Vec<_>>().concat()
}

/// A table as a diff against another, with all lines of both.
fn diff(old: &str, new: &str) -> String {
    let new_lines: Vec<_> = new.lines().collect();
    let mut out = "--- a/IVRS.dsl\n+++ b/IVRS.dsl\n@@ -1,9 +1,9 @@\n".to_owned();
    for (at, old) in old.lines().enumerate() {
        match new_lines.get(at) {
            Some(new) if *new == old => out += &prefixed(" ", old),
            Some(new) => out += &[prefixed("-", old), prefixed("+", new)].concat(),
            None => out += &prefixed("-", old),
        }
    }
    out + &prefixed("+", &new_lines.get(old.lines().count()..).unwrap_or_default().join("\n"))
}

/// Quoted-printable, in lines of at most 76 characters.
fn quoted_printable(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut width = 0;
        for c in line.chars() {
            let code = match c {
                '=' => "=3D".to_owned(),
                '\t' => "=09".to_owned(),
                c => c.to_string(),
            };
            if width + code.len() > 75 {
                out += "=\n";
                width = 0;
            }
            width += code.len();
            out += &code;
        }
        out += "\n";
    }
    out
}

#[test]
fn a_dump_is_read_behind_whatever_precedes_its_lines() {
    for Printer { command, form, print } in PRINTERS {
        if matches!(form, Form::PlainHex | Form::Base64) || command.starts_with("od -A d") {
            continue;
        }
        // The number of an offset with six octal digits could be anything.
        let text = print(&table()).replace("Raw Table Data", "raw table data");
        for prefix in [
            "HV XXD: ",
            "[    0.123456] IVRS: ",
            "Nov 27 23:50:47 host kernel: [  0.1] ",
            "> > 12: ",
        ] {
            let mut text = prefixed(prefix, &text);
            if prefix.contains('[') {
                // As time passes.
                text = text.replacen("0.1", "0.2", 3);
            }
            let found = read_tables(&text);
            assert_eq!(found[0].table, table(), "{command}\n{text}");
            assert_eq!(found.len(), 1, "{command}\n{text}");
        }
    }
}

#[test]
fn a_dump_of_memory_begins_at_the_tables_address() {
    let text = print("xxd", &table());
    let moved = |text: &str| text.replace("\n000000", "\nbb3d00").replacen("000000", "bb3d00", 1);
    let memory = moved(&text);
    assert_eq!(read_table(&memory).table, table());
    assert_eq!(read_table(&memory.replace("bb3d", "HV: 0xbb3d")).table, table());
    assert_eq!(read_table(&moved(&print("hexdump -C", &table()))).table, table());
    // Two of them, one after the other, and the beginning of another.
    let again = memory.replace("bb3d", "bb3e");
    assert_eq!(read_tables(&format!("{memory}{again}")).len(), 2);
    let (_, line, problem) = bad(&without_line(&memory, 1));
    assert_eq!((line, problem), (Some(1), Problem::NoTableAt { address: 0xbb3d_0010 }));
    let (_, line, problem) = bad(&without_line(&memory, 4));
    let jump = Problem::Jump { expected: 0xbb3d_0030, found: 0xbb3d_0040 };
    assert_eq!((line, problem), (Some(4), jump));
}

#[test]
fn of_a_diff_the_new_side_is_read() {
    for Printer { command, form, print } in PRINTERS {
        if matches!(form, Form::Base64) {
            continue;
        }
        let (old, new) = (print(&table()), print(&table_with(40)));
        for text in [diff(&old, &new), diff(&old, &new).replace('\n', "\n> ")] {
            let found = read_tables(&text);
            assert_eq!(found[0].table, table_with(40), "{command}\n{text}");
            assert!(found[0].notes[0].contains("diff") && found.len() == 1, "{command}: {found:?}");
        }
        // A file that is gone has the old side only.
        let gone = prefixed("-", &old);
        let found = read_table(&format!("@@ -1,9 +0,0 @@\n{gone}"));
        assert_eq!(found.table, table(), "{command}");
        assert!(found.notes[0].contains("old table"), "{command}: {:?}", found.notes);
    }
    // What the context leaves out is said of the diff.
    let cut = without_line(&diff(&print("xxd", &table()), &print("xxd", &table_with(40))), 6);
    let error = read(cut.as_bytes()).unwrap_err();
    assert!(matches!(error, DumpError::In { view: View::Diff(Side::New), .. }), "{error}");
}

#[test]
fn mail_and_other_encodings_are_undone() {
    for Printer { command, form, print } in PRINTERS {
        let text = print(&table());
        assert_eq!(read_tables(&quoted_printable(&text))[0].table, table(), "{command}");
        let wide = text.encode_utf16().flat_map(u16::to_le_bytes);
        let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain(wide).collect();
        let Ok(Dump::Table(found)) = read_one(&wide) else { panic!("{command}") };
        assert_eq!((found.form, found.table), (*form, table()), "{command}");
    }
}

/// What people copy out of programs, debuggers and shells of firmware.
#[test]
fn programs_and_debuggers_print_it_too() {
    let table = table();
    let dotted = |bytes: &[u8]| -> String {
        bytes
            .iter()
            .map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' })
            .collect()
    };
    let rows = |line: &dyn Fn(usize, &[u8]) -> String, width: usize| -> String {
        table.chunks(width).enumerate().map(|(at, row)| line(at * width, row) + "\n").collect()
    };
    let joined = |bytes: &[u8], prefix: &str, gap: &str| {
        bytes.iter().map(|byte| format!("{prefix}{byte:02x}")).collect::<Vec<_>>().join(gap)
    };
    let python = |quote: char| -> String {
        let byte = |byte: &u8| match byte {
            b'\\' => "\\\\".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\t' => "\\t".to_owned(),
            b' '..=b'~' if char::from(*byte) != quote => char::from(*byte).to_string(),
            byte => format!("\\x{byte:02x}"),
        };
        format!("b{quote}{}{quote}", table.iter().map(byte).collect::<String>())
    };
    let octal = table.iter().map(|byte| format!("\\{byte:03o}")).collect::<Vec<_>>().concat();
    let decimals = |gap: &str| table.iter().map(u8::to_string).collect::<Vec<_>>().join(gap);
    for text in [
        python('\''),
        format!(">>> open('IVRS', 'rb').read()\n{}\n", python('"')),
        format!("bytearray({})", python('\'')),
        format!("t = bytes.fromhex('{}')", joined(&table, "", "")),
        format!("printf '{octal}' > t"),
        format!("[{}]", decimals(", ")),
        format!("unsigned char t[{}] = {{{}}};", table.len(), decimals(",\n    ")),
        joined(&table, "", ":"),
        format!("const u8 t[] = {{{}}};", joined(&table, "0x", ", ")),
        rows(&|at, row| format!("/* {at:04x} */ {},", joined(row, "0x", ", ")), 16),
        rows(&|_, row| format!("    {},  // {}", joined(row, "0x", ", "), dotted(row)), 8),
        rows(
            &|at, row| {
                format!(
                    "        /* {at:04X} */  {},  /* {} */",
                    joined(row, "0x", ", "),
                    dotted(row).replace('*', ".")
                )
            },
            8,
        ),
        table.iter().map(|byte| format!("{byte:02X}h")).collect::<Vec<_>>().join(" "),
        // gdb, QEMU's monitor, EFI's shell, hexyl.
        rows(&|at, row| format!("{:#x}:\t{}", 0x7ffe_1000 + at, joined(row, "0x", "\t")), 8),
        rows(&|at, row| format!("{:016x}: {}", 0x7ffe_1000 + at, joined(row, "0x", " ")), 16),
        rows(
            &|at, row| {
                let (left, right) = row.split_at(row.len().min(8));
                let bytes = format!("{}-{}", joined(left, "", " "), joined(right, "", " "));
                format!("  {:08X}: {bytes}  *{}*", 0x7ffe_1000 + at, dotted(row))
            },
            16,
        ),
        rows(
            &|at, row| {
                let (left, right) = row.split_at(row.len().min(8));
                let [left, right] = [left, right].map(|half| joined(half, "", " "));
                format!("│{at:08x}│ {left} ┊ {right} │{}│", dotted(row))
            },
            16,
        ),
    ] {
        assert_eq!(read_table(&text).table, table, "{text}");
        assert_eq!(read_table(&prefixed("> ", &text)).table, table, "{text}");
    }
    // Cut, it is refused.
    let cut = &python('\'')[..200];
    assert!(matches!(bad(cut), (Form::Literal, Some(1), Problem::Cut { .. })), "{:?}", bad(cut));
}

/// `cat` of a table through a program for text, and dumps that have no bytes.
#[test]
fn bytes_that_a_program_took_for_text_are_no_table() {
    let table = table();
    let wide: String = table.iter().map(|byte| char::from(*byte)).collect();
    let Ok(Dump::Table(undone)) = read_one(wide.as_bytes()) else { panic!("not read") };
    assert_eq!(undone.table, table);
    assert_eq!(undone.notes, ["the bytes had been turned into UTF-8 text, which is undone"]);
    let lossy = String::from_utf8_lossy(&table).into_owned();
    let replaced = DumpError::Bad { form: Form::Binary, line: None, problem: Problem::Replaced };
    assert_eq!(read_one(lossy.as_bytes()), Err(replaced));
    // A table whose own checksum is wrong is read as it is.
    let mut wrong = table.clone();
    wrong[9] ^= 1;
    assert!(matches!(read_one(&wrong), Ok(Dump::Table(read)) if read.table == wrong));

    let characters =
        "0000000   I   V   R   S   |  \\0  \\0  \\0\n0000010 002   %   A\n0000060  00  01 02\n";
    assert_eq!(bad(characters), (Form::Od, Some(1), Problem::Characters));
}

#[test]
fn base64_is_read_wherever_it_stands() {
    let text = print("base64", &table());
    let one_line = text.replace('\n', "");
    let url = one_line.replace('+', "-").replace('/', "_");
    for text in [
        format!("$ base64 IVRS\n{text}$ "),
        format!("data:application/octet-stream;base64,{one_line}"),
        format!("IVRS: \"{url}\","),
        one_line.trim_end_matches('=').to_owned(),
    ] {
        assert_eq!(read_table(&text).table, table(), "{text}");
    }
    let (form, _, problem) = bad(&one_line[..one_line.len() / 2]);
    assert!(matches!(problem, Problem::Cut { .. }) && form == Form::Base64, "{form}: {problem}");
}

#[test]
fn a_refusal_names_what_there_is() {
    let iort = [b"IORT\xb8\0\0\0\x01\xe9".as_slice(), &[0; 174]].concat();
    for Printer { command, print, .. } in PRINTERS {
        let text = print(&iort).replace("IVRS", "IORT");
        let error = read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("docs/intel-and-arm.md"), "{command}: {error}");
        assert!(!error.contains("/sys/firmware/acpi/tables/IVRS"), "{command}: {error}");
    }
}
