# The entries that the directories of `openldap` and `ds389` start with, as LDIF.
#
#   awk -v kind=openldap|ds389 -v suffix=DN -v base=DN -v users=N -f seed.awk
#
# ou=people      u00000…: most of them in it, every tenth in one of two units below, every hundredth two units below;
#                u00003 is disabled, u00004 locked for a time (on openldap)
# ou=contacts    c00000…, as many as cn=everyone needs beside the users
# ou=groups      top > mid0…mid9 > leaf0000… of 20 users each; cyca > cycb > cyca; everyone (5,000 members); unique,
#                posix, staff (by URL), veiled (of which some may not see the members)
# ou=odd         names that need escapes, and a group of all of them
# ou=hidden      what some may not see, and is in cn=mixed,ou=groups
# ou=rooms, ou=roles, ou=empty
# cn=managed, cn=filtered, cn=nested: roles of ds389, with u00000…u00004, u00010…u00019 and both
#
# and, beside the base, the accounts in ou=services.

function entry(dn, classes,    count, names, at) {
    printf "\ndn: %s\n", dn
    count = split(classes, names, " ")
    for (at = 1; at <= count; at++)
        printf "objectClass: %s\n", names[at]
    # An import into ds389 makes none.
    if (ds389)
        printf "entryUUID: 5eed0000-0000-4000-8000-%012x\n", entries++
}

function domain(dn,    name) {
    name = dn
    sub(/,.*/, "", name)
    sub(/^dc=/, "", name)
    entry(dn, "dcObject organization")
    printf "dc: %s\no: %s\n", name, name
}

function unit(name, parent) {
    entry("ou=" name "," parent, "organizationalUnit")
    printf "ou: %s\n", name
}

function person_dn(number,    place) {
    place = people
    if (number % 100 == 99)
        place = "ou=oslo,ou=north," people
    else if (number % 10 == 9)
        place = (number % 20 == 9 ? "ou=north," : "ou=south,") people
    return sprintf("uid=u%05d,%s", number, place)
}

function leaf_dn(number) { return sprintf("cn=leaf%04d,%s", number, groups) }
function mid_dn(number) { return sprintf("cn=mid%d,%s", number, groups) }

function group(dn, name) {
    entry(dn, "groupOfNames" member_class)
    printf "cn: %s\n", name
}

function named(name) {
    group("cn=" name "," groups, name)
}

function member(dn) { printf "member: %s\n", dn }

# A load leaves memberOf as it finds it.
function member_of(dn) { printf "memberOf: %s\n", dn }

# On ds389, memberOf names groups by way of groups, too.
function member_by_way_of(dn) {
    if (ds389)
        member_of(dn)
}

function service(name) {
    entry("cn=" name ",ou=services," suffix, "organizationalRole simpleSecurityObject")
    printf "cn: %s\nuserPassword: %s\n", name, name
    if (ds389 && name == "limited")
        print "nsSizeLimit: 100\nnsPagedSizeLimit: 100"
    else if (ds389)
        print "nsSizeLimit: 500\nnsPagedSizeLimit: -1\nnsPagedLookThroughLimit: -1"
}

# Access is granted by the entries themselves.
function rights(    restricted) {
    restricted = "(userdn = \"ldap:///cn=restricted,ou=services," suffix "\");)"
    print "aci: (targetattr = \"*\")(version 3.0; acl \"read\"; allow (read, search, compare)" \
        "(userdn = \"ldap:///all\");)"
    print "aci: (targetattr = \"member || uniqueMember || memberUid || roleOccupant\")(version 3.0; acl \"write\";" \
        " allow (write)(userdn = \"ldap:///cn=writer,ou=services," suffix "\");)"
    print "aci: (target = \"ldap:///ou=hidden," base "\")(targetattr = \"*\")(version 3.0; acl \"hidden\"; deny (all)" \
        restricted
    print "aci: (target = \"ldap:///cn=veiled,ou=groups," base "\")(targetattr = \"member\")(version 3.0;" \
        " acl \"veiled\"; deny (all)" restricted
    print "aci: (targetattr = \"mail\")(version 3.0; acl \"mail\"; deny (all)" restricted
}

function roles(    role) {
    role = "ldapSubEntry nsRoleDefinition "
    entry("cn=managed," base, role "nsSimpleRoleDefinition nsManagedRoleDefinition")
    print "cn: managed"
    entry("cn=filtered," base, role "nsComplexRoleDefinition nsFilteredRoleDefinition")
    print "cn: filtered\nnsRoleFilter: (uid=u0001*)"
    entry("cn=nested," base, role "nsComplexRoleDefinition nsNestedRoleDefinition")
    printf "cn: nested\nnsRoleDN: cn=managed,%s\nnsRoleDN: cn=filtered,%s\n", base, base
}

function odd(rdn, name, uid) {
    entry(rdn ",ou=odd," base, "inetOrgPerson" member_class)
    printf "%s\nsn: Odd\nuid: %s\n", name, uid
    odds[++odd_count] = rdn ",ou=odd," base
    member_of("cn=odd," groups)
}

