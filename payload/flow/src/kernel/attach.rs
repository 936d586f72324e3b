//! Attaching to interfaces. Since Linux 6.6 a link is held by a file descriptor (tcx). Before, it is a filter of the queueing
//! discipline clsact, which stays when the process is killed: `kubedos-flow detach`, which the unit runs afterwards, removes it,
//! as does the next start.

use aya::Ebpf;
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError};
use aya::programs::{Link as _, LinkOrder, ProgramError, SchedClassifier, TcAttachType, tc};

use super::error::KernelError;

/// Programs of packets; the filters of tc have the same names.
const PROGRAMS: [(&str, TcAttachType); 2] = [("flow_ingress", TcAttachType::Ingress), ("flow_egress", TcAttachType::Egress)];

/// How to attach to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By a link, where the kernel has them; else by a filter.
    Best,
    /// By a filter of clsact, as on kernels before 6.6.
    Filter,
}

/// The links of one interface; dropping them detaches.
pub struct Attached(Vec<SchedClassifierLink>);

fn program<'a>(bpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, KernelError> {
    let program = bpf.program_mut(name).ok_or(KernelError::Missing(name))?;
    program.try_into().map_err(|source| KernelError::Program { name, source })
}

pub(super) fn load(bpf: &mut Ebpf) -> Result<(), KernelError> {
    PROGRAMS.iter().try_for_each(|(name, _)| program(bpf, name)?.load().map_err(|source| KernelError::Program { name, source }))
}

/// Attaches both programs.
pub(super) fn enter(bpf: &mut Ebpf, interface: &str, how: How) -> Result<Attached, KernelError> {
    let failed = |source| KernelError::Attach { interface: interface.to_owned(), source };
    // Of a process that was killed.
    remove(interface);
    let mut held = Attached(Vec::new());
    for (name, direction) in PROGRAMS {
        let program = program(bpf, name)?;
        let by_link = || TcAttachOptions::TcxOrder(LinkOrder::default());
        let linked = match how {
            How::Best => program.attach_with_options(interface, direction, by_link()).ok(),
            How::Filter => None,
        };
        let id = match linked {
            Some(id) => id,
            None => filter(program, interface, direction).map_err(failed)?,
        };
        held.0.push(program.take_link(id).map_err(failed)?);
    }
    Ok(held)
}

fn filter(
    program: &mut SchedClassifier,
    interface: &str,
    direction: TcAttachType,
) -> Result<tc::SchedClassifierLinkId, ProgramError> {
    match tc::qdisc_add_clsact(interface) {
        Ok(()) | Err(TcError::AlreadyAttached) => {}
        // It exists; if that is not the reason, the next step says so.
        Err(e) => tracing::debug!(error = %e, interface, "clsact"),
    }
    program.attach_with_options(interface, direction, TcAttachOptions::Netlink(NlOptions::default()))
}

/// Detaches; the interface may be gone.
pub(super) fn leave(held: Attached) {
    for link in held.0 {
        if let Err(e) = link.detach() {
            tracing::debug!(error = %e, "detaching");
        }
    }
}

/// Removes the filters that a killed process left on an interface; true if there were any.
pub fn remove(interface: &str) -> bool {
    PROGRAMS.iter().fold(false, |found, (name, direction)| tc::qdisc_detach_program(interface, *direction, name).is_ok() | found)
}
