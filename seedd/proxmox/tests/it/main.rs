//! The fleet over SSH: a real sshd for each host, in a mount namespace, and tests/pve.py in place of Proxmox VE's programs.

mod support;

mod access;
mod faults;
mod fleet;
mod upload;