BEGIN {
    ds389 = kind == "ds389"
    # The class that allows memberOf, where the server does not do so by itself.
    member_class = ds389 ? " nsMemberOf" : ""
    people = "ou=people," base
    groups = "ou=groups," base
    contacts = users < 5000 ? 5000 - users : 0
    leaves = int((users + 19) / 20)

    domain(suffix)
    if (ds389)
        rights()
    unit("services", suffix)
    service("sync"); service("writer"); service("limited"); service("restricted")
    domain(base)
    if (users == 0)
        exit

    unit("people", base); unit("north", people); unit("oslo", "ou=north," people); unit("south", people)
    unit("contacts", base); unit("groups", base); unit("odd", base); unit("hidden", base)
    unit("rooms", base); unit("roles", base)
    unit("empty", base)

    for (i = 0; i < users; i++) {
        entry(person_dn(i), "inetOrgPerson posixAccount" member_class)
        printf "uid: u%05d\ncn: User %d\nsn: %d\nmail: u%05d@example.test\n", i, i, i, i
        printf "uidNumber: %d\ngidNumber: 100\nhomeDirectory: /home/u%05d\n", 100000 + i, i
        # ds389 takes its time to hash passwords.
        if (!ds389)
            printf "userPassword: pw%d\n", i
        if (i > 0)
            printf "manager: %s\n", person_dn(int((i - 1) / 8))
        if (i == 3)
            print ds389 ? "nsAccountLock: true" : "pwdAccountLockedTime: 000001010000Z"
        if (i < 5 && ds389)
            printf "nsRoleDN: cn=managed,%s\n", base
        if (i == 4 && !ds389)
            print "pwdAccountLockedTime: 20260101000000Z"
        if (i == 5)
            print "employeeType: admin"
        member_of(leaf_dn(int(i / 20)))
        member_by_way_of(mid_dn(int(i / 20) % 10))
        member_by_way_of("cn=top," groups)
        if (i < 5000)
            member_of("cn=everyone," groups)
        if (i == 0) {
            member_of("cn=cyca," groups)
            member_by_way_of("cn=cycb," groups)
        }
        if (i < 2)
            member_of("cn=mixed," groups)
        if (i < 3)
            member_of("cn=veiled," groups)
    }
    for (i = 0; i < contacts; i++) {
        entry(sprintf("uid=c%05d,ou=contacts,%s", i, base), "inetOrgPerson" member_class)
        printf "uid: c%05d\ncn: Contact %d\nsn: %d\nmail: c%05d@partner.test\n", i, i, i, i
        member_of("cn=everyone," groups)
    }

    for (g = 0; g < leaves; g++) {
        group(leaf_dn(g), sprintf("leaf%04d", g))
        for (i = g * 20; i < users && i < g * 20 + 20; i++)
            member(person_dn(i))
        member_of(mid_dn(g % 10))
        member_by_way_of("cn=top," groups)
    }
    for (m = 0; m < 10 && m < leaves; m++) {
        group(mid_dn(m), "mid" m)
        for (g = m; g < leaves; g += 10)
            member(leaf_dn(g))
        member_of("cn=top," groups)
    }
    named("top")
    for (m = 0; m < 10 && m < leaves; m++)
        member(mid_dn(m))
    named("cyca"); member(person_dn(0)); member("cn=cycb," groups); member_of("cn=cycb," groups)
    named("cycb"); member("cn=cyca," groups); member_of("cn=cyca," groups)
    named("everyone")
    for (i = 0; i < users && i < 5000; i++)
        member(person_dn(i))
    for (i = 0; i < contacts; i++)
        member(sprintf("uid=c%05d,ou=contacts,%s", i, base))
    named("veiled"); member(person_dn(0)); member(person_dn(1)); member(person_dn(2))
    named("mixed"); member(person_dn(0)); member(person_dn(1)); member("uid=hidden1,ou=hidden," base)
    # The placeholder with which a schema that demands a member is satisfied: the empty DN.
    named("placeheld"); print "member:"

    entry("cn=unique," groups, "groupOfUniqueNames")
    print "cn: unique"
    for (i = 0; i < 5; i++)
        printf "uniqueMember: %s\n", person_dn(i)
    # A name with an optional UID (RFC 4517, 3.3.21).
    printf "uniqueMember: %s#'0101'B\n", person_dn(5)
    entry("cn=posix," groups, "posixGroup")
    print "cn: posix\ngidNumber: 5000\nmemberUid: u00000\nmemberUid: u00001\nmemberUid: nobody-by-that-name"
    entry("cn=staff," groups, "groupOfURLs")
    printf "cn: staff\nmemberURL: ldap:///%s??one?(uid=u0000*)\n", people

    duty = "cn=duty,ou=roles," base
    entry(duty, "organizationalRole")
    printf "cn: duty\nroleOccupant: %s\nroleOccupant: %s\n", person_dn(0), person_dn(7)
    entry("cn=blue,ou=rooms," base, "room")
    print "cn: blue\nroomNumber: 12"
    for (i = 1; i <= 3; i++) {
        entry(sprintf("uid=hidden%d,ou=hidden,%s", i, base), "inetOrgPerson" member_class)
        printf "uid: hidden%d\ncn: Hidden %d\nsn: %d\n", i, i, i
        if (i == 1)
            member_of("cn=mixed," groups)
    }

    if (ds389)
        roles()

    odd("cn=Sm\\C3\\ADth\\, J\\2B\\2B", "cn:: U23DrXRoLCBKKys=", "odd1")
    odd("cn=\\23hash", "cn: #hash", "odd2")
    odd("cn=trailing\\20", "cn:: dHJhaWxpbmcg", "odd3")
    odd("cn=\\20leading", "cn:: IGxlYWRpbmc=", "odd4")
    odd("cn=a\\3Db\\3Bc\\3Cd\\3E\\22e\\22", "cn: a=b;c<d>\"e\"", "odd5")
    odd("cn=back\\5Cslash", "cn: back\\slash", "odd6")
    odd("cn=two+uid=odd7", "cn: two", "odd7")
    odd("cn=\\E5\\B1\\B1\\E7\\94\\B0", "cn:: 5bGx55Sw", "odd8")
    odd("cn=star*(paren)", "cn: star*(paren)", "odd9")
    named("odd")
    for (i = 1; i <= odd_count; i++)
        member(odds[i])
}
