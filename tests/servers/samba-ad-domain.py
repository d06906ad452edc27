"""Makes the domain AD.TEST in a folder that has an smb.conf, and seeds it. Nothing is running while it does.

    samba-ad-domain.py FOLDER PASSWORD USERS

OU=People    u00000…: most of them in it, every tenth in one of two units below, every hundredth two units below;
             u00003 is disabled, u00010 and u00011 have CN=primary as their primary group
OU=Contacts  c00000…, as many as CN=everyone needs beside the users
OU=Groups    top > mid0…mid9 > leaf0000… of 20 users each; cyca > cycb > cyca; everyone (5,000 members); list, a
             distribution group; local, universal; foreign, with principals of another domain and of none; veiled, of
             which some may not see the members; mixed, with a member that some may not see; dynamic, by its filter
OU=Rooms     mailboxes of a room, of equipment, and one that is shared
OU=Odd       names that need escapes, and CN=odd,OU=Groups of all of them
OU=Hidden    what some may not see

The file FOLDER/entries then says how many entries there are below OU=Example.
"""

import logging
import sys

import ldb
from samba.auth import system_session
from samba.dcerpc import security
from samba.ndr import ndr_unpack
from samba.param import LoadParm
from samba.provision import FILL_FULL, provision
from samba.samdb import SamDB
from samba.sd_utils import SDUtils

SUFFIX = "DC=ad,DC=test"
BASE = f"OU=Example,{SUFFIX}"
PEOPLE = f"OU=People,{BASE}"
GROUPS = f"OU=Groups,{BASE}"
CONTACTS = f"OU=Contacts,{BASE}"
ROOMS = f"OU=Rooms,{BASE}"
ODD = f"OU=Odd,{BASE}"
HIDDEN = f"OU=Hidden,{BASE}"
SERVICES = f"OU=Services,{SUFFIX}"
SCHEMA = f"CN=Schema,CN=Configuration,{SUFFIX}"

# Bits of userAccountControl. Nobody but the services has a password.
NORMAL = 0x200 | 0x20
DISABLED = NORMAL | 0x2
# Bits of groupType.
GLOBAL, LOCAL, UNIVERSAL, SECURITY = 0x2, 0x4, 0x8, -0x80000000

REPLICATING_DIRECTORY_CHANGES = "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2"
MEMBER_ATTRIBUTE = "bf9679c0-0de6-11d0-a285-00aa003049e2"
GROUP_CLASS = "bf967a9c-0de6-11d0-a285-00aa003049e2"

# What Exchange adds to the schema, so far as it matters here: name, syntax, OM syntax, whether single-valued, and the
# OID where it is known. The others have OIDs that are set aside for examples (RFC 5612).
TEXT, NUMBER, LARGE, TRUTH, BYTES, NAME = (
    ("2.5.5.12", 64),
    ("2.5.5.9", 2),
    ("2.5.5.16", 65),
    ("2.5.5.8", 1),
    ("2.5.5.10", 4),
    ("2.5.5.1", 127),
)
EXCHANGE = "1.2.840.113556.1.4.7000.102."
EXAMPLE = "1.3.6.1.4.1.32473.1."
RECIPIENT_ATTRIBUTES = [
    ("altRecipient", NAME, True, None),
    ("authOrig", NAME, False, None),
    ("deliverAndRedirect", TRUTH, True, None),
    ("dLMemSubmitPerms", NAME, False, None),
    ("mailNickname", TEXT, True, None),
    ("msExchHideFromAddressLists", TRUTH, True, None),
    ("msExchMailboxGuid", BYTES, True, EXCHANGE + "11058"),
    ("msExchRecipientDisplayType", NUMBER, True, EXCHANGE + "50730"),
    ("msExchRecipientTypeDetails", LARGE, True, EXCHANGE + "50855"),
    ("msExchRequireAuthToSendTo", TRUTH, True, None),
    ("msExchResourceCapacity", NUMBER, True, None),
    ("publicDelegates", NAME, False, None),
    ("targetAddress", TEXT, True, None),
]
DYNAMIC_LIST_ATTRIBUTES = [
    ("msExchDynamicDLBaseDN", NAME, True, None),
    ("msExchDynamicDLFilter", TEXT, True, None),
]


def main(folder, password, users):
    conf = f"{folder}/smb.conf"
    params = LoadParm()
    params.load(conf)
    provision(
        logging.getLogger(),
        system_session(),
        smbconf=conf,
        lp=params,
        samdb_fill=FILL_FULL,
        realm="AD.TEST",
        domain="ADTEST",
        hostname="dc1",
        hostip="127.0.0.1",
        adminpass=password,
        serverrole="dc",
        dns_backend="NONE",
        dom_for_fun_level=4,
        skip_sysvolacl=True,
        batch_mode=True,
    )
    extend_schema(open_database(folder, params))
    database = open_database(folder, params)
    database.transaction_start()
    seed(Seeder(database), password, users)
    database.transaction_commit()
    found = database.search(BASE, ldb.SCOPE_SUBTREE, attrs=["1.1"])
    with open(f"{folder}/entries", "w", encoding="ascii") as file:
        file.write(f"{len(found)}\n")


