"""What a system tells of single requests: spans of traces, and lines of logs of many formats.

A trace is walked through the services as the tick at hand left them, and leaves spans and lines.
"""
import datetime
import json
import math

OPERATIONS = {"http": ("GET /{s}", "GET /{s}/{{id}}", "POST /{s}", "PUT /api/v1/{s}/{{id}}"),
              "grpc": ("{S}/Get{S}", "{S}/List{S}s", "{S}/Create{S}", "{S}/Update{S}"),
              "code": ("{S}Controller.get", "{S}Controller.list", "{S}Service.save")}
STORE_OPERATIONS = {"redis": ("GET", "HGETALL", "SETEX"), "kafka": ("events publish",),
                    "rabbitmq": ("events publish",), "mongodb": ("find {s}", "update {s}"),
                    "postgres": ("SELECT {s}", "UPDATE {s}"), "mysql": ("SELECT {s}", "INSERT {s}")}
# What a service says of its own failures: by the fault, `fault`, and by language where it matters.
OWN = {
    "cpu_contention": ("deadline exceeded while handling {op}",),
    "disk_full": ("could not write to file \"base/pgsql_tmp\": No space left on device",
                  "write failed: ENOSPC: no space left on device, write"),
    "connection_pool": (
        "HikariPool-1 - Connection is not available, request timed out after {ms}ms.",
        "QueuePool limit of size 10 overflow 5 reached, connection timed out, timeout 30",
        "failed to acquire connection: context deadline exceeded"),
    "error_return": ("{op} completed with status 500", "returning HTTP 500 for request {id}"),
    "exception": ("Unhandled exception in {op}: {exc}",),
    "packet_loss": ("read tcp: connection reset by peer",),
    "bad_config": ("invalid configuration value for '{s}.endpoint': cannot parse url",
                   "401 Unauthorized: invalid credentials for {s}"),
    "external_down": ("POST https://api.partner-gw.com/v2/{s}: connect timeout after {ms} ms",
                      "upstream api.partner-gw.com returned 503 Service Unavailable"),
    "thread_pool": ("Task rejected from ThreadPoolExecutor[Running, pool size = {pool}, "
                    "active threads = {pool}, queued tasks = 100]",
                    "request rejected: worker pool exhausted"),
    "": ("{op} failed: {exc}", "unexpected end of stream", "validation failed for request {id}")}
EXCEPTIONS = {"java": ("java.lang.NullPointerException: Cannot invoke \"Item.getId()\"",
                       "java.lang.IllegalStateException: no such element"),
              "python": ("KeyError: 'item_id'", "TypeError: 'NoneType' object is not iterable"),
              "node": ("TypeError: Cannot read properties of undefined (reading 'id')",),
              "dotnet": ("System.NullReferenceException: Object reference not set",),
              "go": ("runtime error: invalid memory address or nil pointer dereference",)}
# Which of several texts suits a language or a database; the last one if none is named.
SUITS = {"java": 0, "postgres": 0, "python": 1}
# What it says besides requests while a fault lasts: (severity, text, per minute and instance).
BESIDE = {
    "memory_leak": ("WARN", "heap usage {mem} MB of {limit} MB, full GC took {ms} ms", 3),
    "oom_kill": ("WARN", "memory usage {mem} MB is close to limit {limit} MB", 2),
    "disk_full": ("ERROR", "PANIC: could not write to log file: No space left on device", 6),
    "slow_disk": ("WARN", "sync of file took {ms} ms, disk seems slow", 4),
    "thread_pool": ("WARN", "thread starvation detected, all {pool} workers busy", 3),
    "slow_query": ("WARN", "transaction {id} still waiting for row lock after {ms} ms", 6),
    "connection_pool": ("WARN", "pool stats (total=10, active=10, idle=0, waiting={n})", 3),
    "queue_backlog": ("WARN", "consumer poll timeout has expired, lag is {lag}", 3),
    "cache_down": ("INFO", "DB 0: {n} keys expired, eviction cycle took {ms} ms", 4),
    "cpu_contention": ("WARN", "handling took {ms} ms, server is likely overloaded", 2)}
FATAL = {"java": "Exception in thread \"main\" java.lang.OutOfMemoryError: Metaspace",
         "go": "panic: runtime error: index out of range [3] with length 3",
         "python": "Fatal Python error: Segmentation fault", "redis": "crashed by signal: 11",
         "node": "FATAL ERROR: v8::ToLocalChecked Empty MaybeLocal",
         "postgres": "server process was terminated by signal 11: Segmentation fault"}
