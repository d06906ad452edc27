//! The sample exports are read whole, and what changes between them is what their README says.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail a test by them"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use usersync_ldap::{Dn, LdifContents, LdifDirectory, LdifProfile, LdifReader};
use usersync_model::{Activity, DirectoryChange, ObjectId, Principal, SystemId};

struct Export {
    contents: LdifContents,
    principals: BTreeMap<ObjectId, Principal>,
    members: BTreeMap<ObjectId, BTreeSet<ObjectId>>,
    /// By DN, read straight from the file.
    ids: BTreeMap<Dn, ObjectId>,
}

fn export(month: &str) -> Export {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "../../examples/data",
        &format!("org-{month}.ldif"),
    ]
    .iter()
    .collect();
    let mut profile = LdifProfile::default();
    profile.trailer = Some("end of export".to_owned());
    profile.rules.privileged_groups =
        vec![Dn::parse("cn=Directory Administrators,cn=Roles,dc=example,dc=org").unwrap()];
    let directory = LdifDirectory::from_file(SystemId::new("sample").unwrap(), &path).with_profile(profile);
    let contents = directory.contents().unwrap();
    let mut principals = BTreeMap::new();
    let mut members: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for change in contents.changes.clone() {
        match change {
            DirectoryChange::Upsert(principal) => {
                principals.insert(principal.id.clone(), principal);
            }
            DirectoryChange::Members {
                group, members: ids, ..
            } => members.entry(group).or_default().extend(ids),
            other => panic!("a full read has no {other:?}"),
        }
    }
    let ids = LdifReader::new(&std::fs::read(path).unwrap()[..])
        .map(Result::unwrap)
        .filter_map(|entry| {
            let id = entry.texts("entryUUID").next()?;
            Some((entry.dn().clone(), ObjectId::new(id).unwrap()))
        })
        .collect();
    Export {
        contents,
        principals,
        members,
        ids,
    }
}

impl Export {
    fn id(&self, dn: &str) -> ObjectId {
        let dn = Dn::parse(&format!("{dn},dc=example,dc=org")).unwrap();
        self.ids
            .get(&dn)
            .unwrap_or_else(|| panic!("no {dn} in the export"))
            .clone()
    }

    fn direct(&self, dn: &str) -> BTreeSet<ObjectId> {
        self.members.get(&self.id(dn)).cloned().unwrap_or_default()
    }

    fn users(&self) -> BTreeSet<ObjectId> {
        let users = self.principals.values().filter(|p| !p.kind.is_group());
        users
            .filter(|p| p.kind.code() == "user")
            .map(|p| p.id.clone())
            .collect()
    }

    /// The users below a group: everything reachable, by plain repetition.
    fn below(&self, dn: &str) -> BTreeSet<ObjectId> {
        let mut reached = BTreeSet::from([self.id(dn)]);
        loop {
            let more: BTreeSet<_> = reached
                .iter()
                .filter_map(|id| self.members.get(id))
                .flatten()
                .cloned()
                .collect();
            let before = reached.len();
            reached.extend(more);
            if reached.len() == before {
                return reached.intersection(&self.users()).cloned().collect();
            }
        }
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for principal in self.principals.values() {
            *counts.entry(principal.kind.code()).or_default() += 1;
        }
        counts
    }
}

#[test]
fn both_are_complete_with_the_counts_of_the_readme() {
    for (month, entries, users, groups) in [("2026-01", 430, 332, 44), ("2026-02", 432, 333, 45)] {
        let export = export(month);
        assert!(
            export.contents.verdict.is_complete(),
            "{:?}",
            export.contents.verdict
        );
        assert_eq!(export.contents.partial, []);
        assert_eq!(export.contents.warnings, []);
        assert_eq!(export.contents.entries, entries);
        assert_eq!(
            export.counts(),
            BTreeMap::from([
                ("distribution_list", 10),
                ("org_unit", 26),
                ("role", 10),
                ("room", 3),
                ("user", users),
                ("user_group", groups),
            ])
        );
    }
}

