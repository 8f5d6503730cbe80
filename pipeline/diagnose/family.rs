//! What a metric measures, read from the words of its name.
//!
//! Only the field's common words are known here, never the names of one system. A metric whose
//! words say nothing forms a family of its own.

use std::fmt;

use faultline_udfs::metric_name::words;

/// Metrics that can be compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Cpu,
    Memory,
    Disk,
    Network,
    /// Packets dropped or sent again.
    Loss,
    Runtime,
    Queue,
    Latency,
    Error,
    Success,
    Traffic,
    Other,
}

/// How a deviation of a family travels through the call graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    /// Stays where it arises: saturation, leaks, full disks.
    Resource,
    /// Climbs from callee to caller.
    Latency,
    /// Latency of a service's own calls, seen from its side: the callee's, or its own network's.
    Dependency,
    /// Climbs from callee to caller.
    Error,
    /// Falls from caller to callee.
    Traffic,
}

/// Which end of a call measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Client,
    Server,
}

/// The meaning of a metric's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    pub family: Family,
    pub side: Option<Side>,
    /// Measured on the machine, so shared by all that run there.
    pub node: bool,
    /// The other end, where the name ends with a known service after a separator.
    pub peer: Option<String>,
}

/// First match wins. Devices come before what happens on them (`disk_read_latency` is the disk's),
/// outcomes and durations before volume (`request_errors`, `request_duration`).
const WORDS: [(Family, &[&str]); 11] = [
    (
        Family::Cpu,
        &[
            "cpu",
            "cpus",
            "processor",
            "throttled",
            "throttling",
            "loadavg",
            "load1",
            "load5",
            "load15",
        ],
    ),
    (Family::Memory, &["memory", "mem", "rss", "heap", "swap", "oom", "paging"]),
    (
        Family::Disk,
        &[
            "disk",
            "diskio",
            "blkio",
            "fs",
            "filesystem",
            "io",
            "iops",
            "iowait",
            "inode",
            "inodes",
            "volume",
            "storage",
            "read",
            "reads",
            "write",
            "writes",
            "fsync",
        ],
    ),
    (
        Family::Loss,
        &[
            "retransmit",
            "retransmits",
            "retransmission",
            "retransmissions",
            "drop",
            "drops",
            "dropped",
            "loss",
            "lost",
        ],
    ),
    (Family::Runtime, &["gc", "thread", "threads", "goroutine", "goroutines", "fds", "handles"]),
    (
        Family::Error,
        &[
            "error",
            "errors",
            "err",
            "fail",
            "failed",
            "failure",
            "failures",
            "fault",
            "faults",
            "exception",
            "exceptions",
            "5xx",
            "4xx",
            "timeout",
            "timeouts",
            "rejected",
            "aborted",
            "restart",
            "restarts",
            "retries",
            "retry",
        ],
    ),
    (
        Family::Success,
        &["success", "successful", "availability", "available", "ready", "healthy", "up", "ok"],
    ),
    (
        Family::Latency,
        &["latency", "latencies", "duration", "delay", "rtt", "elapsed", "time", "rt"],
    ),
    (
        Family::Queue,
        &[
            "queue",
            "queued",
            "backlog",
            "lag",
            "pending",
            "inflight",
            "flight",
            "outstanding",
            "concurrency",
            "concurrent",
            "active",
            "waiting",
            "pool",
            "connection",
            "connections",
            "conns",
            "saturation",
        ],
    ),
    (
        Family::Network,
        &[
            "network",
            "net",
            "bytes",
            "packet",
            "packets",
            "rx",
            "tx",
            "receive",
            "received",
            "transmit",
            "transmitted",
            "tcp",
            "socket",
            "sockets",
            "bandwidth",
        ],
    ),
    (
        Family::Traffic,
        &[
            "request",
            "requests",
            "req",
            "reqs",
            "rps",
            "qps",
            "tps",
            "ops",
            "throughput",
            "workload",
            "load",
            "calls",
            "call",
            "hits",
            "invocations",
            "messages",
            "transactions",
            "handled",
        ],
    ),
];

const CLIENT: [&str; 4] = ["client", "outbound", "upstream", "egress"];
const SERVER: [&str; 4] = ["server", "inbound", "downstream", "ingress"];
const NODE: [&str; 4] = ["node", "host", "machine", "hypervisor"];
const SEPARATORS: [char; 7] = [':', '/', '|', '@', '>', '=', '#'];

/// Endings of the names of counters of events, in histograms and elsewhere.
const EVENTS: [&str; 3] = ["_count", "_bucket", "_total"];
/// Of a histogram of durations these count requests.
const REQUESTS: [&str; 2] = ["_count", "_bucket"];

/// Endings of the labels that tell how a request ended.
const OUTCOMES: [&str; 5] = ["code", "status", "result", "outcome", "state"];
/// What gRPC calls failures, where the words do not say so.
const GRPC_FAILURES: [&str; 8] = [
    "unknown",
    "unavailable",
    "internal",
    "unimplemented",
    "dataloss",
    "deadlineexceeded",
    "resourceexhausted",
    "permissiondenied",
];

