"""The page of a report: one HTML file that needs nothing else, for the screen and for paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from statistics import median

from ztpd import health
from ztpd.check import LINKS, LinkState
from ztpd.history.columns import EVERY_S
from ztpd.log import duration
from ztpd.report import plots, scatter
from ztpd.report.masking import setting_name
from ztpd.report.material import Material
from ztpd.report.plots import Figure
from ztpd.report.sessions import SessionRecord, sessions
from ztpd.report.style import STYLE
from ztpd.report.svg import TimeAxis
from ztpd.wire.redaction import holds_position

_JOURNAL_LINES = 200
_MOST_SESSIONS = 40
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # nothing that came from outside runs


def render(material: Material, *, with_position: bool = False) -> str:
    """The whole page."""
    made = f"{material.made:%Y-%m-%d %H:%M} UTC"
    parts = [
        "<!doctype html>\n",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>ztpd report, {made}</title><style>{STYLE}</style></head><body><main>",
        f"<header><h1>ztpd report</h1><p>{made} · {_subtitle(material)}</p></header>",
        _verdict(material),
        _tiles(material),
        _figures(material),
        _session_table(material),
        _check(material),
        _text("Status", material.status_text),
        _receiver(material, with_position=with_position),
        _text("Configuration in force", material.config_text),
        _text(f"Journal, last {_JOURNAL_LINES} lines", _tail(material.journal)),
        _missing(material),
        "</main></body></html>\n",
    ]
    return "".join(parts)


def _subtitle(material: Material) -> str:
    identity, view = material.status.identity, material.status.receiver
    words = [f"ztpd {material.versions.get('ztpd', '')}"]
    words += [f"{view.model}, {view.firmware}"] if view.model else []
    words += [identity.id] if identity and identity.id else []
    words += [material.versions.get("system", "")]
    return escape(" · ".join(each for each in words if each))


def _verdict(material: Material) -> str:
    style = {"healthy": "good", "blocked": "bad", "not running": "bad"}.get(
        material.verdict, "warn"
    )
    known = health.cause(material.status) or material.status.reason
    text = known.text if material.is_running else "no daemon runs; its last status is below"
    advice = f'<p class="advice">{escape(known.advice)}</p>' if known.advice else ""
    findings = "".join(
        f"<li>{escape(each.text)} <span>{escape(each.advice)}</span></li>"
        for each in material.status.receiver.findings
    )
    return (
        f'<section class="verdict {style}"><p><strong>{escape(material.verdict)}</strong> '
        f"{escape(text)}</p>{advice}{f'<ul>{findings}</ul>' if findings else ''}</section>"
    )


def _tiles(material: Material) -> str:
    history, view = material.history, material.status.receiver
    tiles = [("fix now", view.fix, _accuracy(view.accuracy_m))]
    if len(history):
        span = f"of the last {duration(history.unix_s[-1] - history.unix_s[0] + EVERY_S)}"
        shares = plots.fix_shares(history)
        tiles.append(("RTK fixed", _percent(shares.get("RTK fixed", 0.0)), span))
        tiles.append(("RTK float", _percent(shares.get("RTK float", 0.0)), span))
        ages = [each for each in history.numbers["correction_age_s"] if each is not None]
        age = f"{median(ages):g} s" if ages else "none"
        tiles.append(("correction age", age, "median, upper bound"))
        found = sessions(history)
        received = sum(each.bytes for each in found) / 1e6
        tiles.append(("sessions", str(len(found)), f"{received:.1f} MB of corrections"))
    tiles.append(("satellites", str(view.satellites), "used in the position"))
    return (
        '<section class="tiles">'
        + "".join(
            f'<div><span class="name">{escape(name)}</span><b>{escape(value)}</b>'
            f'<span class="note">{escape(note)}</span></div>'
            for name, value, note in tiles
        )
        + "</section>"
    )


def _accuracy(accuracy_m: float | None) -> str:
    return "" if accuracy_m is None else f"accuracy {scatter.metres(accuracy_m)}"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share in (0.0, 1.0) else f"{share * 100:.1f} %"


def _figures(material: Material) -> str:
    history = material.history
    if not len(history):
        return ""
    axis = TimeAxis(history.unix_s)
    figures = [
        plots.fix(history, axis),
        plots.corrections(history, axis),
        plots.satellites(history, axis),
    ]
    if found := scatter.measure(history):
        figures.append(scatter.figure(found))
    figures.append(plots.timeline(history, axis))
    return "".join(map(_figure, figures))


def _figure(figure: Figure) -> str:
    legend = "".join(
        f'<li><span class="key {style}"></span>{escape(text)}</li>' for style, text in figure.legend
    )
    return (
        f"<figure><h2>{escape(figure.title)}</h2>"
        f'<ul class="legend">{legend}</ul><div class="plot">{figure.svg}</div>'
        + (f"<figcaption>{escape(figure.caption)}</figcaption>" if figure.caption else "")
        + "</figure>"
    )


def _session_table(material: Material) -> str:
    found = sessions(material.history)
    if not found:
        return ""
    shown = found[-_MOST_SESSIONS:]
    left = len(found) - len(shown)
    note = f"<p>The {len(shown)} newest of {len(found)}.</p>" if left else ""
    heading = ("begin (UTC)", "lasted", "service", "messages", "kB", "what came after")
    table = _table(heading, map(_session, reversed(shown)))
    return f"<section><h2>Sessions</h2>{note}{table}</section>"


def _session(session: SessionRecord) -> Sequence[str]:
    return (
        f"{datetime.fromtimestamp(session.begin_s, UTC):%-d %b %H:%M:%S}",
        duration(session.end_s - session.begin_s),
        session.channel,
        str(session.frames),
        f"{session.bytes / 1000:.0f}",
        "open" if session.is_open else session.cause or "another session",
    )


def _check(material: Material) -> str:
    if not material.checked:
        return ""
    styles = {LinkState.OK: "good", LinkState.PROBLEM: "bad", LinkState.NOT_REACHED: "grey"}
    rows = "".join(
        f'<tr><td><span class="key {styles[each.state]}"></span>{escape(each.state.value)}</td>'
        f"<td>{escape(LINKS[each.layer])}</td><td>{escape(each.text)}"
        + (f'<p class="advice">{escape(each.advice)}</p>' if each.advice else "")
        + "</td></tr>"
        for each in material.checked
    )
    return f'<section><h2>Check</h2><div class="plot"><table>{rows}</table></div></section>'


def _receiver(material: Material, *, with_position: bool) -> str:
    found = material.inspection
    if found is None:
        return ""
    rows = [
        (each.name, _setting(each.value), _setting(each.wanted), each.state)
        for each in found.settings
    ]
    port = f"{found.port} {found.speed}".strip()
    takes = f"{port}; takes {' and '.join(found.takes) or 'no corrections'}"
    heading = ("setting", "value", "wanted", "")
    changed = [
        (setting_name(each.key), _setting(each.value), _setting(each.default))
        for each in found.changed
        if with_position or not holds_position(each.key)
    ]
    others = _table(("differs from the default", "value", "default"), changed) if changed else ""
    return (
        f"<section><h2>Receiver settings</h2><p>{escape(found.model)}, firmware "
        f"{escape(found.firmware)}, {escape(takes)}</p>{_table(heading, rows)}{others}</section>"
    )


def _setting(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heading)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(each)}</td>' for each in row)}</tr>" for row in rows
    )
    return f'<div class="plot"><table><tr>{head}</tr>{body}</table></div>'


def _text(title: str, text: str) -> str:
    return f"<section><h2>{escape(title)}</h2><pre>{escape(text)}</pre></section>" if text else ""


def _tail(journal: str) -> str:
    return "\n".join(journal.splitlines()[-_JOURNAL_LINES:])


def _missing(material: Material) -> str:
    if not material.missing:
        return ""
    rows = [(part, why) for part, why in material.missing]
    return f"<section><h2>Not in this report</h2>{_table(('part', 'why'), rows)}</section>"
