//! What people see of a plan, with names that want to be something else.

use usersync_model::{
    ContainerKind, KindName, MemberFacets, MembershipState, PartialKind, PartialReason, Role, Subject,
    SystemId, visible,
};
use usersync_reconcile::{
    Action, Drafts, Finding, Hold, HoldCause, LedgerChange, LedgerStep, Operation, Plan, Policy, Protection,
    Reason, RenderOptions, Section, Tally, Warning, What, render_html, render_markdown, render_table,
};

use crate::support::{self, container, envelope, header};

const HOSTILE: [&str; 12] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"' onmouseover='x",
    "a | b || c",
    "line\nbreak\r\nand\ttab",
    "\u{1b}[31mred\u{1b}[0m\u{9b}2J",
    "evil\u{202e}txt.exe",
    "zero\u{200b}width\u{feff}",
    "`code` **bold** _it_ [l](http://x) ![i](y)",
    "# heading\u{2028}- item",
    "]]> --> </style> </title> {{x}} ${y}",
    "  \\ spaced \\  ",
];

fn operation(who: u8, action: Action, label: &str) -> Operation {
    Operation {
        subject: Subject::Principal(support::principal(who)),
        action,
        reason: Reason::Selected,
        label: label.into(),
        seen: None,
        approved: false,
        agreed: None,
    }
}

fn hostile_plan() -> Plan {
    let detail = || HOSTILE.concat();
    let operations = (0..)
        .zip(HOSTILE)
        .map(|(who, label)| operation(who, Action::Add(MemberFacets::default()), label));
    let section = Section {
        container: container(1),
        kind: ContainerKind::Other(KindName::new("<b>kind</b>|\u{202e}").unwrap()),
        name: HOSTILE.concat(),
        owner: None,
        operations: operations.collect(),
        holds: vec![Hold {
            operation: operation(50, Action::Remove, &detail()),
            cause: HoldCause::IncompleteTarget(PartialReason::new(PartialKind::Failed, detail())),
        }],
        ledger: Vec::new(),
        findings: vec![Finding {
            subject: Subject::Principal(support::principal(51)),
            label: detail(),
            what: What::FacetConflict,
        }],
        tally: Tally::default(),
    };
    let policy = Policy::default();
    let mut header = header(&policy);
    header.warnings = vec![Warning::PartialSource {
        system: SystemId::new("<i>dir</i>\u{202e}").unwrap(),
        reason: PartialReason::new(PartialKind::Failed, detail()),
    }];
    let mut drafts = Drafts::default();
    drafts.push(section);
    Plan::assemble(header, envelope(1, 0), drafts, &policy, 0, None)
}

/// A plan with some of everything.
fn plan() -> Plan {
    let mut team = Section {
        container: container(1),
        kind: ContainerKind::Team,
        name: "Field engineers".into(),
        owner: Some(support::principal(40)),
        operations: vec![
            operation(1, Action::Add(MemberFacets::default()), "Ada Example"),
            operation(
                2,
                Action::Add(MemberFacets {
                    role: Role::Owner,
                    state: MembershipState::Pending,
                }),
                "Ben Example",
            ),
            operation(3, Action::Remove, "Cleo Example"),
            operation(
                4,
                Action::Update {
                    from: MemberFacets::default(),
                    to: MemberFacets {
                        role: Role::Manager,
                        ..MemberFacets::default()
                    },
                },
                "",
            ),
        ],
        holds: vec![Hold {
            operation: operation(5, Action::Remove, "Dora Example"),
            cause: HoldCause::Protected(Protection::Administrator),
        }],
        ledger: vec![LedgerChange {
            subject: Subject::Principal(support::principal(6)),
            step: LedgerStep::Forget,
            agreed: None,
        }],
        findings: vec![Finding {
            subject: Subject::Principal(support::principal(7)),
            label: "Eli Example".into(),
            what: What::InGrace,
        }],
        tally: Tally {
            desired: 12,
            present: 11,
            removable: 9,
            foreign: 2,
        },
    };
    team.operations[2].reason = Reason::Departed;
    team.operations[3].reason = Reason::Changed;
    team.holds[0].operation.reason = Reason::NotSelected;
    let mut list = Section {
        container: container(2),
        kind: ContainerKind::MailingList,
        name: "Announcements".into(),
        owner: None,
        operations: Vec::new(),
        findings: Vec::new(),
        ledger: Vec::new(),
        ..team.clone()
    };
    list.holds = (10..14)
        .map(|who| Hold {
            operation: operation(who, Action::Remove, &format!("Former member {who}")),
            cause: HoldCause::ContainerEmptied { present: 4 },
        })
        .collect();
    let policy = Policy::default();
    let mut header = header(&policy);
    header.warnings = vec![Warning::MissingPick {
        container: container(2),
        principal: support::principal(30),
    }];
    header.more_warnings = 2;
    let mut drafts = Drafts::default();
    drafts.push(team);
    drafts.push(list);
    Plan::assemble(header, envelope(1, 0), drafts, &policy, 0, None)
}

