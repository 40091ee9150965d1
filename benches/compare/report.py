"""Tables for people, JSON for programs, a picture; and which goals are reached."""
import json
import statistics

import chart

SEEN, BARE = "Portcullis, token seen before", "bare Pingora"
median = statistics.median


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def of(bench, name, field):
    rows = bench.rows.get(name, [])
    values = [row[field] for row in rows if row.get(field) is not None]
    return median(values) if values else None


def ratio(bench, one, other, field):
    """The median of the ratios of two rows in the same round."""
    pairs = zip(bench.rows.get(one, []), bench.rows.get(other, []))
    values = [a[field] / b[field] for a, b in pairs if a.get(field) and b.get(field)]
    return median(values) if values else None


def shown(value, form="{:,.1f}"):
    return "–" if value is None else form.format(value)


def table(bench):
    counted = " instructions/request |" if bench.counters else ""
    lines = [
        f"| | CPU µs/request (user + system) | to nginx |{counted} requests/s | p50 µs | p99 µs | p99.9 µs |",
        "|---|---|---|" + ("---|" if bench.counters else "") + "---|---|---|---|",
    ]
    for name in (name for name in bench.rows if not name.endswith("half of capacity")):
        user, system = of(bench, name, "user"), of(bench, name, "system")
        row = [
            name,
            f"{user + system:.1f} ({user:.1f} + {system:.1f})",
            shown(ratio(bench, name, "nginx, forwarding only", "cpu"), "{:.2f}"),
        ]
        if bench.counters:
            row.append(shown(of(bench, name, "instructions"), "{:,.0f}"))
        row.append(shown(of(bench, name, "rate"), "{:,.0f}"))
        row += [shown(of(bench, name, field), "{:,.0f}") for field in ("p50", "p99", "p999")]
        lines.append("| " + " | ".join(row) + " |")
    return lines


def singles(bench):
    lines = ["| | |", "|---|---|"]
    for name in ("bare Pingora", "Portcullis"):
        row = f"{name}, half of capacity"
        values = [shown(of(bench, row, field), "{:,.0f}") for field in ("p50", "p99", "p999")]
        if row in bench.rows:
            rate = bench.figures["half of capacity"]
            lines.append(f"| {name}, {rate:,.0f} requests/s at a constant rate: p50, p99, p99.9 | {', '.join(values)} µs |")
    for name, value in bench.figures.get("callgrind", {}).items():
        lines.append(f"| {name}: instructions a request in user space (callgrind) | {value:,.0f} |")
    units = {"receipt": " µs", "first refusal": " µs", "memory": " MiB", "slow disk, alone": " µs"}
    for name, value in bench.figures.items():
        unit = next((unit for start, unit in units.items() if name.startswith(start)), "")
        if name not in ("callgrind", "half of capacity"):
            lines.append(f"| {name.replace('_', ' ')} | {value:,.1f}{unit} |")
    return lines


