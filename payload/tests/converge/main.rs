//! `kubedos-node converge` with a seed over HTTP, and with the real ansible-playbook.

mod bench;
mod orders;
mod runs;