fn options() -> RenderOptions {
    RenderOptions {
        entries: 2,
        ..RenderOptions::default()
    }
}

#[test]
fn every_rendering_says_the_same() {
    let plan = plan();
    let digest = plan.held_digest().unwrap().to_string();
    for text in [
        render_table(&plan, &RenderOptions::default()),
        render_markdown(&plan, &RenderOptions::default()),
        render_html(&plan, &RenderOptions::default()),
    ] {
        for said in [
            "Ada Example",
            "dir:p01",
            "Cleo Example",
            "left the directory",
            "Dora Example",
            "an administrator",
            "Field engineers",
            "role member → manager",
            "as owner, pending",
            "Announcements",
            "Former member 13",
            "and 2 more",
            "1 forgotten",
            "5 changes wait",
            "12 desired, 11 present, 2 not ours",
            &digest,
        ] {
            assert!(
                text.to_lowercase().contains(&said.to_lowercase()),
                "{said} is not in\n{text}"
            );
        }
    }
}

#[test]
fn large_plans_are_cut_with_a_count() {
    let short = RenderOptions {
        containers: 1,
        entries: 2,
        ..RenderOptions::default()
    };
    for text in [
        render_table(&plan(), &short),
        render_markdown(&plan(), &short),
        render_html(&plan(), &short),
    ] {
        assert!(text.contains("and 1 more container"), "{text}");
        assert!(text.contains("… and 2 more"), "{text}");
        assert!(!text.contains("Former member 13"), "{text}");
    }
}

