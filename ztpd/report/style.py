"""The page's style sheet: colours that differ in the dark and for the colour-blind too, and for
paper."""

from __future__ import annotations

_LIGHT = """
color-scheme:light;--page:#f6f6f3;--card:#fff;--ink:#171716;--dim:#5b5a56;--grid:#e6e5e0;
--axis:#a9a79f;--good:#17875a;--warn:#d08700;--bad:#c9302c;--blue:#2a78d6;--violet:#6a55c2;
--orange:#d9622b;--grey:#b9b7af;--c1:#2a78d6;--c2:#c2408f;--c3:#0f8f86;--c4:#b7791f;
--c5:#6a55c2;--c5b:#b3a6e6;--few:#a9cbf3;
"""
_DARK = """
color-scheme:dark;--page:#141413;--card:#1e1e1c;--ink:#f1f0ec;--dim:#b5b3ab;--grid:#33322f;
--axis:#6f6d66;--good:#3bb27f;--warn:#e5a832;--bad:#ec6a62;--blue:#5a9eec;--violet:#a08ff0;
--orange:#ee8a55;--grey:#6a6862;--c1:#5a9eec;--c2:#e377ba;--c3:#35bdb1;--c4:#dba347;
--c5:#a08ff0;--c5b:#5f51a3;--few:#31507a;
"""
_NAMES = (
    "good", "warn", "bad", "blue", "violet", "orange", "grey", "c1", "c2", "c3", "c4", "c5", "c5b",
    "few",
)  # fmt: skip

STYLE = (
    f":root{{{_LIGHT}}}@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}"
    f"@media print{{:root{{{_LIGHT}--page:#fff}}}}"
    + "".join(
        f"svg .{name}{{fill:var(--{name})}}svg .line.{name}{{stroke:var(--{name})}}"
        f".key.{name}{{background:var(--{name})}}"
        for name in _NAMES
    )
    + """
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1040px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:26px;margin:0}h2{font-size:17px;margin:0 0 8px}
header p{margin:2px 0 16px;color:var(--dim)}
section,figure{background:var(--card);border:1px solid var(--grid);border-radius:10px;
margin:0 0 16px;padding:16px 20px}
.verdict{border-left:6px solid var(--grey)}
.verdict.good{border-left-color:var(--good)}.verdict.warn{border-left-color:var(--warn)}
.verdict.bad{border-left-color:var(--bad)}
.verdict p{margin:0}.verdict strong{font-size:17px;margin-right:8px}
.verdict ul{margin:8px 0 0;padding-left:20px}.verdict li span,.advice{color:var(--dim)}
.advice{margin:2px 0 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:16px}
.tiles div{display:flex;flex-direction:column}.tiles b{font-size:22px;line-height:1.3}
.tiles .name,.tiles .note{color:var(--dim);font-size:13px}
figcaption{color:var(--dim);font-size:13px;margin-top:8px}
.plot{overflow-x:auto}
.plot svg{display:block;width:100%;min-width:640px;height:auto;
font:12px system-ui,sans-serif;fill:var(--ink)}
.legend{display:flex;flex-wrap:wrap;gap:2px 18px;margin:0 0 8px;padding:0;list-style:none;
font-size:13px;color:var(--dim)}
.key{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px;
vertical-align:-1px}
.key.ringmark{border:2px solid var(--ink);border-radius:50%}.key.dashed{border-style:dashed}
svg .tick{fill:var(--dim)}svg .title{fill:var(--ink)}svg .note{fill:var(--dim);font-style:italic}
svg .middle{text-anchor:middle}svg .end{text-anchor:end}
svg .grid{stroke:var(--grid)}svg .axis{stroke:var(--axis)}
svg .line{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}
svg .range{opacity:.28;stroke-width:1.5}
svg .ring{fill:none;stroke:var(--ink);stroke-width:1.6}svg .dashed{stroke-dasharray:6 4}
table{border-collapse:collapse;width:100%;font-size:14px}
td,th{text-align:left;vertical-align:top;padding:4px 14px 4px 0;border-bottom:1px solid var(--grid)}
th{color:var(--dim);font-weight:600}td:first-child{white-space:nowrap}
pre{margin:0;font:12.5px/1.5 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere;
max-height:480px;overflow:auto}
@media print{body{font-size:12px;-webkit-print-color-adjust:exact;print-color-adjust:exact}
main{max-width:none;padding:0}section,figure{break-inside:avoid;border-radius:0}
section:has(pre),section:has(table){break-inside:auto}
pre{max-height:none}.plot{overflow:visible}.plot svg{min-width:0}}
"""
)
