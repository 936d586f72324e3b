//! The charts: queries of what the platform's exporters measure.

use web::api::{Chart, Series, Unit};

/// Series drawn in one chart.
const MAX_SERIES: usize = 8;

/// A chart before it was asked for.
pub struct Plot {
    id: &'static str,
    title: &'static str,
    unit: Unit,
    pub query: &'static str,
    /// The label that names a series.
    pub label: &'static str,
}

pub static CATALOGUE: &[Plot] = &[
    Plot {
        id: "cpu",
        title: "Processor time used",
        unit: Unit::Share,
        query: r#"1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))"#,
        label: "instance",
    },
    Plot {
        id: "memory",
        title: "Memory used",
        unit: Unit::Share,
        query: "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
        label: "instance",
    },
    Plot {
        id: "disk",
        title: "Root file system used",
        unit: Unit::Share,
        query: r#"1 - node_filesystem_avail_bytes{mountpoint="/"} / node_filesystem_size_bytes{mountpoint="/"}"#,
        label: "instance",
    },
    Plot {
        id: "planes",
        title: "Received on each plane, all nodes",
        unit: Unit::BytesPerSecond,
        query: r#"sum by (device) (rate(node_network_receive_bytes_total{device=~"wg.*"}[5m]))"#,
        label: "device",
    },
    Plot {
        id: "network",
        title: "Received on the underlay",
        unit: Unit::BytesPerSecond,
        query: r#"sum by (instance) (rate(node_network_receive_bytes_total{device=~"e.*"}[5m]))"#,
        label: "instance",
    },
    Plot {
        id: "peers",
        title: "Peers without a recent handshake",
        unit: Unit::Count,
        query: "sum by (plane) (kubedos_plane_peers_stale)",
        label: "plane",
    },
    Plot { id: "targets", title: "Targets that answer", unit: Unit::Share, query: "avg by (job) (up)", label: "job" },
    Plot {
        id: "clock",
        title: "Clock offset",
        unit: Unit::Seconds,
        query: "abs(kubedos_clock_offset_seconds)",
        label: "instance",
    },
    Plot {
        id: "certificates",
        title: "Life left of the certificate that ends first",
        unit: Unit::Seconds,
        query: "min by (instance) (kubedos_certificate_expiry_timestamp_seconds) - time()",
        label: "instance",
    },
    Plot {
        id: "etcd-size",
        title: "etcd: size of the database",
        unit: Unit::Bytes,
        query: "etcd_mvcc_db_total_size_in_bytes",
        label: "instance",
    },
    Plot {
        id: "etcd-fsync",
        title: "etcd: write-ahead log to disk, 99th percentile",
        unit: Unit::Seconds,
        query: "histogram_quantile(0.99, sum by (instance, le) (rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m])))",
        label: "instance",
    },
    Plot {
        id: "balancer",
        title: "Load balancer: connections",
        unit: Unit::Count,
        query: "sum by (proxy) (haproxy_frontend_current_sessions)",
        label: "proxy",
    },
];

impl Plot {
    /// The series with the largest last values.
    pub fn chart(&self, mut series: Vec<Series>) -> Chart {
        series.sort_by(|a, b| b.last().total_cmp(&a.last()).then_with(|| a.name.cmp(&b.name)));
        let left_out = series.len().saturating_sub(MAX_SERIES);
        series.truncate(MAX_SERIES);
        Chart { id: self.id, title: self.title, unit: self.unit, series, left_out }
    }
}
