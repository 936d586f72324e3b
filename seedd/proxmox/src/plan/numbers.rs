//! VMIDs. The same file and the same machines give the same numbers, and a machine that exists keeps its number although nodes
//! are added before it in the file.

use std::collections::{BTreeMap, BTreeSet};

use cluster_seed::inventory::NodeSpec;

use crate::present::PresentVm;

/// The number of each node: its own `vmid`, that of its machine, or `base` and its position. A number that another machine of
/// this site has is passed over; one of a stranger is not: it would hide the conflict.
pub(super) fn assign(nodes: &[NodeSpec], base: u32, ours: &BTreeMap<&str, Vec<&PresentVm>>) -> Vec<u32> {
    let mut used: BTreeSet<u32> = nodes.iter().filter_map(|n| n.vmid.as_ref().map(|v| v.value)).collect();
    used.extend(ours.values().flatten().map(|vm| vm.vmid));
    let mut spare = base.saturating_add(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
    let mut numbers = Vec::with_capacity(nodes.len());
    for (node, own) in nodes.iter().zip(base..) {
        let existing = ours.get(node.name.value.as_str()).and_then(|all| all.first()).map(|vm| vm.vmid);
        let number = node.vmid.as_ref().map(|v| v.value).or(existing).unwrap_or_else(|| {
            let mut number = own;
            while !used.insert(number) {
                number = spare;
                spare = spare.saturating_add(1);
                if spare == u32::MAX {
                    break;
                }
            }
            number
        });
        numbers.push(number);
    }
    numbers
}