USUAL = (("INFO", "GET /healthz 200 0.3ms", 3), ("DEBUG", "refreshed service registry", 0.6),
         ("INFO", "scheduled task cleanup finished in {n} ms", 0.3),
         ("WARN", "deprecated parameter 'limit' used by client {n}", 0.15),
         ("ERROR", "failed to send metrics batch to collector, will retry", 0.05),
         ("WARN", "connection to config server lost, reconnecting", 0.03),
         ("INFO", "token cache hit ratio 0.{n}", 0.2))
STORE_USUAL = {
    "postgres": (("INFO", "checkpoint complete: wrote {n} buffers", 0.3),
                 ("ERROR", "duplicate key value violates unique constraint \"{s}_pkey\"", 0.05)),
    "redis": (("INFO", "Background saving terminated with success", 0.2),),
    "mysql": (("WARN", "Aborted connection {n} to db: 'app' (Got timeout reading packets)", 0.1),),
    "mongodb": (("INFO", "WiredTiger checkpoint took {n} ms", 1),
                ("INFO", "Connection accepted from 10.4.2.{n}:40122", 0.5)),
    "kafka": (("INFO", "Rolled new log segment at offset {id} in {n} ms", 0.2),),
    "rabbitmq": (("INFO", "accepting AMQP connection <0.{n}.0>", 0.3),)}
START = ("Starting application {s} v2.{n} on {host}", "Listening on :8080",
         "Loaded configuration from /etc/{s}/config.yaml")
FORMATS = {"java": ("spring", "spring", "log4j", "bare"), "go": ("logfmt", "json", "klog"),
           "node": ("pino", "json"), "python": ("python", "json"), "dotnet": ("dotnet",),
           "nginx": ("logfmt", "bare")}


def lines_of(style, at, level, s, text, trace, n):
    """A line as the service writes it."""
    low, day = level.lower(), at.strftime("%Y-%m-%d %H:%M:%S")
    ms = f"{at.microsecond // 1000:03}"
    if style == "spring":
        return (f"{day}.{ms} {level:>5} [{s.name},{trace[:16]}] 1 --- [nio-8080-exec-{n % 10}] "
                f"c.e.{s.stem}.{s.stem.title()}Controller : {text}")
    if style == "log4j":
        return f"{day},{ms} [pool-2-thread-{n % 8}] {level} com.shop.{s.stem}.Handler - {text}"
    if style == "logfmt":
        said = json.dumps(text)
        return f'time="{at.isoformat(timespec="seconds")}" level={low} msg={said} app={s.name}'
    if style == "json":
        return json.dumps({"severity": low, "message": text, "logger": s.stem, "trace": trace})
    if style == "pino":
        return json.dumps({"level": {"WARN": 40, "ERROR": 50}.get(level, 30),
                           "pid": 1, "name": s.name, "msg": text})
    if style == "klog":
        clock = at.strftime("%m%d %H:%M:%S")
        return f"{level[0]}{clock}.{ms}000       1 server.go:{80 + n}] {text}"
    if style == "python":
        return f"{day},{ms} - {s.stem} - {level} - {text}"
    if style == "dotnet":
        return f"{low}: {s.stem.title()}.Api[0]\n      {text}"
    return text


def stack(tech, s, text):
    c = s.stem.title()
    if tech == "java":
        return (f"{text}\n\tat com.shop.{s.stem}.{c}Service.find({c}Service.java:88)"
                f"\n\tat com.shop.{s.stem}.{c}Controller.get({c}Controller.java:41)"
                "\n\tat java.base/java.lang.Thread.run(Thread.java:829)")
    if tech == "python":
        return (f"Traceback (most recent call last):\n  File \"/app/{s.stem}.py\", line 112, in "
                f"handle\n    item = self.load(request)\n{text}")
    if tech == "node":
        return f"{text}\n    at {c}.load (/app/src/{s.stem}.js:57:19)\n    at process.processTicks"
    return f"{text} (main.(*{c}Server).Handle {s.stem}.go:144)"


