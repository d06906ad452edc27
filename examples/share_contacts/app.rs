//! The application: address books, a contact group, and an engine between them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::runtime::Runtime;
use usersync::connector::Clock;
use usersync::connector::adapt::{EveryoneActive, NoNotifier, StaticContainers};
use usersync::engine::{Distribution, Engine, Job, RunReport, RunRequest, Scope};
use usersync::model::{
    AttributeName, Digest, Facet, FacetName, JobId, ObjectId, Principal, PrincipalRef, Record, RecordKind,
    RecordRef, Selection, SystemId, TenantId, Value,
};
use usersync::reconcile::{Plan, RenderOptions, render_table};
use usersync::sqlite::{SqliteOptions, SqliteStore};
use usersync::tokio::SystemClock;
use usersync_examples::records::RecordTable;
use usersync_examples::scratch::Folder;
use usersync_examples::screen::{Outcome, Screen};

use crate::arguments::Share;
use crate::staff::Staff;

/// The organisation that is shipped.
pub(crate) const ORGANISATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/org-2026-01.ldif");
/// What is in the contact group.
pub(crate) const CONTACTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/contacts.json");
/// Whose contact group it is.
pub(crate) const OWNER: &str = "Linden Lanternton";

/// How long an approval waits for the run that uses it, which follows at once.
const APPROVAL: Duration = Duration::from_secs(600);

/// A contact as people write it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contact {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) mail: Vec<String>,
    #[serde(default)]
    pub(crate) phone: String,
    #[serde(default)]
    pub(crate) role: String,
}

/// The application with its engine.
pub(crate) struct App {
    pub(crate) staff: Staff,
    /// Everybody's address book, by the id of the user.
    pub(crate) books: RecordTable,
    /// The contact groups.
    pub(crate) groups: RecordTable,
    pub(crate) group: ObjectId,
    pub(crate) engine: Engine,
    pub(crate) tenant: TenantId,
    pub(crate) job: JobId,
    pub(crate) runtime: Runtime,
}

/// Shares a group in a folder that stays.
pub(crate) fn share(share: &Share, screen: &Screen) -> Outcome {
    let folder = Folder::at(&share.folder)?;
    let ldif = share.ldif.as_deref().unwrap_or(Path::new(ORGANISATION));
    let app = App::open(&folder, ldif, Arc::new(SystemClock::new()))?;
    let contacts = share.contacts.as_deref().unwrap_or(Path::new(CONTACTS));
    app.fill_group(&load(contacts)?)?;
    let owner = app.staff.find(share.owner.as_deref().unwrap_or(OWNER))?;
    let to = app.staff.select(&share.to, &share.except)?;
    app.save(owner.clone(), to)?;
    if let Some(held) = share.approve {
        app.approve(held, owner)?;
    }
    if share.preview {
        show_plan(screen, &app.preview()?);
        return Ok(());
    }
    let report = app.run(screen)?;
    if let Some(plan) = &report.plan {
        show_plan(screen, plan);
    }
    screen.say(&report);
    if report.is_ok() {
        Ok(())
    } else {
        Err(report.end.to_string().into())
    }
}

/// Reads contacts.
pub(crate) fn load(file: &Path) -> Outcome<Vec<Contact>> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let contacts = serde_json::from_str(&text);
    contacts.map_err(|error| format!("{}: not contacts: {error}", file.display()).into())
}

impl App {
    /// The application in a folder. Whoever is new in the organisation gets an empty address book.
    pub(crate) fn open(folder: &Folder, ldif: &Path, clock: Arc<dyn Clock>) -> Outcome<Self> {
        let staff = Staff::new(SystemId::new("ldap")?, ldif);
        let books = RecordTable::open(&folder.join("books.db"), SystemId::new("books")?)?;
        let groups = books.beside(SystemId::new("groups")?);
        let store = SqliteStore::open(folder.join("state.db"), SqliteOptions::default())?;
        let engine = Engine::builder(
            Arc::new(store),
            clock,
            Arc::new(StaticContainers::default()),
            // A tool of one administrator, who may act as long as it is run.
            Arc::new(EveryoneActive),
            Arc::new(NoNotifier),
        )
        .directory(Arc::new(staff.clone()))
        .record_source(Arc::new(groups.clone()))
        .record_target(Arc::new(books.clone()))
        .build();
        let app = Self {
            staff,
            books,
            groups,
            group: ObjectId::new("sales-contacts")?,
            engine,
            tenant: TenantId::new("quillhaven")?,
            job: JobId::new("share-sales-contacts")?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()?,
        };
        let known: BTreeMap<ObjectId, String> = app.books.collections()?.into_iter().collect();
        for (id, user) in app.staff.users()? {
            if known.get(&id) != Some(&user.name) {
                app.books.create_collection(&id, &user.name)?;
            }
        }
        Ok(app)
    }

