#!/usr/bin/env python3
"""Write logs of many kinds of systems together with the templates of their lines.

    python3 tests/formats.py OUT [--seed N] [--lines N]

Each file in tests/formats is a system: what stands in front of its lines, vocabularies of its own
(`@user: root admin`, or `@reason| no route | timed out` where values hold blanks), and formats as
the source of such a program has them, the most frequent first. In a format

    {int}     is a value: one of KINDS, or of a vocabulary of the system
    {?user}   is a value that may be missing
    {up|down} is one of these, the first the most frequent

and all else is text. Who labels logs keeps words that tell states apart as text, unless the line
marks them as a value (`state="up"`, `state: up`), and so does this. OUT gets SYSTEM.content (lines
without header), SYSTEM.log (the same with header) and truth/SYSTEM.csv (line,template), in which
every value is `<*>`.
"""
import argparse
import bisect
import csv
import datetime
import itertools
import json
import pathlib
import random
import re

FORMATS = pathlib.Path(__file__).resolve().parent / "formats"
SYLLABLES = "ka lo mi ren sta vu do phi ber ton ex ar lin qu so nev".split()
WORDS = ("the remote side closed its end node is too busy disk was full cannot parse reply no such "
         "entry timed out waiting for lock quota exceeded on volume").split()
# Of values that have delimiters inside, the parts are values.
PARTS = {
    "clock": "<*>:<*>:<*>", "clock1": "<*>:<*>:<*>", "date": "<*>-<*>-<*>", "usdate": "<*>/<*>/<*>",
    "datetime": "<*>-<*>-<*> <*>:<*>:<*>", "hadate": "<*>:<*>:<*>:<*>",
    "iso": "<*>-<*>-<*>:<*>:<*>", "size": "<*> <*>", "url": "http://<*>",
}
# After these, alternatives are values; and where one of them is no word, they are too.
MARKED = ("=", "= ", "\"", "'", ": ", ":", "/")
NO_WORD = re.compile(r"true|false|null|None|-|.*\d.*")
# How labelled logs write templates: numbers are values whoever wrote them, letters that touch a
# value belong to it, values that touch or that a dot or underscore joins are one, as are blanks.
CONVENTION = (
    (r"://<\*>:<\*><\*>", "://<*>"),
    (r"(?<![\w.<*])[-+]?\d+(?:\.\d+)*(?![\w*])", "<*>"),
    (r"[A-Za-z0-9_]+<\*>|<\*>[A-Za-z0-9_]+", "<*>"),
    (r"<\*>[._]?<\*>", "<*>"),
    (r"  +", " "),
)
PLACE = re.compile(r"\{((?:[^{}]|\{[^{}]*\})*)\}")


def name(r, syllables=3):
    return "".join(r.choice(SYLLABLES) for _ in range(syllables))


def number(r):
    """Of any magnitude, small ones as often as large."""
    return r.randrange(10 ** r.randint(1, 6))


def digit(r):
    return r.randint(0, 9)


def hexadecimal(r, digits):
    return "".join(r.choice("0123456789abcdef") for _ in range(digits))


def address(r):
    return ".".join(str(r.randint(1, 254)) for _ in range(4))


def domain(r):
    return f"{name(r, 2)}-{r.randint(1, 40)}.{name(r, 2)}.{r.choice(['com', 'net', 'org', 'de'])}"


def path(r):
    parts = [name(r, r.randint(1, 2)) + r.choice(["", "", str(r.randint(0, 99))])
             for _ in range(r.randint(1, 5))]
    return "/" + "/".join(parts) + r.choice(["", "", ".log", ".json", ".so.1"])


def uuid(r):
    return "-".join(hexadecimal(r, n) for n in (8, 4, 4, 4, 12))


def clock(r):
    return f"{r.randint(0, 23):02}:{r.randint(0, 59):02}:{r.randint(0, 59):02}"


def life(r):
    return r.choice(["<1 sec", f"{r.randint(0, 59):02}:{r.randint(0, 59):02}", clock(r)])


