//! The programs in the kernel: loading, attaching, reading their maps. Every link is held by a file descriptor, so the kernel
//! removes the programs when this process ends, however it ends; only a kernel before 6.6 keeps filters of tc ([`attach`]).

pub mod attach;
pub mod error;
pub mod layout;

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, MapData, MapError, PerCpuHashMap};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, EbpfLoader};
use camino::Utf8Path;

use crate::btf::VMLINUX;
use crate::names::{Place, Prefix};
use attach::{Attached, How};
use error::KernelError;
use layout::{CONN_COUNTERS, ConnBytes, DROP_COUNTERS, DropBytes, FLOW_COUNTERS, FLOW_VALUE, FlowBytes};

/// Compiled by build.rs.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/flow.bpf.o"));

/// Most rows that are read from one map at a time: twice its size, since a walk can meet a row again while others change.
const MAX_READ: usize = 16_384;
/// Tracepoints and the programs of the same purpose.
const TRACEPOINTS: [(&str, &str); 3] =
    [("flow_state", "inet_sock_set_state"), ("flow_retransmit", "tcp_retransmit_skb"), ("flow_drop", "kfree_skb")];

/// What the maps hold.
#[derive(Debug, Default, Clone)]
pub struct Raw {
    /// With the number of the cgroup that sent last; 0 if none is known.
    pub flows: Vec<(FlowBytes, [u64; FLOW_COUNTERS], u64)>,
    pub conns: Vec<(ConnBytes, [u64; CONN_COUNTERS])>,
    pub drops: Vec<(DropBytes, [u64; DROP_COUNTERS])>,
    /// Packets of flows, events of connections and drops that found no room in their map.
    pub lost: [u64; 3],
}

pub struct Kernel {
    bpf: Ebpf,
    how: How,
    attached: BTreeMap<u32, Attached>,
    places: BTreeMap<Prefix, Place>,
}

impl Kernel {
    /// Loads the programs and attaches those of tracepoints. `netns`: inode of this process's network namespace.
    ///
    /// # Errors
    /// If the kernel has no BTF, or refuses a program.
    pub fn load(netns: u32, how: How) -> Result<Self, KernelError> {
        if !Utf8Path::new(VMLINUX).exists() {
            return Err(KernelError::NoBtf);
        }
        let btf = Btf::from_sys_fs()?;
        let mut bpf = EbpfLoader::new().btf(Some(&btf)).override_global("own_netns", &netns, true).load(OBJECT)?;
        attach::load(&mut bpf)?;
        for (name, tracepoint) in TRACEPOINTS {
            let failed = |source| KernelError::Program { name, source };
            let program = bpf.program_mut(name).ok_or(KernelError::Missing(name))?;
            let program: &mut BtfTracePoint = program.try_into().map_err(failed)?;
            program.load(tracepoint, &btf).map_err(failed)?;
            program.attach().map_err(failed)?;
        }
        Ok(Kernel { bpf, how, attached: BTreeMap::new(), places: BTreeMap::new() })
    }

    /// Attaches to new interfaces and leaves those that are not watched now.
    ///
    /// # Errors
    /// If an interface cannot be attached to; the others are tried too.
    pub fn follow(&mut self, watched: &[crate::interfaces::Watched]) -> Result<(), KernelError> {
        let gone: Vec<u32> = self.attached.keys().filter(|i| !watched.iter().any(|w| w.device.index == **i)).copied().collect();
        for index in gone {
            if let Some(held) = self.attached.remove(&index) {
                attach::leave(held);
            }
            // Missing already: nothing to forget.
            let _ = self.interfaces()?.remove(&index);
        }
        let mut result = Ok(());
        for one in watched.iter().filter(|w| !self.attached.contains_key(&w.device.index)).collect::<Vec<_>>() {
            let failed = |source| KernelError::Map { name: "interfaces", source };
            self.interfaces()?.insert(one.device.index, one.link, 0).map_err(failed)?;
            match attach::enter(&mut self.bpf, &one.device.name, self.how) {
                Ok(held) => {
                    self.attached.insert(one.device.index, held);
                }
                Err(e) => result = Err(e),
            }
        }
        result
    }

