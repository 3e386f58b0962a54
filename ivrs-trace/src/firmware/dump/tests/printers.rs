//! What the tools print, byte for byte.
//!
//! `tools_print_the_same` holds these against the tools of the machine, where they are.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::super::Form;

/// A tool and the arguments with which it prints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Printer {
    /// As one would type it, without the file.
    pub(super) command: &'static str,
    pub(super) form: Form,
    pub(super) print: fn(&[u8]) -> String,
}

const fn printer(command: &'static str, form: Form, print: fn(&[u8]) -> String) -> Printer {
    Printer { command, form, print }
}

pub(super) const PRINTERS: &[Printer] = &[
    printer("acpidump -f", Form::Acpidump, acpidump),
    printer("iasl -d", Form::Iasl, |table| iasl(table, 4, "// ")),
    printer("old iasl -d", Form::Iasl, |table| iasl(table, 2, "")),
    printer("xxd", Form::Xxd, |table| xxd(table, 2)),
    printer("xxd -g1", Form::Xxd, |table| xxd(table, 1)),
    printer("xxd -g4", Form::Xxd, |table| xxd(table, 4)),
    printer("xxd -u", Form::Xxd, |table| upper(&xxd(table, 2))),
    printer("xxd -p", Form::PlainHex, xxd_plain),
    printer("xxd -i", Form::PlainHex, xxd_c),
    printer("base64", Form::Base64, base64),
    printer("hexdump -C", Form::HexdumpC, hexdump_c),
    printer("hexdump", Form::Hexdump, |table| words(table, HEXDUMP)),
    printer("hexdump -v", Form::Hexdump, |table| words(table, Words { squeeze: false, ..HEXDUMP })),
    printer("hexdump -x", Form::Hexdump, |table| words(table, Words { gap: 4, ..HEXDUMP })),
    printer("hexdump -b", Form::Hexdump, |table| {
        words(table, Words { radix: 8, digits: 3, bytes: 1, ..HEXDUMP })
    }),
    printer("hexdump -d", Form::Hexdump, |table| {
        words(table, Words { radix: 10, digits: 5, gap: 3, ..HEXDUMP })
    }),
    printer("hexdump -o", Form::Hexdump, |table| {
        words(table, Words { radix: 8, digits: 6, gap: 2, ..HEXDUMP })
    }),
    printer("od", Form::Od, |table| words(table, OD)),
    printer("od -v", Form::Od, |table| words(table, Words { squeeze: false, ..OD })),
    printer("od -b", Form::Od, |table| words(table, Words { digits: 3, bytes: 1, ..OD })),
    printer("od -x", Form::Od, |table| words(table, Words { radix: 16, digits: 4, ..OD })),
    printer("od -t x1", Form::Od, |table| words(table, OD_X1)),
    printer("od -t x4", Form::Od, |table| words(table, Words { digits: 8, bytes: 4, ..OD_X1 })),
    printer("od -t x8", Form::Od, |table| words(table, Words { digits: 16, bytes: 8, ..OD_X1 })),
    printer("od -A d -t x1", Form::Od, |table| words(table, Words { offset: (10, 7), ..OD_X1 })),
    printer("od -A x -t x1z -v", Form::Od, |table| {
        words(table, Words { offset: (16, 6), text: true, squeeze: false, ..OD_X1 })
    }),
    printer("od -A n -v -t x1", Form::PlainHex, |table| {
        words(table, Words { offset: (16, 0), squeeze: false, ..OD_X1 })
    }),
    printer("od -A n -v -x", Form::PlainHex, |table| {
        words(table, Words { offset: (16, 0), digits: 4, bytes: 2, squeeze: false, ..OD_X1 })
    }),
];

fn number(value: usize, radix: u32, digits: usize) -> String {
    match radix {
        8 => format!("{value:0digits$o}"),
        10 => format!("{value:0digits$}"),
        _ => format!("{value:0digits$x}"),
    }
}

fn ascii(bytes: &[u8]) -> String {
    let visible = |b: &u8| if (0x20..0x7f).contains(b) { char::from(*b) } else { '.' };
    bytes.iter().map(visible).collect()
}

/// The rows of 16 bytes and their offsets; a row like the one before it is left out as `None`.
fn rows(table: &[u8], squeeze: bool) -> Vec<(usize, Option<&[u8]>)> {
    let rows: Vec<_> = table.chunks(16).collect();
    let same = |at: usize| squeeze && at > 0 && rows[at].len() == 16 && rows[at] == rows[at - 1];
    let mut out = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        if !same(at) {
            out.push((at * 16, Some(*row)));
        } else if !same(at - 1) {
            out.push((at * 16, None));
        }
    }
    out
}

fn acpidump(table: &[u8]) -> String {
    format!("IVRS @ 0x0000000000000000\n{}\n", acpi_rows(table, 4, ""))
}

fn acpi_rows(table: &[u8], indent: usize, comment: &str) -> String {
    let mut out = String::new();
    for (at, row) in table.chunks(16).enumerate() {
        let hex: String = row.iter().map(|b| format!("{b:02X} ")).collect::<Vec<_>>().concat();
        let text = ascii(row);
        let offset = format!("{:04X}", at * 16);
        writeln!(out, "{offset:>0$}: {hex:<48} {comment}{text}", indent + 4).unwrap();
    }
    out
}

