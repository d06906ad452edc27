"""Writes org-2026-01.ldif and org-2026-02.ldif next to this file.

The organisation, its people and their addresses are invented. The output depends on nothing but this file: choices
follow SHA-256 of what is chosen, and ids are UUIDs of version 5.
"""

import base64
import copy
import hashlib
import pathlib
import uuid

BASE = "dc=example,dc=org"
STAFF = f"ou=Staff,{BASE}"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "quillhaven.example.org")

GIVEN = """Acorn Amberly Anisette Barley Basil Bramble Bryony Burdock Caraway Cedar Chervil Clover Comfrey Coriander
Damson Dill Elder Fennel Fern Figgy Flax Foxglove Gentian Ginger Hazel Heather Hyssop Juniper Larch Lavender Linden
Lovage Mallow Marjoram Medlar Mulberry Myrtle Nettle Nutmeg Oleander Pepper Quince Rowan Saffron Sage Sorrel Tansy
Teasel Thistle Yarrow""".split()
# Name and what logins and addresses make of it.
ACCENTED = [("Åkerbär", "akerbar"), ("Éstragon", "estragon"), ("Ñandúa", "nandua"), ("Růženka", "ruzenka"),
            ("Żurawina", "zurawina"), ("Ἄνηθον", "anethon"), ("桃葉", "taoye"), ("Çörekotu", "corekotu")]
FAMILY_HEADS = "Button Candle Copper Feather Kettle Lantern Marble Needle Paper Pebble Quill Ribbon Saddle Teacup Thimble Velvet".split()
FAMILY_TAILS = "brook bury combe croft field gate ham hurst ley mere shaw stead thorpe ton wick worth".split()

DIVISIONS = {
    "Research": ["Optics", "Acoustics", "Materials"],
    "Production": ["Assembly", "Calibration", "Foundry", "Paint Shop"],
    "Sales": ["Inside Sales", "Field Sales", "Partners"],
    "Services": ["Repairs", "Help Desk", "Training"],
    "Administration": ["Finance", "People Office", "Legal"],
    "Site": ["Health, Safety and Environment", "Café", "Logistics"],
}
PEOPLE_PER_DEPARTMENT = [18, 17, 19, 16, 18, 17]
ROLES = ["Project Leads", "First Aiders", "Fire Wardens", "Data Stewards", "Safety Officers", "Trainers",
         "Night Shift Leads", "Archivists", "Works Council", "Directory Administrators"]
LISTS = ["news", "canteen-menu", "lost-and-found", "carpool", "choir", "chess-club", "house-rules", "release-notes",
         "visitors", "all-hands"]
COMMITTEES = ["Editorial Board", "Energy Saving", "Garden Committee", "Heritage Archive", "Language Exchange", "Mentoring"]
HOSTS = ["kiln-control", "label-printers", "measuring-lab", "render-farm"]
ROOMS = ["Teapot Room", "Compass Room", "Périscope Room"]


def digest(*parts):
    return hashlib.sha256("\0".join(map(str, parts)).encode()).digest()


def entry_uuid(kind, key):
    return str(uuid.uuid5(NAMESPACE, f"{kind}/{key}"))


def escape(value):
    """A value as RFC 4514 writes it; none here begins or ends with a space or a number sign."""
    return "".join("\\" + c if c in '\\,+"<>;' else c for c in value)


