//! A plan for people.

use std::fmt::Write as _;

use super::types::{Action, Entry, HostUse, Plan};
use crate::image::NOT_BUILT;
use crate::options::How;
use crate::vm::Vm;

const ACTIONS: [(Action, &str); 6] = [
    (Action::Create, "create"),
    (Action::Rebuild, "rebuild"),
    (Action::Update, "update"),
    (Action::Replace, "replace"),
    (Action::Start, "start"),
    (Action::Unchanged, "unchanged"),
];

/// How [`crate::apply`] goes about it.
const ORDER: &str =
    "order: all hosts at once; on each, its images first, then its nodes as listed; each is started when it is complete\n";

impl Action {
    pub fn word(self) -> &'static str {
        ACTIONS.iter().find(|(a, _)| *a == self).map_or("", |(_, word)| word)
    }
}

impl Plan {
    /// Several lines; `allow_destroy` is the operator's flag.
    pub fn text(&self, allow_destroy: bool) -> String {
        // Writing to a String cannot fail.
        let mut text = String::new();
        let counts = ACTIONS.iter().map(|(action, word)| (self.count(*action), *word));
        let all: Vec<String> = counts.filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        let _ = writeln!(text, "site {}: {} nodes ({})", self.site, self.entries.len(), all.join(", "));
        let width = |of: fn(&Entry) -> &str| self.entries.iter().map(|e| of(e).len()).max().unwrap_or(0);
        let (names, hosts, roles) = (width(|e| &e.vm.node), width(|e| &e.vm.host), width(|e| &e.vm.role));
        for e in &self.entries {
            let vm = &e.vm;
            let _ = write!(text, "  {:<9} {:>5}  {:<names$}  {:<hosts$}", e.action.word(), vm.vmid, vm.node, vm.host);
            let _ = writeln!(text, "  {:<roles$}  {}", vm.role, summary(vm));
            for d in &e.differences {
                let how = match d.how {
                    How::Replace => " (needs a new machine)",
                    How::Grow => " (grows)",
                    How::Set if e.existing.as_ref().is_some_and(|x| x.running) => " (after its next start)",
                    How::Set => "",
                };
                let from = if d.from.is_empty() { "not set" } else { &d.from };
                let _ = writeln!(text, "            {}: {from} -> {}{how}", d.option, d.to);
            }
        }
        self.refusals(&mut text);
        self.destruction(&mut text, allow_destroy);
        text.push_str("hosts\n");
        self.hosts.iter().for_each(|h| host_line(&mut text, h));
        if self.count(Action::Create) + self.count(Action::Rebuild) > 0 {
            text.push_str(ORDER);
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
        text
    }

    fn refusals(&self, text: &mut String) {
        if !self.refused.is_empty() {
            text.push_str("refused: nothing is done for these nodes\n");
        }
        for r in &self.refused {
            let _ = writeln!(text, "  {}: {}\n    hint: {}", r.node, r.why, r.hint);
        }
    }

    fn destruction(&self, text: &mut String, allow_destroy: bool) {
        if !self.surplus.is_empty() {
            text.push_str("surplus: machines of this site that cluster.yaml does not name\n");
        }
        for s in &self.surplus {
            let state = if s.running { "running" } else { "stopped" };
            let _ = writeln!(text, "  {:>5}  {}  {}  {state}", s.vmid, s.name, s.host);
        }
        if self.surplus.is_empty() && self.count(Action::Replace) == 0 {
            return;
        }
        text.push_str(match (self.allow_destroy, allow_destroy) {
            (true, true) => "these machines are replaced or REMOVED with their disks\n",
            (true, false) => "they are left as they are; --allow-destroy replaces and removes them with their disks\n",
            (false, _) => "they are left as they are: substrate.allowDestroy in cluster.yaml is false\n",
        });
    }
}

fn summary(vm: &Vm) -> String {
    let disks: Vec<String> = vm.disks.iter().map(|d| format!("{} GiB {}", d.size_gib, d.storage)).collect();
    let nic = |n: &crate::vm::Nic| {
        let vlan = n.vlan.map(|v| format!(" VLAN {v}")).unwrap_or_default();
        let address = n.address.map(|a| format!(" {a}")).unwrap_or_default();
        format!("{}{vlan} {}{address}", n.bridge, n.mac)
    };
    let nics: Vec<String> = vm.nics.iter().map(nic).collect();
    let image = if vm.image == NOT_BUILT { "not built".to_owned() } else { vm.image.short() };
    format!("{} CPUs, {} MiB; {}; {}; image {image}", vm.cpus, vm.memory_mib, disks.join(" + "), nics.join(" + "))
}

fn host_line(text: &mut String, host: &HostUse) {
    let domain = host.failure_domain.as_ref().map(|d| format!(" ({d})")).unwrap_or_default();
    let disks: Vec<String> = host.new_disks.iter().map(|(storage, gib)| format!("{gib} GiB on {storage}")).collect();
    let new = if disks.is_empty() { "no new disks".to_owned() } else { format!("new disks: {}", disks.join(", ")) };
    let HostUse { name, vms, cpus, memory_mib, .. } = host;
    let _ = writeln!(text, "  {name}{domain}: {vms} nodes, {cpus} CPUs, {memory_mib} MiB; {new}");
}
