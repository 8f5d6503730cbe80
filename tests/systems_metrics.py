"""What exporters tell of a system: names, labels and values of its metrics in several styles."""
import math

# Per style, the metrics of a target: whom they are of (roles and techs; `*` = all), name, what is
# told (a key of QUANTITIES, with a factor) and labels. `!` marks what is told from outside, and so
# while the process is down; `?` what not every system has.
PLAIN = """
*! workload rate
*! latency-50 p50 0.001
*! latency-90 p90 0.001
*! error errors
* cpu cpu_share 100
* mem mem 1e6
*? diskio disk_rate
*? socket sockets
*? latency-99 p99 0.001
cache hit-ratio hit_ratio
queue,worker? lag lag"""
CLOUD = """
*! latency_Average mean 0.001
*! latency_p95 p95 0.001
*! requests_Sum count
*! availability_Average availability 100
*? fault_Sum error_count
* cpu_utilization_Average cpu_share 100
*? memory_utilization_Average mem_share 100
db? DatabaseConnections connections
db? WriteIOPS write_ops
db? FreeStorageSpace disk_free 5e10
cache CacheHitRate hit_ratio 100
worker,queue ApproximateNumberOfMessagesVisible lag"""
BEATS = """
*! mrt mean
*! sr availability 100
*! rr rate
*! count count
* docker_cpu_total_pct cpu_cores
* docker_memory_usage_total mem 1e6
*? docker_memory_usage_pct mem_share
*? docker_network_in_bytes rx_rate
*? docker_network_out_bytes tx_rate
*? docker_diskio_write_bytes disk_rate
*? docker_diskio_ios write_ops
*? system_filesystem_used_pct disk_used
java,go,python? tcp_retransmits retrans
java jvm_heap_used heap_bytes
redis redis_info_clients_connected connections
redis redis_keyspace_hit_pct hit_ratio 100
redis? redis_info_commands_per_s rate
mysql mysql_status_threads_running running
mysql? mysql_slow_queries slow_queries_total
postgres postgresql_active_backends running
postgres? postgresql_deadlocks lock_waits_total
mongodb mongodb_connections_current connections
kafka,worker kafka_consumergroup_lag lag"""
KUBE = """
*! up up
* container_cpu_usage_seconds_total cpu_total 1 container=main
* container_memory_working_set_bytes mem 1e6 container=main
*!? kube_pod_container_status_restarts_total restarts 1 container=main
*!? kube_pod_container_status_ready up 1 container=main
*? container_cpu_cfs_throttled_seconds_total throttled_total 1 container=main
*? container_network_receive_bytes_total rx_total 1 interface=eth0
*? container_network_transmit_bytes_total tx_total 1 interface=eth0
*? container_fs_writes_bytes_total written_total 1 device=/dev/sda
app,worker? node_netstat_Tcp_RetransSegs retrans_total
db,queue? kubelet_volume_stats_used_bytes disk_used 5e10
db? node_disk_io_time_seconds_total io_total 1 device=nvme1n1"""
PROM = KUBE + """
java http_server_requests_seconds_count ok_total 1 status=200 outcome=SUCCESS
java http_server_requests_seconds_count err_total 1 status=500 outcome=SERVER_ERROR
java http_server_requests_seconds_sum seconds_total 1 status=200 outcome=SUCCESS
java jvm_memory_used_bytes heap_bytes 1 area=heap
java? jvm_gc_pause_seconds_sum gc_total
java? jvm_gc_pause_seconds_count gcs_total
java? jvm_threads_live_threads threads
java? tomcat_threads_busy_threads busy
java? tomcat_threads_config_max_threads pool
java? hikaricp_connections_active active
java? hikaricp_connections_pending pending
java? process_cpu_usage cpu_share
java? logback_events_total err_total 1 level=error
go http_requests_total ok_total 1 code=200
go http_requests_total err_total 1 code=500
go http_request_duration_seconds_sum seconds_total
go http_request_duration_seconds_count req_total
go http_request_duration_seconds_bucket below25 1 le=0.025
go http_request_duration_seconds_bucket below100 1 le=0.1
go http_request_duration_seconds_bucket below500 1 le=0.5
go http_request_duration_seconds_bucket below2500 1 le=2.5
go http_request_duration_seconds_bucket req_total 1 le=+Inf
go go_goroutines threads
go? go_memstats_heap_inuse_bytes heap_bytes
go? go_gc_duration_seconds_sum gc_total
go? go_sql_in_use_connections active
go? go_sql_wait_count_total pending
go? process_open_fds sockets
node,python,dotnet http_request_duration_seconds_sum seconds_total
node,python,dotnet http_request_duration_seconds_count ok_total 1 code=200
node,python,dotnet http_request_duration_seconds_count err_total 1 code=500
node,python,dotnet http_request_duration_seconds p99 0.001 quantile=0.99
node,python,dotnet? http_requests_in_flight busy
node nodejs_eventloop_lag_seconds loop_lag
node? nodejs_heap_size_used_bytes heap_bytes
node? nodejs_active_handles_total sockets
python,dotnet? process_resident_memory_bytes mem 1e6
python,dotnet? db_pool_checked_out active
nginx nginx_ingress_controller_requests ok_total 1 status=200
nginx nginx_ingress_controller_requests err_total 1 status=502
nginx nginx_ingress_controller_request_duration_seconds_sum seconds_total
nginx nginx_ingress_controller_request_duration_seconds_count req_total
nginx? nginx_connections_active sockets
postgres pg_stat_database_xact_commit ok_total 1 datname=app
postgres pg_stat_database_xact_rollback err_total 1 datname=app
postgres pg_stat_activity_count running 1 state=active
postgres? pg_stat_activity_count connections 1 state=idle
postgres? pg_stat_activity_max_tx_duration p99 0.001
postgres? pg_locks_count locks 1 mode=RowExclusiveLock
postgres? pg_stat_statements_mean_time_seconds mean 0.001
mysql mysql_global_status_queries req_total
mysql mysql_global_status_threads_running running
mysql? mysql_global_status_threads_connected connections
mysql? mysql_global_status_slow_queries slow_queries_total
mysql? mysql_global_status_innodb_row_lock_waits lock_waits_total
mysql? mysql_global_status_aborted_clients err_total
mysql? mysql_perf_schema_events_statements_seconds_total seconds_total
mongodb mongodb_op_counters_total req_total 1 type=query
mongodb mongodb_mongod_op_latencies_latency_total seconds_total 1e6 type=reads
mongodb? mongodb_connections connections 1 state=current
mongodb? mongodb_asserts_total err_total 1 type=user
mongodb? mongodb_mongod_global_lock_current_queue running 1 type=total
redis redis_commands_processed_total req_total
redis redis_keyspace_hits_total hits_total
redis redis_keyspace_misses_total misses_total
redis redis_connected_clients connections
redis redis_memory_used_bytes mem 1e6
redis? redis_db_keys keys 1 db=db0
redis? redis_commands_duration_seconds_total seconds_total
kafka kafka_server_brokertopicmetrics_messagesin_total req_total 1 topic=events
kafka kafka_server_brokertopicmetrics_failedproducerequests_total err_total 1 topic=events
kafka? kafka_network_requestmetrics_totaltimems p99 1 request=Produce quantile=0.99
kafka kafka_consumergroup_lag lag 1 topic=events
rabbitmq rabbitmq_queue_messages_ready lag 1 queue=events
rabbitmq rabbitmq_channel_messages_published_total req_total 1 queue=events
worker messages_processed_total req_total 1 topic=events
worker kafka_consumer_fetch_manager_records_lag_max lag
worker message_processing_seconds_sum seconds_total"""
OTEL = """
* container.cpu.time cpu_total
* container.memory.usage mem 1e6
*!? k8s.container.restarts restarts
*? container.network.io rx_total 1 direction=receive
*? container.network.io tx_total 1 direction=transmit
*? container.filesystem.usage disk_used 5e10
app,gateway,worker http.server.request.duration.count ok_total 1 http.response.status_code=200
app,gateway,worker http.server.request.duration.count err_total 1 http.response.status_code=500
app,gateway,worker http.server.request.duration.sum seconds_total
app,gateway? http.server.active_requests busy
app,worker? db.client.connections.usage active 1 state=used
app,worker? db.client.connections.pending_requests pending
app? system.network.retransmits retrans_total
java jvm.memory.used heap_bytes 1 jvm.memory.type=heap
java? jvm.thread.count threads
java? jvm.gc.duration.sum gc_total
go process.runtime.go.goroutines threads
node nodejs.eventloop.delay.p99 loop_lag
db? system.disk.io_time io_total
postgres postgresql.backends running
postgres postgresql.commits ok_total
postgres? postgresql.rollbacks err_total
postgres? postgresql.deadlocks lock_waits_total
mysql mysql.threads running 1 kind=running
mysql mysql.query.count req_total
mysql? mysql.query.slow.count slow_queries_total
mongodb mongodb.operation.count req_total
mongodb mongodb.operation.time seconds_total 1e3
mongodb? mongodb.connection.count connections
redis redis.keyspace.hits hits_total
redis redis.keyspace.misses misses_total
redis? redis.clients.connected connections
kafka kafka.message.count req_total
kafka,worker kafka.consumer_group.lag lag
rabbitmq rabbitmq.message.current lag 1 state=ready
rabbitmq? rabbitmq.message.published req_total"""
STYLES = {"plain": PLAIN, "cloud": CLOUD, "beats": BEATS, "prometheus": PROM, "otel": OTEL}
# Styles whose metrics have labels.
LABELLED = ("prometheus", "otel", "mesh")
LIFTED = {0.5: 0.0, 0.9: 1.2816, 0.95: 1.6449, 0.99: 2.3263}