    /// Makes the contact group what these contacts are.
    pub(crate) fn fill_group(&self, contacts: &[Contact]) -> Outcome {
        self.groups.create_collection(&self.group, "Sales Contacts")?;
        let mut wanted = BTreeMap::new();
        for contact in contacts {
            let record = self.contact(contact)?;
            wanted.insert(record.id.clone(), record);
        }
        let present = self.groups.records_of(&self.group)?;
        for (record, _) in &present {
            if !wanted.contains_key(&record.id) {
                self.groups.put_by_hand(&self.group, &record.id, None)?;
            }
        }
        for (id, record) in wanted {
            if !present.iter().any(|(there, _)| *there == record) {
                self.groups.put_by_hand(&self.group, &id, Some(&record))?;
            }
        }
        Ok(())
    }

    /// A contact of the group as a record.
    pub(crate) fn contact(&self, contact: &Contact) -> Outcome<Record> {
        record(RecordRef::parse("groups", &contact.id)?, contact)
    }

    /// Saves who gets copies of whose contacts.
    pub(crate) fn save(&self, owner: PrincipalRef, to: Selection) -> Outcome {
        let system = |name| SystemId::new(name);
        let distribution = Distribution {
            from: system("groups")?,
            owner: owner.clone(),
            group: self.group.clone(),
            to,
        };
        let job = Job::distribution(
            self.tenant.clone(),
            self.job.clone(),
            "Sales contacts",
            [system("ldap")?],
            system("books")?,
            owner,
            distribution,
        );
        Ok(self.runtime.block_on(self.engine.save_job(&job))?)
    }

    pub(crate) fn preview(&self) -> Outcome<Plan> {
        let previewed = self.engine.preview(&self.tenant, &self.job, &Scope::Everything);
        Ok(self.runtime.block_on(previewed)?.plan().clone())
    }

    /// Lets what waits under this digest go in the next run.
    fn approve(&self, held: Digest, by: PrincipalRef) -> Outcome {
        let approval = self.engine.approve(&self.tenant, &self.job, held, by, APPROVAL);
        self.runtime.block_on(approval)?;
        Ok(())
    }

    /// Runs, shown as it goes.
    pub(crate) fn run(&self, screen: &Screen) -> Outcome<RunReport> {
        let (control, following) = screen.follow();
        let request = RunRequest::everything().controlled_by(control);
        let report = self
            .runtime
            .block_on(self.engine.run(&self.tenant, &self.job, request));
        let progress = following.end();
        screen.say(format_args!("  {progress}"));
        Ok(report?)
    }

    /// Runs what is due; `None` if nothing is.
    pub(crate) fn run_due(&self) -> Outcome<Option<RunReport>> {
        let mut ran = self.runtime.block_on(self.engine.run_due(&self.tenant))?;
        match ran.pop() {
            Some((_, report)) => Ok(Some(report?)),
            None => Ok(None),
        }
    }

    /// Somebody by name.
    pub(crate) fn user(&self, name: &str) -> Outcome<Principal> {
        let id = self.staff.find(name)?.object;
        let user = self.staff.users()?.remove(&id);
        user.ok_or_else(|| format!("{name} is no user").into())
    }
}

/// A contact as a record.
pub(crate) fn record(id: RecordRef, contact: &Contact) -> Outcome<Record> {
    let facet = |attributes: Vec<(&str, Value)>| -> Outcome<Facet> {
        let attributes = attributes.into_iter();
        let named = attributes.map(|(name, value)| Ok((AttributeName::new(name)?, value)));
        Ok(Facet {
            attributes: named.collect::<Outcome<_>>()?,
        })
    };
    let general = vec![
        ("name", Value::Text(contact.name.clone())),
        ("role", Value::Text(contact.role.clone())),
    ];
    let reach = vec![
        ("mail", Value::Set(contact.mail.iter().cloned().collect())),
        ("phone", Value::Text(contact.phone.clone())),
    ];
    Ok(Record {
        id,
        kind: RecordKind::new("contact")?,
        facets: BTreeMap::from([
            (FacetName::new("general")?, facet(general)?),
            (FacetName::new("reach")?, facet(reach)?),
        ]),
    })
}

/// A plan as tables, with the first entries of each.
pub(crate) fn show_plan(screen: &Screen, plan: &Plan) {
    let options = RenderOptions {
        containers: 4,
        entries: 3,
        ..RenderOptions::default()
    };
    screen.say(render_table(plan, &options));
}
