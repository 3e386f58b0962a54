//! Takes a device.
fn main() {}