fn iasl(table: &[u8], indent: usize, comment: &str) -> String {
    let length = table.len();
    format!(
        "/*\n * Intel ACPI Component Architecture\n */\n\n\
         [000h 0000   4]                    Signature : \"IVRS\"    [I/O Virtualization]\n\
         [004h 0004   4]                 Table Length : {length:08X}\n\
         [024h 0036   4]          Virtualization Info : 00203043\n\n\
         Raw Table Data: Length {length} (0x{length:X})\n\n{}",
        acpi_rows(table, indent, comment)
    )
}

fn upper(text: &str) -> String {
    // Offset and text stay as they are.
    let line =
        |line: &str| format!("{}{}{}\n", &line[..10], line[10..50].to_uppercase(), &line[50..]);
    text.lines().map(line).collect()
}

fn xxd(table: &[u8], group: usize) -> String {
    let mut out = String::new();
    for (at, row) in table.chunks(16).enumerate() {
        let mut hex = String::new();
        for (n, byte) in row.iter().enumerate() {
            let gap = if n % group == group - 1 { " " } else { "" };
            write!(hex, "{byte:02x}{gap}").unwrap();
        }
        let width = 32 + 16 / group;
        writeln!(out, "{:08x}: {hex:<width$} {}", at * 16, ascii(row)).unwrap();
    }
    out
}

fn xxd_plain(table: &[u8]) -> String {
    let line =
        |row: &[u8]| row.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().concat() + "\n";
    table.chunks(30).map(line).collect()
}

fn xxd_c(table: &[u8]) -> String {
    let rows: Vec<_> = table
        .chunks(12)
        .map(|row| row.iter().map(|b| format!("0x{b:02x}")).collect::<Vec<_>>().join(", "))
        .collect();
    format!(
        "unsigned char table[] = {{\n  {}\n}};\nunsigned int table_len = {};\n",
        rows.join(",\n  "),
        table.len()
    )
}

fn base64(table: &[u8]) -> String {
    let digits = STANDARD.encode(table);
    let line = |line: &[u8]| format!("{}\n", line.escape_ascii());
    digits.as_bytes().chunks(76).map(line).collect::<Vec<_>>().concat()
}

fn hexdump_c(table: &[u8]) -> String {
    let mut out = String::new();
    for (offset, row) in rows(table, true) {
        let Some(row) = row else {
            out.push_str("*\n");
            continue;
        };
        let mut hex = String::new();
        for (n, byte) in row.iter().enumerate() {
            write!(hex, "{}{byte:02x} ", if n % 8 == 0 { " " } else { "" }).unwrap();
        }
        writeln!(out, "{offset:08x} {hex:<50} |{}|", ascii(row)).unwrap();
    }
    writeln!(out, "{:08x}", table.len()).unwrap();
    out
}

/// How hexdump and od print.
#[derive(Clone, Copy)]
struct Words {
    /// Radix and digits of the offset.
    offset: (u32, usize),
    radix: u32,
    digits: usize,
    /// Bytes in a word.
    bytes: usize,
    /// Spaces before a word.
    gap: usize,
    squeeze: bool,
    /// od's text column.
    text: bool,
    /// hexdump fills its last row up.
    fill: bool,
}

const HEXDUMP: Words = Words {
    offset: (16, 7),
    radix: 16,
    digits: 4,
    bytes: 2,
    gap: 1,
    squeeze: true,
    text: false,
    fill: true,
};
const OD: Words = Words { offset: (8, 7), radix: 8, digits: 6, fill: false, ..HEXDUMP };
const OD_X1: Words = Words { radix: 16, digits: 2, bytes: 1, ..OD };

fn words(table: &[u8], how: Words) -> String {
    let Words { offset: (offset_radix, offset_digits), .. } = how;
    let offset = |at| match offset_digits {
        0 => String::new(),
        digits => number(at, offset_radix, digits),
    };
    let mut out = String::new();
    for (at, row) in rows(table, how.squeeze) {
        let Some(row) = row else {
            out.push_str("*\n");
            continue;
        };
        let word = |bytes: &[u8]| {
            let value = bytes.iter().rev().fold(0_u64, |value, b| value << 8 | u64::from(*b));
            let text = number(usize::try_from(value).unwrap(), how.radix, how.digits);
            format!("{:gap$}{text}", "", gap = how.gap)
        };
        let mut line: String = row.chunks(how.bytes).map(word).collect();
        let full = 16 / how.bytes * (how.gap + how.digits);
        if how.fill || how.text {
            line = format!("{line:<full$}");
        }
        if how.text {
            write!(line, "  >{}<", ascii(row)).unwrap();
        }
        writeln!(out, "{}{line}", offset(at)).unwrap();
    }
    if offset_digits > 0 {
        writeln!(out, "{}", offset(table.len())).unwrap();
    }
    out
}

/// The log of a kernel booted with `amd_iommu_dump`.
pub(super) fn kernel_log(prefix: &str, lines: &[&str]) -> String {
    lines
        .iter()
        .enumerate()
        .map(|(n, line)| format!("[    0.{n:06}] {prefix}{line}\n"))
        .collect::<Vec<_>>()
        .concat()
}
