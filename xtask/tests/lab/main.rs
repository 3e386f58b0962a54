//! What the tool says in the VM lab, held against what the guest's kernel did.
//!
//! Every test boots at least one guest, which takes 10 to 15 seconds, so all are ignored by a
//! plain `cargo test`; `cargo xtask test` runs them. The kernel's side of each comparison comes
//! from the kernel (ioctl results, its log, sysfs) or from `oracle`, never from the tool's own
//! reading of a table.

#[cfg(test)]
mod conditions;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod dashboard;
#[cfg(test)]
mod intel;
#[cfg(test)]
mod kernels;
#[cfg(test)]
mod libvirt;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod privileges;
#[cfg(test)]
mod recordings;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod transcript;
#[cfg(test)]
mod truth;
