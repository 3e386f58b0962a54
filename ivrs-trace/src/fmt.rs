//! Numbers and bytes in words.

/// Bytes as two hex digits each, separated by spaces.
pub(crate) fn hex_bytes(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}
