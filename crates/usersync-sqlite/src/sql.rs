//! The statements, with the prefix of the tables filled in once.

macro_rules! statements {
    ($($name:ident: $text:literal,)*) => {
        pub(crate) struct Sql {
            $(pub(crate) $name: String,)*
        }

        impl Sql {
            /// How many statements there are.
            pub(crate) const COUNT: usize = [$(stringify!($name)),*].len();

            /// `prefix` is empty or a valid prefix.
            pub(crate) fn new(prefix: &str) -> Self {
                Self {
                    $($name: $text.replace("{p}", prefix),)*
                }
            }
        }
    };
}

statements! {
    begin: "BEGIN",
    begin_write: "BEGIN IMMEDIATE",
    commit: "COMMIT",
    rollback: "ROLLBACK",

    meta: "SELECT version, clock, stamp FROM {p}meta WHERE id = 1",
    version: "SELECT version FROM {p}meta WHERE id = 1",
    stamp: "UPDATE {p}meta SET stamp = random() WHERE id = 1 RETURNING stamp",
    set_clock: "UPDATE {p}meta SET clock = ?1 WHERE id = 1",

    tenant_find: "SELECT id FROM {p}tenant WHERE name = ?1",
    tenant_name: "SELECT name FROM {p}tenant WHERE id = ?1",
    tenant_add: "INSERT INTO {p}tenant (name, revision) VALUES (?1, 0)",
    system_find: "SELECT id FROM {p}system WHERE name = ?1",
    system_name: "SELECT name FROM {p}system WHERE id = ?1",
    system_add: "INSERT INTO {p}system (name) VALUES (?1)",
    systems: "SELECT id, name FROM {p}system ORDER BY name",
    job_find: "SELECT id FROM {p}job WHERE name = ?1",
    job_name: "SELECT name FROM {p}job WHERE id = ?1",
    job_add: "INSERT INTO {p}job (name) VALUES (?1)",
    object_find: "SELECT id FROM {p}object WHERE system = ?1 AND name = ?2",
    object_add: "INSERT INTO {p}object (system, name) VALUES (?1, ?2) ON CONFLICT (system, name) DO NOTHING",
    container_find: "SELECT id FROM {p}container WHERE tenant = ?1 AND system = ?2 AND name = ?3",
    container_add: "INSERT INTO {p}container (tenant, system, name) VALUES (?1, ?2, ?3)",
    containers: "SELECT id, name FROM {p}container
        WHERE tenant = ?1 AND system = ?2 AND name > ?3 ORDER BY name LIMIT ?4",
    content_find: "SELECT id FROM {p}content WHERE origin = ?1 AND claims = ?2 AND facets = ?3",
    content: "SELECT origin, claims, facets FROM {p}content WHERE id = ?1",
    content_add: "INSERT INTO {p}content (origin, claims, facets) VALUES (?1, ?2, ?3)",

    row: "SELECT content, revision FROM {p}ledger WHERE container = ?1 AND subject = ?2",
    row_set: "INSERT INTO {p}ledger (container, subject, content, revision) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (container, subject) DO UPDATE SET content = excluded.content, revision = excluded.revision",
    row_delete: "DELETE FROM {p}ledger WHERE container = ?1 AND subject = ?2",
    rows: "SELECT ledger.subject, object.system, object.name, ledger.content, ledger.revision
        FROM {p}ledger AS ledger LEFT JOIN {p}object AS object ON object.id = ledger.subject >> 1
        WHERE ledger.container = ?1 AND ledger.subject > ?2 ORDER BY ledger.subject LIMIT ?3",

    revision: "SELECT revision FROM {p}tenant WHERE id = ?1",
    revision_set: "UPDATE {p}tenant SET revision = ?2 WHERE id = ?1",
    value: "SELECT revision, bytes FROM {p}value WHERE tenant = ?1 AND kind = ?2 AND name = ?3",
    value_revision: "SELECT revision FROM {p}value WHERE tenant = ?1 AND kind = ?2 AND name = ?3",
    value_set: "INSERT INTO {p}value (tenant, kind, name, revision, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (tenant, kind, name) DO UPDATE SET revision = excluded.revision, bytes = excluded.bytes",
    value_delete: "DELETE FROM {p}value WHERE tenant = ?1 AND kind = ?2 AND name = ?3",
    values_from: "SELECT name, revision, bytes FROM {p}value
        WHERE tenant = ?1 AND kind = ?2 AND name >= ?3 ORDER BY name",
    values_after: "SELECT name, revision, bytes FROM {p}value
        WHERE tenant = ?1 AND kind = ?2 AND name > ?3 ORDER BY name",

    counter: "SELECT value FROM {p}counter WHERE tenant = ?1 AND name = ?2",
    counter_set: "INSERT INTO {p}counter (tenant, name, value) VALUES (?1, ?2, ?3)
        ON CONFLICT (tenant, name) DO UPDATE SET value = excluded.value",

    sequence: "SELECT last FROM {p}sequence WHERE tenant = ?1 AND log = ?2",
    sequence_set: "INSERT INTO {p}sequence (tenant, log, last) VALUES (?1, ?2, ?3)
        ON CONFLICT (tenant, log) DO UPDATE SET last = excluded.last",
    entry_add: "INSERT INTO {p}entry (tenant, log, sequence, name, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (tenant, log, name) DO NOTHING",
    entry_delete: "DELETE FROM {p}entry WHERE tenant = ?1 AND log = ?2 AND sequence = ?3",
    entries: "SELECT sequence, name, bytes FROM {p}entry
        WHERE tenant = ?1 AND log = ?2 AND sequence > ?3 ORDER BY sequence",

    lease: "SELECT token, expires, holder, released FROM {p}lease WHERE tenant = ?1 AND name = ?2",
    lease_set: "INSERT INTO {p}lease (tenant, name, token, expires, holder, released)
        VALUES (?1, ?2, ?3, ?4, ?5, 0)
        ON CONFLICT (tenant, name) DO UPDATE SET token = excluded.token, expires = excluded.expires,
            holder = excluded.holder, released = 0",
    lease_extend: "UPDATE {p}lease SET expires = ?3 WHERE tenant = ?1 AND name = ?2",
    lease_release: "UPDATE {p}lease SET released = 1 WHERE tenant = ?1 AND name = ?2 AND token = ?3",
}