def goals(bench, plan):
    """(what, figure or None, at most / at least, goal, how it is written)."""
    field = "instructions" if bench.counters else "cpu"
    how = "instructions" if bench.counters else "processor time"
    counted = bench.figures.get("callgrind", {})

    def user(name, to):
        """Instructions in user space; most of the kernel's are the same for all."""
        return counted[name] / counted[to] if name in counted and to in counted else None

    extra = [
        first["cpu"] - again["cpu"]
        for first, again in zip(
            bench.rows.get("Portcullis, token seen first", []),
            bench.rows.get("Portcullis, those tokens again", []),
        )
    ]
    added = [
        ours["p99"] - theirs["p99"]
        for ours, theirs in zip(
            bench.rows.get("Portcullis, half of capacity", []),
            bench.rows.get("bare Pingora, half of capacity", []),
        )
    ]
    many = f"Portcullis, {plan.revoked:,} revocations"
    figures = bench.figures
    lines = [
        ("user instructions (callgrind) to bare Pingora", user(SEEN, BARE), "≤", 1.10),
        ("user instructions (callgrind) to HAProxy RS256", user(SEEN, "HAProxy, RS256, claims, list"), "≤", 0.30),
        ("user instructions (callgrind) to HAProxy HS256", user(SEEN, "HAProxy, HS256, claims, list"), "≤", 0.75),
        (f"{how} to bare Pingora", ratio(bench, SEEN, BARE, field), "≤", 1.10),
        (f"{how} to Envoy with cache and rbac", ratio(bench, SEEN, "Envoy, Ed25519 with cache, rbac", field), "≤", 0.42),
        (f"{how} to HAProxy RS256", ratio(bench, SEEN, "HAProxy, RS256, claims, list", field), "≤", 0.30),
        (f"{how} to HAProxy HS256", ratio(bench, SEEN, "HAProxy, HS256, claims, list", field), "≤", 0.75),
        (f"{how} to nginx, forwarding only", ratio(bench, SEEN, "nginx, forwarding only", field), "≤", 1.95),
        ("first sight of a token, extra µs", median(extra) if extra else None, "≤", 45),
    ]
    lines += [
        (f"{how} of a refused request ({why}) to an allowed one",
         ratio(bench, f"Portcullis, refused: {why}", SEEN, field), "≤", 0.6)
        for why in ("no token", "bad signature", "revoked", "wrong scope")
    ]
    lines += [
        ("p99 at half of capacity, added µs", median(added) if added else None, "≤", 50),
        (f"{how}, {plan.revoked:,} revocations to none", ratio(bench, many, "Portcullis, no revocations", field), "≤", 1.02),
        (f"{how}, 10,000 routes to 10", ratio(bench, "Portcullis, 10,000 routes", "Portcullis, 10 routes", field), "≤", 1.03),
        ("revoking alone on a slow disk, syncs", figures.get("slow disk, syncs_alone"), "≤", 3),
        ("revoking by 64 on a slow disk, a second", figures.get("slow disk, together_rate"), "≥", 5000),
        ("tokens minted a second", of(bench, "Portcullis, tokens minted", "rate"), "≥", 12_000),
        ("memory, idle, MiB", figures.get("memory, idle"), "≤", 40),
        ("memory, 10,000 connections, MiB", figures.get("memory, 10,000 connections"), "≤", 250),
    ]
    largest = figures.get("memory, many revocations") if plan.revoked >= 10_000_000 else None
    return lines + [("memory, 10,000,000 revocations, MiB", largest, "≤", 480)]


def judged(lines):
    out = ["| goal | | measured | |", "|---|---|---|---|"]
    for what, figure, side, goal in lines:
        form = "{:,.0f}" if isinstance(goal, int) else "{:.2f}"
        reached = figure is not None and (figure <= goal if side == "≤" else figure >= goal)
        word = "not measured" if figure is None else "reached" if reached else "missed"
        out.append(f"| {what} | {side} {form.format(goal)} | {shown(figure, form)} | {word} |")
    return out


def write(folder, bench, about, plan):
    folder.mkdir(parents=True, exist_ok=True)
    field = "instructions" if bench.counters else "cpu"
    lines = goals(bench, plan)
    text = [f"{name}: {value if value is not None else 'not here'}" for name, value in about.items()]
    text += [
        f"{plan.rounds} rounds of {plan.seconds} s; one core for the proxy, another for the load; medians",
        "instructions: counted by perf" if bench.counters
        else "instructions: this machine has no counters; processor time stands in, callgrind counts in user space",
        "", *table(bench), "", *singles(bench), "", *judged(lines),
    ]
    for title, left_out in (("left out", bench.skipped), ("FAILED", bench.failed)):
        text += [f"{title}: {name}: {why}" for name, why in left_out.items()]
    print("\n".join(text))
    (folder / "report.md").write_text("\n".join(text) + "\n")
    (folder / "result.json").write_text(json.dumps({
        "about": about, "plan": vars(plan), "counters": bench.counters, "rows": bench.rows,
        "figures": bench.figures, "skipped": bench.skipped, "failed": bench.failed,
        "goals": [dict(zip(("what", "figure", "side", "goal"), line)) for line in lines],
    }, indent=1))
    unit = "instructions" if bench.counters else "µs"
    bars = [
        (name, of(bench, name, field), f"{shown(of(bench, name, 'rate'), '{:,.0f}')}/s")
        for name in bench.rows if not name.endswith("half of capacity")
    ]
    title = "Instructions a request" if bench.counters else "Processor time a request"
    subtitle = f"{about['date']}, {about['processor']}; shorter is better"
    if bars:
        (folder / "compare.svg").write_text(chart.bars(title, subtitle, bars, unit))
    print(f"\nwritten: {', '.join(str(folder / name) for name in ('report.md', 'result.json', 'compare.svg'))}")