#[test]
fn nothing_deceptive_is_written() {
    let plan = hostile_plan();
    for text in [
        render_table(&plan, &RenderOptions::default()),
        render_markdown(&plan, &RenderOptions::default()),
        render_html(&plan, &RenderOptions::default()),
    ] {
        let is_bad = |c: char| {
            (c.is_control() && c != '\n')
                || ('\u{200b}'..='\u{200f}').contains(&c)
                || ('\u{2028}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c)
                || c == '\u{feff}'
        };
        assert_eq!(text.chars().find(|c| is_bad(*c)), None, "{text}");
        assert!(
            text.contains("{202e}") && text.contains("{1b}"),
            "shown, and not dropped"
        );
    }
}

#[test]
fn html_has_no_markup_but_its_own() {
    let hostile = render_html(&hostile_plan(), &RenderOptions::default());
    for tag in ["<script", "<img", "<i>", "<b>kind", "http://x\""] {
        assert!(!hostile.contains(tag), "{tag}");
    }
    assert!(hostile.contains("&quot;' onmouseover"));
    let tags = |text: &str| text.matches("</style>").count();
    assert_eq!(tags(&hostile), 1);
    for own in ["<script", "src=", "href=", "url(", "@import", "http:", "https:"] {
        assert!(!render_html(&plan(), &options()).contains(own), "{own}");
    }
}

#[test]
fn markdown_has_one_line_for_every_entry() {
    let text = render_markdown(&hostile_plan(), &RenderOptions::default());
    let entries: Vec<_> = text.lines().filter(|line| line.starts_with("- add ")).collect();
    assert_eq!(entries.len(), HOSTILE.len());
    for (entry, expected) in entries.iter().zip([
        r"- add **&lt;script&gt;alert(1)&lt;/script&gt;** (dir:p00): selected",
        r"- add **&lt;img src=x onerror=alert(1)&gt;** (dir:p01): selected",
        r#"- add **"' onmouseover='x** (dir:p02): selected"#,
        r"- add **a \| b \|\| c** (dir:p03): selected",
        r"- add **line\\u{a}break\\u{d}\\u{a}and\\u{9}tab** (dir:p04): selected",
        r"- add **\\u{1b}\[31mred\\u{1b}\[0m\\u{9b}2J** (dir:p05): selected",
        r"- add **evil\\u{202e}txt.exe** (dir:p06): selected",
        r"- add **zero\\u{200b}width\\u{feff}** (dir:p07): selected",
        r"- add **\`code\` \*\*bold\*\* \_it\_ \[l\](http\://x) \!\[i\](y)** (dir:p08): selected",
        r"- add **\# heading\\u{2028}- item** (dir:p09): selected",
        r"- add **\]\]&gt; --&gt; &lt;/style&gt; &lt;/title&gt; {{x}} \${y}** (dir:p10): selected",
        r"- add **\\ spaced \\** (dir:p11): selected",
    ]) {
        assert_eq!(*entry, expected);
    }
    let is_own = |line: &&str| line.starts_with("# ");
    assert_eq!(text.lines().filter(is_own).count(), 1);
}

#[test]
fn a_terminal_line_is_no_wider_than_the_terminal() {
    for width in [40, 80, 132] {
        let options = RenderOptions {
            width,
            ..RenderOptions::default()
        };
        let text = render_table(&hostile_plan(), &options);
        let rows = text
            .lines()
            .filter(|line| line.trim_start().starts_with("+ ") && line.contains("add"));
        assert_eq!(rows.count(), HOSTILE.len(), "{width}: {text}");
        let tables = text
            .lines()
            .filter(|line| line.trim_start().starts_with(['+', '?', '─']));
        let widest = tables.map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= usize::from(width), "{widest} > {width}: {text}");
    }
}

/// The text of a column costs its length, whoever chose it.
#[test]
fn a_name_without_end_is_cut_off() {
    let policy = Policy::default();
    let mut drafts = Drafts::default();
    let mut section = plan().sections()[0].clone();
    section.operations = vec![operation(
        1,
        Action::Add(MemberFacets::default()),
        &"xy".repeat(1 << 20),
    )];
    section.holds[0].operation.label = "\u{200d}".repeat(1 << 20);
    drafts.push(section);
    let plan = Plan::assemble(header(&policy), envelope(1, 0), drafts, &policy, 0, None);
    let text = render_table(&plan, &RenderOptions::default());
    let row = text
        .lines()
        .find(|line| line.trim_start().starts_with("+ "))
        .unwrap();
    assert!(row.contains("xyxy") && row.contains('…'), "{row}");
    assert!(row.chars().count() <= 100, "{row}");
}

