"""Random systems of services, and what happens inside them, tick by tick.

A system is a layered graph of services. Each tick carries load from the gateway down the graph and
latency and failures back up. What is seen of it (metrics, spans, logs) is made elsewhere, of the
state that each tick leaves behind, so that all of it tells of the same events.
"""
import math

# Cores, ms and MB throughout; rates are per second and shares between 0 and 1.
LAYER = {"gateway": 0, "queue": 5, "worker": 6, "cache": 7, "db": 8}
TECHS = {"gateway": ("nginx", "java", "go", "node"), "queue": ("kafka", "rabbitmq"),
         "app": ("java", "java", "go", "go", "node", "python", "dotnet"),
         "worker": ("java", "go", "python"), "cache": ("redis",),
         "db": ("postgres", "mysql", "mongodb")}
NAMES = """cart checkout catalog payment shipping currency recommend ads email frontend user order
 inventory search review rating profile auth session pricing discount invoice ledger transfer loan
 account card fraud kyc booking seat route station ticket train travel food consign basic price
 notify chat timeline post media compose follow social text geo reserve hotel rate room driver rider
 dispatch trip map eta wallet coupon wishlist gift tax stock supplier warehouse courier tracking
 device sensor telemetry rule alarm firmware policy claim quote audit report export template feature
 flag tenant billing meter quota plan""".split()
SUFFIXES = ("", "-service", "-svc", "service", "-api")
PODS = "bcdfghjklmnpqrstvwxz2456789"


EFFECTS = ("cpu slow err net loss leak full io pool locks down surge out_err miss threads").split()


class Effect:
    """What a fault does to an instance at a moment; all 0 if there is none."""

    def __init__(self, **effects):
        for name in EFFECTS:
            setattr(self, name, effects.get(name, 0))


NONE = Effect()


class Edge:
    """Calls of one service to another."""

    def __init__(self, r, callee, mult):
        self.callee, self.mult, self.per = callee, mult, mult
        self.cache = None  # whose misses these calls are
        self.wire = r.choice((0.3, 0.5, 1.0, 2.0))
        self.timeout = r.choice((1000, 2000, 3000, 5000, 10000, 30000))
        self.retries = r.choice((0, 0, 0, 1, 2))
        self.fallback = callee.role == "cache" or r.random() < 0.15
        self.again = self.rate = self.lat = self.fail = self.refused = 0.0
        # Totals: calls by outcome, what they took in seconds, and that without the network.
        self.ok = self.failed = self.unavailable = 0.0
        self.seconds = self.served = 0.0