def bytes_twice(r):
    n = number(r)
    return f"{n} bytes" if n < 1024 else f"{n} bytes ({n / 1024:.1f} KB)"


KINDS = {
    "int": number,
    "digit": digit,
    "neg": lambda r: r.choice(["", "-"]) + str(number(r)),
    "signed": lambda r: f"{r.choice('+-')}{r.random():.6f}",
    "float": lambda r: f"{r.randrange(1000) / r.choice([1, 10, 100]):.{r.randint(1, 3)}f}",
    "floats": lambda r: ", ".join(f"{r.random():.2f}" for _ in range(r.randint(1, 5))),
    "money": lambda r: f"{r.randint(1, 400)}.{r.randint(0, 99):02}",
    "port": lambda r: r.choice([80, 443, 8080, 22, *[r.randint(1024, 65535) for _ in range(6)]]),
    "hex": lambda r: hexadecimal(r, r.randint(1, 8)),
    "ptr": lambda r: "0x" + hexadecimal(r, 12),
    "ip": address,
    "addr": lambda r: r.choice(["0.0.0.0", "::", "127.0.0.1"]),
    "cidr": lambda r: f"{address(r)}/24",
    "mac": lambda r: ":".join(hexadecimal(r, 2) for _ in range(6)),
    "mac2": lambda r: "-".join(hexadecimal(r, 2) for _ in range(6)),
    "fqdn": domain,
    "peer": lambda r: r.choice([address, domain])(r),
    "host": lambda r: f"{r.choice(['node', 'web', 'db'])}-{r.randint(1, 60)}",
    "node": lambda r: f"ip-10-0-{r.randint(0, 9)}-{r.randint(1, 250)}.ec2.internal",
    "pod": lambda r: f"{name(r, 2)}-{hexadecimal(r, 9)}-{hexadecimal(r, 5)}",
    "base": lambda r: hexadecimal(r, 5),
    "image": lambda r: f"registry.{name(r, 2)}.io/{name(r, 2)}:v{r.randint(0, 9)}.{digit(r)}",
    "path": path,
    "file": lambda r: f"{name(r, 2)}.{r.choice(['conf', 'csv', 'dll', 'yaml'])}",
    "url": lambda r: f"http://{domain(r)}{path(r)}",
    "uuid": uuid,
    "user": name,
    "name": name,
    "email": lambda r: f"{name(r, 2)}@{domain(r)}",
    "msgid": lambda r: f"{r.randint(10 ** 9, 10 ** 10)}.{hexadecimal(r, 6)}@{domain(r)}",
    "base64": lambda r: "".join(r.choice("abcXYZ019+/kLm") for _ in range(43)),
    "clock": clock,
    "clock1": lambda r: f"{r.randint(0, 9)}:{r.randint(0, 59):02}:{r.randint(0, 59):02}",
    "date": lambda r: f"20{r.randint(10, 24)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}",
    "yyyymmdd": lambda r: f"20{r.randint(10, 24)}{r.randint(1, 12):02}{r.randint(1, 28):02}",
    "yymmdd": lambda r: f"{r.randint(10, 24)}{r.randint(1, 12):02}{r.randint(1, 28):02}",
    "usdate": lambda r: f"{r.randint(1, 12)}/{r.randint(1, 28)}/20{r.randint(10, 24)}",
    "datetime": lambda r: KINDS["date"](r) + " " + clock(r),
    "iso": lambda r: KINDS["date"](r) + "T" + clock(r) + "Z",
    "isoz": lambda r: KINDS["date"](r) + "T" + clock(r) + "+00:00",
    "compact": lambda r: KINDS["yyyymmdd"](r) + "T" + clock(r).replace(":", ""),
    "hadate": lambda r: f"{r.randint(10, 28)}/Mar/2024:{clock(r)}.{r.randint(100, 999)}",
    "epoch": lambda r: f"17{r.randint(10 ** 7, 10 ** 8 - 1)}.{r.randint(100, 999)}",
    "ms": lambda r: r.randint(1_500_000_000_000, 1_700_000_000_000),
    "dur": lambda r: f"{r.choice([1, 0.1]) * r.randint(1, 900):.4g}{r.choice(['ms', 's', 'µs'])}",
    "size": lambda r: f"{r.randint(1, 9999) / 10} {r.choice(['KB', 'MB', 'GB', 'B'])}",
    "life": life,
    "bytes2": bytes_twice,
    "ver": lambda r: f"{r.randint(0, 9)}.{r.randint(0, 30)}.{r.randint(0, 9)}",
    "words": lambda r: " ".join(r.choice(WORDS) for _ in range(r.randint(1, 6))),
    **{f"hex{n}": lambda r, n=n: hexadecimal(r, n) for n in (2, 4, 7, 8, 10, 16, 40, 64)},
}