/// A kind begins a line.
#[test]
fn no_kind_begins_a_list() {
    let policy = Policy::default();
    for (kind, shown) in [
        ("- add Eve", r"\- add Eve"),
        ("+ add Eve", r"\+ add Eve"),
        ("12. add Eve", r"12\. add Eve"),
        ("1) add Eve", r"1\) add Eve"),
        ("a - b 1. c", "a - b 1. c"),
        ("1.2-3", r"1\.2-3"),
        (".net users", ".net users"),
    ] {
        let mut section = plan().sections()[0].clone();
        section.kind = ContainerKind::Other(KindName::new(kind).unwrap());
        let mut drafts = Drafts::default();
        drafts.push(section);
        let plan = Plan::assemble(header(&policy), envelope(1, 0), drafts, &policy, 0, None);
        let text = render_markdown(&plan, &RenderOptions::default());
        let line = format!("{shown}, ");
        assert!(text.lines().any(|one| one.starts_with(&line)), "{line}: {text}");
    }
}

#[test]
fn what_nobody_sees_is_shown() {
    for c in [
        '\u{180b}',
        '\u{180f}',
        '\u{fe00}',
        '\u{fe0f}',
        '\u{1bca0}',
        '\u{1d173}',
        '\u{1d17a}',
        '\u{e0100}',
    ] {
        let code = u32::from(c);
        assert_eq!(visible(&format!("Ada{c}")), format!("Ada\\u{{{code:x}}}"));
        assert_eq!(visible(&format!("{c}")), format!("\\u{{{code:x}}}"));
    }
    let emoji = "\u{2764}\u{fe0f}\u{200d}\u{1f525}";
    assert_eq!(visible(emoji), emoji);
    assert_eq!(visible("\u{2764}\u{fe0f}\u{fe0f}"), "\u{2764}\u{fe0f}\\u{fe0f}");
}

#[test]
fn a_plan_without_anything_says_so() {
    let reason = || PartialReason::new(PartialKind::Failed, "");
    let conflict = || {
        let mut section = plan().sections()[0].clone();
        section.operations.clear();
        section.holds.clear();
        section.findings[0].what = What::FacetConflict;
        section
    };
    let unread = vec![Warning::PartialTarget { reason: reason() }];
    let half_known = vec![Warning::PartialSelection {
        container: container(1),
        reason: reason(),
    }];
    let gone = vec![Warning::MissingContainer(container(1))];
    let as_it_should_be = "Nothing to do: the target is as it should be.";
    let as_far_as_read = "Nothing to do, as far as was read: see the warnings.";
    for (warnings, more_warnings, section, said) in [
        (vec![], 0, None, as_it_should_be),
        (gone.clone(), 0, None, as_it_should_be),
        // What is not listed may be a read in part.
        (gone, 1, None, as_far_as_read),
        (unread, 0, None, as_far_as_read),
        (half_known, 0, None, as_far_as_read),
        (
            vec![],
            0,
            Some(conflict()),
            "Nothing to do, but 1 conflict remains.",
        ),
    ] {
        let policy = Policy::default();
        let mut header = header(&policy);
        (header.warnings, header.more_warnings) = (warnings, more_warnings);
        let mut drafts = Drafts::default();
        if let Some(section) = section {
            drafts.push(section);
        }
        let plan = Plan::assemble(header, envelope(1, 0), drafts, &policy, 0, None);
        for text in [
            render_table(&plan, &options()),
            render_markdown(&plan, &options()),
            render_html(&plan, &options()),
        ] {
            assert!(text.contains(said), "{said}: {text}");
            assert!(!text.contains("approve"), "{text}");
        }
    }
}

/// A letter with its marks takes one place in a terminal, however many characters it is made of.
#[test]
fn a_cell_is_cut_by_its_places_and_not_by_its_characters() {
    let label = "e\u{301}\u{302}\u{303}".repeat(30);
    let mut section = plan().sections()[0].clone();
    section.operations.truncate(1);
    section.operations[0].label = label.clone();
    let mut drafts = Drafts::default();
    drafts.push(section);
    let policy = Policy::default();
    let plan = Plan::assemble(header(&policy), envelope(1, 0), drafts, &policy, 0, None);
    let text = render_table(&plan, &RenderOptions::default());
    assert!(text.contains(&label), "{text}");
}
