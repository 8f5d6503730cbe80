"""The faults of random systems: what each does to its service, and in which course over time."""
from systems_model import NONE, Effect

# Per kind of fault: roles of its service, course over time, effects at their full strength. `f` is
# how many times the latency, `e` the share of failures, `g` from .3 (subtle) to 1 (blunt).
KINDS = {
    "cpu_contention": ("app gateway worker db", "step",
                       lambda f, e, g: dict(cpu=1.3 * g, slow=f - 1)),
    "memory_leak": ("app worker", "grow", lambda f, e, g: dict(leak=0.55 + 0.4 * g, slow=f - 1)),
    "oom_kill": ("app worker", "oom", lambda f, e, g: dict(leak=1, slow=0.4)),
    "disk_full": ("db queue", "fill", lambda f, e, g: dict(full=1, err=max(e, 0.08), io=0.2)),
    "slow_disk": ("db", "step", lambda f, e, g: dict(io=0.4 + 0.6 * g, slow=f - 1)),
    "network_delay": ("app", "step", lambda f, e, g: dict(net=f - 1)),
    "packet_loss": ("app", "step", lambda f, e, g: dict(loss=0.1 + 0.3 * g, err=e / 4)),
    "connection_pool": ("app", "step", lambda f, e, g: dict(pool=1, slow=f, err=e / 2)),
    "error_return": ("app", "step", lambda f, e, g: dict(err=e)),
    "exception": ("app", "step", lambda f, e, g: dict(err=e)),
    "slow_query": ("db", "step", lambda f, e, g: dict(slow=f, locks=40 * g, cpu=0.4 * g, io=0.2)),
    "replica_crash": ("app", "crash", lambda f, e, g: dict(down=1)),
    "crash": ("app db worker cache", "crash", lambda f, e, g: dict(down=1)),
    "bad_config": ("app", "step", lambda f, e, g: dict(err=e, slow=(f - 1) / 2)),
    "load_surge": ("gateway app", "step", lambda f, e, g: dict(surge=0.8 + 3.2 * g * g)),
    "external_down": ("app", "step", lambda f, e, g: dict(err=e, slow=f - 1)),
    "dns_failure": ("app", "step", lambda f, e, g: dict(out_err=e, net=(f - 1) / 3)),
    "cache_down": ("cache", "step", lambda f, e, g: dict(miss=0.3 + 0.7 * g)),
    "queue_backlog": ("worker", "step", lambda f, e, g: dict(slow=f + 1.5)),
    "thread_pool": ("app", "step", lambda f, e, g: dict(threads=1, slow=f - 0.5, err=e / 2)),
}
STRENGTHS = {"subtle": ((1.5, 1.9), (0.05, 0.08), 0.3), "moderate": ((2.2, 4), (0.12, 0.35), 0.6),
             "blunt": ((5, 14), (0.5, 1), 1.0)}
# Those of a whole service; all others may be of one of its instances only.
WHOLE = ("error_return", "exception", "bad_config", "load_surge", "external_down", "queue_backlog",
         "crash", "cache_down", "slow_query", "disk_full", "connection_pool")


class Fault:
    """One fault of a service, or of one of its instances, and its course."""

    def __init__(self, r, system, kind, strength, start, end, seen):
        roles, self.course, effects = KINDS[kind]
        self.r, self.kind, self.strength, self.start, self.end = r, kind, strength, start, end
        able = [s for s in system.services
                if s.role in roles.split() and s.role in seen and self.suits(s, kind)]
        # What hardly anybody calls shows little.
        well = [s for s in able if s.base_rate > 0.25 * system.tps] or able
        self.service = r.choice(well) if well else None
        self.possible = bool(well)
        if not well:
            return
        latency, errors, g = STRENGTHS[strength]
        self.effects = effects(r.uniform(*latency), r.uniform(*errors), g)
        every = self.service.instances
        one = kind == "replica_crash" or (kind not in WHOLE and (
            r.random() < 0.5 or self.course == "oom"))
        self.hit = [r.choice(every)] if one else every
        self.instance = self.hit[0].name if len(self.hit) == 1 else ""
        self.onset, self.cycle = r.choice((1, 5, 20)), r.uniform(60, 130)
        self.gap, self.unnoticed = r.uniform(15, 40), r.choice((10, 15, 25))
        self.back_off, self.stale = r.uniform(60, 110), r.choice((0.0, 0.05, 0.3))
        # A cache that is gone, not merely emptied.
        if kind == "cache_down" and strength == "blunt":
            self.course, self.effects = "crash", dict(down=1)
        self.deployed = False

    @staticmethod
    def suits(s, kind):
        if kind in ("network_delay", "packet_loss", "dns_failure"):
            return bool(s.calls)
        if kind == "connection_pool":
            return any(e.callee.role == "db" for e in s.calls)
        if kind == "replica_crash":
            return len(s.instances) > 1
        if kind == "crash":
            return len(s.instances) == 1
        return True

    def apply(self, t, name_of):
        """Puts the effects of moment `t` into force; `name_of` names an instance anew."""
        active = self.start <= t < self.end
        self.service.faulted = active or (self.service.faulted and t < self.end + 60)
        age = t - self.start
        if active and self.kind == "bad_config" and not self.deployed:
            self.deployed = True
            for n, i in enumerate(self.hit):
                i.restart(name_of(self.service, n))
            self.instance = self.hit[0].name if len(self.hit) == 1 else ""
        down = active and self.is_down(age)
        for i in self.hit:
            # A leak ends with a restart.
            leaked = self.course == "grow" and not active and i.effect is not NONE
            if leaked or (i.down and not down):
                i.restart()
            i.fell = i.fell or (down and not i.down and self.course == "crash")
            i.since = i.since if i.down else t
            i.down = down
            # Callers learn of it only after a while.
            i.stale = 1.0 if t - i.since < self.unnoticed else self.stale
            effects = {k: v * self.level(age) for k, v in self.effects.items()} if active else {}
            i.effect = Effect(**effects) if effects else NONE

    def level(self, age):
        if self.course == "grow":
            return age / (self.end - self.start)
        if self.course == "fill":
            return min(1, age / 60)
        if self.course == "oom":
            return min(1, (age % (self.cycle + self.gap)) / self.cycle)
        return min(1, (age + 1) / self.onset)

    def is_down(self, age):
        if self.course == "oom":
            return age % (self.cycle + self.gap) > self.cycle
        # Back for some seconds at each end of the back-off, as in a crash loop.
        return self.course == "crash" and age % (self.back_off + 8) < self.back_off
