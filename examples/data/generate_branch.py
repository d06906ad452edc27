"""Writes branch.ldif, hr-2026-01.csv and hr-2026-02.csv next to this file.

The office, its people and their addresses are invented. The output depends on nothing but this file: ids are UUIDs of version 5.
"""

import csv
import pathlib
import uuid

BASE = "dc=example,dc=test"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "branch.quillhaven.example.org")
# Service accounts that are people to the server, and have no number at HR.
ROBOTS = ["Parcel Robot", "Newsletter Robot"]
DEPARTMENTS = {
    "Optics": """Acorn Buttoncombe, Amberly Candlewick, Barley Copperfield, Basil Featherstead, Bramble Kettleham, Bryony Lanternley,
        Burdock Marblemere, Caraway Needleton, Cedar Paperthorpe, Chervil Pebbleworth""",
    "Sales": """Clover Quillbrook, Comfrey Ribbonbury, Coriander Saddlecroft, Damson Teacupgate, Dill Thimblehurst, Elder Velvetshaw,
        Fennel Buttonwick, Fern Candleton, Figgy Copperley, Flax Feathermere, Foxglove Kettlefield, Gentian Lanternbrook""",
    "Services": """Ginger Marbleham, Hazel Needlecombe, Heather Papergate, Hyssop Pebblebury, Juniper Quillshaw, Larch Ribbonstead,
        Lavender Saddlethorpe, Linden Teacupworth, Lovage Thimbleton, Mallow Velvetcroft""",
}
# Groups that people of the office keep by hand.
BY_HAND = {
    "first-aiders": ["Barley Copperfield", "Dill Thimblehurst", "Hazel Needlecombe", "Linden Teacupworth"],
    "optics-team": DEPARTMENTS["Optics"],
    "sales-team": DEPARTMENTS["Sales"],
}
# Groups that HR is to fill, and who is in them before it does.
BY_HR = {"optics-files": ["Parcel Robot"], "sales-crm": ["Newsletter Robot"], "service-desk": [], "leads": ["Parcel Robot"]}
LEADS = ["Acorn Buttoncombe", "Clover Quillbrook", "Ginger Marbleham"]
NO_ACCOUNT_YET = ("20033", "Nutmeg Thimbleshaw", "Sales", "Specialist")


def names(text):
    return [name.strip() for name in text.split(",")]


def login(name):
    return name.lower().replace(" ", ".")


class Branch:
    def __init__(self):
        self.lines = []
        self.people = {}  # name: number, department
        for department, text in DEPARTMENTS.items():
            for name in names(text):
                self.people[name] = (str(20001 + len(self.people)), department)

    def dn(self, name):
        place = "ou=robots" if name in ROBOTS else f"ou={self.people[name][1].lower()},ou=people"
        return f"uid={login(name)},{place},{BASE}"

    def entry(self, dn, *values):
        self.lines += [f"dn: {dn}", *values, f"entryUUID: {uuid.uuid5(NAMESPACE, dn)}", ""]

    def unit(self, name, place):
        self.entry(f"ou={name.lower()},{place}", "objectClass: organizationalUnit", f"ou: {name}")

    def person(self, name, *values):
        given, family = name.split(" ")
        self.entry(
            self.dn(name),
            "objectClass: inetOrgPerson",
            f"uid: {login(name)}",
            f"cn: {name}",
            f"givenName: {given}",
            f"sn: {family}",
            *values,
        )

    def group(self, name, members):
        # The class demands a member; the root DN stands for nobody.
        members = members or [""]
        self.entry(
            f"cn={name},ou=groups,{BASE}",
            "objectClass: groupOfNames",
            f"cn: {name}",
            *(f"member: {dn}".rstrip() for dn in members),
        )

    def ldif(self):
        self.lines = [
            "# The office of an organisation that does not exist, for a server of its own. Everyone in this file is invented.",
            "# The file was written by generate_branch.py, which is the place to change it, and not by hand.",
            "",
        ]
        for name in ["people", "groups", "robots", "roles"]:
            self.unit(name, BASE)
        for department in DEPARTMENTS:
            self.unit(department, f"ou=people,{BASE}")
        for name, (number, department) in self.people.items():
            self.person(name, f"mail: {login(name)}@example.test", f"employeeNumber: {number}", f"departmentNumber: {department}")
        for name in ROBOTS:
            self.person(name)
        for name, members in BY_HAND.items():
            members = names(members) if isinstance(members, str) else members
            self.group(name, [self.dn(member) for member in members])
        self.group("office", [f"cn={name},ou=groups,{BASE}" for name in ["optics-team", "sales-team", "first-aiders"]])
        for name, members in BY_HR.items():
            self.group(name, [self.dn(member) for member in members])
        self.entry(
            f"cn=keyholders,ou=roles,{BASE}",
            "objectClass: organizationalRole",
            "cn: keyholders",
            *(f"roleOccupant: {self.dn(name)}" for name in ["Cedar Paperthorpe", "Elder Velvetshaw", "Larch Ribbonstead"]),
        )
        return "\n".join(self.lines)

    def staff(self):
        role = lambda name: "Lead" if name in LEADS else "Specialist"
        rows = [(number, name, department, role(name)) for name, (number, department) in self.people.items()]
        return rows + [NO_ACCOUNT_YET]


def february(staff):
    """Two have left, one moved to another department, one became a lead; Services were given up, and its lead stays on in Sales."""
    for number, name, department, role in staff:
        if name in ["Chervil Pebbleworth", "Foxglove Kettlefield"]:
            continue
        if name == "Bryony Lanternley":
            department = "Sales"
        if name == "Amberly Candlewick":
            role = "Lead"
        if name == "Ginger Marbleham":
            department = "Sales"
        if department != "Services":
            yield number, name, department, role


def write(folder, name, staff):
    with open(folder / name, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["employee_number", "name", "department", "role"])
        for number, person, department, role in staff:
            given, family = person.split(" ")
            table.writerow([number, f"{family}, {given}", department, role])


def main():
    folder = pathlib.Path(__file__).parent
    branch = Branch()
    (folder / "branch.ldif").write_text(branch.ldif(), encoding="utf-8")
    staff = branch.staff()
    write(folder, "hr-2026-01.csv", staff)
    write(folder, "hr-2026-02.csv", february(staff))


if __name__ == "__main__":
    main()
