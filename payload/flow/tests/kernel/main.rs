//! The programs in the kernel of this host, between two network namespaces. Needs root and a kernel with type information.

mod lab;
mod traffic;

mod counts;
mod unload;
mod wireguard;