class Instance:
    def __init__(self, r, service, name, node):
        self.r, self.service, self.name, self.node = r, service, name, node
        self.weight, self.skew = r.uniform(0.9, 1.1), math.exp(r.gauss(0, 0.08))
        self.restarts, self.effect, self.down, self.stale = 0, NONE, False, 0.0
        self.disk = self.disk_now = r.uniform(0.3, 0.7)
        self.starts, self.fell, self.since = 0.0, False, 0.0
        self.drift = self.wobble = self.outer = 0.0
        self.reset()

    def reset(self):
        """As after a start of its process."""
        self.req = self.err = self.seconds = self.cpu = self.throttled = self.gc = self.gcs = 0.0
        self.rx = self.tx = self.read = self.written = self.io = self.retrans = 0.0
        self.hits = self.misses = self.evicted = self.slows = self.lock_waits = 0.0
        self.heap, self.age, self.rate, self.n = 0.2, 0.0, 0.0, 0.0
        self.lat, self.own, self.own_err, self.fail = self.service.own_ms, self.service.own_ms, 0, 0
        self.tail = self.tail_ms = self.busy = self.usage = self.pending = self.active = 0.0
        self.mem = self.service.mem * 0.85

    def restart(self, name=None):
        self.restarts += name is None
        self.name = name or self.name
        self.reset()

    def tick(self, t, dt, rate, wait, fail):
        """`rate` requests come, that wait `wait` ms for others and fail with share `fail`."""
        s, e, r = self.service, self.effect, self.r
        if self.down or t < self.starts:
            self.outer += rate * dt
            self.rate, self.busy, self.usage = rate, 0.0, 0.0
            return
        self.age += dt
        self.drift = s.keep * self.drift + r.gauss(0, s.shake)
        self.wobble = 0.8 * self.wobble + r.gauss(0, 0.07)
        cold = 1 + s.warm * math.exp(-self.age / 40)
        demand = s.idle + rate * s.cpu_ms / 1000 * math.exp(self.wobble) * cold + s.job(t) * s.limit
        if r.random() < 0.003:
            demand += s.limit * r.uniform(0.1, 0.5)
        demand += e.cpu * s.limit * r.uniform(0.85, 1.1)
        pressed = demand / s.limit
        self.usage = min(demand, s.limit * r.uniform(0.97, 1))
        queued = 1 + 3 * max(0.0, min(pressed, 1.5) - 0.65) ** 2 if not e.cpu else 1
        own = s.own_ms * self.skew * math.exp(self.drift) * cold * queued * (1 + s.job(t) * 0.5)
        self.own = own + e.slow * s.usual * math.exp(r.gauss(0, 0.25))
        self.tail, self.tail_ms = e.loss, e.loss and (220 + s.usual) * r.uniform(0.8, 1.3)
        lat = self.own + wait + self.tail * self.tail_ms
        self.busy += (rate * lat / 1000 - self.busy) * min(1, dt / 5)
        full = self.busy / s.pool
        if full > 0.75:
            lat *= 1 + min(2, (full - 0.75) * 1.5)
        reject = min(0.8, 1 - 1 / full) if full > 1 else 0.0
        self.lat = min(lat, 60_000)
        usual_err = s.base_err * math.exp(r.gauss(0, 0.5))
        self.own_err = 1 - (1 - usual_err) * (1 - min(e.err, 1)) * (1 - reject)
        self.fail = 1 - (1 - self.own_err) * (1 - fail)
        self.rate = rate
        self.n = n = max(0, round(r.gauss(rate * dt, math.sqrt(rate * dt))))
        self.req += n
        self.err += min(n, poisson(r, n * self.fail))
        self.seconds += n * self.lat / 1000
        self.cpu += self.usage * dt
        self.throttled += max(0, pressed - 0.85) * dt * r.uniform(0.3, 0.6)
        self.resources(dt, n, rate, e)

    def resources(self, dt, n, rate, e):
        s, r = self.service, self.r
        self.heap += s.alloc * rate * dt * r.uniform(0.7, 1.3) + 0.001 * dt
        if self.heap > 1 - 0.5 * e.leak:
            self.heap = r.uniform(0.15, 0.3)
            self.gcs += 1 + 4 * e.leak
            self.gc += r.uniform(0.01, 0.06) * (1 + 12 * e.leak)
        free = max(s.mem_limit - s.mem * 1.25, 1)
        grown = s.mem * (0.85 + 0.15 * (1 - math.exp(-self.age / 600)))
        self.mem = grown + s.mem * 0.2 * self.heap * s.saws + free * e.leak + r.gauss(0, 0.3)
        self.rx += (n * s.bytes_in + 2000 * dt) * math.exp(r.gauss(0, 0.1)) * (1 - 0.4 * e.loss)
        self.tx += (n * s.bytes_out + 3000 * dt) * math.exp(r.gauss(0, 0.15)) * (1 - 0.4 * e.loss)
        self.retrans += poisson(r, dt * (0.03 + e.loss * (3 + rate / 2)))
        writes = (n * s.writes + 800 * dt) * math.exp(r.gauss(0, 0.5))
        self.written += writes + e.io * 3e7 * dt * r.uniform(0.6, 1.1)
        self.read += (n * s.writes * 0.3 + e.io * 4e6 * dt) * r.uniform(0.5, 1.5)
        self.io += dt * min(1, 0.02 + writes / dt / 2e7 + e.io * r.uniform(0.7, 1))
        self.disk += 1e-6 * dt
        self.disk_now = self.disk + (0.999 - self.disk) * min(1, e.full)
        hit = s.hit * (1 - e.miss)
        self.hits += n * hit
        self.misses += n * (1 - hit)
        self.slows += poisson(r, n * (0.002 + (0.3 if e.slow > 1 else 0.04 * e.slow)))
        self.lock_waits += poisson(r, dt * (0.05 + e.locks / 5))
        used = rate * (s.store_ms + self.own * 0.1) / 1000 + r.random()
        self.active = min(s.connections, max(used, e.pool * s.connections))
        waiting = rate * max(self.lat - s.usual, 0) / 1000 if e.pool else 0
        self.pending = min(waiting, 200) * r.uniform(0.7, 1.3)