def open_database(folder, params):
    url = f"{folder}/private/sam.ldb"
    return SamDB(url=url, session_info=system_session(), lp=params)


def extend_schema(database):
    attributes = RECIPIENT_ATTRIBUTES + DYNAMIC_LIST_ATTRIBUTES
    for number, (name, (syntax, om_syntax), single, oid) in enumerate(attributes, 1):
        entry = {
            "dn": f"CN={name},{SCHEMA}",
            "objectClass": "attributeSchema",
            "attributeID": oid or f"{EXAMPLE}{number}",
            "attributeSyntax": syntax,
            "oMSyntax": str(om_syntax),
            "isSingleValued": "TRUE" if single else "FALSE",
            "lDAPDisplayName": name,
            "searchFlags": "0",
        }
        if om_syntax == 127:
            # The class of distinguished names (MS-ADTS, 3.1.1.2.2.2).
            entry["oMObjectClass"] = bytes.fromhex("2b0c0287731c00854a")
        database.add(entry)
    database.set_schema_update_now()
    database.add(
        {
            "dn": f"CN=msExchDynamicDistributionList,{SCHEMA}",
            "objectClass": "classSchema",
            "governsID": f"{EXAMPLE}100",
            "lDAPDisplayName": "msExchDynamicDistributionList",
            "subClassOf": "top",
            "rDNAttID": "cn",
            "objectClassCategory": "1",
            "possSuperiors": ["organizationalUnit", "container"],
            "auxiliaryClass": "mailRecipient",
            "mayContain": ["mail"] + [name for name, *_ in DYNAMIC_LIST_ATTRIBUTES],
            "defaultSecurityDescriptor": "D:(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;DA)(A;;RPLCLORC;;;AU)",
        }
    )
    change = ldb.Message(ldb.Dn(database, f"CN=Mail-Recipient,{SCHEMA}"))
    names = [name for name, *_ in RECIPIENT_ATTRIBUTES]
    change["mayContain"] = ldb.MessageElement(names, ldb.FLAG_MOD_ADD, "mayContain")
    database.modify(change)
    database.set_schema_update_now()


class Seeder:
    def __init__(self, database):
        self.database = database
        self.rights = SDUtils(database)

    def add(self, dn, object_class, **attributes):
        self.database.add({"dn": dn, "objectClass": object_class, **attributes})
        return dn

    def unit(self, dn):
        return self.add(dn, "organizationalUnit")

    def user(self, dn, login, control=NORMAL, **attributes):
        return self.add(
            dn,
            "user",
            sAMAccountName=login,
            userPrincipalName=f"{login}@ad.test",
            userAccountControl=str(control),
            **attributes,
        )

    def group(self, name, members, kind=GLOBAL | SECURITY):
        dn = f"CN={name},{GROUPS}"
        attributes = {"member": members} if members else {}
        return self.add(dn, "group", sAMAccountName=name, groupType=str(kind), **attributes)

    def modify(self, dn, flag, **attributes):
        change = ldb.Message(ldb.Dn(self.database, dn))
        for name, values in attributes.items():
            change[name] = ldb.MessageElement(values, flag, name)
        self.database.modify(change)

    def sid(self, dn):
        found = self.database.search(dn, ldb.SCOPE_BASE, attrs=["objectSid"])
        return ndr_unpack(security.dom_sid, found[0]["objectSid"][0])

    def allow(self, dn, entry):
        self.rights.dacl_add_ace(dn, entry)


def person_dn(number):
    place = PEOPLE
    if number % 100 == 99:
        place = f"OU=Oslo,OU=North,{PEOPLE}"
    elif number % 10 == 9:
        place = f"OU={'North' if number % 20 == 9 else 'South'},{PEOPLE}"
    return f"CN=User {number:05},{place}"