/// Reads a metric's name and its labels (`code="500",method="GET"`). `is_service` tells whether a
/// text is a known service. Events that are counted by how they ended are errors where that is a
/// failure: `http_requests_total{code="500"}`.
pub fn read(metric: &str, labels: &str, is_service: impl Fn(&str) -> bool) -> Meaning {
    let (name, peer) = split_peer(metric, is_service);
    let words = words(name);
    let has = |list: &[&str]| words.iter().any(|w| list.contains(&w.as_str()));
    let ends = |list: &[&str]| list.iter().any(|ending| name.ends_with(ending));
    let named = WORDS.iter().find(|(_, list)| has(list)).map(|(family, _)| *family);
    let family = match named.unwrap_or(Family::Other) {
        Family::Latency if ends(&REQUESTS) => Family::Traffic,
        family => family,
    };
    let family = match family {
        Family::Traffic | Family::Other if ends(&EVENTS) && tells_failure(labels) => Family::Error,
        family => family,
    };
    let side = match (has(&CLIENT), has(&SERVER)) {
        (true, false) => Some(Side::Client),
        (false, true) => Some(Side::Server),
        _ => None,
    };
    Meaning { family, side, node: has(&NODE), peer: peer.map(str::to_owned) }
}

/// Names and values of labels, as they stand in a row.
pub fn labels(labels: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = labels.split(',').filter_map(|label| label.split_once('='));
    pairs.map(|(name, value)| (name.trim(), value))
}

/// Whether a label says that what is counted failed.
fn tells_failure(labels: &str) -> bool {
    self::labels(labels).any(|(key, value)| {
        let key = key.to_lowercase();
        let value = value.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        let status = value.len() == 3 && (value.starts_with('5') || value.starts_with('4'));
        let class = status && value.chars().skip(1).all(|c| c.is_ascii_digit() || c == 'x');
        OUTCOMES.iter().any(|ending| key.ends_with(ending))
            && (class || GRPC_FAILURES.contains(&value.as_str()) || says_failure(&value))
    })
}

/// Whether one of the words is one of errors.
fn says_failure(text: &str) -> bool {
    let errors = WORDS.iter().filter(|(family, _)| *family == Family::Error);
    let is_error = |word: &String| errors.clone().any(|(_, list)| list.contains(&word.as_str()));
    words(text).iter().any(is_error)
}

/// Cuts a known service off the end of the name; the longest such suffix wins.
fn split_peer(metric: &str, is_service: impl Fn(&str) -> bool) -> (&str, Option<&str>) {
    metric
        .char_indices()
        .filter(|(_, c)| SEPARATORS.contains(c))
        .map(|(i, c)| (&metric[..i], &metric[i + c.len_utf8()..]))
        .find(|(_, rest)| is_service(rest))
        .map_or((metric, None), |(name, peer)| (name, Some(peer)))
}

impl Family {
    pub fn aspect(self, side: Option<Side>) -> Aspect {
        match self {
            Family::Latency if side == Some(Side::Client) => Aspect::Dependency,
            Family::Latency => Aspect::Latency,
            Family::Error | Family::Success => Aspect::Error,
            Family::Traffic | Family::Network => Aspect::Traffic,
            _ => Aspect::Resource,
        }
    }

    /// +1 where only a rise is harmful, -1 where only a drop is, 0 where both may be.
    pub fn harmful(self) -> i8 {
        match self {
            Family::Latency | Family::Error | Family::Queue | Family::Memory | Family::Loss => 1,
            Family::Success => -1,
            _ => 0,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Cpu => "cpu",
            Family::Memory => "memory",
            Family::Disk => "disk",
            Family::Network => "network",
            Family::Loss => "loss",
            Family::Runtime => "runtime",
            Family::Queue => "queue",
            Family::Latency => "latency",
            Family::Error => "error",
            Family::Success => "success",
            Family::Traffic => "traffic",
            Family::Other => "other",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(name: &str) -> Family {
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        read(name, labels, |_| false).family
    }

    #[test]
    fn common_names_are_understood() {
        for (name, expect) in [
            ("container_cpu_usage_seconds_total", Family::Cpu),
            ("jvmHeapUsed", Family::Memory),
            ("disk_read_latency", Family::Disk),
            ("http_request_duration_seconds", Family::Latency),
            ("HTTPRequestErrors", Family::Error),
            ("availability_Average", Family::Success),
            ("requests_Sum", Family::Traffic),
            ("node_network_receive_bytes_total", Family::Network),
            ("kafka_consumer_lag", Family::Queue),
            ("requests_in_flight", Family::Queue),
            ("node_load5", Family::Cpu),
            ("cart_load", Family::Traffic),
            ("zorbs", Family::Other),
            ("http_request_duration_seconds_count", Family::Traffic),
            ("http_request_duration_seconds_sum", Family::Latency),
            ("http_requests_total{code=\"200\",method=\"GET\"}", Family::Traffic),
            ("http_requests_total{code=\"503\",method=\"GET\"}", Family::Error),
            ("http_requests_total{method=\"GET\",status=\"5xx\"}", Family::Error),
            ("istio_requests_total{response_code=404}", Family::Error),
            ("istio_requests_total{destination_port=\"500\"}", Family::Traffic),
            ("http_request_duration_seconds_count{code=\"500\"}", Family::Error),
            ("http_request_duration_seconds{code=\"500\"}", Family::Latency),
            ("grpc_server_handled_total{grpc_code=\"Unavailable\"}", Family::Error),
            ("grpc_server_handled_total{grpc_code=\"OK\"}", Family::Traffic),
            ("jobs_total{result=\"failure\"}", Family::Error),
            ("jobs_total{result=\"success\"}", Family::Other),
            ("http_server_requests_seconds_count{outcome=\"SERVER_ERROR\"}", Family::Error),
        ] {
            assert_eq!(family(name), expect, "{name}");
        }
    }

    #[test]
    fn a_known_service_after_a_separator_is_the_peer() {
        let m = read("ClientLatency:db", "", |s| s == "db");
        assert_eq!(m.peer.as_deref(), Some("db"));
        assert_eq!((m.family, m.side), (Family::Latency, Some(Side::Client)));
        assert_eq!(read("ClientLatency:db", "", |_| false).peer, None);
    }
}
