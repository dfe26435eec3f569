"""The reachable states of the daemon, from :mod:`ztpd.lifecycle`: for docs/states.md and tests."""

from __future__ import annotations

from ztpd.lifecycle import ORDERS, REPORTS, Activity, Event, Next, State, step


def reachable() -> dict[tuple[State, Activity], dict[Event, Next]]:
    """Every state with every activity that can run in it, and all events that can follow."""
    found: dict[tuple[State, Activity], dict[Event, Next]] = {}
    to_visit = [(State.STARTING, Activity.LOAD)]
    while to_visit:
        state, activity = to_visit.pop(0)
        if (state, activity) not in found:
            events = REPORTS[activity] | ORDERS
            row = {event: step(state, activity, event) for event in events}
            found[state, activity] = row
            to_visit += [(each.state, each.start or activity) for each in row.values()]
    return found


def diagram() -> str:
    """The reachable states as a Mermaid state diagram."""
    rows: dict[State, dict[State, list[str]]] = {state: {} for state in State}
    for (state, _), row in reachable().items():
        for event, following in row.items():
            names = rows[state].setdefault(following.state, [])
            if following.state is not state and event.value not in names:
                names.append(event.value)
    lines = ["stateDiagram-v2", f"    [*] --> {State.STARTING.name}"]
    for state, targets in rows.items():
        lines += [
            f"    {state.name} --> {target.name}: {', '.join(names)}"
            for target, names in targets.items()
            if names
        ]
    return "\n".join([*lines, f"    {State.STOPPING.name} --> [*]", ""])
