//! TFTP, read-only: RFC 1350 with the options of RFC 2347, 2348 (blksize), 2349 (tsize, timeout) and
//! 7440 (windowsize).

pub mod packet;

pub mod limits;

pub mod transfer;

pub mod files;
