"""Statuses of a daemon on its way to RTK fixed."""

from __future__ import annotations

from ztpd.status import (
    Cause,
    CredentialsStatus,
    IdentityStatus,
    ReceiverView,
    SourceStatus,
    Status,
)

READY = ReceiverView(model="ZED-F9P", firmware="HPG 1.32", ready=True)
FIXED = READY._replace(use="used", fix="RTK fixed", accuracy_m=0.014, satellites=24)
STREAMING = Status(
    schema=1,
    state="streaming",
    identity=IdentityStatus("49015420*****18", "AT+CGSN=1 on /tmp/x/dev/modem"),
    service="flex",
    client_id="00000000-0000-4000-8000-000000000001",
    credentials=CredentialsStatus(age_s=9),
    source=SourceStatus("ntrip://localhost:2102/NEAR-SPARTN", 9.0, frames={"GAD": 2}, bytes=9048),
    receiver=FIXED,
)
BEFORE = Status(schema=1, state="identifying", receiver=READY)
MIDDLE = STREAMING._replace(state="connecting", source=None, receiver=READY._replace(fix="3D"))


def refused(event: str, sentence: str, advice: str) -> Status:
    return BEFORE._replace(state="blocked", reason=Cause(event, sentence, advice))
