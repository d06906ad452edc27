"""Writes backend.jsonl and panel.json next to this file: the export of a hosting backend, and what the panel has before the
first import.

The organisations, their people and their addresses are invented. The output depends on nothing but this file.
"""

import json
import pathlib

HERE = pathlib.Path(__file__).parent
ORGANISATIONS = [
    ("mossgate", "Mossgate Bakery", "mossgate.example.org"),
    ("lanternfield", "Lanternfield Surveyors", "lanternfield.example.org"),
    ("pebbleton", "Pebbleton Museum", "pebbleton.example.org"),
]
PEOPLE = {
    "mossgate": ["Acorn Buttoncombe", "Bryony Kettlewell", "Caraway Needlethorpe", "Dill Feathergate", "Żurawina Candlewick"],
    "lanternfield": ["Elder Marblestead", "Fennel Quillhurst", "Ginger Saddlecroft", "Heather Paperfield"],
    "pebbleton": ["Juniper Lanternley", "Larch Teacupton", "Marjoram Thimbleshaw"],
}
ROOMS = {"mossgate": ["Oven Room"], "lanternfield": ["Drawing Office", "Map Room"], "pebbleton": ["Gallery"]}
LINKED = {"mossgate": "Orders", "lanternfield": "Instruments", "pebbleton": "Lost Property"}
LISTS = {
    "mossgate": [("simple", "Early Shift"), ("dynamic", "Everybody"), ("security", "Till Keys"), ("room", "Rooms")],
    "lanternfield": [("simple", "Field Crew"), ("security", "Archive Keys"), ("room", "Rooms")],
    "pebbleton": [("dynamic", "Everybody"), ("simple", "Guides")],
}
CONTACTS = {
    "mossgate": ["Flour Mill", "Oven Maintenance"],
    "lanternfield": ["Land Registry", "Theodolite Repairs", "County Archive"],
    "pebbleton": ["Glass Conservator"],
}


def login(name):
    return name.lower().replace("ż", "z").replace(" ", ".")


def mailbox(number, name, kind, domain, people):
    addresses = [f"{login(name)}@{domain}"]
    if number % 2:
        addresses.append(f"{login(name).split('.')[0]}@{domain}")
    deputies = [f"{login(other)}@{domain}" for other in people if other != name][: number % 3]
    return {
        "general": {"name": name, "type": kind, "hidden": kind == "linked", "language": "en" if number % 4 else "pl"},
        "addresses": {"primary": addresses[0], "mail": sorted(addresses)},
        "mail_flow": {"receive_limit_kb": 25600 + 1024 * number, "forward_to": [], "deliver_and_forward": False},
        "advanced": {"imap": kind == "user", "activesync": kind == "user", "mapi": True},
        "permissions": {"full_access": sorted(deputies), "send_as": sorted(deputies[:1])},
        "database": {"name": f"DB{1 + number % 3:02}", "quota_mb": 2048 if kind == "user" else 512},
        "archive": {"enabled": kind == "user" and number % 2 == 1, "quota_mb": 5120 if kind == "user" and number % 2 == 1 else 0},
        "unified_messaging": {"enabled": kind == "user" and number % 3 == 0, "extension": f"{200 + number}"},
        "automatic_replies": {"state": "scheduled" if number == 2 else "off", "internal": "Back on Monday." if number == 2 else ""},
        "retention": {"enabled": kind != "resource", "policy": "Seven years" if kind == "user" else ""},
    }


def distribution_list(number, kind, name, domain, members):
    facets = {
        "general": {"name": name, "type": kind},
        "addresses": {"primary": f"{login(name)}@{domain}", "mail": [f"{login(name)}@{domain}"]},
        "advanced": {"hidden": kind == "security", "moderated": number % 2 == 0},
        "send_as": {"allowed": members[:1]},
    }
    if kind == "dynamic":
        facets["members"] = {"rule": "all mailboxes of people", "list": []}
    else:
        facets["members"] = {"rule": "", "list": sorted(members)}
    return facets