class Teller:
    def __init__(self, r, system, fault, start, logs, spans, traces):
        self.r, self.fault, self.start, self.system = r, fault, start, system
        self.logs, self.spans, self.traces = ([] if logs else None), ([] if spans else None), traces
        alone = not spans or not logs
        # Chance of a line per request served, at its arrival and at its end.
        self.arrival, self.ending = r.choice((0, 0.4)), 1.0 if alone else r.choice((0.3, 1))
        self.client_spans = spans and r.random() < 0.5
        self.store_spans, self.fine = alone or r.random() < 0.5, r.choice(("unset", "ok"))
        self.severity = r.choice((str.upper, str.upper, str.title, str.lower))
        kind = r.choice(list(OPERATIONS))
        for s in system.services:
            s.stem = "".join(c for c in s.name.split("-")[0] if c.isalpha()) or "app"
            of = STORE_OPERATIONS.get(s.tech, OPERATIONS[kind])
            words = {"s": s.stem, "S": s.stem.title()}
            s.operations = [o.format(**words) for o in of]
            s.format = r.choice(FORMATS.get(s.tech, ("bare",)))
            s.threshold = r.choice((3, 6)) * s.own_ms

    def stamp(self, t):
        at = self.start + datetime.timedelta(seconds=t)
        return at, at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"

    def say(self, t, i, level, text, trace="", span=""):
        if self.logs is None:
            return
        s, n, at = i.service, self.r.randrange(10, 99), self.stamp(t)
        if "{" in text:
            for key, value in (("ms", round(i.lat * 2 + n)), ("n", n), ("s", s.stem),
                               ("host", i.name), ("op", self.r.choice(s.operations)),
                               ("lag", round(s.lag)),
                               ("id", f"{self.r.randrange(16 ** 8):08x}"), ("pool", s.pool),
                               ("mem", round(i.mem)), ("limit", s.mem_limit)):
                text = text.replace("{" + key + "}", str(value))
        body = lines_of(s.format, at[0], level, s, text, trace, n)
        self.logs.append((t, f'{{"ts":"{at[1]}","service":"{s.name}","instance":"{i.name}",'
                             f'"severity":"{self.severity(level)}","body":{json.dumps(body)},'
                             f'"trace_id":"{trace}","span_id":"{span}"}}\n'))

    def tick(self, t, dt):
        r, system = self.r, self.system
        for entry, rate in self.entries():
            expected = rate * self.traces * dt
            for _ in range(int(expected) + (r.random() < expected % 1)):
                trace = f"{r.getrandbits(128):032x}"
                self.serve(entry, t + r.random() * dt, trace, "")
        if self.logs is not None:
            for s in system.services:
                for i in s.instances:
                    if i.fell:
                        i.fell = False
                        self.say(t, i, "ERROR", FATAL.get(s.tech, "terminated by signal 11"))
                    if not i.down and t >= i.starts:
                        self.beside(t, dt, i)

    def entries(self):
        yield self.system.entry, self.system.entry.rate
        for s in self.system.services:
            surge = s.instances[0].effect.surge
            if s.source:
                yield s, s.rate
            elif surge and s is not self.system.entry:
                yield s, surge * s.base_rate

    def beside(self, t, dt, i):
        r, s = self.r, i.service
        usual = STORE_USUAL.get(s.tech if s.role in ("db", "cache", "queue") else "", USUAL)
        for level, text, rate in usual:
            if r.random() < rate * dt / 60:
                self.say(t + r.random() * dt, i, level, text)
        if i.age <= dt and t > dt:
            for n, text in enumerate(START):
                self.say(t + n * dt / 4, i, "INFO", text)
        f = self.fault
        if f and s is f.service and i in f.hit and f.start <= t < f.end and f.kind in BESIDE:
            level, text, rate = BESIDE[f.kind]
            if r.random() < rate * dt / 60 * f.level(t - f.start):
                self.say(t + r.random() * dt, i, level, text)

    def serve(self, s, t, trace, parent):
        """One request at time `t`; returns the ms that it took and whether it succeeded."""
        r = self.r
        routed = [i for i in s.instances if t >= i.starts and (not i.down or r.random() < i.stale)]
        if not routed:
            return r.uniform(0.5, 4), False
        i = r.choice(routed)
        if i.down:
            return r.uniform(0.5, 4), False
        span, operation = f"{r.getrandbits(64):016x}", r.choice(s.operations)
        own = i.own * math.exp(r.gauss(0, s.sigma) - s.sigma * s.sigma / 2)
        if r.random() < 0.005:
            own *= r.uniform(3, 20)
        if i.tail and r.random() < i.tail:
            own += i.tail_ms * r.choice((1, 1, 2))
        store = s.role in ("cache", "db", "queue")
        if self.arrival and not store and r.random() < self.arrival:
            text = f"{operation} called with id={r.randrange(10 ** 6)}"
            self.say(t, i, "INFO", text, trace, span)
        good, took = True, own * 0.4
        if r.random() < i.own_err:
            good = False
            self.own_failure(t + took / 1000, i, trace, span)
        if good or r.random() < 0.4:
            for e in s.calls:
                for _ in range(int(e.per) + (r.random() < e.per % 1)):
                    ms, done = self.call(i, e, t + took / 1000, trace, span)
                    took += ms
                    good = good and (done or (e.fallback and r.random() > 0.03))
        took += own * 0.6
        self.span(t, i, operation, trace, span, parent, took, good)
        if not store and r.random() < self.ending:
            code = "200" if good else r.choice(("500", "500", "503"))
            level = "INFO" if good or r.random() < 0.5 else "ERROR"
            self.say(t + took / 1000, i, level, f"{operation} {code} {took:.1f}ms", trace, span)
        elif store and own > s.threshold:
            self.say(t + took / 1000, i, "WARN", f"slow query: duration: {own:.3f} ms  statement: "
                     f"{operation} WHERE id = {r.randrange(10 ** 6)}", trace)
        return took, good

    def own_failure(self, t, i, trace, span):
        r, f, s = self.r, self.fault, i.service
        ours = f and s is f.service and i.effect.err and f.kind in OWN
        texts = OWN[f.kind if ours else ""]
        text = texts[min(SUITS.get(s.tech, 9), len(texts) - 1)] if ours else r.choice(texts)
        if "{exc}" in text:
            exceptions = EXCEPTIONS.get(s.tech, EXCEPTIONS["go"])
            text = text.replace("{exc}", exceptions[0] if ours else r.choice(exceptions))
            text = stack(s.tech, s, text)
        self.say(t, i, "WARN" if not ours and r.random() < 0.4 else "ERROR", text, trace, span)

    def call(self, i, e, t, trace, span):
        """A call with its retries; returns ms and success."""
        r, s, c, spent = self.r, i.service, e.callee, 0.0
        wire = e.wire + c.in_ms + (i.service.out_ms if i.effect.net else 0)
        for attempt in range(1 + e.retries):
            at, below = t + spent / 1000, f"{r.getrandbits(64):016x}"
            if i.effect.out_err and r.random() < i.effect.out_err:
                ms, good, why = r.choice((3, 5000)) * r.uniform(0.8, 1.2), False, "dns"
            else:
                parent = below if self.client_spans else span
                ms, good = self.serve(c, at + wire / 2000, trace, parent)
                ms, why = ms + wire * math.exp(r.gauss(0, 0.2)), "" if good else "answer"
                if not good and all(x.down for x in c.instances):
                    why = "refused"
                if ms > e.timeout:
                    ms, good, why = e.timeout, False, "timeout"
            spent += min(ms, e.timeout)
            if self.client_spans or (not self.store_spans and c.role in ("db", "cache", "queue")):
                name = c.operations[0] if c.role in ("db", "cache") else f"call {c.name}"
                self.span(at, i, name, trace, below, span, ms, good)
            if good:
                return spent, True
            text = {"dns": f"dial tcp: lookup {c.name} on 10.96.0.10:53: no such host",
                    "refused": f"call to {c.name} failed: connection refused",
                    "timeout": f"call to {c.name} timed out after {e.timeout} ms",
                    "answer": f"call to {c.name} failed: 500 Internal Server Error"}[why]
            level = "WARN" if e.fallback or attempt < e.retries else "ERROR"
            if r.random() < 0.8:
                self.say(t + spent / 1000, i, level, text, trace, span)
        return spent, False

    def span(self, t, i, operation, trace, span, parent, took, good):
        store = i.service.role in ("db", "cache", "queue")
        if self.spans is not None and (self.store_spans or not store):
            status = self.fine if good else "error"
            self.spans.append((t, f'{{"ts":"{self.stamp(t)[1]}","service":"{i.service.name}",'
                                  f'"instance":"{i.name}","operation":"{operation}",'
                                  f'"trace_id":"{trace}","span_id":"{span}","parent_span_id":'
                                  f'"{parent}","duration_us":{int(took * 1000)},'
                                  f'"status":"{status}"}}\n'))