class Service:
    def __init__(self, r, name, role, layer, mix):
        self.name, self.role, self.layer = name, role, layer
        self.tech = r.choice(TECHS[role])
        if role == "app" and r.random() < 0.6:
            self.tech = mix
        self.calls, self.instances, self.source = [], [], None
        self.own_ms = {"gateway": 2, "cache": 0.4, "queue": 2, "db": 4}.get(role, 7)
        self.own_ms *= math.exp(r.gauss(0, 0.6))
        self.sigma = r.choice((0.3, 0.45, 0.6, 0.9))
        self.keep, self.shake = r.choice(((0.7, 0.06), (0.9, 0.05), (0.97, 0.04)))
        self.base_err = r.choice((0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.015))
        self.base_err *= 0.1 if role in ("cache", "db", "queue") else 1
        self.limit = r.choice((0.25, 0.5, 1, 1, 2, 4))
        self.warm, self.alloc = r.choice((0.05, 0.2, 1.2)), 10 ** r.uniform(-4, -2.3)
        self.saws = {"java": 2.0, "go": 0.6, "node": 0.8, "dotnet": 1.0}.get(self.tech, 0.1)
        self.mem = {"java": 450, "go": 40, "node": 110, "nginx": 25}.get(self.tech, 150)
        self.mem *= math.exp(r.gauss(0, 0.35))
        limits = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
        self.mem_limit = next(m for m in limits if m > self.mem * 1.6)
        self.bytes_in, self.bytes_out = r.uniform(300, 2500), r.uniform(500, 20000)
        self.writes = r.uniform(500, 9000) if role in ("db", "queue") else r.uniform(5, 150)
        self.hit, self.connections = r.uniform(0.8, 0.97), r.choice((10, 20, 30, 50))
        self.every, self.at, self.heavy = r.choice((5, 10, 15)), r.uniform(0, 300), 0.0
        if role in ("db", "worker", "app") and r.random() < 0.15:
            self.heavy = r.uniform(0.1, 0.35)
        self.rate = self.fail = self.lag = self.cut = self.out_err = self.in_ms = self.out_ms = 0.0
        self.lat = self.usual = self.store_ms = self.own_ms
        self.cpu_ms, self.idle, self.pool = 1.0, 0.01, 50
        self.refused, self.faulted = 0.0, False

    def job(self, t):
        """Share of the limit that a batch job takes; every few minutes, for 25 s."""
        return self.heavy if self.heavy and (t - self.at) % (60 * self.every) < 25 else 0.0

    def call(self, r, callee, mult):
        if callee is not self and all(e.callee is not callee for e in self.calls):
            self.calls.append(Edge(r, callee, mult))
            return self.calls[-1]
        return None

    def hit_now(self, t):
        up = [i for i in self.instances if not i.down and t >= i.starts]
        return self.hit * sum(1 - i.effect.miss for i in up) / len(self.instances)

    def respond(self, t, dt):
        """Latency and failures of its requests, those of its callees being known."""
        wait, lost, stores = 0.0, 0.0, 0.0
        total = sum(i.weight for i in self.instances)
        share = [(i, i.weight / total) for i in self.instances]
        net = sum(w * i.effect.net for i, w in share) * self.usual
        self.out_err = sum(w * i.effect.out_err for i, w in share)
        self.in_ms = net * 0.5
        self.out_ms = net / max(1.0, sum(e.per for e in self.calls))
        for e in self.calls:
            lat = e.callee.lat + e.wire + e.callee.in_ms + self.out_ms
            late = min(0.9, max(0.0, lat / e.timeout - 0.35))
            e.fail = 1 - (1 - e.callee.fail) * (1 - late) * (1 - self.out_err)
            e.refused = self.out_err or e.callee.refused
            e.lat = min(lat, e.timeout)
            e.again = e.retries * e.fail
            wait += e.per * e.lat * (1 + e.again)
            stores += e.per * e.lat * (e.callee.role == "db")
            lost += min(1, e.per) * e.fail ** (1 + e.retries) * (0.03 if e.fallback else 1)
            n = e.rate * dt
            bad = min(n, n * e.fail)
            away = bad * min(1, e.refused / max(e.fail, 1e-9))
            e.ok += n - bad
            e.failed += bad - away
            e.unavailable += away
            e.seconds += n * e.lat / 1000
            e.served += (n - away) * min(e.lat, e.callee.lat) / 1000
        self.store_ms = stores
        routed = {i: w * (i.stale if i.down or t < i.starts else 1) for i, w in share}
        weight = sum(routed.values())
        up = [i for i in self.instances if not i.down and t >= i.starts]
        for i in self.instances:
            i.tick(t, dt, self.rate * routed[i] / weight if weight else 0.0, wait, min(lost, 1))
        if up:
            up_weight = sum(routed[i] for i in up)
            self.lat = sum(routed[i] * i.lat for i in up) / up_weight
            self.refused = 1 - up_weight / weight
            own = sum(routed[i] * i.own_err for i in up) / up_weight
            self.fail = self.refused + (1 - self.refused) * (1 - (1 - own) * (1 - min(lost, 1)))
        else:
            self.lat, self.refused, self.fail, own = 3.0, 1.0, 1.0, 1.0
        self.cut = 0.6 * own
        if not self.faulted:
            self.usual += (self.lat - self.usual) * min(1, dt / 120)


