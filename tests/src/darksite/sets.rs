//! Twelve sets of roots, as different from each other as roles are.

/// Name, components, roots.
pub type Set = (&'static str, &'static [&'static str], &'static [&'static str]);

const MAIN: &[&str] = &["main"];
const ALL: &[&str] = &["main", "contrib", "non-free", "non-free-firmware"];

pub const SETS: [Set; 12] = [
    ("platform", MAIN, &["linux-image-amd64", "openssh-server", "wireguard-tools", "ansible-core", "nftables"]),
    ("containers", MAIN, &["containerd", "etcd-server", "etcd-client", "haproxy", "runc"]),
    ("metrics", MAIN, &["prometheus", "prometheus-node-exporter", "prometheus-alertmanager", "grub-efi-amd64"]),
    ("build", MAIN, &["python3", "build-essential", "python3-venv", "cmake", "git"]),
    ("desktop", MAIN, &["task-xfce-desktop"]),
    ("firmware", ALL, &["firmware-linux", "firmware-iwlwifi", "intel-microcode", "amd64-microcode"]),
    ("nvidia", ALL, &["nvidia-driver", "nvidia-kernel-dkms"]),
    ("database", MAIN, &["postgresql", "mariadb-server", "redis-server"]),
    ("mail", MAIN, &["postfix", "dovecot-imapd", "rspamd"]),
    ("web", MAIN, &["apache2", "libapache2-mod-php", "nginx", "certbot"]),
    ("virtual", MAIN, &["qemu-system-x86", "libvirt-daemon-system", "virtinst", "ovmf"]),
    ("java", MAIN, &["default-jdk", "maven", "tomcat10"]),
];