class Window:
    """What an instance did since the scrape before."""
    TOTALS = ("req", "err", "seconds", "cpu", "rx", "tx", "written", "retrans", "hits", "misses",
              "outer", "gc")

    def __init__(self, i, before, dt):
        now = [getattr(i, name) for name in self.TOTALS]
        self.now, self.dt = now, dt
        reset = now[0] < before[0] or now[3] < before[3]
        for name, a, b in zip(self.TOTALS, before, now):
            setattr(self, name, b if reset and name != "outer" else b - a)
        self.mean = 1000 * self.seconds / self.req if self.req else None

    def quantile(self, i, q):
        """Of its latencies, in ms, with the error of so few requests."""
        if not self.req:
            return None
        sigma = i.service.sigma
        body = max(self.mean - i.tail * i.tail_ms, 0.01) * math.exp(-sigma * sigma / 2)
        spread = min(0.5, sigma * (1 + 6 * (q > 0.9)) / math.sqrt(self.req))
        late = i.tail_ms if i.tail > 1 - q else 0.0
        if q > 0.9 and i.r.random() < 0.02:
            late += body * i.r.uniform(1, 8)
        return body * math.exp(sigma * LIFTED[q] + i.r.gauss(0, spread)) + late

    def below(self, i, ms):
        """Share of its latencies that are below."""
        if not self.req:
            return 0.0
        sigma = i.service.sigma
        middle = math.log(max(self.mean, 0.01)) - sigma * sigma / 2
        return 0.5 * (1 + math.erf((math.log(ms) - middle) / sigma / math.sqrt(2)))