class System:
    """A random system under load."""

    def __init__(self, r, size, most, tps):
        self.r, self.tps = r, tps
        self.names_of = r.choice(("pod", "pod", "ordinal", "address", "service"))
        self.nodes = [f"{r.choice(('node', 'worker', 'ip-10-0-3'))}-{n + 1}"
                      for n in range(r.randint(2, 5))]
        self.draw(r, size)
        self.entry = self.services[0]
        for s in self.services:
            count = r.choice((1, 1, 2, 2, 3)) if s.role in ("app", "gateway", "worker") else 1
            for n in range(min(count, most)):
                s.instances.append(Instance(r, s, self.instance_name(s, n), r.choice(self.nodes)))
        self.calibrate(r)
        self.shape = r.choice(("flat", "sine", "bursty", "steps"))
        self.period = r.uniform(400, 2400)
        self.ramp = r.choice((0, 0, 120, 240))
        self.level, self.burst, self.closed = 0.0, 1.0, r.random() < 0.4

    def draw(self, r, size):
        suffix, mix = r.choice(SUFFIXES), r.choice(TECHS["app"])
        stores = max(1, round(size * r.uniform(0.2, 0.4)))
        queued = size >= 7 and r.random() < 0.8
        apps = max(2, size - 1 - stores - 2 * queued)
        words = r.sample(NAMES, apps + 4)
        gate = r.choice(("gateway", "frontend", "api-gateway", "ingress-nginx", "edge"))
        services = [Service(r, gate, "gateway", 0, mix)]
        deepest = r.randint(1, 4)
        services += [Service(r, words[n] + suffix, "app", min(n + 1, r.randint(1, deepest)), mix)
                     for n in range(apps)]
        business = services[1:]
        for a in business:
            above = [s for s in services if s.layer < a.layer]
            for caller in r.sample(above, min(len(above), r.choice((1, 1, 1, 2, 3)))):
                caller.call(r, a, r.choice((0.3, 0.5, 0.7, 1, 1, 1.5)))
        if not services[0].calls:
            services[0].call(r, business[0], 1)
        if queued:
            queue = Service(r, "", "queue", 5, mix)
            queue.name = queue.tech
            name = words[-1] + r.choice(("-worker", "-consumer", suffix))
            worker = Service(r, name, "worker", 6, mix)
            worker.source = queue
            for a in r.sample(business, min(len(business), r.randint(1, 3))):
                a.call(r, queue, r.choice((0.3, 0.6, 1)))
            services += [queue, worker]
        callers, made, cache = business + services[-1:] * queued, [], None
        for n in range(stores):
            owner = callers[n % len(callers)]
            if n % 3 == 1 or (n == 1 and stores == 2):
                cache = Service(r, f"redis-{owner.name.removesuffix(suffix)}", "cache", 7, mix)
                made.append(cache)
                databases = [s for s in made if s.role == "db"]
                for a in dict.fromkeys((owner, callers[0], r.choice(callers))):
                    self.through(r, a, cache, r.choice(databases))
            else:
                db = Service(r, "", "db", 8, mix)
                db.name = r.choice((f"{owner.name}-{db.tech}", f"{db.tech}-{words[-2 - n % 3]}{n}",
                                    f"{owner.name}-db"))
                made.append(db)
                for a in [owner, *r.sample(callers, min(len(callers), r.choice((0, 0, 1, 2))))]:
                    a.call(r, db, r.choice((0.6, 1, 1, 2, 3)))
        self.services = sorted(services + made, key=lambda s: LAYER.get(s.role, s.layer))

    @staticmethod
    def through(r, caller, cache, db):
        """`caller` reads from `cache`, and what is missing there from `db`."""
        if caller.call(r, cache, r.choice((1, 1, 2))):
            edge = next((e for e in caller.calls if e.callee is db), None) or caller.call(r, db, 1)
            edge.cache, edge.mult = cache, 2.0

    def instance_name(self, s, n):
        pick = "".join(self.r.choice(PODS) for _ in range(14))
        stateful = self.names_of == "pod" and s.role in ("db", "queue", "cache")
        if self.names_of == "ordinal" or stateful:
            return f"{s.name}-{n}"
        if self.names_of == "pod":
            return f"{s.name}-{pick[:9]}-{pick[9:]}"
        if self.names_of == "address":
            return "10.{}.{}.{}:8080".format(*(self.r.randint(2, 250) for _ in range(3)))
        return s.name if n == 0 else f"{s.name}{n + 1}"

    def calibrate(self, r):
        """Give each service processors, threads and queues that suit its usual load."""
        for s in self.services:
            s.rate = 0.0
        self.entry.rate = self.tps
        for s in self.services:
            if s.source:
                s.rate = s.source.rate
            for e in s.calls:
                e.per = e.mult * (1 - e.cache.hit if e.cache else 1)
                e.callee.rate += s.rate * e.per
        for s in reversed(self.services):
            s.lat = s.usual = s.own_ms + sum(e.per * (e.callee.lat + e.wire) for e in s.calls)
            each = max(s.rate / len(s.instances), 0.01)
            s.idle = s.limit * r.uniform(0.005, 0.04)
            s.cpu_ms = min(r.uniform(0.08, 0.45) * s.limit * 1000 / each, 5 * s.own_ms + 2)
            fits = each * s.lat / 1000 * r.uniform(4, 12)
            s.pool = next((p for p in (10, 20, 50, 100, 200, 400) if p > fits), 1000)
            s.connections = max(s.connections, int(each * s.lat / 1000 * 3))
            s.base_rate = s.capacity = s.rate
            s.consumers = [c for c in self.services if c.source is s]
            if s.source:
                s.capacity = s.rate * r.uniform(1.5, 2.5)

    def load(self, t):
        self.level = 0.98 * self.level + self.r.gauss(0, 0.015)
        rate = self.tps * math.exp(self.level)
        if self.shape == "sine":
            rate *= 1 + 0.35 * math.sin(2 * math.pi * t / self.period)
        if self.shape == "steps" and t % self.period > self.period / 2:
            rate *= 1.3
        if self.shape == "bursty":
            if self.r.random() < 0.01:
                self.burst = self.r.uniform(1, 1.8)
            self.burst += (1 - self.burst) * 0.1
            rate *= self.burst
        if self.closed:
            rate *= 1000 / (1000 + max(0, self.entry.lat - self.entry.usual))
        return rate * min(1, 0.1 + t / self.ramp) if self.ramp else rate

    def tick(self, t, dt):
        for s in self.services:
            s.rate = 0.0
        self.entry.rate = self.load(t)
        for s in self.services:
            if s.source:
                s.lag += s.source.rate * (1 - s.source.fail) * dt
                alive = sum(not i.down and t >= i.starts for i in s.instances) / len(s.instances)
                most = s.capacity * alive * min(1.5, s.usual / max(s.lat, 0.1))
                s.rate = min(s.lag / dt, most)
                s.lag -= s.rate * dt
            surge = max(i.effect.surge for i in s.instances)
            s.rate += surge * s.base_rate
            for e in s.calls:
                e.per = e.mult * (1 - e.cache.hit_now(t) if e.cache else 1)
                e.rate = s.rate * (1 - s.cut) * e.per * (1 + e.again) * (1 - s.refused)
                e.callee.rate += e.rate * (1 - s.out_err)
        for s in reversed(self.services):
            s.respond(t, dt)


def poisson(r, mean):
    if mean > 20:
        return max(0, round(r.gauss(mean, math.sqrt(mean))))
    k, p, limit = 0, r.random(), math.exp(-mean)
    while p > limit:
        k, p = k + 1, p * r.random()
    return k