def seed(seeder, password, users):
    sids = services(seeder, password)
    for dn in (
        BASE,
        PEOPLE,
        f"OU=North,{PEOPLE}",
        f"OU=Oslo,OU=North,{PEOPLE}",
        f"OU=South,{PEOPLE}",
        GROUPS,
        CONTACTS,
        ROOMS,
        ODD,
        HIDDEN,
        f"OU=Empty,{BASE}",
    ):
        seeder.unit(dn)
    # Rights are inherited when an entry is made.
    seeder.allow(SUFFIX, f"(OA;;CR;{REPLICATING_DIRECTORY_CHANGES};;{sids['sync']})")
    seeder.allow(HIDDEN, f"(D;CI;RPLCLORC;;;{sids['restricted']})")
    seeder.allow(GROUPS, f"(OA;CI;RPWP;{MEMBER_ATTRIBUTE};{GROUP_CLASS};{sids['writer']})")

    people = [person_dn(number) for number in range(users)]
    for number, dn in enumerate(people):
        seeder.user(
            dn,
            f"u{number:05}",
            DISABLED if number == 3 else NORMAL,
            mail=f"u{number:05}@ad.test",
            givenName="User",
            sn=f"{number}",
        )
    contacts = [
        seeder.add(f"CN=Contact {number:05},{CONTACTS}", "contact", mail=f"c{number:05}@partner.test")
        for number in range(max(0, 5000 - users))
    ]
    hidden = [seeder.user(f"CN=Hidden {number},{HIDDEN}", f"hidden{number}") for number in (1, 2, 3)]
    odd = odd_names(seeder)

    leaves = [
        seeder.group(f"leaf{number:04}", people[number * 20 : number * 20 + 20])
        for number in range((users + 19) // 20)
    ]
    mids = [seeder.group(f"mid{number}", leaves[number::10]) for number in range(10)]
    seeder.group("top", mids)
    cyca = seeder.group("cyca", people[:1])
    cycb = seeder.group("cycb", [cyca])
    seeder.modify(cyca, ldb.FLAG_MOD_ADD, member=[cycb])
    seeder.group("everyone", people[:5000] + contacts)
    seeder.group("list", people[:3] + contacts[:1], UNIVERSAL)
    seeder.group("local", people[:2], LOCAL | SECURITY)
    seeder.group("universal", people[:2], UNIVERSAL | SECURITY)
    seeder.group("odd", odd)
    seeder.group("mixed", people[:2] + hidden[:1])
    veiled = seeder.group("veiled", people[:3])
    seeder.allow(veiled, f"(OD;;RP;{MEMBER_ATTRIBUTE};;{sids['restricted']})")
    primary(seeder, people)
    foreign(seeder, people)
    mailboxes(seeder)


def services(seeder, password):
    seeder.unit(SERVICES)
    sids = {}
    for name in ("sync", "writer", "plain", "restricted"):
        dn = seeder.user(
            f"CN={name},{SERVICES}",
            name,
            0x200,
            unicodePwd=f'"{password}"'.encode("utf-16-le"),
        )
        sids[name] = seeder.sid(dn)
    return sids


def odd_names(seeder):
    names = [
        "Sm\u00edth\\, J\\+\\+",
        "\\#hash",
        "trailing\\20",
        "\\20leading",
        'a\\=b\\;c\\<d\\>\\"e\\"',
        "back\\\\slash",
        "\u5c71\u7530",
        "star*(paren)",
    ]
    return [seeder.user(f"CN={name},{ODD}", f"odd{number}") for number, name in enumerate(names, 1)]


def primary(seeder, people):
    """Their group does not name those whose primary group it is."""
    members = people[10:13]
    group = seeder.group("primary", members)
    number = str(seeder.sid(group)).rsplit("-", 1)[1]
    for dn in members[:2]:
        seeder.modify(dn, ldb.FLAG_MOD_REPLACE, primaryGroupID=[number])


def foreign(seeder, people):
    """One principal of another domain, and one of no domain: "Authenticated Users", which every domain knows."""
    # The server makes an entry for a member of which it knows nothing but the SID.
    other = "<SID=S-1-5-21-1111111111-2222222222-3333333333-1105>"
    anyone = f"CN=S-1-5-11,CN=ForeignSecurityPrincipals,{SUFFIX}"
    seeder.group("foreign", people[:1] + [other, anyone], LOCAL | SECURITY)


def mailboxes(seeder):
    """The numbers are those of Exchange for a user's mailbox, a shared one, a room's and a piece of equipment's."""
    for name, control, details, display in (
        ("Blue room", DISABLED, 16, 7),
        ("Projector", DISABLED, 32, 8),
        ("Front desk", DISABLED, 4, 0),
        ("Mailbox", NORMAL, 1, 1073741824),
    ):
        login = name.lower().replace(" ", "-")
        seeder.user(
            f"CN={name},{ROOMS}",
            login,
            control,
            displayName=name,
            mail=f"{login}@ad.test",
            mailNickname=login,
            proxyAddresses=[f"SMTP:{login}@ad.test", f"smtp:{login}@old.ad.test"],
            msExchRecipientTypeDetails=str(details),
            msExchRecipientDisplayType=str(display),
        )
    seeder.add(
        f"CN=dynamic,{GROUPS}",
        "msExchDynamicDistributionList",
        displayName="dynamic",
        mail="dynamic@ad.test",
        msExchDynamicDLFilter="(&(objectCategory=person)(sAMAccountName=u0000*))",
        msExchDynamicDLBaseDN=PEOPLE,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