def bucket(ms):
    def total(i, w):
        kept = i.buckets.get(ms, 0) if w.req < i.req else 0
        i.buckets[ms] = kept + round(w.req * w.below(i, ms))
        return i.buckets[ms]
    return total


def backlog(i, _):
    s = i.service
    return round(s.lag if s.source else sum(c.lag for c in s.consumers))


QUANTITIES = {
    "rate": lambda i, w: (w.req + w.outer) / w.dt, "count": lambda i, w: w.req + w.outer,
    "errors": lambda i, w: (w.err + w.outer) / w.dt, "error_count": lambda i, w: w.err + w.outer,
    "availability": lambda i, w: 1 - (w.err + w.outer) / max(w.req + w.outer, 1),
    "mean": lambda i, w: w.mean, "p50": lambda i, w: w.quantile(i, 0.5),
    "p90": lambda i, w: w.quantile(i, 0.9), "p95": lambda i, w: w.quantile(i, 0.95),
    "p99": lambda i, w: w.quantile(i, 0.99), "up": lambda i, w: 0 if i.down else 1,
    "cpu_share": lambda i, w: w.cpu / w.dt / i.service.limit,
    "cpu_cores": lambda i, w: w.cpu / w.dt, "mem": lambda i, w: i.mem,
    "mem_share": lambda i, w: i.mem / i.service.mem_limit, "disk_used": lambda i, w: i.disk_now,
    "disk_free": lambda i, w: 1 - i.disk_now, "disk_rate": lambda i, w: w.written / w.dt,
    "write_ops": lambda i, w: w.written / w.dt / 8192, "rx_rate": lambda i, w: w.rx / w.dt,
    "tx_rate": lambda i, w: w.tx / w.dt, "retrans": lambda i, w: w.retrans,
    "sockets": lambda i, w: round(12 + 2 * i.busy + i.rate * 0.2 + i.r.gauss(0, 1)),
    "hit_ratio": lambda i, w: w.hits / max(w.hits + w.misses, 1),
    "heap_bytes": lambda i, w: i.mem * (0.3 + 0.5 * i.heap + 0.2 * i.effect.leak) * 1e6,
    "connections": lambda i, w: round(8 + 3 * i.busy + i.r.random() * 2),
    "running": lambda i, w: round(1 + i.busy + i.effect.locks * i.r.uniform(0.2, 0.5)),
    "locks": lambda i, w: round(2 + 2 * i.busy + i.effect.locks + i.r.random() * 3),
    "threads": lambda i, w: round(18 + 2 * i.busy + i.effect.threads * i.service.pool),
    "busy": lambda i, w: round(min(i.service.pool, max(i.busy, i.effect.threads * i.service.pool))),
    "pool": lambda i, w: i.service.pool, "active": lambda i, w: round(i.active),
    "pending": lambda i, w: round(i.pending), "restarts": lambda i, w: i.restarts,
    "loop_lag": lambda i, w: 0.002 * math.exp(i.r.gauss(0, 0.3)) * (1 + 5 * i.effect.cpu),
    "keys": lambda i, w: round(40_000 * (1 - i.effect.miss) + i.r.gauss(0, 50)), "lag": backlog,
    "ok_total": lambda i, w: i.req - i.err, "err_total": lambda i, w: i.err,
    "req_total": lambda i, w: i.req, "seconds_total": lambda i, w: i.seconds,
    "cpu_total": lambda i, w: i.cpu, "throttled_total": lambda i, w: i.throttled,
    "rx_total": lambda i, w: i.rx, "tx_total": lambda i, w: i.tx,
    "written_total": lambda i, w: i.written, "retrans_total": lambda i, w: i.retrans,
    "io_total": lambda i, w: i.io, "gc_total": lambda i, w: i.gc, "gcs_total": lambda i, w: i.gcs,
    "hits_total": lambda i, w: i.hits, "misses_total": lambda i, w: i.misses,
    "slow_queries_total": lambda i, w: i.slows, "lock_waits_total": lambda i, w: i.lock_waits,
    "below25": bucket(25), "below100": bucket(100), "below500": bucket(500),
    "below2500": bucket(2500),
}