class Organisation:
    def __init__(self):
        self.people = {}  # key: how the person is named and where they sit; the key is theirs for good
        self.groups = {}  # (kind, name): members as ("person", key) or (kind, name)
        self.rooms = list(ROOMS)

    # Names and places.

    def unit_dn(self, path):
        return ",".join([f"ou={escape(name)}" for name in reversed(path)] + [STAFF])

    def dn(self, ref):
        kind, key = ref
        if kind == "person":
            person = self.people[key]
            return f"uid={person['uid']},{self.unit_dn(person['unit'])}"
        branch = {"group": "Groups", "committee": "Groups", "host": "Groups", "role": "Roles", "list": "Lists"}[kind]
        return f"cn={escape(key)},cn={branch},{BASE}"

    def pick(self, purpose, count, keys=None):
        keys = sorted(self.people if keys is None else keys, key=lambda key: digest(purpose, key))
        return [("person", key) for key in keys[:count]]

    def hire(self, key, unit):
        number = int.from_bytes(digest("name", key)[:8], "big")
        given = GIVEN[number % len(GIVEN)]
        plain = given.lower()
        if number % 11 == 0:
            given, plain = ACCENTED[number // 11 % len(ACCENTED)]
        self.name(key, given, plain, number // 997)
        self.people[key]["unit"] = unit

    def name(self, key, given, plain, number):
        taken = {person["uid"] for person in self.people.values()}
        while True:
            family = FAMILY_HEADS[number % 16] + FAMILY_TAILS[number // 16 % 16]
            uid = f"{plain}.{family.lower()}"
            if uid not in taken:
                break
            number += 1
        self.people.setdefault(key, {}).update(given=given, family=family, uid=uid, locked=None, type="staff")

    # The organisation as it was in January.

    def found(self):
        key = 0
        for (division, departments), size in zip(DIVISIONS.items(), PEOPLE_PER_DEPARTMENT):
            for department in departments:
                for _ in range(size):
                    key += 1
                    self.hire(key, [division, department])
        self.people[17]["locked"] = "pwdAccountLockedTime: 000001010000Z"
        self.people[203]["locked"] = "nsAccountLock: TRUE"
        for _, key in self.pick("contractors", 20):
            self.people[key]["type"] = "contractor"
        for department, team in self.departments():
            self.groups["group", team] = [("person", k) for k, p in self.people.items() if p["unit"][1] == department]
        for division, departments in DIVISIONS.items():
            self.groups["group", f"{division} Division"] = [("group", f"{name} Team") for name in departments]
        self.groups["group", "All Staff"] = [("group", f"{division} Division") for division in DIVISIONS]
        circles = ["Ideas Circle", "Prototype Circle", "Workshop Circle"]
        for circle, following in zip(circles, circles[1:] + circles[:1]):
            self.groups["group", circle] = self.pick(circle, 4) + [("group", following)]
        crew = ("group", "Facilities Crew")
        self.groups[crew] = self.pick("crew", 6)
        self.groups["group", "North Building"] = self.pick("north", 5) + [crew]
        self.groups["group", "South Building"] = self.pick("south", 5) + [crew]
        self.groups["group", "Site Access"] = [("group", "North Building"), ("group", "South Building")]
        self.groups["group", "Future Programme"] = []
        for name in COMMITTEES:
            self.groups["committee", name] = self.pick(name, 9)
        for name in HOSTS:
            self.groups["host", name] = self.pick(name, 7)
        for name in ROLES:
            self.groups["role", name] = self.pick(name, 3 if name == "Directory Administrators" else 11)
        self.groups["role", "Safety Officers"].append(("role", "Fire Wardens"))
        for name in LISTS[:-1]:
            self.groups["list", name] = self.pick(name, 12)
        self.groups["list", "all-hands"] = [("group", "All Staff"), ("role", "Works Council")]

    @staticmethod
    def departments():
        return [(name, f"{name} Team") for names in DIVISIONS.values() for name in names]

    # What happened until February.

    def change(self):
        for _, key in self.pick("leavers", 6, [k for k in self.people if k not in (17, 40, 41, 203)]):
            del self.people[key]
            for members in self.groups.values():
                if ("person", key) in members:
                    members.remove(("person", key))
        for key, unit in enumerate([["Research", "Optics"], ["Sales", "Partners"], ["Site", "Café"],
                                    ["Production", "Foundry"], ["Services", "Help Desk"], ["Sales", "Field Sales"],
                                    ["Administration", "Legal"]], start=1001):
            self.hire(key, unit)
            self.groups["group", f"{unit[1]} Team"].append(("person", key))
        renamed = self.people[40]
        self.name(40, renamed["given"], renamed["uid"].split(".")[0], 77)
        self.move(41, ["Sales", "Partners"])
        self.groups["committee", "Solar Roof Task Force"] = self.pick("solar", 5)
        for ref in self.pick("new first aiders", 2):
            if ref not in self.groups["role", "First Aiders"]:
                self.groups["role", "First Aiders"].append(ref)

    def move(self, key, unit):
        person = self.people[key]
        self.groups["group", f"{person['unit'][1]} Team"].remove(("person", key))
        person["unit"] = unit
        self.groups["group", f"{unit[1]} Team"].append(("person", key))

    # The export.

    def ldif(self, month):
        out = Export()
        out.line(f"# Quillhaven Instruments, an organisation that does not exist, in {month}.")
        out.line("# Everyone in this file is invented. The file was written by generate.py, which is the place to change it, and not by hand.")
        out.line("version: 1")
        out.entry(BASE, "domain", [("dc", "example"), ("o", "Quillhaven Instruments")], None)
        for branch in ["Groups", "Roles", "Lists", "Rooms"]:
            out.entry(f"cn={branch},{BASE}", "container", [("cn", branch)], None)
        out.comment("Organisational units")
        out.entry(STAFF, "organizationalUnit", [("ou", "Staff")], entry_uuid("unit", "Staff"))
        for division, departments in DIVISIONS.items():
            for path in [[division]] + [[division, name] for name in departments]:
                uid = entry_uuid("unit", "/".join(path))
                out.entry(self.unit_dn(path), "organizationalUnit", [("ou", path[-1])], uid)
        out.comment("People")
        for key, person in self.people.items():
            self.write_person(out, key, person)
        out.comment("Groups, roles and lists")
        for (kind, name), members in self.groups.items():
            self.write_group(out, kind, name, members)
        out.comment("Rooms")
        for room in self.rooms:
            out.entry(f"cn={room},cn=Rooms,{BASE}", "room", [("cn", room)], entry_uuid("room", room))
        out.line("")
        out.line("# end of export")
        return out.bytes()

    def write_person(self, out, key, person):
        name = f"{person['given']} {person['family']}"
        values = [("uid", person["uid"]), ("cn", name), ("givenName", person["given"]), ("sn", person["family"]),
                  ("mail", f"{person['uid']}@example.org"), ("employeeType", person["type"])]
        if key % 9 == 0:
            values.append(("displayName", f"{person['family']}, {person['given']} ({person['unit'][1]})"))
        if person["locked"]:
            values.append(tuple(person["locked"].split(": ")))
        out.entry(self.dn(("person", key)), "inetOrgPerson", values, entry_uuid("person", key))

    def write_group(self, out, kind, name, members):
        dns = [self.dn(ref) for ref in members]
        if kind == "group":  # the class demands a member, so that an empty group names the root
            classes, values = "groupOfNames", [("member", dn) for dn in dns or [""]]
        elif kind == "committee":
            classes, values = "groupOfUniqueNames", [("uniqueMember", dn) for dn in dns]
        elif kind == "host":
            logins = [("memberUid", self.people[key]["uid"]) for _, key in members]
            classes, values = "posixGroup", [("gidNumber", str(5000 + len(name)))] + logins
        elif kind == "role":
            classes, values = "organizationalRole", [("roleOccupant", dn) for dn in dns]
        else:
            classes = "groupOfUniqueNames mailGroup"
            values = [("mail", f"{name}@example.org")] + self.recipients(members)
        out.entry(self.dn((kind, name)), classes, [("cn", name)] + values, entry_uuid(kind, name))

    def recipients(self, members):
        """Every third person is on a list by address, as people who added themselves are."""
        def value(ref):
            if ref[0] == "person" and ref[1] % 3 == 0:
                return "rfc822MailMember", f"{self.people[ref[1]]['uid']}@example.org"
            return "uniqueMember", self.dn(ref)
        return [value(ref) for ref in members]


class Export:
    """Lines as `ldapsearch` writes them: folded after 76 bytes, base64 for what is not plain ASCII."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        while len(text) > 76:
            self.lines.append(text[:76])
            text = " " + text[76:]
        self.lines.append(text)

    def comment(self, text):
        self.line("")
        self.line(f"# {text}")

    def value(self, name, value):
        if value.isascii() and not value.startswith((" ", ":", "<")) and not value.endswith(" "):
            self.line(f"{name}: {value}".rstrip())
        else:
            self.line(f"{name}:: {base64.b64encode(value.encode()).decode()}")

    def entry(self, dn, classes, values, entry_id):
        self.line("")
        self.value("dn", dn)
        for name in classes.split():
            self.value("objectClass", name)
        for name, value in values:
            self.value(name, value)
        if entry_id:
            self.value("entryUUID", entry_id)

    def bytes(self):
        return ("\n".join(self.lines) + "\n").encode("ascii")


def main():
    here = pathlib.Path(__file__).parent
    january = Organisation()
    january.found()
    february = copy.deepcopy(january)
    february.change()
    for organisation, month in [(january, "2026-01"), (february, "2026-02")]:
        (here / f"org-{month}.ldif").write_bytes(organisation.ldif(month))


if __name__ == "__main__":
    main()
