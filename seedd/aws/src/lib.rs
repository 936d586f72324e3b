//! Amazon Web Services as a target: a raw disk image becomes an Amazon Machine Image (AMI), without a bucket, an import role or
//! an instance in between, and instances are started from it. `import-image` is not used: it refuses kernels and boot loaders
//! that it does not know. In reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// What can go wrong, and what to do about it.
mod error;

/// Access keys: from the environment, a file or the caller.
mod credentials;

/// Regions and the addresses of their services.
mod endpoint;

/// Signature Version 4 of a request.
mod sign;

/// The requests themselves: the only module that uses the network.
mod call;

/// An image in AWS: reading the file, upload with resume, registration.
mod image;

/// Instances of an image.
mod run;

pub use call::{Client, Limits};
pub use credentials::{Credentials, Found};
pub use endpoint::{Endpoint, Target};
pub use error::{AwsError, Fault, FaultKind};
pub use image::options::{AmiOptions, Architecture, BootMode};
pub use image::outcome::{AmiOutcome, AmiPlan, Planned, Snapshot};
pub use image::{make_ami, plan_ami, register, scan::Scan, scan::scan, upload::upload};
pub use run::options::{RunOptions, seed_user_data};
pub use run::{Instance, RunOutcome, RunPlan, plan_run, run};