def skewed(r, values):
    """The first about as often as all others."""
    return r.choices(values, [1 / (i + 1) for i in range(len(values))])[0]


def alternatives(inner):
    """What bars outside of brackets part."""
    out, depth = [""], 0
    for c in inner:
        depth += (c == "{") - (c == "}")
        if c == "|" and depth == 0:
            out.append("")
        else:
            out[-1] += c
    return out


class System:
    def __init__(self, text):
        head, *rest = text.splitlines()
        self.header, *self.writers = head.split()[1:]
        self.own, formats = {}, []
        for line in rest:
            if vocabulary := re.match(r"@(\w+)([:|])(.*)", line):
                key, mark, values = vocabulary.groups()
                parted = values.split() if mark == ":" else [v.strip() for v in values.split(" |")]
                self.own[key] = [v.encode().decode("unicode_escape") for v in parted]
            else:
                formats.append(line)
        self.formats = [self.parts(line.replace(r"\042", '"')) for line in formats]

    def parts(self, text):
        """Text and values in turn: a value as its template and what makes one."""
        out, at = [], 0
        while place := PLACE.search(text, at):
            before = "".join(p for p in out[-1:] if isinstance(p, str)) + text[:place.start()]
            made = self.value(place[1], before.endswith(MARKED))
            at = place.end() if made else place.start() + 1
            out.append(text[:at] if not made else text[:place.start()])
            out += [made] if made else []
            text, at = text[at:], 0
        return [*out, text]

    def value(self, inner, marked):
        """What makes text and its template; nothing if `inner` is text itself."""
        key = inner.strip("?")
        if key in self.own:
            make, shown = lambda r: skewed(r, self.own[key]), "<*>"
        elif key in KINDS:
            make, shown = KINDS[key], PARTS.get(key, "<*>")
        elif len(choice := alternatives(inner)) > 1:
            pick = lambda r: skewed(r, choice)
            make = lambda r: KINDS.get(word := pick(r), lambda _: word)(r)
            shown = "<*>" if marked or any(map(NO_WORD.fullmatch, choice)) else None
        elif re.fullmatch(r"[a-z]\w*\??", inner):
            raise SystemExit(f"{inner} is neither a kind nor a vocabulary")
        else:
            return None

        def value(r):
            text = str(make(r)) if key == inner or r.random() < 0.6 else ""
            return text, shown or text
        return value


def line(r, parts):
    """A line and its template."""
    made = [(p, p) if isinstance(p, str) else p(r) for p in parts]
    text, template = ("".join(side) for side in zip(*made))
    for pattern, by in CONVENTION:
        while (changed := re.sub(pattern, by, template)) != template:
            template = changed
    return text, template.strip()