#[test]
fn structures() {
    for month in ["2026-01", "2026-02"] {
        let export = export(month);
        let everyone = export.users();
        for all in ["cn=All Staff,cn=Groups", "cn=all-hands,cn=Lists", "ou=Staff"] {
            assert_eq!(export.below(all), everyone, "{all} in {month}");
        }
        let circle = export.below("cn=Ideas Circle,cn=Groups");
        assert!(circle.len() > 4);
        for other in ["cn=Prototype Circle,cn=Groups", "cn=Workshop Circle,cn=Groups"] {
            assert_eq!(export.below(other), circle, "a cycle");
        }
        for side in ["cn=North Building,cn=Groups", "cn=South Building,cn=Groups"] {
            assert!(
                export
                    .direct("cn=Site Access,cn=Groups")
                    .contains(&export.id(side))
            );
            assert!(
                export
                    .direct(side)
                    .contains(&export.id("cn=Facilities Crew,cn=Groups")),
                "a diamond"
            );
        }
        assert_eq!(export.direct("cn=Future Programme,cn=Groups"), BTreeSet::new());
        assert_eq!(export.direct("cn=render-farm,cn=Groups").len(), 7, "by login");
        let news = export.direct("cn=news,cn=Lists").len();
        assert!(news > 10, "by address and DN: {news}");
        let inactive: BTreeSet<_> = export
            .principals
            .values()
            .filter(|p| p.activity == Activity::Inactive)
            .map(|p| p.id.clone())
            .collect();
        let locked = [
            export.id("uid=clover.pebblecombe,ou=Optics,ou=Research,ou=Staff"),
            export.id("uid=medlar.quillbrook,ou=Help Desk,ou=Services,ou=Staff"),
        ];
        assert_eq!(inactive, BTreeSet::from(locked));
        let privileged = export.principals.values().filter(|p| p.privileged);
        let privileged: BTreeSet<_> = privileged.map(|p| p.id.clone()).collect();
        assert_eq!(privileged, export.below("cn=Directory Administrators,cn=Roles"));
    }
}

#[test]
fn promise_19_the_renamed_and_the_moved_keep_their_ids() {
    let (january, february) = (export("2026-01"), export("2026-02"));
    let gone = january.users().difference(&february.users()).count();
    let new = february.users().difference(&january.users()).count();
    assert_eq!((gone, new), (6, 7));

    let materials = "ou=Materials,ou=Research,ou=Staff";
    let partners = "ou=Partners,ou=Sales,ou=Staff";
    let renamed = january.id(&format!("uid=nutmeg.buttoncombe,{materials}"));
    assert_eq!(
        february.id(&format!("uid=nutmeg.teacupfield,{materials}")),
        renamed
    );
    assert_ne!(
        january.principals[&renamed].name,
        february.principals[&renamed].name
    );
    let groups = |export: &Export, id: &ObjectId| -> BTreeSet<ObjectId> {
        let holds = export.members.iter().filter(|(_, members)| members.contains(id));
        holds.map(|(group, _)| group.clone()).collect()
    };
    assert_eq!(groups(&january, &renamed), groups(&february, &renamed));

    let moved = january.id(&format!("uid=chervil.marblewick,{materials}"));
    assert_eq!(february.id(&format!("uid=chervil.marblewick,{partners}")), moved);
    for (export, here, away) in [(&january, materials, partners), (&february, partners, materials)] {
        assert!(export.direct(here).contains(&moved));
        assert!(!export.direct(away).contains(&moved));
    }
}

#[test]
fn names_are_decoded() {
    let january = export("2026-01");
    let names: Vec<&str> = january
        .principals
        .values()
        .map(|p| p.name.as_str())
        .filter(|name| !name.is_ascii())
        .collect();
    assert!(names.contains(&"Café"), "{names:?}");
    assert!(names.len() > 20, "{names:?}");
    january.id(r"ou=health\2c safety AND environment,ou=Site,ou=Staff");
}
