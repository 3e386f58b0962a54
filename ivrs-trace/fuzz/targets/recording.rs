//! A recording, read to its end and replayed: any bytes after a good header, and the same bytes as
//! the contents of well-formed sections, which reach what CRCs would keep away.
#![no_main]

use ivrs_trace::{
    recording::{
        Kind, Reader,
        frame::{self, FileHeader},
    },
    replay::replay,
};
use ivrs_trace_fuzz::{assert_printable, bounded, words};
use libfuzzer_sys::fuzz_target;
use zerocopy::IntoBytes as _;

/// Bytes that a bound may grow by for each byte of a file: what a byte unpacks to at most, and what
/// is made of that.
const FACTOR: usize = 64 * 1024;

fn read(file: &[u8]) {
    bounded(file, FACTOR, || {
        let Ok(reader) = Reader::new(file) else { return };
        let replayed = replay(reader, |_, _, event| assert_printable(&event.to_string()));
        for note in replayed.condition.notes() {
            assert_printable(&note);
        }
        words::of_host(&replayed.model);
    });
}

fuzz_target!(|data: &[u8]| {
    let header = FileHeader::new();
    read(&[header.as_bytes(), data].concat());
    // A piece is a byte with its kind, two with its length, and its content.
    let mut file = header.as_bytes().to_vec();
    let mut rest = data;
    while let [kind, low, high, after @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (content, next) = after.split_at(length);
        file.extend(frame::store(Kind(u16::from(*kind)), content).unwrap_or_default());
        rest = next;
    }
    read(&file);
});