def headed(system, r, second, pick, message):
    """The line as its writer prints it; a statement has one level and one place in the source."""
    of_statement = random.Random(pick)
    day, time = second // 86400 + 1, str(datetime.timedelta(seconds=second % 86400)).zfill(8)
    thousandth = r.randrange(1000)
    writer = skewed(of_statement, system.writers or ["app"])
    writer = writer.replace("{int}", str(of_statement.randint(10, 900)))
    level = skewed(of_statement, ["INFO", "WARN", "ERROR"])
    if system.header == "json":
        fields = {"level": skewed(of_statement, [30, 40, 50]), "time": 1_700_000_000_000 + second,
                  "pid": 4711, "hostname": "web-1", "msg": message}
        return json.dumps(fields, ensure_ascii=False)
    if system.header == "logfmt":
        return (f"ts=2024-01-{day:02}T{time}.{thousandth:03}Z level={level.lower()} "
                f"caller=server/{of_statement.choice(['raft', 'apply'])}.go:{pick + 10} "
                f"msg={json.dumps(message, ensure_ascii=False)}")
    dated, process = f"2024-01-{day:02}", r.randint(100, 32000)
    note = skewed(of_statement, ["Note", "Warning", "ERROR"])
    return {
        "syslog": f"Jan {day:2} {time} host1 {writer}[{process}]: ",
        "syslog5424": f"<{8 * 20 + r.randint(3, 6)}>1 {dated}T{time}Z fw1 {writer} - - - ",
        "haproxy": f"Jan {day:2} {time} lb1 {writer}[{r.randint(100, 999)}]: ",
        "cluster": f"Jan {day:2} {time} n{r.randint(1, 400)} daemon[{process}]: ",
        "asl": f"Jan {day:2} {time} laptop kernel[0]: ",
        "logcat": f"01-{day:02} {time}.{thousandth:03}  {r.randint(500, 3000)}  "
                  f"{r.randint(500, 9000)} {level[0]} {writer}: ",
        "spark": f"24/01/{day:02} {time} {level} {writer}: ",
        "ras": f"{r.randint(10 ** 5, 10 ** 6)} node-{r.randint(0, 255)} unix.hw state_change.x "
               f"{1_700_000_000 + second} 1 ",
        "pg": f"{dated} {time}.{thousandth:03} UTC [{process}] LOG:  ",
        "klog": f"{level[0]}01{day:02} {time}.{thousandth:03}000  1234 {writer}] ",
        "pipes": f"2024{day:02}01-{time.replace(':0', ':')}:{thousandth}|{writer}|30002312|",
        "logback": f"{dated} {time}.{thousandth:03}  {level:>5} 1 --- [nio-8080-exec-{digit(r)}] "
                   f"c.acme.shop.{writer} : ",
        "kafka": f"[{dated} {time},{thousandth:03}] {level} ",
        "bracketed": f"[{dated[5:].replace('-', '.')} {time}] ",
        "mysqld": f"{dated}T{time}.{thousandth:03}000Z {digit(r)} [{note}] ",
        "pylog": f"{dated} {time},{thousandth:03} {level} {writer} ",
        "cbs": f"{dated} {time}, {level.title():<22}{writer}    ",
    }[system.header] + message


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lines", type=int, default=2000)
    args = parser.parse_args()
    (args.out / "truth").mkdir(parents=True, exist_ok=True)
    for source in sorted(FORMATS.glob("*.txt")):
        r = random.Random(f"{args.seed} {source.stem}")
        system = System(source.read_text(encoding="utf8"))
        # Zipf's law: most formats are rare, but each is written once.
        steep = r.uniform(1.0, 1.9)
        ranks = range(1, len(system.formats) + 1)
        shares = list(itertools.accumulate(1 / rank ** steep for rank in ranks))
        picked = [bisect.bisect(shares, r.random() * shares[-1])
                  for _ in range(args.lines - len(shares))]
        picked += range(len(shares))
        r.shuffle(picked)
        second, contents, logs, truth = 0, [], [], []
        for n, pick in enumerate(picked, 1):
            text, template = line(r, system.formats[pick])
            contents.append(text)
            truth.append((n, template))
            second += r.choice([0, 0, 1, 2, 30])
            logs.append(headed(system, r, second, pick, text))
        for suffix, lines in (("content", contents), ("log", logs)):
            text = "".join(line + "\n" for line in lines)
            (args.out / f"{source.stem}.{suffix}").write_text(text, encoding="utf8")
        with open(args.out / "truth" / f"{source.stem}.csv", "w", encoding="utf8", newline="") as f:
            csv.writer(f).writerows([("line", "template"), *truth])


if __name__ == "__main__":
    main()