def metrics_of(style, r, thin):
    """The lines of a style's table as they apply, per role and tech; `thin` drops some."""
    lines = [line.split() for line in STYLES[style].strip().splitlines()]
    return [(of.rstrip("!?").split(","), "!" in of, name, QUANTITIES[key],
             float(rest[0]) if rest else 1.0, ",".join(rest[1:]))
            for of, name, key, *rest in lines if "?" not in of or r.random() < thin]


class Target:
    """An instance that is scraped every `step` seconds."""

    def __init__(self, i, table, step, offset, labelled):
        self.i, self.step, self.next, self.labelled = i, step, offset, labelled
        self.before = [getattr(i, name) for name in Window.TOTALS]
        i.buckets = {}
        s = i.service
        mine = {"*", s.role, s.tech if s.role != "worker" else "worker"}
        self.metrics = [m[1:] for m in table if mine & set(m[0])]

    def scrape(self, at, text):
        """Lines of metrics.csv."""
        i, out = self.i, []
        gone = i.down or at < i.starts
        if at < i.starts:
            return out
        w = Window(i, self.before, self.step)
        self.before = w.now
        place = f"{text},{i.service.name},{i.name},"
        for outside, name, quantity, factor, labels in self.metrics:
            if gone and not outside:
                continue
            value = quantity(i, w)
            if value is not None:
                end = (f',"{labels}"' if "," in labels else f",{labels}") if self.labelled else ""
                out.append(f"{place}{name},{value * factor:.7g}{end}\n")
        return out


class Mesh:
    """The counters of the proxies at both ends of every call, per pair of workloads."""

    def __init__(self, system, step, offset):
        self.system, self.step, self.next = system, step, offset
        self.pairs = [(s, e) for s in system.services for e in s.calls]

    def scrape(self, _, text):
        out = []

        def tell(place, name, value, *labels):
            out.append(f'{text},{place},,{name},{value:.7g},"{",".join(labels)}"\n')
        for s, e in self.pairs:
            c = e.callee
            ends = (f"source_workload={s.name}", f"destination_workload={c.name}")
            for place, reporter in ((s.name, "source"), (c.name, "destination")):
                here = (f"reporter={reporter}", *ends)
                if c.role in ("db", "cache", "queue"):
                    n = e.ok + e.failed
                    tell(place, "istio_tcp_sent_bytes_total", n * c.bytes_in, *here)
                    tell(place, "istio_tcp_received_bytes_total", n * c.bytes_out, *here)
                    opened = 10 + n / 500 + e.unavailable
                    tell(place, "istio_tcp_connections_opened_total", round(opened), *here)
                    continue
                for code, n in (("200", e.ok), ("500", e.failed), ("503", e.unavailable)):
                    if code == "200" or (n >= 1 and (code == "500" or reporter == "source")):
                        labels = (*here, f"response_code={code}")
                        tell(place, "istio_requests_total", round(n), *labels)
                near = reporter == "source"
                took = 1000 * (e.seconds if near else e.served)
                count = e.ok + e.failed + (e.unavailable if near else 0)
                tell(place, "istio_request_duration_milliseconds_sum", took, *here)
                tell(place, "istio_request_duration_milliseconds_count", round(count), *here)
        return out