    /// Tells the kernel's programs which addresses belong to which node and plane.
    ///
    /// # Errors
    /// If the map refuses an entry.
    pub fn set_places(&mut self, places: &BTreeMap<Prefix, Place>) -> Result<(), KernelError> {
        let failed = |source| KernelError::Map { name: "places", source };
        let mut map: LpmTrie<&mut MapData, [u8; 16], [u32; 2]> = open(&mut self.bpf, "places")?;
        for (bits, address) in self.places.keys().filter(|p| !places.contains_key(p)) {
            map.remove(&Key::new(*bits, *address)).map_err(failed)?;
        }
        for ((bits, address), place) in places.iter().filter(|(p, place)| self.places.get(p) != Some(place)) {
            map.insert(&Key::new(*bits, *address), [place.node, place.plane], 0).map_err(failed)?;
        }
        self.places = places.clone();
        Ok(())
    }

    /// Replaces the set of TCP ports that this node listens on.
    ///
    /// # Errors
    /// If the map refuses an entry.
    pub fn set_listeners(&mut self, ports: &BTreeSet<u16>) -> Result<(), KernelError> {
        let failed = |source| KernelError::Map { name: "listeners", source };
        let mut map: HashMap<&mut MapData, u32, u32> = open(&mut self.bpf, "listeners")?;
        let held: BTreeSet<u32> = map.keys().take(MAX_READ).filter_map(Result::ok).collect();
        let wanted: BTreeSet<u32> = ports.iter().map(|p| u32::from(*p)).collect();
        for port in held.difference(&wanted) {
            let _ = map.remove(port);
        }
        wanted.difference(&held).try_for_each(|port| map.insert(port, port, 0)).map_err(failed)
    }

    fn interfaces(&mut self) -> Result<HashMap<&mut MapData, u32, u32>, KernelError> {
        open(&mut self.bpf, "interfaces")
    }

    /// Reads every counter.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn read(&mut self) -> Result<Raw, KernelError> {
        let mut raw = Raw::default();
        {
            let map: PerCpuHashMap<&mut MapData, FlowBytes, [u64; FLOW_VALUE]> = open(&mut self.bpf, "flows")?;
            for (key, values) in map.iter().take(MAX_READ).filter_map(Result::ok) {
                let (mut sums, mut cgroup) = ([0; FLOW_COUNTERS], 0);
                for value in values.iter() {
                    sums.iter_mut().zip(value).for_each(|(sum, n)| *sum += n);
                    cgroup = cgroup.max(value[FLOW_COUNTERS]);
                }
                raw.flows.push((key, sums, cgroup));
            }
        }
        let map: HashMap<&mut MapData, ConnBytes, [u64; CONN_COUNTERS]> = open(&mut self.bpf, "conns")?;
        raw.conns = map.iter().take(MAX_READ).filter_map(Result::ok).collect();
        let map: HashMap<&mut MapData, DropBytes, [u64; DROP_COUNTERS]> = open(&mut self.bpf, "drops")?;
        raw.drops = map.iter().take(MAX_READ).filter_map(Result::ok).collect();
        let map: Array<&mut MapData, u64> = open(&mut self.bpf, "lost")?;
        for (at, n) in (0u32..).zip(&mut raw.lost) {
            *n = map.get(&at, 0).map_err(|source| KernelError::Map { name: "lost", source })?;
        }
        Ok(raw)
    }

    /// Makes room: removes entries that have not changed for long. A packet that is counted at the same moment is lost.
    pub fn forget(&mut self, flows: &[FlowBytes], conns: &[ConnBytes], drops: &[DropBytes]) {
        let ebpf = &mut self.bpf;
        if let Ok(mut map) = open::<PerCpuHashMap<&mut MapData, FlowBytes, [u64; FLOW_VALUE]>>(ebpf, "flows") {
            flows.iter().for_each(|key| drop(map.remove(key)));
        }
        if let Ok(mut map) = open::<HashMap<&mut MapData, ConnBytes, [u64; CONN_COUNTERS]>>(ebpf, "conns") {
            conns.iter().for_each(|key| drop(map.remove(key)));
        }
        if let Ok(mut map) = open::<HashMap<&mut MapData, DropBytes, [u64; DROP_COUNTERS]>>(ebpf, "drops") {
            drops.iter().for_each(|key| drop(map.remove(key)));
        }
    }
}

fn open<'a, M>(bpf: &'a mut Ebpf, name: &'static str) -> Result<M, KernelError>
where
    M: TryFrom<&'a mut aya::maps::Map, Error = MapError>,
{
    let map = bpf.map_mut(name).ok_or(KernelError::Missing(name))?;
    M::try_from(map).map_err(|source| KernelError::Map { name, source })
}