def contact(number, name):
    return {
        "general": {"name": name, "address": f"{login(name)}@partners.example.com", "company": name},
        "mail_flow": {"receive_limit_kb": 10240, "mapi_format": "never"},
        "state": {"disabled": number == 3},
    }


def records(org, domain):
    people = PEOPLE[org]
    addresses = [f"{login(name)}@{domain}" for name in people]
    number = 0
    for name in people:
        number += 1
        yield "mailbox", f"mbx-{number:02}", mailbox(number, name, "user", domain, people)
    number += 1
    yield "mailbox", f"mbx-{number:02}", mailbox(number, LINKED[org], "linked", domain, people)
    rooms = []
    for name in ROOMS[org]:
        number += 1
        rooms.append(f"{login(name)}@{domain}")
        yield "mailbox", f"mbx-{number:02}", mailbox(number, name, "resource", domain, people)
    for number, (kind, name) in enumerate(LISTS[org], 1):
        members = rooms if kind == "room" else addresses[: 1 + number]
        yield "list", f"lst-{number:02}", distribution_list(number, kind, name, domain, members)
    for number, name in enumerate(CONTACTS[org], 1):
        yield "contact", f"cnt-{number:02}", contact(number, name)


def line(value):
    return json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n"


def backend():
    lines, count = [], 0
    for org, name, domain in ORGANISATIONS:
        lines.append(line({"organisation": org, "name": name}))
        for kind, ident, facets in records(org, domain):
            lines.append(line({"organisation": org, "id": f"{org}-{ident}", "kind": kind, "facets": facets}))
            count += 1
    lines.append(line({"end": True, "records": count}))
    return "".join(lines)


def panel():
    """What was made through the panel, where people changed some of it since on the backend."""
    organisations = []
    booked = {
        "mossgate": {"mailboxes": 6, "lists": 4, "contacts": 5, "archive storage (MB)": 10240, "unified messaging": 1},
        "lanternfield": {"mailboxes": 10, "lists": 5, "contacts": 2, "archive storage (MB)": 10240, "unified messaging": 2},
        "pebbleton": {"mailboxes": 5, "lists": 2, "contacts": 3, "archive storage (MB)": 5120, "unified messaging": 1},
    }
    known = {
        "mossgate": ["mbx-01", "mbx-02", "lst-01", "cnt-01"],
        "lanternfield": ["mbx-01", "mbx-02", "mbx-03", "lst-01", "cnt-01", "cnt-02"],
        "pebbleton": ["mbx-01", "mbx-02", "mbx-03", "mbx-04", "lst-01", "lst-02", "cnt-01"],
    }
    for org, name, domain in ORGANISATIONS:
        there = []
        for kind, ident, facets in records(org, domain):
            if ident not in known[org]:
                continue
            if ident == "mbx-02":
                # An alias that only the panel has, and a limit that was raised on the backend.
                facets["addresses"]["mail"].append(f"office@{domain}")
                facets["mail_flow"]["receive_limit_kb"] = 10240
                facets["automatic_replies"] = {"state": "off", "internal": ""}
            if ident == "lst-01" and facets["members"]["list"]:
                facets["members"]["list"] = facets["members"]["list"][1:]
            there.append({"from": "backend", "id": f"{org}-{ident}", "kind": kind, "facets": facets})
        if org == "mossgate":
            draft = {"general": {"name": "Trainee", "type": "user"}, "archive": {"enabled": True, "quota_mb": 1024}}
            there.append({"from": "panel", "id": "draft-1", "kind": "mailbox", "facets": draft})
        organisations.append({"id": org, "name": name, "booked": booked[org], "records": there})
    return json.dumps({"organisations": organisations}, ensure_ascii=False, sort_keys=True, indent=1) + "\n"


if __name__ == "__main__":
    (HERE / "backend.jsonl").write_text(backend(), encoding="utf-8")
    (HERE / "panel.json").write_text(panel(), encoding="utf-8")
